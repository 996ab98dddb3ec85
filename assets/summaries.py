"""The metadata of a day's partition in the UI: counts, sizes and hours of audio, then a plot, tables, and where the file is.

Everything is read from the tables just written, and bounded. Of sessions only ids, states and errors are shown, so there are no
phone numbers; errors were cleaned of them where they were written.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from textwrap import TextWrapper
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.pictures import duration_histogram, recent_days_chart
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transforms.attention import AttentionList, has_silence, needs_attention
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.domain.plurals import size_text
from callarchive.monitoring.at_risk import AtRisk, support_text
from callarchive.monitoring.recent_days import recent_days
from callarchive.monitoring.states import MEANINGS

Summary = dict[str, dg.MetadataValue]

_ATTENTION = 50
_REASON_CHARS = 200
_FOLDERS = 20
_LOW_MOS = 3.6
"""Below it, many users are dissatisfied (ITU-T G.107, annex B)."""
_LINE = 55  # characters in the same pane
_WORD = 22
"""Longest word of a table, in characters: columns are as wide as their longest word, and the pane has room for about 50."""
_EXPLAINED = ("archive_status", "lookup_status")
# As many columns as fit the pane of a window of 1280 pixels, by the names shown.
_STATUS_COLUMNS = {
    "account": "subaccount_id",
    "api status": "api_status",
    "archive status": "archive_status",
    "recordings": "recording_count",
    "size": "size_bytes",
}
_DURATION_COLUMNS = {
    "account": "subaccount_id",
    "recordings": "recording_count",
    **{name: name for name in ("total_s", "mean_s", "p50_s", "p95_s", "max_s")},
}


def summarize(
    catalog: Catalog, report: StepReport, *, risks: Sequence[AtRisk] | None = None, pictures: bool = True
) -> Summary:
    """Return the metadata of one partition: that of every table, the step's counts, and what its rows show.

    Args:
        risks: the day's recordings at risk of being lost, for the table `recordings`.
        pictures: whether to draw: a run of several days does so only for the last of them.
    """
    rows = catalog.partition(report.table, report.day)
    summary: Summary = {"dagster/row_count": dg.MetadataValue.int(len(rows))}
    counts = {} if report.table is schemas.RECONCILIATION else report.counts  # `open_by_kind` has them
    for name, count in counts.items():
        summary |= _size(name, count) if name.endswith("_bytes") else {name: dg.MetadataValue.int(count)}
    summary |= _OF_TABLE.get(report.table.name, _nothing)(catalog, report, rows)
    if pictures:
        summary |= _PICTURES_OF_TABLE.get(report.table.name, _nothing)(catalog, report, rows)
    if risks is not None:
        summary |= summarize_risks(risks)
    # Dagster does not wrap a path, and a long one pushes the tables out of the pane: the folder is on the asset's overview.
    summary["file"] = dg.MetadataValue.text(
        report.table.partition_path(report.day).removeprefix(f"{report.table.folder}/")
    )
    return dict(sorted(summary.items(), key=_place))


def _place(entry: tuple[str, dg.MetadataValue]) -> int:
    """Return where the entry is shown: Dagster keeps the order, and shows about ten lines of a day at first sight."""
    name, value = entry
    if name in ("archive_folders", "file"):
        return 3
    if isinstance(value, dg.MarkdownMetadataValue):
        return 1 if (value.value or "").startswith("![") else 2
    return 2 if isinstance(value, dg.TableMetadataValue) else 0


def summarize_risks(items: Sequence[AtRisk]) -> Summary:
    """Return the recordings at risk of being lost: their number, the hours left, the most urgent, a text for 8x8's support."""
    left = [item for item in items if item.hours_left >= 0]
    summary: Summary = {
        "at_risk": dg.MetadataValue.int(len(left)),
        "past_their_time": dg.MetadataValue.int(len(items) - len(left)),
    }
    if left:
        summary["hours_left"] = dg.MetadataValue.float(round(left[0].hours_left, 2))
    if items:
        columns = ("concerns", "state", "hours left", "what to do")
        records = [
            dg.TableRecord(
                {
                    "concerns": _affected(
                        item.subaccount_id,
                        f"recording {item.recording_id}" if item.recording_id else f"session {item.session_id}",
                    ),
                    "state": _words(item.state),
                    "hours left": f"{item.hours_left:.1f}"
                    if item.hours_left >= 0
                    else f"none for {-item.hours_left:.0f} h",
                    "what to do": item.next_step,
                }
            )
            for item in items[:_ATTENTION]
        ]
        summary["loss_countdown"] = _bare_table(columns, records)
        in_pane = TextWrapper(_LINE, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        text = "\n".join(in_pane.fill(line) for line in support_text(items[:_ATTENTION]).splitlines())
        summary["text_for_8x8_support"] = dg.MetadataValue.md(f"```\n{text}\n```")
    return summary


def _nothing(_: Catalog, __: StepReport, ___: pa.Table) -> Summary:
    return {}


def _of_session_ids(catalog: Catalog, report: StepReport, _: pa.Table) -> Summary:
    """Return the day's bounds and their time zone data: Dagster does not keep its own windows."""
    rows = catalog.rows(schemas.DAY_BOUNDS, report.day)
    if len(rows) != 1:
        return {}
    (bounds,) = rows
    summary: Summary = {
        "timezone": dg.MetadataValue.text(bounds["timezone"]),
        "day_begins": dg.MetadataValue.timestamp(bounds["begins_at"]),
        "day_ends": dg.MetadataValue.timestamp(bounds["ends_at"]),
    }
    release = bounds["tz_version"] or f"not known, SHA-256 {bounds['tz_sha256'][:12]}"
    return summary | {"time_zone_data": dg.MetadataValue.text(f"{bounds['tz_origin']} {release}")}


def _of_sessions(_: Catalog, report: StepReport, rows: pa.Table) -> Summary:
    return {
        "lookup_statuses": _counted(rows, "lookup_status"),
        "session_statuses": _counted(rows, "session_status"),
        "recordings_named": dg.MetadataValue.int(_sum(rows, "recording_count")),
        **_call_quality(rows),
        **_attention(needs_attention(report.day, sessions=rows)),
    }


def _call_quality(sessions: pa.Table) -> Summary:
    """Return the day's mean opinion scores, by the worst leg of each session; empty if 8x8 reported none."""
    scores = sessions["mos"].drop_null().to_numpy()
    if not len(scores):
        return {}
    return {
        "mos_mean": dg.MetadataValue.float(round(float(scores.mean()), 3)),
        "mos_median": dg.MetadataValue.float(round(float(np.median(scores)), 3)),
        "mos_low_share": dg.MetadataValue.float(round(float((scores < _LOW_MOS).mean()), 4)),
    }


def _of_recordings(_: Catalog, report: StepReport, rows: pa.Table) -> Summary:
    kept = _archived(rows)
    return {
        "archived": dg.MetadataValue.int(len(kept)),
        "not_archived": dg.MetadataValue.int(len(rows) - len(kept)),
        **_size("size_bytes", _sum(kept, "size_bytes")),
        "audio_hours": _hours(kept, "duration_s"),
        **_durations(_durations_s(kept)),
        "archive_statuses": _counted(rows, "archive_status"),
        "api_statuses": _counted(rows, "api_status"),
        "silent": dg.MetadataValue.int(pc.sum(has_silence(kept)).as_py() or 0),
        **_folders(kept),
        **_attention(needs_attention(report.day, recordings=rows)),
    }


def _of_status_stats(_: Catalog, __: StepReport, rows: pa.Table) -> Summary:
    kept = _archived(rows)
    return {
        "recordings": dg.MetadataValue.int(_sum(rows, "recording_count")),
        "archived": dg.MetadataValue.int(_sum(kept, "recording_count")),
        **_size("size_bytes", _sum(kept, "size_bytes")),
        "audio_hours": _hours(kept, "duration_s"),
        "status_stats": _table(schemas.STATUS_STATS, _STATUS_COLUMNS, rows),
    }


def _recent_days_picture(catalog: Catalog, report: StepReport, _: pa.Table) -> Summary:
    recent = recent_days(catalog, report.day)
    return {"last_30_days": dg.MetadataValue.md(recent_days_chart(recent))} if recent.recording_counts else {}


def _of_duration_stats(catalog: Catalog, report: StepReport, rows: pa.Table) -> Summary:
    return {
        "audio_hours": _hours(rows, "total_s"),
        **_durations(_measured_s(catalog, report)),
        "duration_stats": _table(schemas.DURATION_STATS, _DURATION_COLUMNS, rows),
    }


def _duration_picture(catalog: Catalog, report: StepReport, _: pa.Table) -> Summary:
    durations_s = _measured_s(catalog, report)
    return {"duration_histogram": dg.MetadataValue.md(duration_histogram(durations_s))} if len(durations_s) else {}


def _measured_s(catalog: Catalog, report: StepReport) -> np.ndarray:
    """Return the measured durations of the day's archived recordings, in seconds."""
    recordings = catalog.partition(schemas.RECORDINGS, report.day, columns=["archive_status", "duration_s"])
    return _durations_s(_archived(recordings))


def _of_reconciliation(_: Catalog, __: StepReport, rows: pa.Table) -> Summary:
    still = rows.filter(pc.equal(rows["state"], "open"))
    summary: Summary = {"open": dg.MetadataValue.int(len(still)), "open_by_kind": _counted(still, "kind")}
    columns = ("concerns", "kind", "reason")
    records = [
        dg.TableRecord(
            {
                "concerns": _affected(row["subaccount_id"], row["subject"].rpartition("/")[2]),
                "kind": _words(row["kind"]),
                "reason": short(row["reason"])[:_REASON_CHARS],
            }
        )
        for row in still.slice(0, _ATTENTION).to_pylist()
    ]
    if records:
        summary["open_rows"] = _bare_table(columns, records)
    return summary


_OF_TABLE: Mapping[str, Callable[[Catalog, StepReport, pa.Table], Summary]] = {
    schemas.SESSION_IDS.name: _of_session_ids,
    schemas.SESSIONS.name: _of_sessions,
    schemas.RECORDINGS.name: _of_recordings,
    schemas.STATUS_STATS.name: _of_status_stats,
    schemas.DURATION_STATS.name: _of_duration_stats,
    schemas.RECONCILIATION.name: _of_reconciliation,
}

_PICTURES_OF_TABLE: Mapping[str, Callable[[Catalog, StepReport, pa.Table], Summary]] = {
    schemas.STATUS_STATS.name: _recent_days_picture,
    schemas.DURATION_STATS.name: _duration_picture,
}


def _archived(recordings: pa.Table) -> pa.Table:
    return recordings.filter(pc.equal(recordings["archive_status"], "archived"))


def _sum(rows: pa.Table, column: str) -> Any:
    return pc.sum(rows[column]).as_py() or 0


def _size(name: str, size_bytes: int) -> Summary:
    """Return a number of bytes, which Dagster plots, and beside it the text for people."""
    beside = "size" if name == "size_bytes" else name.replace("_bytes", "_size")
    return {name: dg.MetadataValue.int(size_bytes), beside: dg.MetadataValue.text(size_text(size_bytes))}


def _hours(rows: pa.Table, column: str) -> dg.MetadataValue:
    """Return a number, not text: Dagster plots it over the days."""
    return dg.MetadataValue.float(round(_sum(rows, column) / 3600, 3))


def _durations_s(kept: pa.Table) -> np.ndarray:
    return kept["duration_s"].drop_null().to_numpy()


def _durations(durations_s: np.ndarray) -> Summary:
    """Return the mean and median duration over all accounts; empty if there is no recording."""
    if not len(durations_s):
        return {}
    return {
        "duration_mean_s": dg.MetadataValue.float(round(float(durations_s.mean()), 2)),
        "duration_median_s": dg.MetadataValue.float(round(float(np.median(durations_s)), 2)),
    }


def _folders(kept: pa.Table) -> Summary:
    """Return where in the archive the day's files are stored, a folder for each account."""
    folders = pc.replace_substring_regex(
        kept["archive_uri"].drop_null().unique(), "^.*?([^/]+/[^/]+)/[^/]+/[^/]+$", r"\1"
    )
    folders = sorted(folders.unique().to_pylist())
    if not folders:
        return {}
    lines = [f"- `{_cell(folder)}`" for folder in folders[:_FOLDERS]]
    return {"archive_folders": dg.MetadataValue.md("\n".join(lines))}


def _counted(rows: pa.Table, column: str) -> dg.MetadataValue:
    """Return the number of rows by value of the column, the most frequent first, with the meaning of our own states."""
    counts = Counter(count_values(rows[column])).most_common(30)
    meanings = {status.value: meaning for status, meaning in MEANINGS.items()} if column in _EXPLAINED else {}
    lines = [f"| {column} | rows |", "|---|---:|"] + [
        f"| {short(_cell(value), 2 * _WORD)} | {count} |" for value, count in counts
    ]
    if meanings:
        more = [" meaning |", "---|", *(f" {meanings.get(value, '')} |" for value, _ in counts)]
        lines = [line + meaning for line, meaning in zip(lines, more, strict=True)]
    return dg.MetadataValue.md("\n".join(lines))


def _table(table: Table, names: Mapping[str, str], rows: pa.Table) -> dg.MetadataValue:
    """Return columns of the whole table. Only for tables whose rows are accounts and states."""
    known = {column.name: column for column in table.columns}
    columns = [dg.TableColumn(shown, known[name].type, known[name].meaning) for shown, name in names.items()]
    records = [
        dg.TableRecord({shown: _shown(shown, row[name]) for shown, name in names.items()})
        for row in rows.slice(0, 200).to_pylist()
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _bare_table(columns: Sequence[str], records: Sequence[dg.TableRecord]) -> dg.MetadataValue:
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in columns]))


