"""The main job on running simulators: one fake day from session ids to statistics, in every reader, on disk and on S3."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.simulator.world import AccountPlan, Answer, FileState

Start = Callable[..., Any]
DAY = date(2026, 1, 5)

WHEN = {"archived_at", "looked_up_at", "first_seen_at", "resolved_at"}
"""What two runs may differ in."""


def one_account(**more: Any) -> tuple[AccountPlan]:
    return (AccountPlan("acme&co.sg", "s3", "acme-recordings/calls", **more),)


def test_every_session_and_recording_of_a_day_is_in_the_tables_once_in_its_right_state(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=60)
    trial.archive()
    world = trial.simulator.world
    got = trial.tables()
    named = {(s.subaccount_id, s.session_id) for s in world.sessions if s.exported or s.listed}
    assert {(r["subaccount_id"], r["session_id"]) for r in got["sessions"]} == named
    assert len(got["sessions"]) == len(named)
    expected = {
        (r.subaccount_id, r.recording_id): r
        for s in world.sessions
        if (s.subaccount_id, s.session_id) in named and s.answer is Answer.RECORDINGS
        for r in s.recordings
    }
    rows = {(r["subaccount_id"], r["recording_id"]): r for r in got["recordings"]}
    assert rows.keys() == expected.keys()
    for key, recording in expected.items():
        row = rows[key]
        assert row["archive_status"] == expected_state(recording), (recording, row)
        if row["archive_status"] == "archived":
            assert row["audio_issue"] is not None or abs(row["duration_s"] - recording.duration_s) < 0.3
        assert (row["audio_issue"] is not None) == (
            row["archive_status"] == "archived" and recording.file is not FileState.WHOLE
        ), (recording, row)


def test_the_archived_bytes_are_those_of_the_landing_under_the_contracts_names(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=20)
    trial.archive()
    kept = trial.files()
    for row in trial.tables()["recordings"]:
        name = f"{row['subaccount_id']}/call_date=2026-01-05/{row['session_id']}/{row['recording_id']}.mp3"
        assert (name in kept) == (row["archive_status"] == "archived")
        if row["archive_status"] == "archived":
            assert kept[name] == row["sha256"]
            assert row["archive_uri"] == f"file://{trial.config.parent}/archive/{name}"
    quarantined = [row for row in trial.tables()["recordings"] if row["archive_status"] == "rejected"]
    assert {row["quarantine_uri"] for row in quarantined} == {
        f"file://{trial.config.parent}/archive/{name}" for name in kept if name.startswith("_quarantine/")
    }


def test_statistics_are_those_of_the_rows(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=40)
    trial.archive()
    root = trial.config.parent / "catalog"
    db = duckdb.connect()
    db.execute(f"create view r as from read_parquet('{root}/recordings/*/*.parquet', hive_partitioning=true)")
    expected = db.sql("""
        select subaccount_id, count(*), sum(duration_s), min(duration_s), avg(duration_s), quantile_cont(duration_s, 0.5),
               quantile_cont(duration_s, 0.9), quantile_cont(duration_s, 0.95), quantile_cont(duration_s, 0.99), max(duration_s)
        from r where archive_status = 'archived' group by all order by all""").fetchall()
    got = [tuple(v for k, v in row.items() if k != "call_date") for row in trial.tables()["duration_stats"]]
    assert [row[:2] for row in got] == [row[:2] for row in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours[2:] == pytest.approx(theirs[2:])
    expected = db.sql("""
        select subaccount_id, api_status, archive_status, count(*), coalesce(sum(size_bytes), 0), coalesce(sum(duration_s), 0)
        from r group by all order by all""").fetchall()
    got = [tuple(v for k, v in row.items() if k != "call_date") for row in trial.tables()["status_stats"]]
    assert [row[:5] for row in got] == [row[:5] for row in expected]
    assert [row[5] for row in got] == pytest.approx([row[5] for row in expected])


def test_the_command_gives_the_same_tables_as_the_library(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, days=2)
    done = trial.run("archive", "--from", "2026-01-05", "--to", "2026-01-06", "--json")
    assert done.returncode == 4, done.stderr
    document = json.loads(done.stdout)
    by_command = trial.tables()
    assert sum(day["session_count"] for day in document["days"]) == len(by_command["sessions"])
    assert sum(sum(day["recordings"].values()) for day in document["days"]) == len(by_command["recordings"])
    trial.archive()
    assert trial.tables() == by_command


def test_an_empty_export_is_a_day_without_sessions(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=3, accounts=one_account())
    done = trial.run("archive", "--day", "2026-01-08", "--json")
    assert done.returncode == 0, done.stderr
    catalog = Catalog.open(trial.config.parent / "catalog")
    for table in schemas.PUBLIC_TABLES:
        assert catalog.days(table) == [date(2026, 1, 8)]
        assert catalog.arrow(table).num_rows == 0


def test_malformed_rows_are_named_and_do_not_sink_the_day(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=one_account(listed_share=1.0))
    file = trial.config.parent / "inbox" / "sessions-2026-01-05.csv"
    good = len(file.read_text().splitlines()) - 1
    file.write_text(file.read_text() + "../../etc/passwd,\n=cmd|' /C calc'!A0,\n")
    (summary,) = trial.archive()
    assert summary.rows_set_aside == 2
    check = next(check for check in summary.checks if check.name == "source_rows_readable")
    assert not check.passed
    assert any(f"sessions-2026-01-05.csv:{good + 2}" in example for example in check.examples)
    assert "files" in {source for row in trial.tables()["sessions"] for source in row["sources"]}


def test_no_secret_and_no_phone_number_is_anywhere_that_we_write(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    done = trial.run("-vv", "archive", "--day", str(DAY), "--ignore-checks")
    assert done.returncode == 0
    written = [done.stdout, done.stderr]
    for folder in ("archive", "catalog"):
        for path in (trial.config.parent / folder).rglob("*"):
            if path.is_file() and path.suffix != ".mp3":
                data = path.read_bytes()
                written.append(path.name)
                if path.suffix == ".zst":
                    data = pa.input_stream(path, compression="zstd").read()
                if path.suffix == ".parquet":
                    written.append(repr(pq.ParquetFile(path).read().to_pylist()))
                written.append(data.decode("latin-1"))
    numbers = {leg.source.digits for s in trial.simulator.world.sessions for leg in s.legs}
    for secret in (*trial.simulator.environment.values(), *numbers):
        if secret != trial.simulator.environment["AWS_ACCESS_KEY_ID"]:
            assert not [text for text in written if secret in text]


def test_a_catalog_opens_with_the_same_counts_in_duckdb_pandas_polars_and_pyarrow(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, days=3)
    trial.archive()
    root = trial.config.parent / "catalog"
    for table in schemas.PUBLIC_TABLES:
        files = f"{root}/{table.name}/*/*.parquet"
        counts = {
            "duckdb": duckdb.read_parquet(files, hive_partitioning=True).shape[0],
            "polars": pl.scan_parquet(files, hive_partitioning=True).select(pl.len()).collect().item(),
            "pandas": len(pd.read_parquet(root / table.name)),
            "pyarrow": pads.dataset(root / table.name, partitioning="hive").count_rows(),
            "catalog": Catalog.open(root).arrow(table).num_rows,
            "views": Catalog.open(root).duckdb().sql(f"select count(*) from {table.name}").fetchall()[0][0],
        }
        assert len(set(counts.values())) == 1, counts
        assert counts["duckdb"] > 0


def test_archive_and_catalog_on_s3_hold_the_same_as_on_disk(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=12)
    trial.archive()
    on_disk, kept = trial.tables(), {name: sha for name, sha in trial.files().items() if name.endswith(".mp3")}
    trial.simulator.s3.client.create_bucket(
        Bucket="our-archive", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-1"}
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", trial.simulator.s3.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-1")
    monkeypatch.setenv("CALLARCHIVE_ARCHIVE__URL", "s3://our-archive/calls/archive")
    monkeypatch.setenv("CALLARCHIVE_CATALOG__URL", "s3://our-archive/calls/catalog")
    for fetched in (True, False):
        (summary,) = trial.archive()
        assert (summary.fetched_count > 0) == fetched
        with trial.connections() as connections:
            catalog = connections.catalog
            for table in schemas.PUBLIC_TABLES:
                rows = catalog.arrow(table).to_pylist()
                assert [without_times(row, "s3://our-archive/calls") for row in rows] == [
                    without_times(row, f"file://{trial.config.parent}") for row in on_disk[table.name]
                ]
            recordings = catalog.arrow("recordings").to_pylist()
            counted = catalog.duckdb().sql("select count(*) from recordings").fetchall()[0][0]
            assert counted == len(recordings) == len(on_disk["recordings"])
            assert [row["sha256"] for row in recordings] == [row["sha256"] for row in on_disk["recordings"]]
            for row in recordings:
                if row["archive_status"] == "archived":
                    path = row["archive_uri"].removeprefix("s3://our-archive/calls/archive/")
                    assert kept[path] == connections.archive.sha256_of(path) == row["sha256"]


def without_times(row: dict[str, Any], root: str) -> dict[str, Any]:
    """The row without what two runs may differ in, and with paths in the archive and the catalog relative to their root."""

    def relative(value: Any) -> Any:
        if isinstance(value, list):
            return [relative(item) for item in value]
        return value.removeprefix(root) if isinstance(value, str) else value

    return {name: relative(value) for name, value in row.items() if name not in WHEN}


def expected_state(recording: Any) -> str:
    if recording.status == "PROCESSING":
        return "pending"
    if recording.file in (FileState.HTML, FileState.EMPTY):
        return "rejected"
    if recording.file is not FileState.ABSENT:
        return "archived"
    return "missing" if recording.status.startswith(("UPLOAD_COMPLETED", "CALLBACK_")) else "not_uploaded"
