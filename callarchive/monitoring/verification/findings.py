"""The findings of verification."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Defect(StrEnum):
    """The kind of a finding."""

    MISSING = "missing"
    """A file that a row names does not exist; the store confirmed it for this file."""

    CHANGED = "changed"
    """A file's content differs from the hash in its row or name."""

    EXTRA = "extra"
    """A file that no row names."""

    LINK = "link"
    """A link or special file in place of a file or folder. It is not followed."""

    REMOVED = "removed"
    """A row, a table or a whole day is gone that other tables, responses or files still show."""

    ADDED = "added"
    """A row without any origin."""

    EDITED = "edited"
    """A row differs from what it was computed from."""

    UNREADABLE = "unreadable"
    """A file or table that could not be read, so that it is unverified."""


class Finding(NamedTuple):
    """One finding: its kind, and a URI, or a table and a key with actual and expected values."""

    defect: Defect
    what: str


@dataclass(frozen=True)
class VerifiedDay:
    """The result of verifying a day.

    Attributes:
        file_count: files in the catalog, including all versions and quarantined files.
        read_count: those that were read and hashed.
        read_bytes: their total size.
        row_count: rows of the public tables that were compared.
        defects: the findings.
        not_checked: what could not be compared, and why: one sentence each.
    """

    day: date
    file_count: int
    read_count: int
    defects: tuple[Finding, ...]
    read_bytes: int = 0
    row_count: int = 0
    not_checked: tuple[str, ...] = ()
