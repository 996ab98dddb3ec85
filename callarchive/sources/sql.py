"""Sessions that a database of the user's own knows: the source `sql`.

The query is the user's. How it is asked, and what an error means, is in `sql_reading`.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_bounds
from callarchive.domain.models import Findings
from callarchive.domain.phone_numbers import PhoneNumberTreatment
from callarchive.settings import Secret, SqlSource
from callarchive.sources.call_log_csv import LegFacts, LogRow, column_places
from callarchive.sources.gathering import Gathering
from callarchive.sources.id_lists import as_text
from callarchive.sources.sql_reading import Reading, asked

_FILE = "the query's rows"


class SqlSessions:
    """Sessions that a query names. Columns are named as in session files: session_id, and whatever else is known.

    A row belongs to the day that its start falls on, or where it has none to that of its version-1 UUID. Rows without a column
    of starts belong to the day that was asked for, except on SQLite, which compares times as texts: there by their UUIDs.

    Args:
        name: of the source in the configuration, for messages.
        treat: what becomes of phone numbers.
        clock: the time now; no call is much later.
        folder: the configuration's, which the path of a SQLite file in a secret is relative to.
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
        folder: Path | None = None,
    ) -> None:
        self._source = source
        self._name = name
        self._subaccount_id = subaccount_id
        self._timezone = timezone
        self._treat = treat
        self._clock = clock
        self._folder = folder

    def __repr__(self) -> str:
        return f"SqlSessions({self._name!r})"

    def find(self, day: date) -> Findings:
        """The sessions that the query gives for the day.

        Raises:
            SourceError: the query fails, gives no column of session ids, or rows of which none names a session: the day is
                unknown then.
            UnavailableError: the database cannot be reached, or was not done in time.
            AccessDeniedError: it does not accept the user or the password.
            ConfigurationError: the URL is none, its secret is not set, or its driver is not installed.
        """
        source = self._source
        with asked(
            source.url.reveal() if isinstance(source.url, Secret) else source.url,
            source.query,
            lambda dialect: self._bounds(dialect, day),
            name=self._name,
            timeout_s=source.timeout_s,
            folder=self._folder,
        ) as reading:
            return self._gathered(reading, day)

    def _gathered(self, reading: Reading, day: date) -> Findings:
        places = column_places(reading.columns, file=self._name)
        dated_by_row = places[LegFacts._fields.index("started_at")] is not None
        gathering = Gathering(
            source=self.kind,
            subaccount_id=self._subaccount_id,
            day=day,
            timezone=self._timezone,
            treat=self._treat,
            now=self._clock(),
            dated_by_file=not dated_by_row and reading.dialect != "sqlite",
        )
        number = 0
        for batch in reading.batches():
            for row in batch:
                number += 1
                facts = LegFacts._make(["" if place is None else as_text(row[place]) for place in places])
                gathering.add(LogRow(number, facts), file=_FILE)
        return gathering.usable_findings(self._name)

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
