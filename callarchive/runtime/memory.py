"""Memory of a process that archives days: Arrow's own allocator would keep what many threads have freed."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_VARIABLE = "ARROW_DEFAULT_MEMORY_POOL"
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_BIG_BLOCK_BYTES = 2 * 1024 * 1024  # larger than a chunk of a transfer, for which a system call each would cost CPU
_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD
_KEPT_BYTES = 8 * 1024 * 1024  # with the default, 128 KiB, freed chunks go back to the system and are cleared again
_ARENA_MAX = -8  # M_ARENA_MAX
_ARENAS = 2  # by default 8 for each core, and each keeps what its threads freed: 7 MB more in a transfer, no less CPU
_LONG_DAY_BYTES = 16_000_000  # of tables: some 15,000 recordings


def use_system_memory() -> None:
    """Make Arrow use the C library's allocator, unless `ARROW_DEFAULT_MEMORY_POOL` is set, and let that keep little.

    A day of 30,000 recordings peaked at 305 MB with it, at 574 MB with Arrow's own, in the same time.
    """
    # glibc raises its threshold with the blocks that it frees, and then keeps a long day's columns. Other libraries lack it.
    with suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _BIG_BLOCK_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_ARENA_MAX, _ARENAS)
    if _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = "system"  # also for processes that this one starts
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())


def collect_rarely() -> None:
    """Collect garbage rarely.

    A recording leaves hundreds of objects but no cycles. With the default thresholds the collector would traverse all modules
    about a hundred times a day, which costs a twentieth of a transfer's CPU time, and a tenth of Dagster's run of a few days.
    """
    gc.set_threshold(50_000, 20, 50)


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Collect garbage rarely in the block."""
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _WithoutPandas:
    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ImportError


def keep_pandas_out() -> None:
    """Let pyarrow find no pandas, which it imports to convert the first Python value: 35 MB and 0.14 s of CPU.

    It looks once, so that pandas can be imported later, also by `to_pandas`.
    """
    import pyarrow as pa

    sys.meta_path.insert(0, _WithoutPandas)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_WithoutPandas)


def release_unused() -> None:
    """Return freed memory to the system if this process had a long day's rows. It takes milliseconds."""
    import pyarrow as pa

    pool = pa.default_memory_pool()
    if (pool.max_memory() or 0) >= _LONG_DAY_BYTES:
        pool.release_unused()
