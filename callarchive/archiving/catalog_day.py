"""A day of the catalog, with the settings and the clock of the run that works on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from callarchive.domain.days import SETTLED_AFTER, Clock, day_bounds
from callarchive.domain.errors import ArchiveError
from callarchive.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from callarchive.archiving.ledger_recorder import LedgerRecorder
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.catalog.parquet_files import Parts
    from callarchive.catalog.schemas import Table
    from callarchive.catalog.stored_rows import StoredRows
    from callarchive.custody.erasures import Erased, ErasureRegister


def begun_path(day: date) -> str:
    """Return the path of the object that exists from the first step of a run to its last, relative to the catalog's root."""
    return f"_steps/begun/call_date={day}/run"


@dataclass(frozen=True)
class CatalogDay:
    """A day of a catalog as the steps see it."""

    date: date
    catalog: "Catalog"
    settings: Settings
    clock: Clock
    recorder: "LedgerRecorder"
    register: "ErasureRegister"

    def begin(self) -> None:
        """Note that a run is at work on the day: until `finish`, its tables need not agree."""
        self.catalog.store.replace(begun_path(self.date), b"")

    def finish(self) -> None:
        """Note that the run wrote all tables of the day."""
        self.catalog.store.delete(begun_path(self.date))

    @property
    def erased(self) -> "Erased":
        """What was erased of the day and its neighbours, which no step may write again."""
        return self.register.around(self.date)

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first instant of the day and of the next one, in UTC."""
        return day_bounds(self.date, self.settings.zone)

    @property
    def grace(self) -> timedelta:
        """The time after a call before a recording that was not found is missing."""
        return timedelta(hours=self.settings.transfer.missing_after_hours)

    @property
    def is_settled(self) -> bool:
        """Whether the day ended long enough ago for its sources, landings and events to be complete."""
        return self.clock() >= self.bounds[1] + SETTLED_AFTER

    @property
    def lists_landings(self) -> bool:
        """Whether a run lists the landings: once for reconciliation and for recordings that are not found."""
        return self.settings.reconciliation.list_landing and self.is_settled

    def rows(self, table: "Table", *, columns: Sequence[str] | None = None) -> "pa.Table":
        """Return the day's rows of the table, or some of their columns; empty without a partition."""
        return self.catalog.partition(table, self.date, columns=columns)

    def required_rows(self, table: "Table", *, columns: Sequence[str] | None = None) -> "pa.Table":
        """Return what an earlier step wrote. Raises ArchiveError if it has not run."""
        self._require(table)
        return self.rows(table, columns=columns)

    def stored_rows(self, table: "Table") -> "StoredRows":
        """Return what an earlier step wrote, to be decoded in parts. Raises ArchiveError if it has not run."""
        self._require(table)
        return self.catalog.stored_rows(table, self.date)

    def _require(self, table: "Table") -> None:
        if not self.catalog.has(table, self.date):
            raise ArchiveError(f"{table.name} has no partition {self.date} yet: run the whole chain for that day first")

    def replace(self, table: "Table", rows: "pa.Table | Iterable[Mapping[str, Any]] | Parts") -> int:
        """Replace the day's rows of the table and return their number. The ledger has the hash of public tables first."""
        return self.recorder.publish(table, self.date, rows)
