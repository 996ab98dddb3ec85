"""The inbox's tables, and its database: SQLite or PostgreSQL, whose errors are translated: they quote personal data."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeDecorator

from callarchive.domain.errors import ConfigurationError, StoreError, UnavailableError
from callarchive.runtime.retry import Backoff, Deadline, retry
from callarchive.settings.database_urls import INSTALL_POSTGRESQL, parse_database_url
from callarchive.storage.stores.syncing import sync_folder

VERSION = 1
_LOCK = 0x63616C6C61726368  # the inbox's PostgreSQL advisory lock: "callarch" in ASCII
DAY_PREFIX = "day "  # begins the names of days in the table of notes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUSY_S = 30.0  # how long a writer waits for the one before it
_IDLE_S = 15.0  # how long PostgreSQL keeps the lock of a silent writer, whose machine may have vanished
_CONNECT_S = 10
_VANISHED = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""When to give up on a silent PostgreSQL server, instead of after hours: seconds, and for the last one milliseconds."""
_NO_ROOM = ("disk is full", "disk i/o error", "readonly", "read-only")
_NO_DATABASE = ("not a database", "malformed", "file is encrypted")


class Moment(TypeDecorator[datetime]):
    """An aware UTC time as microseconds since 1970: exact and sortable in every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:  # noqa: ARG002
        """Return the value for the database."""
        if value is None:
            return None
        since = value.astimezone(UTC) - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Return the value from the database."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = sa.MetaData()

ABOUT = sa.Table(
    "inbox_about",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)

# SQLite numbers rows automatically only if the key is INTEGER.
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

EVENTS = sa.Table(
    "inbox_events",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("identity", sa.String(64), nullable=False, unique=True),
    sa.Column("subaccount_id", sa.String(50), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("event_type", sa.Text),
    sa.Column("session_id", sa.String(36)),
    sa.Column("recording_id", sa.String(36)),
    sa.Column("first_received_at", Moment, nullable=False),
    sa.Column("last_received_at", Moment, nullable=False),
    sa.Column("delivery_count", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Index("inbox_events_of_session", "session_id"),
    sa.Index("inbox_events_of_recording", "recording_id"),
    sa.Index("inbox_events_by_arrival", "last_received_at"),
    sqlite_autoincrement=True,  # never reuse a deleted event's number
)

SESSIONS = sa.Table(
    "inbox_sessions",
    metadata,
    sa.Column("subaccount_id", sa.String(50), primary_key=True),
    sa.Column("session_id", sa.String(36), primary_key=True),
    sa.Column("call_at", Moment),
    sa.Column("told_by_event", sa.Boolean, key="dated_by_event", nullable=False),
    sa.Column("first_received_at", Moment, nullable=False),
    sa.Index("inbox_sessions_by_call", "subaccount_id", "call_at"),
)


def open_engine(url: str, *, create: bool) -> sa.Engine:
    """Open the inbox's database, creating its tables and, with `create`, its SQLite file if necessary.

    Raises:
        ConfigurationError: there is no driver for the URL, its database is in memory, or it is another version's inbox.
        UnavailableError, StoreError: it cannot be reached or created, or is not a database.
    """
    try:
        parsed = parse_database_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            engine = _sqlite(parsed.database or "", create=create)
        else:
            # Without it, psycopg returns bytes from a database of the encoding SQL_ASCII.
            encoding = {"client_encoding": "utf8"}
            arguments = {"connect_timeout": _CONNECT_S, **_VANISHED, **encoding} if backend == "postgresql" else {}
            options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 4, "max_overflow": 4}
            engine = sa.create_engine(parsed, hide_parameters=True, connect_args=arguments, **options)
    except (NoSuchModuleError, ImportError):  # psycopg without libpq raises ImportError, though the module exists
        raise ConfigurationError(
            f"inbox.url: no driver is installed for it; use sqlite:///path, or postgresql://... with {INSTALL_POSTGRESQL}"
        ) from None
    except SQLAlchemyError as err:
        raise ConfigurationError(f"inbox.url: not a database URL ({type(err).__name__})") from None
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise ConfigurationError("inbox.url: must be sqlite:///path or postgresql://...")
    try:
        with errors_translated(engine):
            version = sa.select(ABOUT.c.number).where(ABOUT.c.name == "version")
            if not sa.inspect(engine).has_table(ABOUT.name):
                with writing(engine) as connection:
                    metadata.create_all(connection)
                    if connection.execute(version).scalar() is None:
                        connection.execute(sa.insert(ABOUT).values(name="version", number=VERSION))
            with engine.connect() as connection:
                known = connection.execute(version).scalar()
    except BaseException:
        engine.dispose()
        raise
    if known != VERSION:
        engine.dispose()
        raise ConfigurationError(
            f"inbox.url: the inbox has version {known}, but this callarchive reads version {VERSION}: use the one that wrote it"
        )
    return engine


def lock_writers(connection: sa.Connection) -> None:
    """Exclude other writers until the transaction ends, so that numbers are assigned in the order of commits.

    On PostgreSQL the commit waits for the disk, even if the server or the role has turned that off.
    """
    if connection.dialect.name == "postgresql":
        wait_ms, idle_ms = round(_BUSY_S * 1000), round(_IDLE_S * 1000)
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {wait_ms}; SET LOCAL idle_in_transaction_session_timeout = {idle_ms};"
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection for queries. Raises like `errors_translated`."""
    with errors_translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that excludes other writers. Raises like `errors_translated`."""
    with errors_translated(engine), engine.begin() as connection:
        lock_writers(connection)
        yield connection


def insert_into(database: sa.Connection | sa.Engine, table: sa.Table) -> Any:
    """Return an insert with `on_conflict_do_update`, which each dialect defines itself."""
    return (postgresql if database.dialect.name == "postgresql" else sqlite).insert(table)


@contextmanager
def errors_translated(engine: sa.Engine) -> Iterator[None]:
    """Raise the database's errors in the block without their parameters: UnavailableError, or StoreError for refused writes."""
    try:
        yield
    except DBAPIError as err:
        message = str(err.orig).strip().partition("\n")[0][:300]
        place = engine.url.render_as_string(hide_password=True)
        lowered = message.lower()
        if any(word in lowered for word in _NO_DATABASE):
            raise StoreError(f"inbox.url: {place} is not an inbox, or is damaged: {message}") from None
        if any(word in lowered for word in _NO_ROOM):
            raise StoreError(f"inbox.url: {place} rejects writes: {message}") from None
        if isinstance(err, OperationalError) or err.connection_invalidated:
            raise UnavailableError(f"inbox.url: {place} cannot be reached: {message}") from None
        raise StoreError(f"inbox.url: {place} failed: {type(err.orig).__name__}") from None
    except SQLAlchemyError as err:
        raise UnavailableError(
            f"inbox.url: {engine.url.render_as_string(hide_password=True)}: {type(err).__name__}"
        ) from None


def _sqlite(database: str, *, create: bool) -> sa.Engine:
    if database in ("", ":memory:"):
        raise ConfigurationError("inbox.url: names no file, and events in memory would be lost; use sqlite:///path")
    file = Path(database)
    if create and not file.exists():
        try:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
            sync_folder(file.parent)
        except OSError as err:
            raise StoreError(f"inbox.url: {file} cannot be created: {err.strerror}") from err

    def connect() -> sqlite3.Connection:
        # mode=rw: SQLite would recreate a deleted file, readable by everyone.
        uri = f"file:{quote(str(file))}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)

    engine = sa.create_engine(sa.URL.create("sqlite", database=str(file)), creator=connect, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # WAL: readers never wait for the writer. FULL: a commit is on disk when it returns.
        retry(  # while another process does the same in a new file: SQLite's own timeout does not cover that
            lambda: cursor.execute("PRAGMA journal_mode=WAL"),
            retryable=lambda err: isinstance(err, sqlite3.OperationalError) and "locked" in str(err),
            backoff=Backoff(first_s=0.01, growth=1),
            deadline=Deadline(_BUSY_S),
        )
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA secure_delete=ON")  # overwrite deleted and shortened values in the file
        cursor.close()

    return engine
