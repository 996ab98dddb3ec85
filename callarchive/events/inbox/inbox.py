"""The inbox itself: events are added durably, once each, and read back merged by session and by recording.

Order of arrival never matters: of what several events tell of one recording or session, what has come further counts.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callarchive.domain.days import utc_now
from callarchive.domain.identifiers import plausible, uuid_time
from callarchive.events.inbox.cleaning import clean_events
from callarchive.events.inbox.database import ABOUT, EVENTS, SESSIONS, errors_translated, lock_writers, open_engine
from callarchive.events.inbox.events import Event, EventRefusedError, ReadEvent, RecordingEvent, SessionEvent, event_in
from callarchive.events.inbox.merging import InboxRecording, merge_recordings, merge_summaries

_Value = TypeVar("_Value", int, str)
_IDS_AT_ONCE = 500
_PRUNED_AT_ONCE = 1000
_PROBE = "probe"
_PROBE_CHARS = 8192
_DAY = "day "
"""What a day's name in the table of notes begins with."""


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
    """What the inbox knows of a session, all its events together.

    Attributes:
        call_at: by VSS `startTime`, else by the session's version-1 UUID.
        summary: of all its VSS events; null where none came.
        recording_count: recordings that VRU events name.
    """

    session_id: str
    call_at: datetime
    summary: SessionEvent | None
    recording_count: int


