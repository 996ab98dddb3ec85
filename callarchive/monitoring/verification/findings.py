"""What verifying a day found out."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Defect(StrEnum):
    """The kind of a finding."""

    MISSING = "missing"
    """A file that a row names is not there; the store confirmed it for this file alone."""

    CHANGED = "changed"
    """A file has other bytes than its row or its own name says."""

    EXTRA = "extra"
    """A file that no row names."""

    LINK = "link"
    """A link or a special file lies where a file or a folder belongs. It is not followed."""

    REMOVED = "removed"
    """A row, a table or a whole day is gone of which other tables, answers or files still tell."""

    ADDED = "added"
    """A row of which nothing else tells."""

    EDITED = "edited"
    """A row says something else than what it was computed from."""

    UNREADABLE = "unreadable"
    """A file or a table that could not be read, so that nobody knows whether it is as it was."""


class Finding(NamedTuple):
    """One finding: its kind, and what it concerns: a URI, or a table and a key with what is and what should be."""

    defect: Defect
    what: str


@dataclass(frozen=True)
class VerifiedDay:
    """What verifying a day found out.

    Attributes:
        file_count: files that the catalog says are kept, all versions and quarantined files counted.
        read_count: how many of them were read and hashed.
        read_bytes: their size together, bytes.
        row_count: rows of the public tables that were compared.
        defects: what is wrong.
        not_checked: what could not be compared, and why: one sentence each.
    """

    day: date
    file_count: int
    read_count: int
    defects: tuple[Finding, ...]
    read_bytes: int = 0
    row_count: int = 0
    not_checked: tuple[str, ...] = ()
