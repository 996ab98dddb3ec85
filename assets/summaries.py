"""What the UI shows of a day's partition: rows, place, counts, bytes, hours of audio, tables, what needs attention.

Everything is read from the tables just written, and bounded. Of sessions only ids, states and errors are shown, so no phone
number gets here; errors were cleared of them where they were written.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg

from assets.histogram import duration_histogram
from callarchive import schemas
from callarchive.catalog import Catalog
from callarchive.main_job import Attention, needs_attention
from callarchive.records import Row
from callarchive.schemas import Table
from callarchive.steps import StepReport

Summary = dict[str, dg.MetadataValue]

_ATTENTION = 50
_REASON_CHARS = 200


def summarize(catalog: Catalog, report: StepReport) -> Summary:
    """The metadata of one partition: what holds for every table, the step's own counts, and what its rows tell."""
    rows = catalog.rows(report.table, report.day)
    uri = catalog.partition_uri(report.table, report.day)
    summary: Summary = {
        "dagster/row_count": dg.MetadataValue.int(len(rows)),
        "dagster/uri": dg.MetadataValue.text(uri),
        "file": dg.MetadataValue.path(uri.removeprefix("file://"))
        if uri.startswith("file://")
        else dg.MetadataValue.url(uri),
    }
    summary |= {name: dg.MetadataValue.int(count) for name, count in report.counts.items()}
    return summary | _TOLD.get(report.table.name, _nothing)(catalog, report, rows)


def _nothing(_: Catalog, __: StepReport, ___: Sequence[Row]) -> Summary:
    return {}


def _of_sessions(_: Catalog, report: StepReport, rows: Sequence[Row]) -> Summary:
    return {
        "lookup_statuses": _counted(rows, "lookup_status"),
        "session_statuses": _counted(rows, "session_status"),
        "recordings_named": dg.MetadataValue.int(sum(row["recording_count"] for row in rows)),
        **_attention(needs_attention(report.day, rows, ())),
    }


def _of_recordings(_: Catalog, report: StepReport, rows: Sequence[Row]) -> Summary:
    kept = [row for row in rows if row["archive_status"] == "archived"]
    return {
        "archived": dg.MetadataValue.int(len(kept)),
        "not_archived": dg.MetadataValue.int(len(rows) - len(kept)),
        "size_bytes": dg.MetadataValue.int(sum(row["size_bytes"] for row in kept)),
        "audio_hours": dg.MetadataValue.float(round(sum(row["duration_s"] for row in kept) / 3600, 3)),
        "archive_statuses": _counted(rows, "archive_status"),
        "api_statuses": _counted(rows, "api_status"),
        **_attention(needs_attention(report.day, (), rows)),
    }


def _of_status_stats(_: Catalog, __: StepReport, rows: Sequence[Row]) -> Summary:
    return {"status_stats": _table(schemas.STATUS_STATS, rows)}


def _of_duration_stats(catalog: Catalog, report: StepReport, rows: Sequence[Row]) -> Summary:
    told: Summary = {
        "audio_hours": dg.MetadataValue.float(round(sum(row["total_s"] for row in rows) / 3600, 3)),
        "duration_stats": _table(schemas.DURATION_STATS, rows),
    }
    recordings = catalog.arrow(schemas.RECORDINGS, report.day, report.day, columns=["archive_status", "duration_s"])
    durations_s = [row["duration_s"] for row in recordings.to_pylist() if row["archive_status"] == "archived"]
    if durations_s:
        told["duration_histogram"] = dg.MetadataValue.md(duration_histogram(durations_s))
    return told


_TOLD: Mapping[str, Callable[[Catalog, StepReport, Sequence[Row]], Summary]] = {
    schemas.SESSIONS.name: _of_sessions,
    schemas.RECORDINGS.name: _of_recordings,
    schemas.STATUS_STATS.name: _of_status_stats,
    schemas.DURATION_STATS.name: _of_duration_stats,
}


def _counted(rows: Iterable[Row], column: str) -> dg.MetadataValue:
    """How many rows have each value of the column, the most frequent first."""
    counts = Counter(row[column] for row in rows)
    lines = [f"| {column} | rows |", "|---|---:|"]
    lines += [f"| {_cell(value)} | {count} |" for value, count in counts.most_common(30)]
    return dg.MetadataValue.md("\n".join(lines))


def _table(table: Table, rows: Sequence[Row]) -> dg.MetadataValue:
    """The whole table. Only for tables whose rows are accounts and states."""
    columns = [dg.TableColumn(column.name, column.type, column.meaning) for column in table.columns]
    records = [dg.TableRecord({name: _shown(row[name]) for name in table.schema.names}) for row in rows[:200]]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _attention(items: Iterable[Attention]) -> Summary:
    """What a person should look at: how many, and the first 50."""
    listed = list(items)
    columns = ("account", "concerns", "state", "reason")
    records = [
        dg.TableRecord(
            {
                "account": item.subaccount_id,
                "concerns": item.concerns,
                "state": item.state,
                "reason": (item.reason or "")[:_REASON_CHARS],
            }
        )
        for item in islice(listed, _ATTENTION)
    ]
    summary: Summary = {"needs_attention_count": dg.MetadataValue.int(len(listed))}
    if records:
        summary["needs_attention"] = dg.MetadataValue.table(
            records, dg.TableSchema([dg.TableColumn(name) for name in columns])
        )
    return summary


def _shown(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value


def _cell(value: object) -> str:
    """Text that stays in its Markdown cell: statuses come from outside."""
    return "(none)" if value is None else str(value).replace("|", "/").replace("\n", " ")[:80]
