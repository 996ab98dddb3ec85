"""Asking a database of the user's own: in a session that can change nothing, within a deadline, read as the rows arrive.

Errors of SQLAlchemy and of drivers become the house's here. Their texts may quote what was bound, the URL or a row.
"""

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
_STEPS_BETWEEN_LOOKS = 10_000
_LOOK_AGAIN_S = 0.1
_REFUSED = ("authentication failed", "access denied", "no password supplied", "login failed", "pg_hba.conf")
_OUT_OF_REACH = ("locked", "busy", "disk i/o error", "interrupted", "server closed the connection", "connection")
_SQLSTATES_OUT_OF_REACH = ("08", "53", "57", "58")
"""PostgreSQL's classes: connection, resources, operator intervention (a timeout too), system."""

Rows = list[tuple[Any, ...]]
Bounds = Callable[[str], Mapping[str, Any]]


class Reading:
    """A query under way. What it gives is read by a thread of its own: a database that hangs must not hang the day.

    Attributes:
        dialect: SQLAlchemy's name of the database.
        columns: names of the columns, in order.
    """

    def __init__(self, database: "Database", query: str, bounds: Bounds) -> None:
        self.dialect = database.engine.dialect.name
        self.columns: Sequence[str] = ()
        self._database = database
        self._statement = sa.text(for_sqlalchemy(query))
        self._bounds = bounds(self.dialect)
        self._stop = Event()
        # Columns, then batches of rows, then either a null or an error. Two batches ahead, no more: memory stays flat.
        self._arrived: Queue[Any] = Queue(maxsize=2)
        self._give_up_at = time.monotonic() + database.timeout_s
        self._thread = Thread(target=self._read, name="sql-source", daemon=True)

    def begin(self) -> None:
        """The query runs and `columns` are known. Raises as `asked`."""
        self._thread.start()
        self.columns = self._next()

    def batches(self) -> Iterator[Rows]:
        """The rows, some at a time. Raises as `asked`."""
        while (rows := self._next()) is not None:
            yield rows

    def end(self) -> None:
        """The thread ends, at once or, where the database does not let go of it, some time."""
        self._stop.set()
        self._thread.join(timeout=_LOOK_AGAIN_S * 5)

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
                self._hand_over(list(rows.keys()))
                for batch in rows.partitions(_ROWS_AT_ONCE):
                    self._hand_over([tuple(row) for row in batch])
            self._hand_over(None)
        except BaseException as err:
            self._hand_over(err)

    def _hand_over(self, item: Any) -> None:
        while not self._stop.is_set():
            try:
                self._arrived.put(item, timeout=_LOOK_AGAIN_S)
                return
            except Full:
                continue
        if not isinstance(item, BaseException):
            raise _LeftError


class _LeftError(BaseException):
    """Nobody waits for the rows any more."""


@contextmanager
def asked(
    url: str, query: str, bounds: Bounds, *, name: str, timeout_s: float, folder: Path | None = None
) -> Iterator[Reading]:
    """The query runs until the block is left; whatever it did is rolled back.

    Args:
        url: a SQLAlchemy database URL; what it holds is in no message.
        bounds: from the dialect's name to the values of `:start` and `:end`.
        name: of the source in the configuration, for messages.
        timeout_s: from connecting to the last row.
        folder: what the path of a SQLite file is relative to; the working directory by default.

    Raises, also while rows are read:
        ConfigurationError: the URL is none, or its driver is not installed.
        AccessDeniedError: the database does not accept the user or the password.
        UnavailableError: it cannot be reached, or was not done in time.
        SourceError: there is no such SQLite file; the query fails, or gives no rows.
    """
    database = Database(url, name=name, timeout_s=timeout_s, folder=folder)
    reading = Reading(database, query, bounds)
    try:
        reading.begin()
        yield reading
    finally:
        reading.end()


