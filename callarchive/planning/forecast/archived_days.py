"""Archived days in the catalog, by account, as a basis for forecasts: counts, bytes, seconds, and how long archiving took.

A ratio is computed over all days together, its range over single days.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import ArchiveStatus
from callarchive.planning.forecast.figures import HISTORY, Figure, Ratio, unknown

_PAUSE_US = 60_000_000
"""Two recordings or responses further apart than this belong to different runs."""

_ENOUGH = 10
"""The fewest recordings or responses for a pace. With fewer, connecting dominates."""

FOUND = (ArchiveStatus.ARCHIVED.value, ArchiveStatus.REJECTED.value)
"""States of recordings whose file was found."""

SETTLED = (*FOUND, ArchiveStatus.ERASED.value)
"""States of recordings that are not fetched again while their objects are unchanged."""

_SESSION_COLUMNS = ("subaccount_id", "looked_up_at")
_FILE_COLUMNS = ("subaccount_id", "session_id", "archive_status", "source_size_bytes", "duration_s", "archived_at")


@dataclass(frozen=True, slots=True)
class Pace:
    """An amount done in seconds of work, as a number of items."""

    amount: float = 0.0
    count: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """An account's day.

    Attributes:
        recorded_count: sessions with a file.
        found_count, size_bytes: recordings with a file, and the size of these files.
        audio_s: of archived recordings.
        look_up_pace, fetch_pace: responses, and bytes, of the runs that did this.
    """

    session_count: int = 0
    recorded_count: int = 0
    found_count: int = 0
    size_bytes: int = 0
    audio_s: float = 0.0
    look_up_pace: Pace = Pace()
    fetch_pace: Pace = Pace()


class History:
    """An account's archived days, possibly none. Days before the account's first session are ignored."""

    def __init__(self, days: Mapping[date, ArchivedDay]) -> None:
        begun = min((day for day, outcome in days.items() if outcome.session_count), default=None)
        self._days = {day: outcome for day, outcome in sorted(days.items()) if begun is not None and day >= begun}
        outcomes = list(self._days.values())
        self.sessions_per_recorded = _ratio((d.session_count, d.recorded_count) for d in outcomes)
        self.recordings_per_session = _ratio((d.found_count, d.session_count) for d in outcomes)
        self.bytes_per_recording = _ratio((d.size_bytes, d.found_count) for d in outcomes)
        self.seconds_per_byte = _ratio((d.audio_s, d.size_bytes) for d in outcomes)
        self.fetch_s_per_byte = _s_per_item(d.fetch_pace for d in outcomes)
        self.s_per_look_up = _s_per_item(d.look_up_pace for d in outcomes)

    @property
    def description(self) -> str:
        """The days as text."""
        if not self._days:
            return "no archived day"
        first, last = min(self._days), max(self._days)
        return f"archived day {first}" if first == last else f"{len(self._days)} archived days, {first} to {last}"

    def sessions_on(self, day: date) -> Figure:
        """Return the sessions on this weekday, or on any day if no such weekday was archived."""
        counts = [outcome.session_count for other, outcome in self._days.items() if other.weekday() == day.weekday()]
        counts = counts or [outcome.session_count for outcome in self._days.values()]
        if not counts:
            return unknown()
        return Figure(sum(counts) / len(counts), min(counts), max(counts), {HISTORY: 1})


def _ratio(pairs: Iterable[tuple[float, float]]) -> Ratio | None:
    """Return the ratio; None if there is nothing to divide by."""
    divisible = [(amount, per) for amount, per in pairs if per > 0]
    if not divisible:
        return None
    each = [amount / per for amount, per in divisible]
    return Ratio(sum(amount for amount, _ in divisible) / sum(per for _, per in divisible), min(each), max(each))


def _s_per_item(paces: Iterable[Pace]) -> Ratio | None:
    """Return the seconds per unit of the amount; None if too little was done."""
    done = [pace for pace in paces if pace.busy_s > 0]
    return _ratio((pace.busy_s, pace.amount) for pace in done) if sum(pace.count for pace in done) >= _ENOUGH else None


def archived_day(catalog: Catalog, day: date) -> dict[str, ArchivedDay]:
    """Return the day by account, for accounts with rows.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: The catalog cannot be read.
    """
    sessions = catalog.partition(schemas.SESSIONS, day, columns=_SESSION_COLUMNS)
    files = catalog.partition(schemas.RECORDING_FILES, day, columns=_FILE_COLUMNS)
    accounts = {*sessions["subaccount_id"].unique().to_pylist(), *files["subaccount_id"].unique().to_pylist()}
    return {
        str(account): _of_account(*(t.filter(pc.equal(t["subaccount_id"], account)) for t in (sessions, files)))
        for account in accounts
    }


def _of_account(sessions: pa.Table, files: pa.Table) -> ArchivedDay:
    found = files.filter(pc.is_in(files["archive_status"], value_set=pa.array(FOUND)))
    kept = found.filter(pc.equal(found["archive_status"], ArchiveStatus.ARCHIVED.value))
    return ArchivedDay(
        session_count=len(sessions),
        recorded_count=pc.count_distinct(found["session_id"]).as_py(),
        found_count=len(found),
        size_bytes=_sum(found["source_size_bytes"]),
        audio_s=_sum(kept["duration_s"]),
        look_up_pace=_pace(sessions["looked_up_at"], pa.repeat(1, len(sessions))),
        fetch_pace=_pace(kept["archived_at"], kept["source_size_bytes"]),
    )


def _sum(column: Column) -> Any:
    return pc.sum(column).as_py() or 0


def _pace(at: Column, amounts: Column) -> Pace:
    """Return the pace, without the first item of each run, whose duration is unknown."""
    done = pa.table({"at_us": pc.cast(at, pa.int64()), "amount": amounts}).drop_null().sort_by("at_us")
    if len(done) < 2:
        return Pace()
    gaps_us = pc.pairwise_diff(done["at_us"].combine_chunks()).slice(1)
    near = pc.less_equal(gaps_us, _PAUSE_US)
    amount = _sum(done["amount"].slice(1).filter(near))
    return Pace(amount=float(amount), count=_sum(near), busy_s=_sum(gaps_us.filter(near)) / 1e6)
