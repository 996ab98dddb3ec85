"""The public tables equal the result of SQL over the same rows."""

import random
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from callarchive.archiving.transforms.public_tables import (
    duration_stats_table,
    recordings_table,
    sessions_table,
    status_stats_table,
)
from callarchive.catalog import schemas
from callarchive.catalog.parquet_files import to_arrow

Row = dict[str, Any]
DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 2, tzinfo=UTC)
ACCOUNTS = ("acme_sg", "acme_th", "acme_vn")


def session_id(number: int) -> str:
    return f"{number:08x}-0668-41ec-8c5e-fd3f1c2a9a11"


def recording_id(number: int) -> str:
    return f"{number:08x}-0668-41ec-9ae2-ff0d2c1b7a22"


def recording(number: int, **values: Any) -> Row:
    row = dict.fromkeys(schemas.RECORDINGS.schema.names)
    return {
        **row,
        "subaccount_id": "acme_sg",
        "session_id": session_id(number),
        "recording_id": recording_id(number),
        "api_status": "UPLOAD_COMPLETED",
        "archive_status": "archived",
        **values,
    }


def a_days_recordings(seed: int, count: int) -> list[Row]:
    """Return recordings of two accounts in all states, and of a third account without archived ones."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        kept = chance.random() < 0.8
        account = chance.choice(ACCOUNTS)
        kept = kept and account != "acme_vn"
        rows.append(
            recording(
                number,
                subaccount_id=account,
                api_status=chance.choice(["UPLOAD_COMPLETED", "CALLBACK_FAILED", "UNKNOWN"]),
                archive_status="archived" if kept else chance.choice(["missing", "failed", "pending"]),
                size_bytes=chance.randrange(10_000_000) if kept else None,
                duration_s=chance.expovariate(1 / 180) if kept else None,
            )
        )
    return rows


def in_duckdb(rows: list[Row], query: str) -> list[Row]:
    with duckdb.connect() as connection:
        connection.register("recordings", pa.Table.from_pylist(rows, schema=schemas.RECORDINGS.schema))
        return connection.sql(query).to_arrow_table().to_pylist()


def table_of(table: schemas.Table, rows: list[Row]) -> pa.Table:
    """Return the rows in two chunks: a file may have several row groups."""
    whole = pa.Table.from_pylist(rows, schema=table.schema)
    return pa.concat_tables([whole.slice(0, len(rows) // 2), whole.slice(len(rows) // 2)])


def duration_stat_rows(recordings: list[Row]) -> list[Row]:
    return checked(schemas.DURATION_STATS, duration_stats_table(table_of(schemas.RECORDINGS, recordings)))


def status_stat_rows(recordings: list[Row]) -> list[Row]:
    return checked(schemas.STATUS_STATS, status_stats_table(table_of(schemas.RECORDINGS, recordings)))


def session_rows(*, sessions: list[Row], lookups: list[Row], metadata: list[Row]) -> list[Row]:
    table = sessions_table(
        sessions=table_of(schemas.SESSION_IDS, sessions),
        lookups=table_of(schemas.LOOKUPS, lookups),
        metadata=table_of(schemas.RECORDING_METADATA, metadata),
    )
    return checked(schemas.SESSIONS, table)


def checked(table: schemas.Table, made: pa.Table) -> list[Row]:
    assert made.schema.equals(table.schema)
    made.validate(full=True)
    return made.to_pylist()


def by_key(rows: list[Row], *names: str) -> list[Row]:
    return sorted(rows, key=lambda row: [row[name] for name in names])


DURATIONS_IN_SQL = """
select subaccount_id, count(*) as recording_count, sum(duration_s) as total_s, min(duration_s) as min_s,
    avg(duration_s) as mean_s, quantile_cont(duration_s, 0.5) as p50_s, quantile_cont(duration_s, 0.9) as p90_s,
    quantile_cont(duration_s, 0.95) as p95_s, quantile_cont(duration_s, 0.99) as p99_s, max(duration_s) as max_s
from recordings where archive_status = 'archived' group by all order by 1
"""
STATES_IN_SQL = """
select subaccount_id, api_status, archive_status, count(*) as recording_count,
    cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes, coalesce(sum(duration_s), 0) as duration_s
