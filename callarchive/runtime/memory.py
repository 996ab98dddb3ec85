"""Memory of a process that archives days: Arrow's allocator, and releasing memory after a step.

Many threads create and drop a long day's tables. Arrow's own allocator keeps freed memory for each of them.
"""

import os
import sys

_VARIABLE = "ARROW_DEFAULT_MEMORY_POOL"
_MANY_ROWS = 20_000


def use_system_memory() -> None:
    """Make Arrow use the C library's allocator, unless `ARROW_DEFAULT_MEMORY_POOL` is set.

    A day of 30,000 recordings peaked at 305 MB with it, at 574 MB with Arrow's own, in the same time.
    """
    if _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = "system"  # also for processes that this one starts
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())


def give_memory_back(row_count: int) -> None:
    """Return freed memory to the system after tables of this many rows. It takes milliseconds, so few rows are ignored."""
    if row_count >= _MANY_ROWS:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
