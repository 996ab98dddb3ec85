"""Archive of 8x8 Number Masking call recordings, in plain Python. The Dagster code is in `assets` and `pipelines`.

Importing the package makes zoneinfo use the pinned package `tzdata`: see `time_zones`.
"""

from callarchive.runtime.time_zones import use_package_data

use_package_data()


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # takes 30 ms, and is rarely needed

    return version("callarchive")
