"""What the steps have in common: what each reports, and how each reads what the step before it wrote."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.catalog.rows import Key, Row
from callarchive.catalog.schemas import Table
from callarchive.domain.days import SETTLED_AFTER, day_bounds
from callarchive.domain.errors import AccountFailure, ArchiveError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class StepReport:
    """What a step wrote: its rows, and counts worth showing (`fetched_bytes` in bytes, the others in rows).

    Attributes:
        failures: accounts that this step or one before it could not archive; their rows are those of an earlier run.
    """

    table: Table
    day: date
    row_count: int
    counts: dict[str, int] = field(default_factory=dict)
    failures: tuple[AccountFailure, ...] = ()


def partition_of(
    connections: Connections, table: Table, day: date, *, columns: Sequence[str] | None = None
) -> "pa.Table":
    """What an earlier step wrote for the day, or the named columns of it. Raises ArchiveError if it has not been run."""
    _require(connections, table, day)
    return connections.catalog.partition(table, day, columns=columns)


def rows_of(connections: Connections, table: Table, day: date) -> list[Row]:
    """The rows that an earlier step wrote for the day. Raises ArchiveError if it has not been run."""
    _require(connections, table, day)
    return connections.catalog.rows(table, day)


def is_settled(connections: Connections, day: date) -> bool:
    """Return whether a day's sources, landings and events have had the time to name what there is."""
    _, day_end = day_bounds(day, connections.settings.zone)
    return connections.clock() >= day_end + SETTLED_AFTER


def lists_landings(connections: Connections, day: date) -> bool:
    """Return whether a run of the day lists its landings: once for reconciliation and for recordings that are not found."""
    return connections.settings.reconciliation.list_landing and is_settled(connections, day)


def _require(connections: Connections, table: Table, day: date) -> None:
    if not connections.catalog.has(table, day):
        raise ArchiveError(f"{table.name} has no partition {day} yet: run the whole chain for that day first")


def key_of(row: Row) -> Key:
    """The key of a row that describes a session."""
    return row["subaccount_id"], row["session_id"]
