"""The inbox: adds events durably, once each, in any order, and deletes them. `queries` reads them back."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from callarchive.domain.days import utc_now
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.errors import UnavailableError
from callarchive.domain.identifiers import plausible, uuid_time
from callarchive.events.inbox.cleaning import clean_events, compact, note_old_bytes
from callarchive.events.inbox.database import ABOUT, DAY_PREFIX, EVENTS, SESSIONS, insert_into, open_engine, writing
from callarchive.events.inbox.events import ReadEvent, RecordingEvent, SessionEvent, UnknownEvent
from callarchive.events.inbox.queries import InboxQueries

_DELETED_AT_ONCE = 1000
_PROBE = "probe"
_PROBE_CHARS = 8192


class Inbox(InboxQueries):
    """Webhook events in SQLite or PostgreSQL. Thread-safe; any number of processes may use it at once.

    Every method raises UnavailableError if the database cannot be reached, and StoreError if it rejects writes or is damaged.
    """

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(engine)
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = utc_now, create: bool = True) -> Self:
        """Open the inbox at a database URL. Raises like `open_engine`."""
        return cls(open_engine(url, create=create), clock=clock)

    @classmethod
    def open_existing(cls, url: str, *, clock: Callable[[], datetime] = utc_now) -> Self | None:
        """Return the opened inbox, or `None` if its SQLite file does not exist. Raises like `open`."""
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
            return None
        return cls.open(url, clock=clock, create=False)

    def __repr__(self) -> str:
        return f"Inbox({self._engine.url.render_as_string(hide_password=True)})"

    def close(self) -> None:
        """Close all connections. May be called twice."""
        self._engine.dispose()

    def now(self) -> datetime:
        """Return the current time of the clock that stamps events."""
        return self._clock()

    def add(self, events: Sequence[tuple[str, ReadEvent]]) -> int:
        """Store all events durably, each with its account, or none. Return how many were new, not repeats."""
        if not events:
            return 0
        now = self._clock()
        with writing(self._engine) as connection:
            before = connection.execute(sa.select(sa.func.max(EVENTS.c.number))).scalar() or 0
            _insert_events(connection, events, now)
            added = connection.execute(
                sa.select(sa.func.count()).select_from(EVENTS).where(EVENTS.c.number > before)
            ).scalar_one()
            _insert_sessions(connection, events, now)
        return int(added)

    def probe_write(self) -> None:
        """Write an event and delete it again: two commits that would fail where those of `add` fail. Raises like `add`."""
        probe = ReadEvent(UnknownEvent(), "x" * _PROBE_CHARS, _PROBE)
        insert = insert_into(self._engine, EVENTS).values(**_row("", probe, self._clock()), delivery_count=1)
        with writing(self._engine) as connection:
            connection.execute(insert.on_conflict_do_nothing(index_elements=[EVENTS.c.identity]))
        with writing(self._engine) as connection:
            connection.execute(sa.delete(EVENTS).where(EVENTS.c.identity == _PROBE))

    def clean(self, *, stop: threading.Event | None = None) -> int:
        """Remove unused fields from events that an older version stored whole. See `cleaning.clean_events`."""
        return clean_events(self._engine, stop=stop)

    def mark_ingested(self, day: date, number: int) -> None:
        """Record that the day has ingested its sessions' events up to this number. Never decreases."""
        insert = insert_into(self._engine, ABOUT)
        with writing(self._engine) as connection:
            connection.execute(
                insert.values(name=f"{DAY_PREFIX}{day}", number=number).on_conflict_do_update(
                    index_elements=[ABOUT.c.name],
                    set_={"number": insert.excluded.number},
                    where=insert.excluded.number > ABOUT.c.number,
                )
            )

    def delete(self, numbers: Iterable[int], *, received_before: datetime) -> int:
        """Delete these events, unless delivered again since, and sessions that have no other. Return how many events."""
        count, waiting = 0, iter(numbers)
        while some := sorted(set(islice(waiting, _DELETED_AT_ONCE))):
            chosen = sa.and_(EVENTS.c.number.in_(some), EVENTS.c.last_received_at < received_before)
            with writing(self._engine) as connection:
                named = sa.select(EVENTS.c.subaccount_id, EVENTS.c.session_id).where(
                    chosen, EVENTS.c.session_id.is_not(None)
                )
                sessions = connection.execute(named.distinct()).tuples().all()
                count += connection.execute(sa.delete(EVENTS).where(chosen)).rowcount
                has_events = sa.exists().where(
                    EVENTS.c.subaccount_id == SESSIONS.c.subaccount_id, EVENTS.c.session_id == SESSIONS.c.session_id
                )
                is_one = sa.tuple_(SESSIONS.c.subaccount_id, SESSIONS.c.session_id).in_(sessions)
                connection.execute(sa.delete(SESSIONS).where(is_one, sa.not_(has_events)))
        return count

    def erase(self, ids: ErasedIds) -> int:
        """Delete the account's events and sessions that have one of the ids, and their bytes from the database's files.

        Return how many events. Raises UnavailableError if bytes are left because others use the database: repeat it then.
        """
        naming = [number for number, text in self.texts(ids.subaccount_id) if ids.in_text(text)]
        with writing(self._engine) as connection:
            own = EVENTS.c.subaccount_id == ids.subaccount_id
            found: list[sa.ColumnElement[bool]] = [EVENTS.c.number.in_(some) for some in _parts(naming)]
            found += [sa.and_(own, EVENTS.c.session_id.in_(some)) for some in _parts(ids.session_ids)]
            found += [sa.and_(own, EVENTS.c.recording_id.in_(some)) for some in _parts(ids.recording_ids)]
            count = sum(connection.execute(sa.delete(EVENTS).where(chosen)).rowcount for chosen in found)
            for some in _parts(ids.session_ids):
                is_one = sa.and_(SESSIONS.c.subaccount_id == ids.subaccount_id, SESSIONS.c.session_id.in_(some))
                connection.execute(sa.delete(SESSIONS).where(is_one))
            note_old_bytes(connection)
        if not compact(self._engine, locking=True):
            raise UnavailableError(
                "inbox.url: erased events may still be in its files, because others use it: run this again"
            )
        return count

    def prune(self, received_before: datetime) -> int:
        """Delete events last received before then, ingested or not. Return their number."""
        numbers = (number for number, _ in self.older_than(received_before))
        return self.delete(numbers, received_before=received_before)


