"""The whole chain on running stand-ins: one fake day from session ids to statistics, run twice, killed, and disturbed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from callarchive import schemas
from callarchive.catalog import Catalog
from callarchive.errors import AccessDeniedError, ArchiveError, ExportError, SourceError
from callarchive.simulator.faults import Fault
from callarchive.simulator.world import Answer, FileState

Start = Callable[..., Any]
_WHEN = {"archived_at", "looked_up_at"}
"""What two runs may differ in."""


def tables(trial: Any) -> dict[str, list[dict[str, Any]]]:
    catalog = Catalog.open(trial.config.parent / "catalog")
    return {
        table.name: [{k: v for k, v in row.items() if k not in _WHEN} for row in catalog.arrow(table).to_pylist()]
        for table in schemas.PUBLIC_TABLES
    }


def files(trial: Any) -> dict[str, str]:
    root = trial.config.parent / "archive"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "_locks" not in path.parts
    }


def api_requests(trial: Any) -> Counter[str]:
    return Counter(request.method + (" recordings" if "/recordings/" in request.path else " other")
                   for request in trial.simulator.api.requests)


def test_every_session_and_recording_of_a_day_is_in_the_tables_once_in_its_right_state(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=60)
    trial.archive()
    world = trial.simulator.world
    got = tables(trial)
    named = {(s.subaccount_id, s.session_id) for s in world.sessions if s.exported or s.listed}
    assert {(r["subaccount_id"], r["session_id"]) for r in got["sessions"]} == named
    assert len(got["sessions"]) == len(named)
    told = {
        (r.subaccount_id, r.recording_id): r
        for s in world.sessions
        if (s.subaccount_id, s.session_id) in named and s.answer is Answer.RECORDINGS
        for r in s.recordings
    }
    rows = {(r["subaccount_id"], r["recording_id"]): r for r in got["recordings"]}
    assert rows.keys() == told.keys()
    for key, recording in told.items():
        row = rows[key]
        assert row["archive_status"] == expected_state(recording), (recording, row)
        if row["archive_status"] == "archived":
            assert row["audio_issue"] is not None or abs(row["duration_s"] - recording.duration_s) < 0.3
        assert (row["audio_issue"] is not None) == (
            row["archive_status"] == "archived" and recording.file is not FileState.WHOLE
        ), (recording, row)


def expected_state(recording: Any) -> str:
    if recording.status == "PROCESSING":
        return "pending"
    if recording.file in (FileState.HTML, FileState.EMPTY, FileState.JSON, FileState.RANDOM, FileState.FREE_FORMAT):
        return "rejected"
    if recording.file is not FileState.ABSENT:
        return "archived"
    return "missing" if recording.status.startswith(("UPLOAD_COMPLETED", "CALLBACK_")) else "not_uploaded"


def test_the_archived_bytes_are_those_of_the_landing_under_the_contracts_names(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=20)
    trial.archive()
    kept = files(trial)
    for row in tables(trial)["recordings"]:
        name = f"{row['subaccount_id']}/call_date=2026-01-05/{row['session_id']}/{row['recording_id']}.mp3"
        assert (name in kept) == (row["archive_status"] == "archived")
        if row["archive_status"] == "archived":
            assert kept[name] == row["sha256"]
            assert row["archive_uri"] == f"file://{trial.config.parent}/archive/{name}"
    quarantined = [row for row in tables(trial)["recordings"] if row["archive_status"] == "rejected"]
    assert {row["quarantine_uri"] for row in quarantined} == {
        f"file://{trial.config.parent}/archive/{name}" for name in kept if name.startswith("_quarantine/")
    }


def test_a_second_run_gives_the_same_tables_and_fetches_nothing(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=30)
    trial.archive()
    before, kept_before = tables(trial), files(trial)
    asked_before = api_requests(trial)["GET recordings"]
    (summary,) = trial.archive()
    assert summary.fetched_count == 0
    assert summary.fetched_bytes == 0
    assert tables(trial) == before
    assert files(trial) == kept_before
    settled = sum(row["lookup_status"] == "ok" for row in before["sessions"])
    assert api_requests(trial)["GET recordings"] - asked_before < len(before["sessions"]) - settled / 2


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
    got = [tuple(v for k, v in row.items() if k != "call_date") for row in tables(trial)["duration_stats"]]
    assert [row[:2] for row in got] == [row[:2] for row in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours[2:] == pytest.approx(theirs[2:])
    expected = db.sql("""
        select subaccount_id, api_status, archive_status, count(*), coalesce(sum(size_bytes), 0), coalesce(sum(duration_s), 0)
        from r group by all order by all""").fetchall()
    got = [tuple(v for k, v in row.items() if k != "call_date") for row in tables(trial)["status_stats"]]
    assert [row[:5] for row in got] == [row[:5] for row in expected]
    assert [row[5] for row in got] == pytest.approx([row[5] for row in expected])


def test_the_command_gives_the_same_tables_as_the_library(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, days=2)
    done = trial.run("archive", "--from", "2026-01-05", "--to", "2026-01-06", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    by_command = tables(trial)
    assert sum(day["session_count"] for day in told["days"]) == len(by_command["sessions"])
    assert sum(sum(day["recordings"].values()) for day in told["days"]) == len(by_command["recordings"])
    trial.archive()
    assert tables(trial) == by_command


def test_a_run_killed_at_ten_moments_is_finished_by_the_next_as_if_it_had_not_been(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=30)
    begun = time.monotonic()
    assert trial.run("archive", "--day", "2026-01-05").returncode == 0
    whole_s = time.monotonic() - begun
    undisturbed, kept = tables(trial), files(trial)
    for name in ("archive", "catalog"):
        (trial.config.parent / name).rename(trial.config.parent / f"{name}-undisturbed")
    killed = 0
    for moment in range(1, 11):
        process = subprocess.Popen(
            [sys.executable, "-c", "from callarchive.cli import main; main()", "archive", "--day", "2026-01-05"],
            env=trial.process_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=whole_s * (0.2 + 0.08 * moment))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        for path in (trial.config.parent / "archive").rglob("*.mp3"):
            name = str(path.relative_to(trial.config.parent / "archive"))
            assert hashlib.sha256(path.read_bytes()).hexdigest() == kept[name], "a final name without its whole file"
    assert killed >= 5
    last = trial.run("archive", "--day", "2026-01-05")
    assert last.returncode == 0, last.stderr
    assert tables(trial) == without_uris_of(undisturbed)
    assert files(trial) == kept
    assert not [path for path in trial.config.parent.rglob("*.part")]


def without_uris_of(rows: dict[str, Any]) -> dict[str, Any]:
    """The undisturbed archive lay at the same place before it was renamed, so its URIs are comparable as they are."""
    return rows


def test_a_recording_that_becomes_ready_later_is_archived_by_the_next_run(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=60)
    world = trial.simulator.world
    late = next(r for s in world.sessions for r in s.recordings if r.status == "PROCESSING" and s.exported)
    trial.archive()
    states = {row["recording_id"]: row["archive_status"] for row in tables(trial)["recordings"]}
    assert states[late.recording_id] == "pending"
    trial.simulator.finish(late.recording_id)
    trial.archive()
    states = {row["recording_id"]: row["archive_status"] for row in tables(trial)["recordings"]}
    assert states[late.recording_id] == "archived"
