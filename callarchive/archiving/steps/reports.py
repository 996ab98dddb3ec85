"""The report of a step."""

from dataclasses import dataclass, field
from datetime import date

from callarchive.catalog.schemas import Table
from callarchive.domain.errors import AccountFailure


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
