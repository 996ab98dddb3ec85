"""Sessions that a database of the user's own knows: the source `sql`.

The query is the user's. It is asked for one day at a time, in a session that can change nothing, and read as it arrives.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from callarchive.call_log import LegFacts, LogRow, column_places
from callarchive.days import day_bounds
from callarchive.errors import ConfigurationError, SourceError, UnavailableError
from callarchive.models import Findings
from callarchive.phone_numbers import PhoneNumberTreatment, mask_numbers
from callarchive.settings import Secret, SqlSource
from callarchive.sources.gathering import Gathering
from callarchive.sources.id_lists import as_text

_ROWS_AT_ONCE = 1000
_CONNECT_S = 15
_STEPS_BETWEEN_LOOKS = 10_000
_FILE = "the query's rows"


class SqlSessions:
    """Sessions that a query names. Columns are named as in session files: session_id, and whatever else is known.

    A row belongs to the day that its start falls on, or where it has none to that of its version-1 UUID. Rows without a column
    of starts belong to the day that was asked for, except on SQLite, which compares times as texts: there by their UUIDs.

    Args:
        name: of the source in the configuration, for messages.
        treat: what becomes of phone numbers.
        clock: the time now; no call is much later.
    """

    kind = "sql"

    def __init__(
        self,
        source: SqlSource,
        *,
        name: str,
        subaccount_id: str,
        timezone: ZoneInfo,
        treat: PhoneNumberTreatment,
        clock: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._name = name
        self._subaccount_id = subaccount_id
        self._timezone = timezone
        self._treat = treat
        self._clock = clock

    def __repr__(self) -> str:
        return f"SqlSessions({self._name!r})"

    def find(self, day: date) -> Findings:
        """The sessions that the query gives for the day.

        Raises:
            SourceError: the query fails, or gives no column of session ids: the day is unknown then.
            UnavailableError: the database cannot be reached, or does not answer in time.
            ConfigurationError: the URL is none, its secret is not set, or its driver is not installed.
        """
        engine = self._engine()
        try:
            with self._errors_translated(), engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    self._forbid_writes(connection)
                try:
                    return self._read(connection, day)
                finally:
                    connection.rollback()
        finally:
            engine.dispose()

    def _read(self, connection: sa.Connection, day: date) -> Findings:
        rows = connection.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE).execute(
            sa.text(self._source.query), self._bounds(connection.dialect.name, day)
        )
        places = column_places(list(rows.keys()), file=self._name)
        dated_by_row = places[LegFacts._fields.index("started_at")] is not None
        gathering = Gathering(
            source=self.kind,
            subaccount_id=self._subaccount_id,
            day=day,
            timezone=self._timezone,
            treat=self._treat,
            now=self._clock(),
            dated_by_file=not dated_by_row and connection.dialect.name != "sqlite",
        )
        for number, row in enumerate(rows, 1):
            facts = LegFacts._make("" if place is None else as_text(row[place]) for place in places)
            gathering.add(LogRow(number, facts), file=_FILE)
        return gathering.findings()

    def _bounds(self, dialect: str, day: date) -> dict[str, Any]:
        """The day's first instant and that of the next, in UTC, as the database compares them with its columns.

        SQLite keeps times as texts, with a space or a T before the time of day, and the space sorts first: so bound, no row of
        the day is left out, and rows of the days beside it are left to us. Others than PostgreSQL have no times with an offset.
        """
        start, end = (at.astimezone(UTC) for at in day_bounds(day, self._timezone))
        if dialect == "sqlite":
            return {"start": f"{start:%Y-%m-%d %H:%M:%S}", "end": f"{end:%Y-%m-%dT%H:%M:%S}"}
        if dialect == "postgresql":
            return {"start": start, "end": end}
        return {"start": start.replace(tzinfo=None), "end": end.replace(tzinfo=None)}

    def _engine(self) -> sa.Engine:
        url = self._source.url.reveal() if isinstance(self._source.url, Secret) else self._source.url
        try:
            parsed = sa.make_url(url)
            backend = parsed.get_backend_name()
            if backend == "sqlite":
                return sa.create_engine(
                    "sqlite://", creator=lambda: _open_sqlite(parsed.database), hide_parameters=True
                )
            arguments: dict[str, Any] = {}
            if backend == "postgresql":
                milliseconds = round(self._source.timeout_s * 1000)
                arguments = {
                    "connect_timeout": _CONNECT_S,
                    # Naive columns are UTC, as everywhere here.
                    "options": "-c default_transaction_read_only=on -c TimeZone=UTC "
                    f"-c statement_timeout={milliseconds}",
                }
            return sa.create_engine(parsed, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)
        except (NoSuchModuleError, ModuleNotFoundError) as err:
            raise ConfigurationError(
                f"{self._name}.url: no driver is installed for it ({type(err).__name__}): for PostgreSQL "
                "postgresql+psycopg://... and pip install 'callarchive[postgresql]'"
            ) from None
        except (ArgumentError, ValueError):
            raise ConfigurationError(f"{self._name}.url: is not a database URL") from None

    def _forbid_writes(self, connection: sa.Connection) -> None:
        raw: Any = connection.connection.driver_connection
        raw.execute("PRAGMA query_only=ON")
        give_up_at = time.monotonic() + self._source.timeout_s
        raw.set_progress_handler(lambda: time.monotonic() > give_up_at, _STEPS_BETWEEN_LOOKS)

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        """The database's own words reach the message, masked; what was bound, and the URL, do not."""
        try:
            yield
        except (OperationalError, InterfaceError) as err:
            told = _first_line(err)
            if any(word in told.lower() for word in ("no such table", "no such column", "syntax error")):
                raise SourceError(f"{self._name}: the query fails: {told}") from None
            raise UnavailableError(f"{self._name}: the database cannot be asked: {told}") from None
        except DBAPIError as err:
            raise SourceError(f"{self._name}: the query fails: {_first_line(err)}") from None
        except SQLAlchemyError as err:
            raise SourceError(f"{self._name}: the query fails: {type(err).__name__}") from None


def _open_sqlite(database: str | None) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(Path(database or '').absolute()))}?mode=ro", uri=True, timeout=_CONNECT_S)


def _first_line(err: DBAPIError) -> str:
    return mask_numbers(str(err.orig).strip().partition("\n")[0])[:300]