@dataclass(frozen=True, slots=True)
class UndatedSession:
    """A session that neither an event nor its id dates plausibly."""

    session_id: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """An event that is new since some number. `call_at` is its session's, null where nothing dates it."""

    number: int
    subaccount_id: str
    session_id: str
    call_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is kept: `recording`, `session` or `unknown`; the payload is JSON of what was read."""

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
    """How many events an account has, and when the last one came."""

    subaccount_id: str
    event_count: int
    last_received_at: datetime


class Inbox:
    """Webhook events over SQLite or PostgreSQL. Thread-safe; any number of processes may use it at once.

    Every method raises UnavailableError when the database cannot be reached, and StoreError when it takes no writes or is
    damaged.
    """

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = utc_now, create: bool = True) -> Self:
        """The inbox at a database URL.

        Raises:
            ConfigurationError: no driver is installed for the URL, or the inbox is of another version.
            UnavailableError, StoreError: it cannot be reached, made or read.
        """
        return cls(open_engine(url, create=create), clock=clock)

    @classmethod
    def open_existing(cls, url: str, *, clock: Callable[[], datetime] = utc_now) -> Self | None:
        """The same; null where it would be a SQLite file that is not there. Raises as `open`."""
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
            return None
        return cls.open(url, clock=clock, create=False)

    def __repr__(self) -> str:
        return f"Inbox({self._engine.url.render_as_string(hide_password=True)})"

    def close(self) -> None:
        """Connections are closed. May be called twice."""
        self._engine.dispose()

    def now(self) -> datetime:
        """The time by which events are stamped."""
        return self._clock()

    def add(self, events: Sequence[tuple[str, ReadEvent]]) -> int:
        """The events, each with its account, are durable when this returns. Returns how many were new.

        An exact repeat only counts as one more delivery. All are taken, or none.
        """
        if not events:
            return 0
        now = self._clock()
        with errors_translated(self._engine), self._engine.begin() as connection:
            lock_writers(connection)
            before = connection.execute(sa.select(sa.func.max(EVENTS.c.number))).scalar() or 0
            self._insert_events(connection, events, now)
            added = connection.execute(
                sa.select(sa.func.count()).select_from(EVENTS).where(EVENTS.c.number > before)
            ).scalar_one()
            self._insert_sessions(connection, events, now)
        return int(added)

    def try_writing(self) -> None:
        """Write an event of some length and remove it again: two commits that meet whatever one of `add` would meet.

        Raises as `add`.
        """
        now = self._clock()
        probe = {
            "identity": _PROBE,
            "subaccount_id": "",
            "kind": _PROBE,
            "first_received_at": now,
            "last_received_at": now,
            "delivery_count": 1,
            "payload": "x" * _PROBE_CHARS,
        }
        insert = _insert_into(self._engine, EVENTS).values(**probe)
        with errors_translated(self._engine):
            with self._engine.begin() as connection:
                lock_writers(connection)
                connection.execute(insert.on_conflict_do_nothing(index_elements=[EVENTS.c.identity]))
            with self._engine.begin() as connection:
                lock_writers(connection)
                connection.execute(sa.delete(EVENTS).where(EVENTS.c.identity == _PROBE))

    def clean(self, *, stop: threading.Event | None = None) -> int:
        """Take out of events that an older version kept whole what is not read of them. See `cleaning.clean_events`."""
        return clean_events(self._engine, stop=stop)

    def sessions(self, subaccount_id: str, start: datetime, end: datetime) -> list[InboxSession]:
        """The account's sessions whose call was from `start` to before `end`, ordered by id."""
        wanted = (
            sa.select(SESSIONS.c.session_id, SESSIONS.c.call_at)
            .where(SESSIONS.c.subaccount_id == subaccount_id, SESSIONS.c.call_at >= start, SESSIONS.c.call_at < end)
            .order_by(SESSIONS.c.session_id)
        )
        with errors_translated(self._engine), self._engine.connect() as connection:
            dated = dict(connection.execute(wanted).tuples().all())
            found = []
            for session_id, rows in groupby(
                self._rows_of(connection, subaccount_id, dated), lambda row: row.session_id
            ):
                told = [event for row in rows if (event := _event(row)) is not None]
                summaries = [event for event in told if isinstance(event, SessionEvent)]
                recordings = {event.recording_id for event in told if isinstance(event, RecordingEvent)}
                summary = merge_summaries(summaries) if summaries else None
                found.append(InboxSession(session_id, dated[session_id], summary, len(recordings)))
        return found

    def undated(self, subaccount_id: str) -> list[UndatedSession]:
        """The account's sessions that nothing dates plausibly, ordered by id."""
        wanted = (
            sa.select(SESSIONS.c.session_id, SESSIONS.c.first_received_at)
            .where(SESSIONS.c.subaccount_id == subaccount_id, SESSIONS.c.call_at.is_(None))
            .order_by(SESSIONS.c.session_id)
        )
        with errors_translated(self._engine), self._engine.connect() as connection:
            return [UndatedSession(*row) for row in connection.execute(wanted).tuples()]

    def recordings(self, subaccount_id: str, session_ids: Collection[str]) -> list[InboxRecording]:
        """The recordings that VRU events name for these sessions of the account, one each, ordered by id."""
        told: dict[str, list[InboxRecording]] = {}
        with errors_translated(self._engine), self._engine.connect() as connection:
            for row in self._rows_of(connection, subaccount_id, session_ids, kind="recording"):
                event = _event(row)
                if isinstance(event, RecordingEvent):
                    one = InboxRecording(
                        session_id=event.session_id,
                        recording_id=event.recording_id,
                        status=event.status,
                        status_raw=event.status_raw,
                        duration_s=event.duration_s,
                        file_path=event.file_path,
                        first_received_at=row.first_received_at,
                        last_received_at=row.last_received_at,
                    )
                    told.setdefault(event.recording_id, []).append(one)
        return [merge_recordings(told[recording_id]) for recording_id in sorted(told)]

    def changes(self, after: int, *, limit: int = 10_000) -> list[Change]:
        """Events with a higher number than `after`, lowest first; those of unknown type are left out.

        Numbers are given in the order of commits: whoever remembers the last one misses nothing.
        """
        wanted = (
            _CHANGES.where(EVENTS.c.number > after, SESSIONS.c.session_id.is_not(None))
            .order_by(EVENTS.c.number)
            .limit(limit)
        )
        with errors_translated(self._engine), self._engine.connect() as connection:
            return [Change(*row) for row in connection.execute(wanted).tuples()]

    def latest_number(self) -> int:
        """The number of the newest event; 0 where there is none."""
        with errors_translated(self._engine), self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(EVENTS.c.number))).scalar() or 0

    def events_of(self, identifier: str) -> list[StoredEvent]:
        """The events that name this session or recording, oldest first."""
        of_id = sa.or_(EVENTS.c.session_id == identifier, EVENTS.c.recording_id == identifier)
        columns = [EVENTS.c[name] for name in StoredEvent.__slots__]
        with errors_translated(self._engine), self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(of_id).order_by(EVENTS.c.number)).tuples()
            return [StoredEvent(*row) for row in rows]

    def call_at(self, subaccount_id: str, session_id: str) -> datetime | None:
        """The time of the session's call, by which it has its day; null where nothing dates it plausibly."""
        wanted = sa.select(SESSIONS.c.call_at).where(
            SESSIONS.c.subaccount_id == subaccount_id, SESSIONS.c.session_id == session_id
        )
        with errors_translated(self._engine), self._engine.connect() as connection:
            found: datetime | None = connection.execute(wanted).scalar_one_or_none()
            return found

    def unknown_events(self) -> dict[str, int]:
        """How many events of unknown types came, by type; without a type under the empty text."""
        counted = sa.select(EVENTS.c.event_type, sa.func.sum(EVENTS.c.delivery_count)).where(EVENTS.c.kind == "unknown")
        with errors_translated(self._engine), self._engine.connect() as connection:
            rows = connection.execute(counted.group_by(EVENTS.c.event_type)).tuples()
            return {name or "": int(count) for name, count in rows}

    def statistics(self) -> list[AccountStatistics]:
        """One per account that has an event, ordered by account."""
        counted = sa.select(
            EVENTS.c.subaccount_id,
            sa.func.count(),
            sa.func.max(EVENTS.c.last_received_at, type_=EVENTS.c.last_received_at.type),
        ).group_by(EVENTS.c.subaccount_id)
        with errors_translated(self._engine), self._engine.connect() as connection:
            rows = connection.execute(counted.order_by(EVENTS.c.subaccount_id)).tuples()
            return [AccountStatistics(*row) for row in rows]

    def take_over(self, day: date, number: int) -> None:
        """It is remembered that the day knows what events up to this number tell of its sessions. Never goes back."""
        insert = _insert_into(self._engine, ABOUT)
        taken = insert.values(name=f"{_DAY}{day}", number=number)
        with errors_translated(self._engine), self._engine.begin() as connection:
            lock_writers(connection)
            connection.execute(
                taken.on_conflict_do_update(
                    index_elements=[ABOUT.c.name],
                    set_={"number": insert.excluded.number},
                    where=insert.excluded.number > ABOUT.c.number,
                )
            )

    def taken_over(self) -> dict[date, int]:
        """For each day that took events over, up to which number."""
        wanted = sa.select(ABOUT.c.name, ABOUT.c.number).where(ABOUT.c.name.startswith(_DAY))
        with errors_translated(self._engine), self._engine.connect() as connection:
            rows = connection.execute(wanted).tuples()
            return {date.fromisoformat(name.removeprefix(_DAY)): number for name, number in rows}

    def forget(self, numbers: Iterable[int], *, received_before: datetime | None = None) -> int:
        """These events are gone, and sessions that have no other. Returns how many events there were.

        Args:
            received_before: one that came again since is kept.
        """
        count, waiting = 0, iter(numbers)
        while some := sorted(set(islice(waiting, _PRUNED_AT_ONCE))):
            chosen: sa.ColumnElement[bool] = EVENTS.c.number.in_(some)
            if received_before is not None:
                chosen = sa.and_(chosen, EVENTS.c.last_received_at < received_before)
            with errors_translated(self._engine), self._engine.begin() as connection:
                lock_writers(connection)
                named = sa.select(EVENTS.c.subaccount_id, EVENTS.c.session_id).where(
                    chosen, EVENTS.c.session_id.is_not(None)
                )
                sessions = connection.execute(named.distinct()).tuples().all()
                count += connection.execute(sa.delete(EVENTS).where(chosen)).rowcount
                for subaccount_id in {account for account, _ in sessions}:
                    concerned = [session_id for account, session_id in sessions if account == subaccount_id]
                    has_events = sa.exists().where(
                        EVENTS.c.subaccount_id == SESSIONS.c.subaccount_id, EVENTS.c.session_id == SESSIONS.c.session_id
                    )
                    connection.execute(
                        sa.delete(SESSIONS).where(
                            SESSIONS.c.subaccount_id == subaccount_id,
                            SESSIONS.c.session_id.in_(concerned),
                            sa.not_(has_events),
                        )
                    )
        return count

    def prune(self, received_before: datetime) -> int:
        """Events that came last before then are gone, whether used or not. Returns how many."""
        numbers = (number for number, _ in self.older_than(received_before))
        return self.forget(numbers, received_before=received_before)

    def older_than(self, received_before: datetime) -> Iterator[tuple[int, Change | None]]:
        """Number of every event that came last before then, with its account, session and day; null for unknown types.

        In the order in which they came last, so that those that came later are not even looked at.
        """
        came_at, number = EVENTS.c.last_received_at, EVENTS.c.number
        wanted = _CHANGES.add_columns(came_at).where(came_at < received_before).order_by(came_at, number)
        some = wanted
        while True:
            with errors_translated(self._engine), self._engine.connect() as connection:
                rows = connection.execute(some.limit(_PRUNED_AT_ONCE)).tuples().all()
            for row in rows:
                yield row[0], None if row[2] is None else Change(*row[:-1])
            if len(rows) < _PRUNED_AT_ONCE:
                return
            last_number, last_at = rows[-1][0], rows[-1][-1]
            some = wanted.where(came_at >= last_at, sa.or_(came_at > last_at, number > last_number))

    def _rows_of(
        self, connection: sa.Connection, subaccount_id: str, session_ids: Collection[str], *, kind: str | None = None
    ) -> Iterator[Any]:
        """Rows of events of these sessions, ordered by session and number. A few at a time."""
        for some in _pieces(session_ids, _IDS_AT_ONCE):
            wanted = sa.select(EVENTS).where(EVENTS.c.subaccount_id == subaccount_id, EVENTS.c.session_id.in_(some))
            if kind is not None:
                wanted = wanted.where(EVENTS.c.kind == kind)
            yield from connection.execute(wanted.order_by(EVENTS.c.session_id, EVENTS.c.number))

    def _insert_events(self, connection: sa.Connection, events: Sequence[tuple[str, ReadEvent]], now: datetime) -> None:
        counts: dict[str, int] = {}
        rows: dict[str, dict[str, Any]] = {}
        for subaccount_id, read in events:
            counts[read.identity] = counts.get(read.identity, 0) + 1
            rows.setdefault(read.identity, _row(subaccount_id, read, now))
        insert = _insert_into(connection, EVENTS)
        added = insert.on_conflict_do_update(
            index_elements=[EVENTS.c.identity],
            set_={
                "delivery_count": EVENTS.c.delivery_count + insert.excluded.delivery_count,
                "last_received_at": insert.excluded.last_received_at,
            },
        )
        connection.execute(added, [{**row, "delivery_count": counts[identity]} for identity, row in rows.items()])

    def _insert_sessions(
        self, connection: sa.Connection, events: Sequence[tuple[str, ReadEvent]], now: datetime
    ) -> None:
        """A start that an event tells counts before the id's own time, and of several the earliest."""
        told: dict[tuple[str, str], datetime | None] = {}
        for subaccount_id, read in events:
            event = read.event
            if isinstance(event, RecordingEvent | SessionEvent):
                key = subaccount_id, event.session_id
                at = event.started_at if isinstance(event, SessionEvent) else None
                known = told.get(key)
                told[key] = at if known is None or (at is not None and at < known) else known
        rows = []
        for (subaccount_id, session_id), at in sorted(told.items()):
            by_event = at is not None and plausible(at, now=now)
            by_id = uuid_time(session_id)
            rows.append(
                {
                    "subaccount_id": subaccount_id,
                    "session_id": session_id,
                    "call_at": at if by_event else by_id if plausible(by_id, now=now) else None,
                    "told_by_event": by_event,
                    "first_received_at": now,
                }
            )
        if not rows:
            return
        insert = _insert_into(connection, SESSIONS)
        new = insert.excluded
        better = sa.and_(
            new.told_by_event,
            sa.or_(sa.not_(SESSIONS.c.told_by_event), new.call_at < SESSIONS.c.call_at),
        )
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=[SESSIONS.c.subaccount_id, SESSIONS.c.session_id],
                set_={"call_at": new.call_at, "told_by_event": new.told_by_event},
                where=better,
            ),
            rows,
        )


def _event(row: Any) -> Event | None:
    """The event of a kept row; null for one that a later version of ours no longer reads."""
    try:
        return event_in(row.payload)
    except (EventRefusedError, ValueError):
        return None


def _row(subaccount_id: str, read: ReadEvent, now: datetime) -> dict[str, Any]:
    event = read.event
    row: dict[str, Any] = {
        "identity": read.identity,
        "subaccount_id": subaccount_id,
        "kind": "unknown",
        "event_type": None,
        "session_id": None,
        "recording_id": None,
        "first_received_at": now,
        "last_received_at": now,
        "payload": read.payload,
    }
    if isinstance(event, RecordingEvent):
        row |= {"kind": "recording", "session_id": event.session_id, "recording_id": event.recording_id}
    elif isinstance(event, SessionEvent):
        row |= {"kind": "session", "session_id": event.session_id}
    else:
        row["event_type"] = event.event_type
    return row


def _insert_into(database: sa.Connection | sa.Engine, table: sa.Table) -> Any:
    """An insert that knows `on_conflict_do_update`, which is each dialect's own."""
    return (postgresql if database.dialect.name == "postgresql" else sqlite).insert(table)


def _pieces(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    """The values in order, so many at a time."""
    listed = sorted(values)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
