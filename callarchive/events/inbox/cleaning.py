"""Removes unused fields, and phone numbers in paths and texts, from events that an older version stored whole.

Works in batches, each in one transaction with its progress, so it can be interrupted anywhere and receivers write in between.
"""

import logging
import threading
import time
from typing import Any

import sqlalchemy as sa

from callarchive.domain.errors import StoreError, UnavailableError
from callarchive.domain.foreign_text import cleaned
from callarchive.events.inbox.database import ABOUT, EVENTS, SESSIONS, errors_translated, insert_into, reading, writing
from callarchive.events.inbox.events import identity_of, payload_to_keep

log = logging.getLogger(__name__)

_UP_TO = "cleaned up to"  # the row of `inbox_about` with the number of the last event that was checked
_TO_COMPACT = "to be compacted"  # 1 while old bytes may still be in the file
_AT_ONCE = 200
_LARGEST_TO_COMPACT_BYTES = 2 * 1024**3
_TYPE_CHARS = 200


def clean_events(engine: sa.Engine, *, stop: threading.Event | None = None) -> int:
    """Clean every event that has not been checked yet, and free the old bytes. Return how many events changed.

    Between two transactions other writers get as much time as a transaction took. `stop` leaves the rest for the next run.
    """
    stop = stop or threading.Event()
    changed = 0
    with errors_translated(engine):
        while not stop.is_set():
            begun_at = time.monotonic()
            checked, cleaned_now = _clean_some(engine)
            changed += cleaned_now
            if checked < _AT_ONCE:
                compact(engine)
                break
            stop.wait(time.monotonic() - begun_at)
    if changed:
        log.warning("the inbox: removed unused fields from %d events of an older version", changed)
    return changed


def _clean_some(engine: sa.Engine) -> tuple[int, int]:
    """Return how many events were checked, and how many of them changed."""
    with engine.connect() as connection:
        after = _mark(connection, _UP_TO)
        query = sa.select(EVENTS).where(EVENTS.c.number > after).order_by(EVENTS.c.number).limit(_AT_ONCE)
        rows = connection.execute(query).all()
    if not rows:
        return 0, 0
    kept = {row.number: payload_to_keep(row.payload) for row in rows}
    with writing(engine) as connection:
        changes = [row for row in rows if _is_unclean(row, kept[row.number])]
        for row in changes:
            _clean(connection, row.number, kept[row.number])
        _set_mark(connection, _UP_TO, rows[-1].number)
        if changes:
            note_old_bytes(connection)
    return len(rows), len(changes)


def _is_unclean(row: Any, payload: str) -> bool:
    return bool(row.payload != payload or _type(row.event_type) != row.event_type)


def _clean(connection: sa.Connection, number: int, payload: str) -> None:
    """Set the event's payload and identity. Of two events that are now equal, keep the earlier one."""
    row = connection.execute(sa.select(EVENTS).where(EVENTS.c.number == number)).one_or_none()
    if row is None:  # deleted in the meantime
        return
    identity = identity_of(row.subaccount_id, payload)
    same = connection.execute(sa.select(EVENTS).where(EVENTS.c.identity == identity)).one_or_none()
    values = {
        "payload": payload,
        "event_type": _type(row.event_type),
        "identity": identity,
        "first_received_at": row.first_received_at,
        "last_received_at": row.last_received_at,
        "delivery_count": row.delivery_count,
    }
    if same is not None and same.number != number:
        values |= {
            "first_received_at": min(row.first_received_at, same.first_received_at),
            "last_received_at": max(row.last_received_at, same.last_received_at),
            "delivery_count": row.delivery_count + same.delivery_count,
        }
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.number == max(number, same.number)))
        number = min(number, same.number)
    connection.execute(sa.update(EVENTS).where(EVENTS.c.number == number).values(**values))


def _type(text: str | None) -> str | None:
    return None if text is None else cleaned(text, limit=_TYPE_CHARS)


def note_old_bytes(connection: sa.Connection) -> None:
    """Note, in the transaction that deletes or changes rows, that their bytes must be freed: see `compact`."""
    _set_mark(connection, _TO_COMPACT, 1)


def compact(engine: sa.Engine, *, locking: bool = False) -> bool:
    """Free removed bytes from the database's files, and return whether that succeeded. If not, the next call retries.

    PostgreSQL keeps bytes of deleted rows in pages and indexes unless it rewrites the tables, `locking` them meanwhile.
    """
    with engine.connect() as connection:
        if not _mark(connection, _TO_COMPACT):
            return True
    try:
        with reading(engine) as connection:
            freed = _rewrite(connection.execution_options(isolation_level="AUTOCOMMIT"), locking=locking)
    except (StoreError, UnavailableError) as err:
        log.warning("could not compact the inbox, its file may still contain old bytes: %s", err)
        return False
    if freed:
        with writing(engine) as connection:
            _set_mark(connection, _TO_COMPACT, 0)
    return freed


def _rewrite(connection: sa.Connection, *, locking: bool) -> bool:
    """Return whether all removed bytes were freed."""
    if connection.dialect.name == "postgresql":
        for table in (EVENTS, SESSIONS):
            connection.exec_driver_sql(f"VACUUM (FULL {locking}) {table.name}")
        return True
    size_bytes = _number(connection, "PRAGMA page_count") * _number(connection, "PRAGMA page_size")
    if size_bytes > _LARGEST_TO_COMPACT_BYTES:
        log.warning("the inbox is large: run VACUUM on it while no receiver runs, to free old bytes")
    else:
        connection.exec_driver_sql("VACUUM")
    return (
        _number(connection, "PRAGMA wal_checkpoint(TRUNCATE)") == 0
    )  # otherwise there are readers: retry at the next run


def _number(connection: sa.Connection, pragma: str) -> int:
    return int(connection.exec_driver_sql(pragma).scalar() or 0)


def _mark(connection: sa.Connection, name: str) -> int:
    return connection.execute(sa.select(ABOUT.c.number).where(ABOUT.c.name == name)).scalar() or 0


def _set_mark(connection: sa.Connection, name: str, number: int) -> None:
    insert = insert_into(connection, ABOUT).values(name=name, number=number)
    connection.execute(
        insert.on_conflict_do_update(index_elements=[ABOUT.c.name], set_={"number": insert.excluded.number})
    )