class Database:
    """A database by its URL, asked for one session. Its messages name the source and never the URL."""

    def __init__(self, url: str, *, name: str, timeout_s: float, folder: Path | None) -> None:
        self.timeout_s = timeout_s
        self._name = name
        self._connected = False
        try:
            parsed = parse_database_url(url)
        except (SQLAlchemyError, ValueError):
            raise ConfigurationError(
                f"{name}.url: is not a database URL, such as sqlite:////path or postgresql://user@host/database; "
                "an @, : or / in user or password is written %40, %3A, %2F"
            ) from None
        if "@" in (parsed.host or ""):  # it is a part of the password, which the driver's message would show
            raise ConfigurationError(f"{name}.url: an @ in user or password is written %40")
        self._secrets = sorted(
            {text for text in (url, parsed.password, *map(str, parsed.query.values())) if text}, key=len, reverse=True
        )
        try:
            self.engine = self._engine(parsed, folder)
        except (NoSuchModuleError, ImportError) as err:
            raise ConfigurationError(f"{name}.url: {_what_to_install(parsed.drivername)}") from err
        except (SQLAlchemyError, ValueError, TypeError) as err:
            raise ConfigurationError(
                f"{name}.url: the driver of {parsed.get_backend_name()} refuses it: {type(err).__name__}"
            ) from None

    def _engine(self, url: sa.URL, folder: Path | None) -> sa.Engine:
        if url.get_backend_name() == "sqlite":
            file = (folder or Path.cwd()) / (url.database or "")
            if not file.is_file():
                raise SourceError(f"{self._name}.url: there is no {file}")
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
        # It stops by itself: a thread that nobody waits for any more would keep the file open.
        give_up_at = time.monotonic() + self.timeout_s
        connection.set_progress_handler(lambda: time.monotonic() > give_up_at, _STEPS_BETWEEN_LOOKS)
        return connection

    @contextmanager
    def session(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, as far as the database knows of such, and that is rolled back."""
        with self.engine.connect() as connection:
            self._connected = True
            try:
                if self.engine.dialect.name == "postgresql":
                    # Not as options of the connection: a pooler such as PgBouncer refuses those.
                    for setting in (
                        "SET TRANSACTION READ ONLY",
                        "SET LOCAL TIME ZONE 'UTC'",  # times without a zone are compared, and read, as UTC
                        f"SET LOCAL statement_timeout = {max(1, round(self.timeout_s * 1000))}",
                    ):
                        connection.exec_driver_sql(setting)
                yield connection
            finally:
                if not connection.invalidated:
                    connection.rollback()

    def too_slow(self) -> UnavailableError:
        """The error for a deadline that is over."""
        doing = "gave no whole answer" if self._connected else "could not be connected to"
        return UnavailableError(f"{self._name}: the database {doing} within {self.timeout_s:g} s (timeout_s)")

    def translated(self, err: BaseException) -> BaseException:
        """What an error in the session means. What is no error of the database's stays as it is."""
        if isinstance(err, ArchiveError) or not isinstance(err, Exception):
            return err
        if isinstance(err, DBAPIError) and err.orig is not None:
            return self._by_database(err, err.orig)
        if isinstance(err, sa.exc.ResourceClosedError):
            return SourceError(f"{self._name}: the query gives no rows")
        if isinstance(err, SQLAlchemyError):
            return SourceError(f"{self._name}: the query fails: {type(err).__name__}")
        return SourceError(f"{self._name}: the database's driver failed: {type(err).__name__}")

    def _by_database(self, err: DBAPIError, told: BaseException) -> ArchiveError:
        text = self._shown(told)
        lowered = text.lower()
        if not self._connected:
            if any(word in lowered for word in _REFUSED):
                return AccessDeniedError(f"{self._name}: the database refuses us: {text}")
            return UnavailableError(f"{self._name}: the database cannot be connected to: {text}")
        state = getattr(told, "sqlstate", None) or getattr(told, "pgcode", None)
        if state == "57014" or lowered == "interrupted":
            return self.too_slow()
        out_of_reach = (
            str(state).startswith(_SQLSTATES_OUT_OF_REACH)
            if state
            else isinstance(err, sa.exc.OperationalError) and any(word in lowered for word in _OUT_OF_REACH)
        )
        if err.connection_invalidated or out_of_reach:
            return UnavailableError(f"{self._name}: the database gave no whole answer: {text}")
        return SourceError(f"{self._name}: the query fails: {text}")

    def _shown(self, err: BaseException) -> str:
        """The first line of the database's own words, without what is secret or looks like a phone number."""
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
