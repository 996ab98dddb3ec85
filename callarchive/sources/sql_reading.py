"""Runs a read-only query on a user's database, within a deadline. Its errors are translated: they may quote a row."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from callarchive.domain.errors import AccessDeniedError, ArchiveError, ConfigurationError, SourceError, UnavailableError
from callarchive.domain.foreign_text import cleaned
from callarchive.settings.database_urls import DRIVER_OF_POSTGRESQL, INSTALL_POSTGRESQL, parse_database_url
from callarchive.settings.sql_text import for_sqlalchemy

_ROWS_AT_ONCE = 2000
_CONNECT_S = 15
_STEPS_BETWEEN_CHECKS = 10_000
_POLL_S = 0.1
_DENIED = ("authentication failed", "access denied", "no password supplied", "login failed", "pg_hba.conf")
_UNAVAILABLE = ("locked", "busy", "disk i/o error", "interrupted", "server closed the connection", "connection")
_SQLSTATES_UNAVAILABLE = ("08", "53", "57", "58")
"""PostgreSQL's classes: connection, resources, operator intervention (including timeouts), system."""

Rows = list[tuple[Any, ...]]
Bounds = Callable[[str], Mapping[str, Any]]


class Reading:
    """A running query. A separate thread reads its rows, so that a database that hangs does not hang the day."""

    def __init__(self, database: "Database", query: str, bounds: Bounds) -> None:
        self.dialect = database.engine.dialect.name
        self.columns: Sequence[str] = ()
        self._database = database
        self._statement = sa.text(for_sqlalchemy(query))
        self._bounds = bounds(self.dialect)
        self._stop = Event()
        # Columns, then batches of rows, then `None` or an error. Reads at most two batches ahead: memory stays flat.
        self._arrived: Queue[Any] = Queue(maxsize=2)
        self._give_up_at = time.monotonic() + database.timeout_s
        self._thread = Thread(target=self._read, name="sql-source", daemon=True)

    def begin(self) -> None:
        """Start the query and set `columns`. Raises like `run_query`."""
        self._thread.start()
        self.columns = self._next()

    def batches(self) -> Iterator[Rows]:
        """Yield the rows in batches. Raises like `run_query`."""
        while (rows := self._next()) is not None:
            yield rows

    def end(self) -> None:
        """Stop the thread; one that is blocked in the database is left to end by itself."""
        self._stop.set()
        self._thread.join(timeout=_POLL_S * 5)

    def _next(self) -> Any:
        left_s = self._give_up_at - time.monotonic()
        if left_s <= 0:  # also where rows come faster than they are read
            raise self._database.too_slow()
        try:
            item = self._arrived.get(timeout=left_s)
        except Empty:
            raise self._database.too_slow() from None
        if isinstance(item, BaseException):
            raise self._database.translated(item) from None
        return item

    def _read(self) -> None:
        try:
            with (
                self._database.session() as connection,
                connection.execution_options(stream_results=True).execute(self._statement, dict(self._bounds)) as rows,
            ):
                self._put(list(rows.keys()))
                for batch in rows.partitions(_ROWS_AT_ONCE):
                    self._put([tuple(row) for row in batch])
            self._put(None)
        except BaseException as err:  # noqa: BLE001 - it is raised in the thread that waits
            self._put(err)

    def _put(self, item: Any) -> None:
        while not self._stop.is_set():
            try:
                self._arrived.put(item, timeout=_POLL_S)
                return
            except Full:
                continue
        if not isinstance(item, BaseException):
            raise _AbandonedError


class _AbandonedError(BaseException):
    """The rows are no longer needed."""


@contextmanager
def run_query(
    url: str, query: str, bounds: Bounds, *, name: str, timeout_s: float, folder: Path | None = None
) -> Iterator[Reading]:
    """Run the query, with the parameters `:start` and `:end`, for the duration of the block, and roll it back at the end.

    Args:
        url: a SQLAlchemy database URL; no message shows any of it.
        bounds: returns the values of `:start` and `:end` for a dialect's name.
        name: the source's key in the configuration, for messages.
        folder: what the path of a SQLite file is relative to; the working directory by default.

    Raises, also while rows are read:
        ConfigurationError: the URL is invalid, or its driver is not installed.
        AccessDeniedError: the database rejects the user or the password.
        UnavailableError: the database cannot be reached, or did not finish within `timeout_s`.
        SourceError: the SQLite file does not exist; the query fails, or returns no rows.
    """
    database = Database(url, name=name, timeout_s=timeout_s, folder=folder)
    reading = Reading(database, query, bounds)
    try:
        reading.begin()
        yield reading
    finally:
        reading.end()