from recordings group by all order by 1, 2, 3
"""


@pytest.mark.parametrize(("seed", "count"), [(1, 1), (2, 2), (3, 3), (4, 10), (5, 500)])
def test_duration_stats_equal_those_of_sql(seed: int, count: int) -> None:
    recordings = a_days_recordings(seed, count)
    expected = in_duckdb(recordings, DURATIONS_IN_SQL)
    found = by_key(duration_stat_rows(recordings), "subaccount_id")
    assert [row["subaccount_id"] for row in found] == [row["subaccount_id"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name] == (value if isinstance(value, str | int) else pytest.approx(value, rel=1e-12))


@pytest.mark.parametrize(("seed", "count"), [(1, 1), (4, 10), (5, 500)])
def test_status_stats_equal_those_of_sql(seed: int, count: int) -> None:
    recordings = a_days_recordings(seed, count)
    expected = in_duckdb(recordings, STATES_IN_SQL)
    found = by_key(status_stat_rows(recordings), "subaccount_id", "api_status", "archive_status")
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == {**other, "duration_s": pytest.approx(other["duration_s"], rel=1e-12)}


def test_percentiles_are_interpolated() -> None:
    rows = [recording(n, duration_s=float(n)) for n in range(1, 12)]
    (stats,) = duration_stat_rows(rows)
    # Eleven values 1..11: the p-th percentile is 1 + 10 p.
    assert (stats["p50_s"], stats["p90_s"]) == (6.0, 10.0)
    assert stats["p95_s"] == pytest.approx(10.5)
    assert stats["p99_s"] == pytest.approx(10.9)


def test_statistics_do_not_depend_on_the_order_of_rows() -> None:
    recordings = a_days_recordings(6, 200)
    shuffled = random.Random(7).sample(recordings, len(recordings))
    assert by_key(duration_stat_rows(recordings), "subaccount_id") == by_key(
        duration_stat_rows(shuffled), "subaccount_id"
    )


def test_an_empty_day_has_no_rows_and_all_columns() -> None:
    assert session_rows(sessions=[], lookups=[], metadata=[]) == []
    assert status_stat_rows([]) == []
    assert duration_stat_rows([]) == []
    for table in schemas.PUBLIC_TABLES:
        assert to_arrow(table, []).schema.equals(table.schema)


def test_columns_that_are_all_null_keep_their_types() -> None:
    table = to_arrow(schemas.RECORDINGS, [recording(1), recording(2)])
    assert table.schema.equals(schemas.RECORDINGS.schema)
    assert table["duration_s"].null_count == 2
    assert table["versions"].null_count == 2


# --- sessions ---------------------------------------------------------------------------------------------------------


def named_session(number: int, account: str = "acme_sg") -> Row:
    row = dict.fromkeys(schemas.SESSION_IDS.schema.names)
    return {**row, "subaccount_id": account, "session_id": session_id(number), "sources": ["files"], "call_count": 2}


def lookup(number: int, status: str, account: str = "acme_sg", error: str | None = None) -> Row:
    return {
        "subaccount_id": account,
        "session_id": session_id(number),
        "lookup_status": status,
        "lookup_error": error,
        "looked_up_at": NOW,
        "unreachable": False,
    }


def reported(number: int, *, session: int | None = None, account: str = "acme_sg", **values: Any) -> Row:
    return {
        "subaccount_id": account,
        "session_id": session_id(number if session is None else session),
        "recording_id": recording_id(number),
        "api_status": "UPLOAD_COMPLETED",
        "api_status_raw": "UPLOAD_COMPLETED",
        "external_file_url": None,
        "duration_api_s": None,
        "started_at_api": None,
        **values,
    }


def test_every_session_has_one_row_with_its_lookup_and_count() -> None:
    rows = session_rows(
        sessions=[named_session(1), named_session(2), named_session(1, "acme_th"), named_session(3)],
        lookups=[
            lookup(1, "ok"),
            lookup(2, "error", error="no answer"),
            lookup(1, "no_recordings", "acme_th"),
        ],
        metadata=[reported(10, session=1), reported(11, session=1), reported(12, session=9)],
    )
    seen = [(r["subaccount_id"], r["session_id"], r["lookup_status"], r["recording_count"]) for r in rows]
    assert seen == [
        ("acme_sg", session_id(1), "ok", 2),
        ("acme_sg", session_id(2), "error", 0),
        ("acme_th", session_id(1), "no_recordings", 0),
        ("acme_sg", session_id(3), "error", 0),
    ]
    assert [r["lookup_error"] for r in rows] == [None, "no answer", None, "not looked up yet"]
    assert {(r["call_count"], *r["sources"]) for r in rows} == {(2, "files")}
    assert to_arrow(schemas.SESSIONS, rows).num_rows == 4


# --- recordings -------------------------------------------------------------------------------------------------------


def file(number: int, status: str = "archived", account: str = "acme_sg", **values: Any) -> Row:
    row = dict.fromkeys(schemas.RECORDING_FILES.schema.names)
    row.update(
        subaccount_id=account,
        session_id=session_id(number),
        recording_id=recording_id(number),
        archive_status=status,
        versions=[],
        versions_sha256=[],
    )
    if status == "archived":
        path = f"{account}/call_date={DAY}/{session_id(number)}/{recording_id(number)}.mp3"
        name = f"{session_id(number)}/{recording_id(number)}_2026-11-01T10:00:00Z.mp3"
        row.update(
            source_path=name,
            source_uri=f"s3://bucket/{name}",
            source_size_bytes=1000,
            archive_path=path,
            size_bytes=1000,
            sha256="0" * 64,
            duration_s=60.0,
            bitrate_kbps=32.0,
            sample_rate_hz=8000,
            channels=1,
            archived_at=NOW,
            versions=[path],
            versions_sha256=["0" * 64],
        )
    return {**row, **values}


def made(
    metadata: list[Row], files: list[Row], tolerance_s: float = 2.0, *, events: list[Row] | None = None
) -> list[Row]:
    table = recordings_table(
        metadata=table_of(schemas.RECORDING_METADATA, metadata),
        files=table_of(schemas.RECORDING_FILES, files),
        events=table_of(schemas.RECORDING_EVENTS, events or []),
        call_date=DAY,
        now=NOW,
        archive_root="file:///archive/",
        tolerance_s=tolerance_s,
    )
    return checked(schemas.RECORDINGS, table)


def test_every_recording_that_8x8_lists_has_one_row() -> None:
    rows = made([reported(1), reported(2), reported(1, account="acme_th")], [file(1), file(3)])
    assert [(row["subaccount_id"], row["recording_id"], row["archive_status"]) for row in rows] == [
        ("acme_sg", recording_id(1), "archived"),
        ("acme_sg", recording_id(2), "pending"),
        ("acme_th", recording_id(1), "pending"),
    ]


def test_an_archived_recording_has_its_measurements_and_uris() -> None:
    (row,) = made([reported(1, api_status="CALLBACK_FAILED", api_status_raw="callback_failed")], [file(1)])
    where = f"file:///archive/acme_sg/call_date=2026-11-01/{session_id(1)}/{recording_id(1)}.mp3"
    assert (row["archive_uri"], row["versions"]) == (where, [where])
    assert (row["size_bytes"], row["duration_s"], row["bitrate_kbps"], row["channels"]) == (1000, 60.0, 32.0, 1)
    assert (row["api_status"], row["api_status_raw"]) == ("CALLBACK_FAILED", "callback_failed")
    assert row["source_uri"].startswith("s3://bucket/")


def test_a_start_comes_from_the_objects_name_else_from_the_url() -> None:
    url = f"https://host/{recording_id(1)}_2026-11-01T11%3A00%3A00Z.mp3"
    (found,) = made([reported(1, external_file_url=url)], [file(1)])
    (absent,) = made([reported(1, external_file_url=url)], [file(1, "missing")])
    (silent,) = made([reported(1)], [file(1, "missing")])
    (by_api,) = made([reported(1, external_file_url=url, started_at_api=NOW)], [file(1)])
    assert (found["started_at"], found["started_at_source"]) == (datetime(2026, 11, 1, 10, tzinfo=UTC), "filename")
    assert (absent["started_at"], absent["started_at_source"]) == (datetime(2026, 11, 1, 11, tzinfo=UTC), "filename")
    assert (silent["started_at"], silent["started_at_source"]) == (None, None)
    assert (by_api["started_at"], by_api["started_at_source"]) == (NOW, "api")


@pytest.mark.parametrize(
    ("measured_s", "reported_s", "mismatch"),
    [
        (60.0, 60.0, False),
        (60.0, 62.0, False),
        (60.0, 58.0, False),
        (60.0, 62.1, True),
        (60.0, 57.9, True),
        (60.0, 0.0, True),
        (60.0, None, None),
        (None, 60.0, None),
        (None, None, None),
    ],
)
def test_durations_that_disagree_by_more_than_the_tolerance_are_flagged(
    measured_s: float | None, reported_s: float | None, mismatch: bool | None
) -> None:
    (row,) = made([reported(1, duration_api_s=reported_s)], [file(1, duration_s=measured_s)])
    assert row["duration_mismatch"] is mismatch
    assert (row["duration_s"], row["duration_api_s"]) == (measured_s, reported_s), "both are kept"


@pytest.mark.parametrize(
    ("api_s", "event_s", "mismatch"),
    [(None, 60.0, False), (None, 70.0, True), (60.0, 70.0, True), (70.0, 60.0, True), (61.0, 59.0, False)],
)
def test_the_duration_of_an_event_is_compared_with_the_measured_one(
    api_s: float | None, event_s: float, mismatch: bool
) -> None:
    events = [
        {"subaccount_id": account, "session_id": "s", "recording_id": "r", "duration_event_s": seconds}
        for account, seconds in (("acme_sg", event_s), ("other", 1.0))
    ]
    recording = reported(1, duration_api_s=api_s)
    events[0]["recording_id"] = events[1]["recording_id"] = recording["recording_id"]
    (row,) = made([recording], [file(1, duration_s=60.0)], events=events)
    assert (row["duration_event_s"], row["duration_api_s"], row["duration_mismatch"]) == (event_s, api_s, mismatch)


def test_a_recording_without_a_file_says_why() -> None:
    rows = made([reported(1), reported(2)], [file(1, "rejected", error="a web page", quarantine_uri="file:///q/x.bin")])
    assert [(row["error"], row["quarantine_uri"]) for row in rows] == [
        ("a web page", "file:///q/x.bin"),
        ("not downloaded yet", None),
    ]
    assert all(row["archive_uri"] is None and row["versions"] == [] for row in rows)
