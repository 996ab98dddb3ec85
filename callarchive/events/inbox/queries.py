"""Reading from the inbox: sessions and recordings merged from their events, and the events themselves."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from callarchive.events.inbox.database import ABOUT, DAY_PREFIX, EVENTS, SESSIONS, reading
from callarchive.events.inbox.events import Event, EventRefusedError, RecordingEvent, SessionEvent, event_in
from callarchive.events.inbox.merging import InboxRecording, merge_recordings, merge_summaries

_IDS_AT_ONCE = 500
_EVENTS_AT_ONCE = 1000

_CHANGES = sa.select(
    EVENTS.c.number, EVENTS.c.subaccount_id, EVENTS.c.session_id, SESSIONS.c.call_at, EVENTS.c.first_received_at
).join(
    SESSIONS,
    sa.and_(SESSIONS.c.subaccount_id == EVENTS.c.subaccount_id, SESSIONS.c.session_id == EVENTS.c.session_id),
    isouter=True,
)
"""The fields of a `Change`; events of unknown types have no session."""


@dataclass(frozen=True, slots=True)
class InboxSession:
    """A session, merged from all its events."""

    session_id: str
    call_at: datetime  # by VSS `startTime`, else by the session's version-1 UUID
    summary: SessionEvent | None  # of all its VSS events; `None` if there are none
    recording_count: int  # recordings that VRU events name


@dataclass(frozen=True, slots=True)
class UndatedSession:
    """A session for which neither an event nor its id gives a plausible time."""

    session_id: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """An event that is newer than some number. `call_at` is its session's; `None` without a plausible time."""

    number: int
    subaccount_id: str
    session_id: str
    call_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A stored event. Its kind is `recording`, `session` or `unknown`; the payload is JSON of the parsed fields."""

    number: int
    subaccount_id: str
    kind: str
    session_id: str | None
    recording_id: str | None
    first_received_at: datetime
    last_received_at: datetime
    delivery_count: int
    payload: str


@dataclass(frozen=True, slots=True)
class AccountStatistics:
    """When an account's last event was received."""

    subaccount_id: str
    last_received_at: datetime


