import re
from datetime import UTC, date, datetime
from uuid import uuid4

import dagster as dg

from assets.summaries import Summary, summarize, summarize_risks
from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.reports import StepReport
from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table
from callarchive.domain.models import ArchiveStatus, LookupStatus
from callarchive.monitoring.at_risk import AtRisk
from callarchive.monitoring.states import COLOURS, MEANINGS

DAY = date(2026, 1, 5)


def summary_of(connections: Connections, table: Table, rows: list[dict[str, object]]) -> Summary:
    count = connections.catalog.replace_partition(table, DAY, rows)
    return summarize(connections.catalog, StepReport(table, DAY, count))


def recording(archive_status: str, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "subaccount_id": "acme_sg",
        "session_id": str(uuid4()),
        "recording_id": str(uuid4()),
        "api_status": "UPLOAD_COMPLETED",
        "archive_status": archive_status,
    }
    return row | more


def records(value: dg.MetadataValue) -> list[dict[str, object]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_recordings_are_summed_up_in_bytes_and_hours(connections: Connections) -> None:
    rows = [
        recording("archived", size_bytes=1000, duration_s=1800.0),
        recording("archived", size_bytes=234, duration_s=900.0),
        recording("missing", error="not found after 24 h"),
    ]
    summary = summary_of(connections, schemas.RECORDINGS, rows)
    assert summary["dagster/row_count"].value == 3
    assert summary["archived"].value == 2
    assert summary["not_archived"].value == 1
    assert summary["size_bytes"].value == 1234
    assert summary["audio_hours"].value == 0.75
    assert summary["size"].value == "1.2 kB"
    assert "| archived | 2 | a verified file is in the archive |\n| missing | 1 | " in str(
        summary["archive_statuses"].value
    )


def test_counts_come_first_then_the_plot_then_tables_and_the_place_once_at_the_end(connections: Connections) -> None:
    kept = [
        recording("archived", size_bytes=5, duration_s=9.0, archive_uri=f"file:///a/acme_sg/{DAY}/s/{number}.mp3")
        for number in range(3)
    ]
    connections.catalog.replace_partition(schemas.RECORDINGS, DAY, [*kept, recording("missing")])
    row = {"subaccount_id": "acme_sg", "api_status": "UNKNOWN", "archive_status": "archived", "recording_count": 3}
    connections.catalog.replace_partition(schemas.STATUS_STATS, DAY, [row])
    statistics = summarize(connections.catalog, StepReport(schemas.STATUS_STATS, DAY, 1))
    assert list(statistics)[-3:] == ["last_30_days", "status_stats", "file"]
    report = StepReport(schemas.RECORDINGS, DAY, 4, {"fetched_bytes": 1_234_000_000})
    recordings = summarize(connections.catalog, report, risks=[])
    names = list(recordings)
    assert recordings["fetched_size"].value == "1.2 GB"
    assert max(map(names.index, ("past_their_time", "fetched_size"))) < names.index("archive_statuses")
    assert names[-2:] == ["archive_folders", "file"]
    assert [name for name, value in recordings.items() if "part-0.parquet" in str(value.value)] == ["file"]


def test_the_text_for_8x8_fits_the_pane_and_keeps_ids_whole() -> None:
    session, recording_id = str(uuid4()), str(uuid4())
    ended_at = datetime(2026, 1, 5, tzinfo=UTC)
    item = AtRisk(
        "acme_sg", DAY, session, recording_id, "missing", "missing", ended_at, ended_at, 3.0, "why", "ask 8x8"
    )
    text = str(summarize_risks([item])["text_for_8x8_support"].value)
    assert max(map(len, text.splitlines())) <= 55
    assert session in text
    assert recording_id in text


def test_every_state_has_a_colour_and_a_meaning_that_the_ui_shows() -> None:
    assert list(COLOURS) == list(ArchiveStatus)
    assert set(MEANINGS) == {*ArchiveStatus, *LookupStatus}


def test_what_needs_attention_is_counted_in_full_and_listed_in_part(connections: Connections) -> None:
    rows = [recording("failed", error="no " * 2000) for _ in range(60)]
    summary = summary_of(connections, schemas.RECORDINGS, rows)
    assert summary["needs_attention_count"].value == 60
    listed = records(summary["needs_attention"])
    assert len(listed) == 50
    assert {len(str(item["reason"])) for item in listed} == {200}
    assert {str(item["concerns"]) for item in listed} <= {f"acme_sg recording {row['recording_id']}" for row in rows}


def test_silent_channels_need_attention_and_are_counted(connections: Connections) -> None:
    sound: dict[str, object] = {"duration_s": 1.0, "channels": 2, "silent_channels": []}
    rows = [
        recording("archived", **sound),
        recording("archived", **sound | {"silent_channels": None}),
        recording("archived", **sound | {"silent_channels": [2]}),
        recording("archived", **sound | {"silent_channels": [1, 2]}),
    ]
    summary = summary_of(connections, schemas.RECORDINGS, rows)
    assert summary["silent"].value == 2
    listed = {(item["state"], item["reason"]) for item in records(summary["needs_attention"])}
    assert listed == {("silent", "nothing to hear on channel 2 (right)"), ("silent", "nothing to hear")}


def test_the_call_quality_of_a_day_is_summed_up(connections: Connections) -> None:
    scores = (4.4, 4.2, None, 3.1, 4.1)
    rows: list[dict[str, object]] = [
        {"subaccount_id": "acme_sg", "session_id": str(uuid4()), "mos": score} for score in scores
    ]
    summary = summary_of(connections, schemas.SESSIONS, rows)
    shown = {name: summary[name].value for name in ("mos_mean", "mos_median", "mos_low_share")}
    assert shown == {"mos_mean": 3.95, "mos_median": 4.15, "mos_low_share": 0.25}


def test_a_day_without_calls_is_summed_up_as_nothing(connections: Connections) -> None:
    for table in schemas.PUBLIC_TABLES:
        summary = summary_of(connections, table, [])
        assert summary["dagster/row_count"].value == 0
        assert "needs_attention" not in summary
        assert not {"duration_histogram", "last_30_days", "archive_folders"} & summary.keys()


def test_numbers_of_people_are_not_shown(connections: Connections) -> None:
    row = {
        "subaccount_id": "acme_sg",
        "session_id": str(uuid4()),
        "source_number": "12025550123",
        "destination_number": "447700900123",
        "session_status": "COMPLETED",
        "sources": ["log_export"],
        "lookup_status": "error",
        "lookup_error": "HTTP 500",
        "recording_count": 0,
    }
    summary = summary_of(connections, schemas.SESSIONS, [row])
    assert records(summary["needs_attention"]) == [
        {
            "concerns": f"acme_sg session {row['session_id']}",
            "state": "lookup failed",
            "reason": "HTTP 500",
        }
    ]
    assert "12025550123" not in repr(summary)
    assert "447700900123" not in repr(summary)


def test_a_status_from_outside_stays_in_its_cell(connections: Connections) -> None:
    row = recording("archived", api_status="a|b\n# c", size_bytes=1, duration_s=1.0)
    summary = summary_of(connections, schemas.RECORDINGS, [row])
    assert str(summary["api_statuses"].value).splitlines()[-1] == "| a/b # c | 1 |"


def test_durations_come_with_their_table_and_a_picture(connections: Connections) -> None:
    kept = [recording("archived", size_bytes=1, duration_s=seconds) for seconds in (10.0, 20.0, 42.0)]
    connections.catalog.replace_partition(schemas.RECORDINGS, DAY, kept)
    row = {"subaccount_id": "acme_sg", "recording_count": 3, "total_s": 72.0, "mean_s": 24.0, "p50_s": 20.004}
    summary = summary_of(connections, schemas.DURATION_STATS, [row])
    (shown,) = records(summary["duration_stats"])
    assert list(shown) == ["account", "recordings", "total_s", "mean_s", "p50_s", "p95_s", "max_s"]
    assert (shown["total_s"], shown["mean_s"], shown["p50_s"]) == (72.0, 24.0, 20.0)
    for of_day in (summary, summary_of(connections, schemas.RECORDINGS, kept)):
        assert (of_day["duration_mean_s"].value, of_day["duration_median_s"].value) == (24.0, 20.0)
    assert "3 archived recordings" in str(summary["duration_histogram"].value)


def test_states_are_summed_up_in_numbers_and_come_with_a_picture_of_the_last_days(connections: Connections) -> None:
    def state(archive_status: str, count: int, size_bytes: int, duration_s: float) -> dict[str, object]:
        row: dict[str, object] = {"subaccount_id": "acme_sg", "api_status": "UPLOAD_COMPLETED"}
        row |= {"archive_status": archive_status, "recording_count": count}
        return row | {"size_bytes": size_bytes, "duration_s": duration_s}

    rows = [state("archived", 3, 1234, 5400.0), state("missing", 2, 0, 0.0)]
    summary = summary_of(connections, schemas.STATUS_STATS, rows)
    numbers = {name: summary[name].value for name in ("recordings", "archived", "size_bytes", "audio_hours")}
    assert numbers == {"recordings": 5, "archived": 3, "size_bytes": 1234, "audio_hours": 1.5}
    assert [record["size"] for record in records(summary["status_stats"])] == ["1.2 kB", "0 bytes"]
    assert str(summary["last_30_days"].value).startswith("![the 30 days up to 2026-01-05](data:image/svg+xml;base64,")


def test_the_folders_of_the_kept_files_are_named_once_for_each_account(connections: Connections) -> None:
    rows = [
        recording("archived", archive_uri=f"{root}/call_date=2026-01-05/{uuid4()}/{uuid4()}.mp3")
        for root in ("file:///srv/a/acme_sg", "s3://archive/acme_th", "file:///srv/a/acme_sg")
    ]
    summary = summary_of(connections, schemas.RECORDINGS, [*rows, recording("missing")])
    assert summary["archive_folders"].value == ("- `acme_sg/call_date=2026-01-05`\n- `acme_th/call_date=2026-01-05`")


def test_what_does_not_fit_is_counted_by_kind_and_listed_in_part(connections: Connections) -> None:
    def row(number: int, kind: str, state: str = "open") -> dict[str, object]:
        found = {"subaccount_id": "acme_sg", "kind": kind, "subject": f"pushed/2026/{number}.mp3", "reason": "why"}
        return {**found, "state": state, "first_seen_at": datetime(2026, 1, 6, tzinfo=UTC)}

    rows = [row(number, "orphan_object") for number in range(60)]
    rows += [row(60, "file_without_row"), row(61, "file_without_row", "resolved")]
    summary = summary_of(connections, schemas.RECONCILIATION, rows)
    assert summary["open"].value == 61
    assert "| orphan_object | 60 |\n| file_without_row | 1 |" in str(summary["open_by_kind"].value)
    listed = records(summary["open_rows"])
    assert {item["kind"] for item in listed} <= {"orphan object", "file without row"}, "it can wrap"
    assert len(listed) == 50
    assert {str(item["concerns"]) for item in listed} <= {f"acme_sg {number}.mp3" for number in range(61)}


def test_tables_wrap_to_fit_the_pane_and_keep_ids_whole(connections: Connections) -> None:
    account, folder = "acme_contact_centre_singapore", "sftp://files.acme.example:2222/upload/recordings/2026"
    row = recording("not_uploaded", error=f"8x8 reports UNKNOWN; no object in {folder}") | {"subaccount_id": account}
    found = {"subaccount_id": account, "kind": "connected_call_without_recording", "subject": row["session_id"]}
    found |= {"reason": f"no object in {folder}", "state": "open", "first_seen_at": datetime(2026, 1, 6, tzinfo=UTC)}
    ended_at = datetime(2026, 1, 5, tzinfo=UTC)
    ids = str(row["session_id"]), str(row["recording_id"])
    risk = AtRisk(account, DAY, *ids, "missing", "CALLBACK_COMPLETED", ended_at, ended_at, 3.0, "why", "ask 8x8")
    at_risk = summarize_risks([risk])
    shown = (
        (summary_of(connections, schemas.RECORDINGS, [row])["needs_attention"], ids[1]),
        (summary_of(connections, schemas.RECONCILIATION, [found])["open_rows"], ids[0]),
        (next(value for value in at_risk.values() if isinstance(value, dg.TableMetadataValue)), ids[1]),
    )
    for table, id_ in shown:
        (listed,) = records(table)
        longest = {name: max(map(len, re.split(r"[\s-]", f"{name} {text}"))) for name, text in listed.items()}
        assert sum(longest.values()) <= 53, (longest, "characters of the pane at 1280 pixels")
        assert id_ in str(listed["concerns"])