def _attention(items: AttentionList) -> Summary:
    """Return what needs attention: the number, and the first 50."""
    columns = ("concerns", "state", "reason")
    records = [
        dg.TableRecord(
            {
                "concerns": _affected(item.subaccount_id, item.concerns),
                "state": _words(item.state),
                "reason": short(item.reason or "")[:_REASON_CHARS],
            }
        )
        for item in islice(items, _ATTENTION)
    ]
    summary: Summary = {"needs_attention_count": dg.MetadataValue.int(items.count)}
    if records:
        summary["needs_attention"] = _bare_table(columns, records)
    return summary


def _shown(name: str, value: Any) -> Any:
    if name == "size":
        return size_text(value or 0)
    if isinstance(value, str):
        return short(value) if name == "account" else _words(value)
    return round(value, 1) if isinstance(value, float) else value


def _affected(subaccount_id: str, what: str) -> str:
    """Return the account and its session, recording or file in one cell; the id is never shortened."""
    return f"{short(subaccount_id)} {what}"


def _cell(value: object, length: int = 80) -> str:
    """Return text that stays in its Markdown cell, or between its backticks: statuses are untrusted."""
    return "(none)" if value is None else str(value).replace("|", "/").replace("\n", " ").replace("`", "'")[:length]


def _words(text: str) -> str:
    """Return the names of states in the text with spaces, where they can wrap."""
    return short(text.replace("_", " "))


def short(text: str, length: int = _WORD) -> str:
    """Return the text with the middle of longer words left out, such as URLs: browsers wrap at spaces and hyphens only."""
    half = length // 2
    return re.sub(rf"[^\s-]{{{length + 1},}}", lambda word: f"{word[0][: half - 1]}…{word[0][-half:]}", text)
