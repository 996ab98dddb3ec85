"""Names that stores reserve for themselves: unfinished files and locks. Neither is ever listed."""

TEMPORARY_PREFIX = "."
TEMPORARY_SUFFIX = ".part"
LOCKS = "_locks"


def is_temporary(name: str) -> bool:
    """Return whether the last part of a path is that of an unfinished file. Readers of Parquet ignore leading dots."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)
