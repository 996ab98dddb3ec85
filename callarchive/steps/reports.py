"""What the steps have in common: what each reports, and how each reads what the step before it wrote."""

from dataclasses import dataclass, field
from datetime import date

from callarchive.connections import Connections
from callarchive.errors import ArchiveError
from callarchive.records import Key, Row
from callarchive.schemas import Table


@dataclass(frozen=True)
class StepReport:
    """What a step wrote: its rows, and counts worth showing (`fetched_bytes` in bytes, the others in rows)."""

    table: Table
    day: date
    row_count: int
    counts: dict[str, int] = field(default_factory=dict)


def rows_of(connections: Connections, table: Table, day: date) -> list[Row]:
    """The rows that an earlier step wrote for the day. Raises ArchiveError if it has not been run."""
    if not connections.catalog.has(table, day):
        raise ArchiveError(f"{table.name} has no partition {day} yet: run the whole chain for that day first")
    return connections.catalog.rows(table, day)


def key_of(row: Row) -> Key:
    """The key of a row that describes a session."""
    return row["subaccount_id"], row["session_id"]
