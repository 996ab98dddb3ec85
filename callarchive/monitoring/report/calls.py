"""The facts of the report: the calls of some days with the state of their recordings, and what is not known.

Phone numbers are not read. Neither 8x8 nor a landing is contacted.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Event
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.rows import Row
from callarchive.catalog.zone import kept_zone
from callarchive.domain.days import day_of
from callarchive.domain.errors import StoreError
from callarchive.domain.foreign_text import cleaned
from callarchive.monitoring.at_risk import at_risk, days_at_risk
from callarchive.monitoring.report.wording import LACKING, WORDINGS, CallState
from callarchive.runtime.time_zones import opened_zone
from callarchive.runtime.worker_pool import in_threads

if TYPE_CHECKING:
    from callarchive.catalog.schemas import Table

LISTED = 5_000
"""Calls that need no attention, and calls that do, are listed up to this number each. All are counted."""

_AT_ONCE = 8
_BATCH = 32
_SESSION_COLUMNS = (
    *("subaccount_id", "session_id", "started_at", "ended_at", "session_status", "call_duration_s"),
    *("lookup_status", "recording_count"),
)
_RECORDING_COLUMNS = (
    *("subaccount_id", "session_id", "recording_id", "archive_status", "error", "started_at", "size_bytes", "sha256"),
    *("duration_s", "duration_mismatch", "audio_issue"),
    *("channels", "silent_channels"),
)
_NOT_LISTED = ("no_recordings", "not_found", "ok")


@dataclass(slots=True)
class Recording:
    """A recording of a call. `row` has its columns of `recordings`; `not_embedded` says why its audio is not in the page."""

    row: Row
    audio: tuple[int, int] | None = None  # offset and length of the encoded audio: see `audio`
    not_embedded: str | None = None


@dataclass(slots=True)
class Call:
    """A session. `started_at` is None if no source gives it."""

    day: date
    subaccount_id: str
    session_id: str
    started_at: datetime | None
    duration_s: float | None
    state: CallState
    recordings: list[Recording]


@dataclass(slots=True)
class DayCounts:
    """A day: its calls by state, its kept recordings (flaws that can be heard, durations), and what is not known of it.

    `erased` counts recordings whose whole calls were erased: they are among no calls.
    """

    day: date
    counts: Counter[CallState] = field(default_factory=Counter)
    archived: bool = True
    damaged: str | None = None
    failed_accounts: tuple[str, ...] = ()
    flawed: int = 0
    erased: int = 0
    durations_s: "array[float]" = field(default_factory=lambda: array("d"))
    calls: list[Call] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether the day's calls are known."""
        return self.archived and self.damaged is None


@dataclass
class Report:
    """The facts of some days.

    Attributes:
        days: every day of the range, oldest first. Their calls moved to `calls`.
        calls: newest first, at most `LISTED` of those with their recording, and of the others.
        open_days: days that were not over.
        deadlines: by state, the number of recordings that 8x8 is assumed to keep, and until when the first of them.
    """

    days: list[DayCounts]
    zone: ZoneInfo
    made_at: datetime
    accounts: tuple[str, ...]
    calls: list[Call] = field(default_factory=list)
    open_days: tuple[date, ...] = ()
    deadlines: dict[CallState, tuple[int, datetime]] = field(default_factory=dict)
    only_sessions: bool = False

    @property
    def counts(self) -> Counter[CallState]:
        """The calls of all days by state."""
        return sum((day.counts for day in self.days), Counter())

    @property
    def erased(self) -> int:
        """The erased recordings of all days whose calls were erased with them."""
        return sum(day.erased for day in self.days)

    def is_complete(self) -> bool:
        """Return whether it is known of every call, or every selected one, if it should have a recording."""
        days_are_known = not self.open_days and not any(
            not day.is_known or set(day.failed_accounts).intersection(self.accounts) for day in self.days
        )
        return not self.counts[CallState.UNKNOWN] and (days_are_known or self.only_sessions)

    def is_listed_whole(self) -> bool:
        """Return whether every call is listed."""
        return len(self.calls) == self.counts.total()

    def mark_not_intact(self, call: Call) -> None:
        """Record that an archived file of the call is missing or changed."""
        counts = next(day.counts for day in self.days if day.day == call.day)
        counts[call.state] -= 1
        call.state = CallState.NOT_INTACT
        counts[call.state] += 1


def read_report(
    connections: Connections,
    days: Sequence[date],
    *,
    account: str | None = None,
    sessions: Collection[str] = (),
) -> Report:
    """Return the facts of these days, which are in order: of all calls, or of one account's, or of these sessions.

    Raises StoreError or UnavailableError if the catalog cannot be listed.
    """
    catalog, settings, now = connections.catalog, connections.settings, connections.clock()
    kept = kept_zone(catalog)
    zone = (opened_zone(kept) if kept is not None else None) or settings.zone
    archived = set(catalog.days(schemas.SESSIONS))
    today = day_of(now, zone)
    accounts = (account,) if account is not None else tuple(item.subaccount_id for item in settings.accounts)
    report = Report([], zone, now, accounts, only_sessions=bool(sessions))
    report.open_days = tuple(day for day in days if day >= today)

    def read(day: date, _: Event) -> DayCounts:
        if day not in archived:
            return DayCounts(day, archived=False)
        try:
            return _day(connections, day, account=account, wanted=sessions)
        except StoreError as err:
            return DayCounts(day, damaged=str(err))

    kept_counts: Counter[bool] = Counter()
    newest_first = list(reversed(days))
    for start in range(0, len(newest_first), _BATCH):
        batch = newest_first[start : start + _BATCH]
        with in_threads(read, batch, concurrency=_AT_ONCE, name="report") as results:
            found = sorted(results, key=lambda item: item.day, reverse=True)
        for item in found:
            item.counts.update(call.state for call in item.calls)
            item.flawed = sum(_is_flawed(recording.row) for call in item.calls for recording in call.recordings)
            for call in item.calls:
                item.durations_s.extend(_durations_s(call))
                needs_attention = call.state in LACKING or call.state is CallState.UNKNOWN
                kept_counts[needs_attention] += 1
                if kept_counts[needs_attention] <= LISTED:
                    report.calls.append(call)
            item.calls = []
        report.days += found
    report.days.reverse()
    readable = {day.day for day in report.days if day.is_known}
    recent = sorted(readable.intersection(days_at_risk(settings, now=now)))
    known = {(call.subaccount_id, call.session_id) for call in report.calls}
    for risk in at_risk(catalog, settings, now=now, days=recent):
        if risk.hours_left > 0 and (risk.subaccount_id, risk.session_id) in known:
            state = CallState(risk.archive_status or CallState.UNKNOWN)
            count, first = report.deadlines.get(state, (0, risk.deadline_at))
            report.deadlines[state] = (count + 1, min(first, risk.deadline_at))
    return report


