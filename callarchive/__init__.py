"""The archive for 8x8 Number Masking call recordings: plain Python, no orchestrator.

The asset graph is in the package `assets`, schedules and resources in `pipelines`; nothing here imports either.

Importing it makes zoneinfo read the pinned package `tzdata`, before any zone is opened: see `time_zones`.
"""

from callarchive.runtime.time_zones import use_package_data

use_package_data()


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # 30 ms, which only few need

    return version("callarchive")
