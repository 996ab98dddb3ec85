"""The report of a step."""

from dataclasses import dataclass, field
from datetime import date

from callarchive.catalog.schemas import Table
from callarchive.domain.errors import AccountFailure


@dataclass(frozen=True)
class StepReport:
    """What a step wrote: its rows, counts worth showing, and the accounts that it or a step before it could not archive."""

    table: Table
    day: date
    row_count: int
    counts: dict[str, int] = field(default_factory=dict)
    failures: tuple[AccountFailure, ...] = ()