def _day(connections: Connections, day: date, *, account: str | None, wanted: Collection[str]) -> DayCounts:
    import pyarrow as pa

    from callarchive.archiving.transforms.reconciliation import are_connected
    from callarchive.catalog.arrow_columns import pc, rows_in

    def rows(table: "Table", columns: Sequence[str]) -> pa.Table:
        found = connections.catalog.partition(table, day, columns=columns)
        if account is not None:
            found = found.filter(pc.equal(found["subaccount_id"], account))
        if wanted and "session_id" in columns:
            found = found.filter(pc.is_in(found["session_id"], value_set=pa.array(sorted(wanted))))
        return found

    recordings: dict[tuple[str, str], list[Recording]] = {}
    for row in rows_in(rows(schemas.RECORDINGS, _RECORDING_COLUMNS)):
        recordings.setdefault((row["subaccount_id"], row["session_id"]), []).append(Recording(row))
    sessions = rows(schemas.SESSIONS, _SESSION_COLUMNS)
    connected: Iterator[bool] = iter(are_connected(sessions).to_pylist())
    calls = []
    for row in rows_in(sessions):
        own = sorted(
            recordings.get((row["subaccount_id"], row["session_id"]), ()),
            key=lambda item: (item.row["started_at"] is None, item.row["started_at"], item.row["recording_id"]),
        )
        started_at = row["started_at"] or next((r.row["started_at"] for r in own), None)
        state = _state(row, [item.row["archive_status"] for item in own], connected=next(connected))
        calls.append(Call(day, row["subaccount_id"], row["session_id"], started_at, row["call_duration_s"], state, own))
    calls.sort(key=lambda call: (call.started_at is not None, call.started_at, call.session_id), reverse=True)
    failed = {str(row["subaccount_id"]) for row in rows(schemas.ACCOUNT_FAILURES, ("subaccount_id",)).to_pylist()}
    known = {(call.subaccount_id, call.session_id) for call in calls}
    erased = sum(len(found) for key, found in recordings.items() if key not in known and _are_erased(found))
    return DayCounts(day, failed_accounts=tuple(sorted(failed)), erased=erased, calls=calls)


def _are_erased(recordings: Sequence[Recording]) -> bool:
    return all(one.row["archive_status"] == CallState.ERASED for one in recordings)


def _state(session: Row, statuses: Sequence[str], *, connected: bool) -> CallState:
    """Return the state of a call from its row of `sessions` and the archive_status of its recordings."""
    worst = next((state for state in LACKING if state in statuses), None)
    if worst is not None:
        return worst
    if session["lookup_status"] not in _NOT_LISTED:
        return CallState.UNKNOWN
    if statuses:
        return CallState.ARCHIVED if set(statuses) == {CallState.ARCHIVED} else CallState.UNKNOWN
    if session["recording_count"]:
        return CallState.UNKNOWN  # 8x8 lists some, and the catalog has no row of them
    if connected:
        return CallState.NOT_RECORDED
    is_known = session["call_duration_s"] is not None or session["session_status"] is not None
    return CallState.NOT_CONNECTED if is_known else CallState.UNCLEAR


def _durations_s(call: Call) -> Iterator[float]:
    """Yield the measured durations of the call's kept recordings."""
    for recording in call.recordings:
        if recording.row["archive_status"] == "archived" and recording.row["duration_s"] is not None:
            yield recording.row["duration_s"]


def _is_flawed(row: Row) -> bool:
    return row["archive_status"] == "archived" and bool(row["audio_issue"] or row["silent_channels"])


def trouble_of(recording: Recording) -> list[str]:
    """Return what a person who listens should know: damage, silence, a length that differs from 8x8's; why there is no file."""
    row, found = recording.row, []
    if row["archive_status"] != "archived":
        wording = WORDINGS.get(row["archive_status"])
        return [wording.meaning if wording is not None else "Why is not known."]
    issues = {
        "truncated": "The sound ends early: the file is shorter than it should be.",
        "damaged": "Parts of the sound are damaged and may be skipped.",
    }
    if row["audio_issue"] is not None:
        found.append(issues.get(row["audio_issue"], f"The sound has a flaw: {cleaned(row['audio_issue'])}."))
    silent = row["silent_channels"]
    if silent is None:
        found.append("It was not measured whether all speakers can be heard.")
    elif len(silent) >= (row["channels"] or 1):
        found.append("Nothing can be heard: the recording is silent.")
    elif silent:
        found.append(f"Only one side can be heard: the {'left' if silent[0] == 1 else 'right'} channel is silent.")
    if row["duration_mismatch"]:
        found.append("Its length differs from the one that 8x8 reports.")
    return found