class InboxQueries:
    """The queries of an `Inbox`, which lists the errors."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def sessions(self, subaccount_id: str, start: datetime, end: datetime) -> list[InboxSession]:
        """Return the account's sessions whose call was from `start` to before `end`, ordered by id."""
        query = (
            sa.select(SESSIONS.c.session_id, SESSIONS.c.call_at)
            .where(SESSIONS.c.subaccount_id == subaccount_id, SESSIONS.c.call_at >= start, SESSIONS.c.call_at < end)
            .order_by(SESSIONS.c.session_id)
        )
        found = []
        with reading(self._engine) as connection:
            dated = dict(connection.execute(query).tuples().all())
            rows = _rows_of(connection, subaccount_id, dated)
            for session_id, of_session in groupby(rows, lambda row: row.session_id):
                events = [event for row in of_session if (event := _event(row)) is not None]
                summaries = [event for event in events if isinstance(event, SessionEvent)]
                recordings = {event.recording_id for event in events if isinstance(event, RecordingEvent)}
                summary = merge_summaries(summaries) if summaries else None
                found.append(InboxSession(session_id, dated[session_id], summary, len(recordings)))
        return found

    def ids_between(self, subaccount_id: str, start: datetime, end: datetime) -> set[str]:
        """Return the ids of the account's sessions from `start` to before `end`, or without a time, and of their recordings."""
        is_near = sa.or_(SESSIONS.c.call_at.is_(None), sa.and_(SESSIONS.c.call_at >= start, SESSIONS.c.call_at < end))
        near = sa.select(SESSIONS.c.session_id).where(SESSIONS.c.subaccount_id == subaccount_id, is_near)
        of_sessions = EVENTS.c.subaccount_id == subaccount_id, EVENTS.c.session_id.in_(near)
        with reading(self._engine) as connection:
            sessions = connection.execute(near).scalars().all()
            recordings = connection.execute(sa.select(EVENTS.c.recording_id).where(*of_sessions).distinct()).scalars()
            return {*sessions, *(one for one in recordings if one is not None)}

    def undated(self, subaccount_id: str) -> list[UndatedSession]:
        """Return the account's sessions without a plausible time, ordered by id."""
        query = (
            sa.select(SESSIONS.c.session_id, SESSIONS.c.first_received_at)
            .where(SESSIONS.c.subaccount_id == subaccount_id, SESSIONS.c.call_at.is_(None))
            .order_by(SESSIONS.c.session_id)
        )
        with reading(self._engine) as connection:
            return [UndatedSession(*row) for row in connection.execute(query).tuples()]

    def recordings(self, subaccount_id: str, session_ids: Collection[str]) -> list[InboxRecording]:
        """Return the recordings that VRU events name for these sessions of the account, one each, ordered by id."""
        found: dict[str, list[InboxRecording]] = {}
        with reading(self._engine) as connection:
            for row in _rows_of(connection, subaccount_id, session_ids, kind="recording"):
                event = _event(row)
                if isinstance(event, RecordingEvent):
                    received = {"first_received_at": row.first_received_at, "last_received_at": row.last_received_at}
                    recording = InboxRecording(**asdict(event), **received)
                    found.setdefault(event.recording_id, []).append(recording)
        return [merge_recordings(found[recording_id]) for recording_id in sorted(found)]

    def changes(self, after: int, *, limit: int = 10_000) -> list[Change]:
        """Return events with a higher number than `after` in the order of commits, without those of unknown types."""
        query = (
            _CHANGES.where(EVENTS.c.number > after, SESSIONS.c.session_id.is_not(None))
            .order_by(EVENTS.c.number)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [Change(*row) for row in connection.execute(query).tuples()]

    def latest_number(self) -> int:
        """Return the number of the newest event; 0 if there is none."""
        with reading(self._engine) as connection:
            return connection.execute(sa.select(sa.func.max(EVENTS.c.number))).scalar() or 0

    def events_of(self, identifier: str) -> list[StoredEvent]:
        """Return the events that name this session or recording, oldest first."""
        of_id = sa.or_(EVENTS.c.session_id == identifier, EVENTS.c.recording_id == identifier)
        columns = [EVENTS.c[name] for name in StoredEvent.__slots__]
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(*columns).where(of_id).order_by(EVENTS.c.number)).tuples()
            return [StoredEvent(*row) for row in rows]

    def session_events(self, subaccount_id: str) -> Iterator[StoredEvent]:
        """Yield the account's events about ends of sessions, oldest first."""
        columns = [EVENTS.c[name] for name in StoredEvent.__slots__]
        chosen = sa.and_(EVENTS.c.subaccount_id == subaccount_id, EVENTS.c.kind == "session")
        yield from (StoredEvent(*row) for row in self._by_number(sa.select(*columns).where(chosen)))

    def texts(self, subaccount_id: str) -> Iterator[tuple[int, str]]:
        """Yield the number of each event of the account, and its texts: payload and type."""
        query = sa.select(EVENTS.c.number, EVENTS.c.payload, EVENTS.c.event_type)
        for number, payload, event_type in self._by_number(query.where(EVENTS.c.subaccount_id == subaccount_id)):
            yield number, f"{payload} {event_type}"

    def _by_number(self, query: "sa.Select[Any]") -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query whose first column is the number, in its order, without a transaction that stays open."""
        page, after = query.order_by(EVENTS.c.number).limit(_EVENTS_AT_ONCE), 0
        while True:
            with reading(self._engine) as connection:
                rows = connection.execute(page.where(EVENTS.c.number > after)).tuples().all()
            yield from rows
            if len(rows) < _EVENTS_AT_ONCE:
                return
            after = rows[-1][0]

    def call_at(self, subaccount_id: str, session_id: str) -> datetime | None:
        """Return the time that gives the session its day; `None` without a plausible one."""
        query = sa.select(SESSIONS.c.call_at).where(
            SESSIONS.c.subaccount_id == subaccount_id, SESSIONS.c.session_id == session_id
        )
        with reading(self._engine) as connection:
            found: datetime | None = connection.execute(query).scalar_one_or_none()
            return found

    def unknown_events(self) -> dict[str, int]:
        """Return the number of deliveries by unknown event type; "" for events without a type."""
        query = sa.select(EVENTS.c.event_type, sa.func.sum(EVENTS.c.delivery_count)).where(EVENTS.c.kind == "unknown")
        with reading(self._engine) as connection:
            rows = connection.execute(query.group_by(EVENTS.c.event_type)).tuples()
            return {name or "": int(count) for name, count in rows}

    def statistics(self) -> list[AccountStatistics]:
        """Return one entry per account that has an event, ordered by account."""
        query = sa.select(
            EVENTS.c.subaccount_id, sa.func.max(EVENTS.c.last_received_at, type_=EVENTS.c.last_received_at.type)
        ).group_by(EVENTS.c.subaccount_id)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(EVENTS.c.subaccount_id)).tuples()
            return [AccountStatistics(*row) for row in rows]

    def ingested_days(self) -> dict[date, int]:
        """Return for each day that ingested events the number of the last one."""
        query = sa.select(ABOUT.c.name, ABOUT.c.number).where(ABOUT.c.name.startswith(DAY_PREFIX))
        with reading(self._engine) as connection:
            rows = connection.execute(query).tuples()
            return {date.fromisoformat(name.removeprefix(DAY_PREFIX)): number for name, number in rows}

    def older_than(self, received_before: datetime) -> Iterator[tuple[int, Change | None]]:
        """Yield number and change (`None` for unknown types) of events last received before then, in that order."""
        last_at, number = EVENTS.c.last_received_at, EVENTS.c.number
        query = _CHANGES.add_columns(last_at).where(last_at < received_before).order_by(last_at, number)
        page = query.limit(_EVENTS_AT_ONCE)
        while True:
            with reading(self._engine) as connection:
                rows = connection.execute(page).tuples().all()
            for row in rows:
                yield row[0], None if row[2] is None else Change(*row[:-1])
            if len(rows) < _EVENTS_AT_ONCE:
                return
            after_number, after_at = rows[-1][0], rows[-1][-1]
            page = query.where(last_at >= after_at, sa.or_(last_at > after_at, number > after_number)).limit(
                _EVENTS_AT_ONCE
            )


def _rows_of(
    connection: sa.Connection, subaccount_id: str, session_ids: Collection[str], *, kind: str | None = None
) -> Iterator[Any]:
    """Yield rows of events of these sessions, ordered by session and number."""
    listed = sorted(session_ids)
    for start in range(0, len(listed), _IDS_AT_ONCE):
        query = sa.select(EVENTS).where(
            EVENTS.c.subaccount_id == subaccount_id, EVENTS.c.session_id.in_(listed[start : start + _IDS_AT_ONCE])
        )
        if kind is not None:
            query = query.where(EVENTS.c.kind == kind)
        yield from connection.execute(query.order_by(EVENTS.c.session_id, EVENTS.c.number))


def _event(row: Any) -> Event | None:
    """Return the event of a row; `None` if this version cannot read it."""
    try:
        return event_in(row.payload)
    except (EventRefusedError, ValueError):
        return None
