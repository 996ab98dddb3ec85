"""Recordings at risk of being lost: not archived, and 8x8 may soon delete them. Ranked by the time left.

8x8 does not document how long it keeps a voice recording that it could not push: `accounts.push_retention_hours` is assumed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from callarchive.catalog import schemas
from callarchive.catalog.rows import Row
from callarchive.domain.days import day_bounds, day_of, days_between
from callarchive.settings import Settings

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog

STUCK_AFTER = timedelta(hours=1)
"""By this time after a call, 8x8 has normally processed its recording."""

_SESSION_COLUMNS = ("subaccount_id", "session_id", "started_at", "ended_at", "lookup_status", "lookup_error")
_RECORDING_COLUMNS = (
    "subaccount_id",
    "session_id",
    "recording_id",
    "api_status",
    "archive_status",
    "error",
    "started_at",
    "duration_api_s",
    "duration_event_s",
)
TRANSFER_FAILED = "transfer failed"
LOOKUP_FAILED = "lookup failed"
_AT_RISK = ("pending", "missing", "failed", "not_uploaded")


@dataclass(frozen=True)
class AtRisk:
    """A recording that is not archived, or a session whose lookup failed, so that its recordings are unknown (None).

    Attributes:
        state: 8x8's status, or ours.
        call_ended_at: the best known end.
        deadline_at: until when 8x8 is assumed to keep it; `hours_left` is negative after it.
    """

    subaccount_id: str
    call_date: date
    session_id: str
    recording_id: str | None
    archive_status: str | None
    state: str
    call_ended_at: datetime
    deadline_at: datetime
    hours_left: float
    reason: str
    next_step: str


def at_risk(
    catalog: "Catalog", settings: Settings, *, now: datetime, days: Iterable[date] | None = None
) -> list[AtRisk]:
    """Return the recordings at risk: those with the least time left first, then the overdue ones, latest first.

    By default, the days whose recordings 8x8 may still have are checked.
    """
    checked = days_at_risk(settings, now=now) if days is None else days
    found = [item for day in checked for item in _of_day(catalog, settings, day, now)]
    return sorted(found, key=lambda item: (item.hours_left < 0, abs(item.hours_left), item.session_id))


def can_be_saved(item: AtRisk) -> bool:
    """Return whether 8x8 is assumed to keep it still, or another run alone may archive it."""
    return item.hours_left >= 0 or item.state in (TRANSFER_FAILED, LOOKUP_FAILED)


def days_at_risk(settings: Settings, *, now: datetime) -> list[date]:
    """Return the days whose recordings 8x8 may still have, and the day before them, for calls past midnight."""
    longest = max(account.push_retention_hours for account in settings.accounts)
    first = max(settings.start_date, day_of(now - timedelta(hours=longest), settings.zone) - timedelta(days=1))
    return list(days_between(first, day_of(now, settings.zone)))


def support_text(items: Sequence[AtRisk]) -> str:
    """Return a text for 8x8's support: accounts, ids, times and states, without personal data or our own failures."""
    items = [item for item in items if item.state != TRANSFER_FAILED]
    if not items:
        return ""
    please = (
        "these recordings of our calls were not delivered to us. Please push them again or let us know their state:"
    )
    lines = ["Hello,", "", please]
    for account in sorted({item.subaccount_id for item in items}):
        lines += ["", f"Subaccount {account}:"]
        lines += [
            f"- session {item.session_id}, recording {item.recording_id or 'not known'}, "
            f"call ended {item.call_ended_at:%Y-%m-%d %H:%M:%S} UTC, {item.state}"
            for item in items
            if item.subaccount_id == account
        ]
    return "\n".join([*lines, "", "Thank you"])


def _of_day(catalog: "Catalog", settings: Settings, day: date, now: datetime) -> Iterator[AtRisk]:
    import pyarrow as pa

    from callarchive.catalog.arrow_columns import keys_of, pc

    recordings = catalog.partition(schemas.RECORDINGS, day, columns=_RECORDING_COLUMNS)
    recordings = recordings.filter(pc.is_in(recordings["archive_status"], value_set=pa.array(_AT_RISK)))
    sessions = catalog.partition(schemas.SESSIONS, day, columns=_SESSION_COLUMNS)
    key = schemas.SESSIONS.key
    # Only these become Python objects: few rows of a long day.
    affected = pc.is_in(keys_of(sessions, key), value_set=keys_of(recordings, key))
    failed = pc.equal(pc.fill_null(sessions["lookup_status"], ""), "error")
    session_rows: list[Row] = sessions.filter(pc.or_(affected, failed)).to_pylist()
    retention = {a.subaccount_id: timedelta(hours=a.push_retention_hours) for a in settings.accounts}
    _, day_end = day_bounds(day, settings.zone)
    calls = {(row["subaccount_id"], row["session_id"]): (row["ended_at"], row["started_at"]) for row in session_rows}

    def risk(row: Row, ended_at: datetime, *, state: str, reason: str | None, next_step: str) -> AtRisk:
        deadline_at = ended_at + retention.get(row["subaccount_id"], timedelta(hours=24))
        return AtRisk(
            subaccount_id=row["subaccount_id"],
            call_date=day,
            session_id=row["session_id"],
            recording_id=row.get("recording_id"),
            archive_status=row.get("archive_status"),
            state=state,
            call_ended_at=ended_at,
            deadline_at=deadline_at,
            hours_left=(deadline_at - now) / timedelta(hours=1),
            reason=reason or "",
            next_step=next_step,
        )

    for row in session_rows:
        if row["lookup_status"] == "error":
            ended_at = row["ended_at"] or row["started_at"] or day_end
            next_step = f"callarchive archive --day {day}"
            yield risk(row, ended_at, state=LOOKUP_FAILED, reason=row["lookup_error"], next_step=next_step)
    for row in recordings.to_pylist():
        call_ended_at, call_started_at = calls.get((row["subaccount_id"], row["session_id"]), (None, None))
        ended_at = call_ended_at or _end_of(row) or call_started_at or day_end
        if row["archive_status"] == "pending" and now - ended_at < STUCK_AFTER:
            continue
        state, next_step = _advice(row, day)
        yield risk(row, ended_at, state=state, reason=row["error"], next_step=next_step)


def _end_of(row: Row) -> datetime | None:
    start: datetime | None = row["started_at"]
    return None if start is None else start + timedelta(seconds=row["duration_api_s"] or row["duration_event_s"] or 0)


def _advice(row: Row, day: date) -> tuple[str, str]:
    """Return the state and the next step."""
    status, api_status = row["archive_status"], row["api_status"]
    if status == "failed":
        return TRANSFER_FAILED, f"callarchive archive --day {day}"
    if api_status == "UPLOAD_FAILED":
        return "UPLOAD_FAILED", "callarchive doctor, then ask 8x8's support to push again"
    if api_status == "PROCESSING" or status == "not_uploaded":
        return str(api_status), "ask 8x8's support: callarchive status --support-text"
    return f"{api_status}, not found", "callarchive doctor: does 8x8 push to the configured landing?"
