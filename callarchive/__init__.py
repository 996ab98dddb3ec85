"""The archive for 8x8 Number Masking call recordings: plain Python, no orchestrator.

The asset graph is in the package `assets`, schedules and resources in `pipelines`; nothing here imports either.
"""


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # 30 ms, which only few need

    return version("callarchive")
