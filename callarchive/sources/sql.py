"""Session ids from a user's own database, by the user's query. `sql_reading` runs it."""

from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path
from typing import Any, ClassVar

from callarchive.domain.days import day_bounds
from callarchive.domain.models import Findings
from callarchive.settings import Secret, SqlSource
from callarchive.sources.call_log_csv import LegFacts, LogRow, column_places
from callarchive.sources.gathering import Gathering, SourceContext
from callarchive.sources.id_lists import as_text
from callarchive.sources.sql_reading import run_query


@dataclass(frozen=True)
class SqlSessions:
    """Sessions that a query returns. Columns are named as in session files: session_id is required, others are optional.

    A row belongs to the day of its start or, without one, of its version-1 UUID. Rows without a column of starts belong to
    the requested day, except on SQLite, which compares times as texts: there by their UUIDs.
    """

    kind: ClassVar[str] = "sql"
    context: SourceContext
    source: SqlSource
    name: str
    folder: Path | None = None

    def find(self, day: date) -> Findings:
        """Return the sessions of the query for the day. Raises like `run_query`, and SourceError if no row names one."""
        source = self.source
        with run_query(
            source.url.reveal() if isinstance(source.url, Secret) else source.url,
            source.query,
            lambda dialect: self._bounds(dialect, day),
            name=self.name,
            timeout_s=source.timeout_s,
            folder=self.folder,
        ) as reading:
            places = column_places(reading.columns, file=self.name)
            has_starts = places[LegFacts._fields.index("started_at")] is not None
            dated_by_query = not has_starts and reading.dialect != "sqlite"
            gathering = Gathering(self.context, source=self.kind, day=day, dated_by_file=dated_by_query)
            number = 0
            for batch in reading.batches():
                for row in batch:
                    number += 1
                    facts = LegFacts._make(["" if place is None else as_text(row[place]) for place in places])
                    gathering.add(LogRow(number, facts), file="the query's rows")
            return gathering.usable_findings(self.name)

    def _bounds(self, dialect: str, day: date) -> dict[str, Any]:
        """Return the day's bounds in UTC, in the form that the database compares with its columns.

        SQLite stores times as texts, with a space or a T before the time of day, and the space sorts first: these bounds
        include every row of the day, and `Gathering` drops rows of other days. Only PostgreSQL has times with an offset.
        """
        start, end = (at.astimezone(UTC) for at in day_bounds(day, self.context.timezone))
        if dialect == "sqlite":
            return {"start": f"{start:%Y-%m-%d %H:%M:%S}", "end": f"{end:%Y-%m-%dT%H:%M:%S}"}
        if dialect == "postgresql":
            return {"start": start, "end": end}
        return {"start": start.replace(tzinfo=None), "end": end.replace(tzinfo=None)}