class Database:
    """A database, used for one session. Its messages name the source and never the URL."""

    def __init__(self, url: str, *, name: str, timeout_s: float, folder: Path | None) -> None:
        self.timeout_s = timeout_s
        self._name = name
        self._connected = False
        try:
            parsed = parse_database_url(url)
        except (SQLAlchemyError, ValueError):
            raise ConfigurationError(
                f"{name}.url: not a database URL, such as sqlite:////path or postgresql://user@host/database; "
                "write an @, : or / in user or password as %40, %3A, %2F"
            ) from None
        if "@" in (parsed.host or ""):  # it is part of the password, which the driver's message would show
            raise ConfigurationError(f"{name}.url: write an @ in user or password as %40")
        self._secrets = sorted(
            {text for text in (url, parsed.password, *map(str, parsed.query.values())) if text}, key=len, reverse=True
        )
        try:
            self.engine = self._engine(parsed, folder)
        except (NoSuchModuleError, ImportError) as err:
            raise ConfigurationError(f"{name}.url: {_what_to_install(parsed.drivername)}") from err
        except (SQLAlchemyError, ValueError, TypeError) as err:
            raise ConfigurationError(
                f"{name}.url: the driver of {parsed.get_backend_name()} rejects it: {type(err).__name__}"
            ) from None

    def _engine(self, url: sa.URL, folder: Path | None) -> sa.Engine:
        if url.get_backend_name() == "sqlite":
            file = (folder or Path.cwd()) / (url.database or "")
            if not file.is_file():
                raise SourceError(f"{self._name}.url: {file} does not exist")
            return sa.create_engine("sqlite://", creator=lambda: self._sqlite(file), poolclass=sa.NullPool)
        arguments: dict[str, Any] = {}
        if url.drivername in ("postgresql+psycopg", "postgresql+psycopg2") and "connect_timeout" not in url.query:
            arguments["connect_timeout"] = max(1, round(min(_CONNECT_S, self.timeout_s)))
        return sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)

    def _sqlite(self, file: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(file))}?mode=ro", uri=True, timeout=min(_CONNECT_S, self.timeout_s)
        )
        connection.execute("PRAGMA query_only=ON")
        # Stops an abandoned thread, which would keep the file open.
        give_up_at = time.monotonic() + self.timeout_s
        connection.set_progress_handler(lambda: time.monotonic() > give_up_at, _STEPS_BETWEEN_CHECKS)
        return connection

    @contextmanager
    def session(self) -> Iterator[sa.Connection]:
        """Yield a transaction that is rolled back at the end, read-only if the database supports that."""
        with self.engine.connect() as connection:
            self._connected = True
            try:
                if self.engine.dialect.name == "postgresql":
                    # Not as connection options: a pooler such as PgBouncer rejects them.
                    for setting in (
                        "SET TRANSACTION READ ONLY",
                        "SET LOCAL TIME ZONE 'UTC'",  # compare and read times without a zone as UTC
                        f"SET LOCAL statement_timeout = {max(1, round(self.timeout_s * 1000))}",
                    ):
                        connection.exec_driver_sql(setting)
                yield connection
            finally:
                if not connection.invalidated:
                    connection.rollback()

    def too_slow(self) -> UnavailableError:
        """Return the error for an exceeded deadline."""
        failure = "did not finish" if self._connected else "did not accept a connection"
        return UnavailableError(f"{self._name}: the database {failure} within {self.timeout_s:g} s (timeout_s)")

    def translated(self, err: BaseException) -> BaseException:
        """Return the `ArchiveError` for an error of the database; other errors unchanged."""
        if isinstance(err, ArchiveError) or not isinstance(err, Exception):
            return err
        if isinstance(err, DBAPIError) and err.orig is not None:
            return self._by_database(err, err.orig)
        if isinstance(err, sa.exc.ResourceClosedError):
            return SourceError(f"{self._name}: the query returns no rows")
        if isinstance(err, SQLAlchemyError):
            return SourceError(f"{self._name}: the query fails: {type(err).__name__}")
        return SourceError(f"{self._name}: the database's driver failed: {type(err).__name__}")

    def _by_database(self, err: DBAPIError, cause: BaseException) -> ArchiveError:
        text = self._shown(cause)
        lowered = text.lower()
        if not self._connected:
            if any(word in lowered for word in _DENIED):
                return AccessDeniedError(f"{self._name}: the database denied access: {text}")
            return UnavailableError(f"{self._name}: the database cannot be connected to: {text}")
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state == "57014" or lowered == "interrupted":
            return self.too_slow()
        unavailable = (
            str(state).startswith(_SQLSTATES_UNAVAILABLE)
            if state
            else isinstance(err, sa.exc.OperationalError) and any(word in lowered for word in _UNAVAILABLE)
        )
        if err.connection_invalidated or unavailable:
            return UnavailableError(f"{self._name}: the database did not finish the query: {text}")
        return SourceError(f"{self._name}: the query fails: {text}")

    def _shown(self, err: BaseException) -> str:
        """Return the first line of the database's message, without secrets and what looks like a phone number."""
        text = next(iter(str(err).strip().splitlines()), "") or type(err).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return cleaned(text)


def _what_to_install(driver: str) -> str:
    if driver == DRIVER_OF_POSTGRESQL:
        return f"PostgreSQL's driver is not installed: {INSTALL_POSTGRESQL}"
    if driver.startswith(("postgres+", "postgresql+")):
        return f"no driver is installed for {driver}: write postgresql://... and {INSTALL_POSTGRESQL}"
    return f"no driver is installed for {driver}: install the Python package that SQLAlchemy names for it"