def _parts(values: Collection[Any]) -> Iterator[list[Any]]:
    """Yield the values in lists that a statement may have as parameters."""
    ordered = iter(sorted(values))
    while some := list(islice(ordered, _DELETED_AT_ONCE)):
        yield some


def _insert_events(connection: sa.Connection, events: Sequence[tuple[str, ReadEvent]], now: datetime) -> None:
    counts = Counter(read.identity for _, read in events)
    rows: dict[str, dict[str, Any]] = {}
    for subaccount_id, read in events:
        rows.setdefault(read.identity, _row(subaccount_id, read, now))
    insert = insert_into(connection, EVENTS)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[EVENTS.c.identity],
            set_={
                "delivery_count": EVENTS.c.delivery_count + insert.excluded.delivery_count,
                "last_received_at": insert.excluded.last_received_at,
            },
        ),
        [{**row, "delivery_count": counts[identity]} for identity, row in rows.items()],
    )


def _insert_sessions(connection: sa.Connection, events: Sequence[tuple[str, ReadEvent]], now: datetime) -> None:
    """Insert or update the sessions. An event's start, the earliest of several, takes precedence over the id's time."""
    starts: dict[tuple[str, str], datetime | None] = {}
    for subaccount_id, read in events:
        event = read.event
        if isinstance(event, RecordingEvent | SessionEvent):
            key = subaccount_id, event.session_id
            at = event.started_at if isinstance(event, SessionEvent) else None
            known = starts.get(key)
            starts[key] = at if known is None or (at is not None and at < known) else known
    rows = []
    for (subaccount_id, session_id), at in sorted(starts.items()):
        by_event = at is not None and plausible(at, now=now)
        by_id = uuid_time(session_id)
        rows.append(
            {
                "subaccount_id": subaccount_id,
                "session_id": session_id,
                "call_at": at if by_event else by_id if plausible(by_id, now=now) else None,
                "dated_by_event": by_event,
                "first_received_at": now,
            }
        )
    if not rows:
        return
    insert = insert_into(connection, SESSIONS)
    new = insert.excluded
    better = sa.and_(new.dated_by_event, sa.or_(sa.not_(SESSIONS.c.dated_by_event), new.call_at < SESSIONS.c.call_at))
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[SESSIONS.c.subaccount_id, SESSIONS.c.session_id],
            set_={"call_at": new.call_at, "dated_by_event": new.dated_by_event},
            where=better,
        ),
        rows,
    )


def _row(subaccount_id: str, read: ReadEvent, now: datetime) -> dict[str, Any]:
    return {
        "identity": read.identity,
        "subaccount_id": subaccount_id,
        "kind": read.event.kind,
        **{name: getattr(read.event, name, None) for name in ("event_type", "session_id", "recording_id")},
        "first_received_at": now,
        "last_received_at": now,
        "payload": read.payload,
    }
