"""The whole chain on running stand-ins: one fake day from session ids to statistics, run twice, killed, and disturbed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import paramiko
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from callarchive import schemas
from callarchive.catalog import Catalog
from callarchive.errors import AccessDeniedError, StoreError
from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.faults import Fault
from callarchive.simulator.world import AccountPlan, Answer, FileState, Recording, World
from callarchive.stores.local import LocalStore

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
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
    return Counter(
        request.method + (" recordings" if "/recordings/" in request.path else " other")
        for request in trial.simulator.api.requests
    )


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
    assert tables(trial) == undisturbed
    assert files(trial) == kept
    assert not list(trial.config.parent.rglob("*.part"))


def one_account(**more: Any) -> tuple[AccountPlan]:
    return (AccountPlan("acme&co.sg", "s3", "acme-recordings/calls", **more),)


def test_a_recording_that_becomes_ready_later_is_archived_by_the_next_run(start_trial: Start) -> None:
    clock = MovableClock(datetime(2026, 1, 5, 23, tzinfo=UTC))
    world = World.generate(seed=1, accounts=one_account(), first_day=DAY, last_day=DAY, sessions_per_day=30)
    late = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    trial = start_trial(world=altered(world, late, ready_at=clock() + timedelta(hours=2)), clock=clock)
    trial.archive()
    assert state_of(trial, late.recording_id) == "pending"
    clock.advance(timedelta(hours=3))
    trial.simulator.deliver()
    trial.archive()
    assert state_of(trial, late.recording_id) == "archived"


def test_what_8x8_says_is_uploaded_is_pending_for_a_day_and_then_missing(start_trial: Start) -> None:
    clock = MovableClock(datetime(2026, 1, 6, 0, 30, tzinfo=UTC))
    world = World.generate(seed=1, accounts=one_account(), first_day=DAY, last_day=DAY, sessions_per_day=12)
    absent = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    world = altered(world, absent, file=FileState.ABSENT, status="CALLBACK_FAILED")
    trial = start_trial(world=world, clock=clock)
    trial.archive()
    assert state_of(trial, absent.recording_id) == "pending"
    clock.set(absent.started_at + timedelta(hours=24, minutes=1))
    trial.archive()
    assert state_of(trial, absent.recording_id) == "missing"


def test_bytes_that_differ_later_at_the_source_become_a_version_beside_the_first(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, accounts=one_account())
    trial.archive()
    before = next(row for row in tables(trial)["recordings"] if row["archive_status"] == "archived")
    path = before["source_uri"].removeprefix("s3://acme-recordings/calls/")
    other = make_recording(shape=SHAPES[0], duration_s=33.0, seed=99)
    trial.simulator.s3.overwrite(trial.simulator.world.accounts[0], path, other)
    kept_before = files(trial)
    trial.archive()
    after = next(row for row in tables(trial)["recordings"] if row["recording_id"] == before["recording_id"])
    assert after["sha256"] == hashlib.sha256(other).hexdigest()
    assert after["versions"] == [before["archive_uri"], after["archive_uri"]]
    assert after["archive_uri"].endswith(".mp3")
    assert kept_before.items() <= files(trial).items()
    assert len(files(trial)) == len(kept_before) + 1
    trial.archive()
    assert next(row for row in tables(trial)["recordings"] if row["recording_id"] == before["recording_id"]) == after


def test_an_archived_file_that_was_deleted_is_fetched_again_and_verify_had_named_it(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, accounts=one_account())
    trial.archive()
    kept = files(trial)
    gone, flipped = sorted(name for name in kept if name.endswith(".mp3"))[:2]
    root = trial.config.parent / "archive"
    (root / gone).unlink()
    data = bytearray((root / flipped).read_bytes())
    data[len(data) // 2] ^= 1
    (root / flipped).chmod(0o600)
    (root / flipped).write_bytes(data)
    (root / Path(gone).parent / "intruder.mp3").write_bytes(b"x")
    told = trial.run("verify")
    assert told.returncode == 1
    assert {tuple(line.split()[::2]) for line in told.stdout.splitlines()[:-1]} == {
        ("missing", f"file://{root}/{gone}"),
        ("changed", f"file://{root}/{flipped}"),
        ("extra", f"file://{root}/{Path(gone).parent}/intruder.mp3"),
    }
    trial.archive()
    assert files(trial)[gone] == kept[gone]


def test_a_file_on_a_day_that_the_catalog_does_not_know_is_extra(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4, accounts=one_account())
    trial.archive()
    stray = trial.config.parent / "archive" / "acme&co.sg" / "call_date=2026-01-19" / "x" / "y.mp3"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    told = trial.run("verify")
    assert told.returncode == 1
    assert f"extra  2026-01-19  file://{stray}" in told.stdout


def test_a_source_that_names_fewer_sessions_takes_no_recording_out_of_the_catalog(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=12, accounts=one_account())
    trial.archive()
    before = tables(trial)
    trial.simulator.api.faults.add(Fault.export_job("empty"), match="exports", times=None)
    trial.archive()
    after = tables(trial)
    assert after["recordings"] == before["recordings"]
    assert after["duration_stats"] == before["duration_stats"]
    with_recordings = [row for row in before["sessions"] if row["recording_count"]]
    assert [row["session_id"] for row in after["sessions"]] == [row["session_id"] for row in with_recordings]
    trial.simulator.api.faults.clear()
    trial.archive()
    assert tables(trial) == before


def test_a_session_that_two_days_name_is_in_one_of_them_and_said_to_be(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, days=2, accounts=one_account(listed_share=1.0))
    first, second = (trial.config.parent / "inbox" / f"sessions-2026-01-0{n}.csv" for n in (5, 6))
    second.write_text(second.read_text() + first.read_text().partition("\n")[2])
    _, summary = trial.archive()
    for _ in range(2):
        ids = [(row["subaccount_id"], row["session_id"]) for row in tables(trial)["sessions"]]
        assert len(ids) == len(set(ids))
        summary = trial.archive()[1]
    assert summary.rows_set_aside == len(first.read_text().splitlines()) - 1
    check = next(check for check in summary.checks if check.name == "source_rows_readable")
    assert "belongs to 2026-01-05 already" in check.examples[0]


def test_a_run_that_breaks_at_any_write_of_a_table_is_made_good_by_the_next(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    trial.archive()
    undisturbed = tables(trial)
    write = Catalog.replace_partition
    writes = 0

    def count(self: Catalog, *arguments: Any) -> int:
        nonlocal writes
        writes += 1
        return write(self, *arguments)

    monkeypatch.setattr(Catalog, "replace_partition", count)
    trial.archive()
    assert writes == 9
    for broken in range(1, 10):
        for name in ("archive", "catalog"):
            shutil.rmtree(trial.config.parent / name)
        writes = 0

        def break_once(self: Catalog, *arguments: Any, broken: int = broken) -> int:
            nonlocal writes
            writes += 1
            if writes == broken:
                raise StoreError("no space left")
            return write(self, *arguments)

        monkeypatch.setattr(Catalog, "replace_partition", break_once)
        with pytest.raises(StoreError, match="no space left"):
            trial.archive()
        (summary,) = trial.archive()
        assert tables(trial) == undisturbed, f"after the {broken}th write broke"
        assert all(check.passed for check in summary.checks if check.blocking)


def test_a_session_that_was_never_looked_up_stays_when_its_source_names_it_no_more(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    with monkeypatch.context() as broken:
        broken.setattr("callarchive.steps.look_up_recordings", raise_store_error)
        with pytest.raises(StoreError):
            trial.archive()
    trial.simulator.api.faults.add(Fault.export_job("empty"), match="exports", times=None)
    trial.archive()
    assert len(tables(trial)["sessions"]) == len([s for s in trial.simulator.world.sessions if s.exported])
    assert [row for row in tables(trial)["recordings"] if row["archive_status"] == "archived"]


def raise_store_error(*_: Any, **__: Any) -> Any:
    raise StoreError("no space left")


def test_reading_kept_answers_again_takes_no_recording_out(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    trial.archive()
    session = next(s for s in trial.simulator.world.sessions if s.recordings and s.answer is Answer.RECORDINGS)
    other = {"recordingId": "eef54fc2-065a-11ec-bce9-ed1000154345", "status": "PROCESSING"}
    trial.simulator.api.faults.add(
        Fault.answer(200, body={"recordings": [other], "statusCode": 0}), match=session.session_id, times=None
    )
    append(trial.config, '[lookups]\nrecheck = "all"\n')
    trial.archive()
    both = tables(trial)
    assert {row["recording_id"] for row in both["recordings"]} >= {
        other["recordingId"],
        *(recording.recording_id for recording in session.recordings),
    }
    assert trial.run("archive", "--day", str(DAY), "--reread").returncode == 0
    assert tables(trial) == both


def test_what_was_rejected_and_is_pushed_again_elsewhere_is_archived(start_trial: Start) -> None:
    world = World.generate(seed=1, accounts=one_account(layout="flat"), first_day=DAY, last_day=DAY, sessions_per_day=8)
    whole = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    trial = start_trial(world=altered(world, whole, file=FileState.HTML))
    trial.archive()
    assert state_of(trial, whole.recording_id) == "rejected"
    account = world.accounts[0]
    trial.simulator.s3.delete(account, whole.path)
    trial.simulator.s3.put(account, f"2026-01-06/{whole.path}", make_recording(shape=SHAPES[0], duration_s=20, seed=5))
    trial.archive()
    assert state_of(trial, whole.recording_id) == "archived"


def test_an_archive_that_refuses_us_stops_the_run_instead_of_failing_each_recording(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    with monkeypatch.context() as broken:
        broken.setattr(LocalStore, "stage", refuse)
        with pytest.raises(AccessDeniedError, match="credentials have expired"):
            trial.archive()
    trial.archive()
    assert "failed" not in {row["archive_status"] for row in tables(trial)["recordings"]}


def refuse(*_: Any) -> Any:
    raise AccessDeniedError("credentials have expired")


def test_a_landing_that_is_down_keeps_no_other_accounts_recordings_out_of_the_archive(start_trial: Start) -> None:
    accounts = (AccountPlan("down", "sftp", "upload"), AccountPlan("healthy", "s3", "healthy-recordings/calls"))
    trial = start_trial(sessions_per_day=8, accounts=accounts)
    trial.simulator.sftp.kill()
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert "sftp://" in done.stderr
    kept = [name for name in files(trial) if name.endswith(".mp3")]
    assert kept
    assert all(name.startswith("healthy/") for name in kept)
    assert "0 defects" in trial.run("verify").stdout
    trial.simulator.sftp.restart()
    (summary,) = trial.archive()
    assert summary.unchanged_count == len(kept)


def test_one_object_that_may_not_be_read_is_a_row_and_the_others_are_archived(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=12)
    sftp = trial.simulator.world.accounts[1]
    whole = [
        r for r in trial.simulator.world.recordings if r.subaccount_id == "demo_sftp" and r.file is FileState.WHOLE
    ]
    trial.simulator.sftp.deny(sftp, whole[0].path)
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 0, done.stderr
    states = {row["recording_id"]: row for row in tables(trial)["recordings"]}
    assert states[whole[0].recording_id]["archive_status"] == "failed"
    assert whole[0].recording_id in states[whole[0].recording_id]["error"]
    assert states[whole[1].recording_id]["archive_status"] == "archived"


def test_a_landing_in_which_nothing_may_be_read_stops_the_run_with_exit_code_3(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=12)
    for recording in trial.simulator.world.recordings:
        if recording.subaccount_id == "demo_sftp":
            trial.simulator.sftp.deny(trial.simulator.world.accounts[1], recording.path)
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 3
    assert "sftp://" in done.stderr


def test_a_range_tells_of_the_days_before_the_one_that_was_refused(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=3, days=3, accounts=one_account())
    trial.archive(DAY)
    trial.simulator.api.faults.add(Fault.answer(403), match="recordings", times=None)
    done = trial.run("archive", "--from", "2026-01-05", "--to", "2026-01-07", "--json")
    assert done.returncode == 3
    days = json.loads(done.stdout)["days"]
    assert days[-1]["error"] is not None
    assert str(days[-1]["day"]) in done.stderr
    assert len(days) <= 2


def test_sigterm_ends_a_run_in_order_and_nothing_is_fetched_twice(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=60, accounts=one_account())
    append(trial.config, "[transfer]\nconcurrency = 1\n")
    process = subprocess.Popen(
        [sys.executable, "-c", "from callarchive.cli import main; main()", "archive", "--day", str(DAY)],
        env=trial.process_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    archive = trial.config.parent / "archive"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(archive.rglob("*.mp3"))) < 5:
        time.sleep(0.01)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in told
    kept = len(list(archive.rglob("*.mp3")))
    assert 5 <= kept < 60
    assert not list(trial.config.parent.rglob("*.part"))
    (summary,) = trial.archive()
    assert summary.unchanged_count == kept


def test_a_refused_key_stops_the_run_at_once_with_one_error_and_exit_code_3(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=40)
    trial.simulator.api.faults.add(Fault.answer(401), match="recordings", times=None)
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 3
    assert done.stderr.count("error:") == 1
    assert "demo_s3" in done.stderr
    assert "api_key" in done.stderr
    assert api_requests(trial)["GET recordings"] < 40
    assert not (trial.config.parent / "catalog" / "sessions").exists()


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "error"])
def test_a_log_export_that_fails_fails_the_day_and_leaves_its_tables(start_trial: Start, outcome: str) -> None:
    trial = start_trial(sessions_per_day=6, accounts=one_account())
    trial.archive()
    before = tables(trial)
    trial.simulator.api.faults.add(Fault.export_job(outcome), match="exports", times=None)
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert outcome in done.stderr + done.stdout
    assert tables(trial) == before


def test_an_empty_export_is_a_day_without_sessions(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=3, accounts=one_account())
    done = trial.run("archive", "--day", "2026-01-08", "--json")
    assert done.returncode == 0, done.stderr
    catalog = Catalog.open(trial.config.parent / "catalog")
    for table in schemas.PUBLIC_TABLES:
        assert catalog.days(table) == [date(2026, 1, 8)]
        assert catalog.arrow(table).num_rows == 0


def test_sessions_that_8x8_does_not_answer_for_are_errors_and_the_others_go_on(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=20, accounts=one_account())
    with_recordings = [s for s in trial.simulator.world.sessions if s.recordings and s.answer is Answer.RECORDINGS]
    never, slow, broken, page, *_ = [s.session_id for s in with_recordings]
    faults = trial.simulator.api.faults
    faults.add(Fault.too_many_requests(retry_after=86400), match=never, times=None)
    faults.add(Fault.too_many_requests(retry_after=0), match=slow, times=2)
    faults.add(Fault.short_body(), match=broken, times=1)
    faults.add(Fault.answer(200, body="<html>maintenance</html>"), match=page, times=None)
    append(trial.config, "[lookups]\ndeadline_s = 3\n")
    trial.archive()
    status = {row["session_id"]: row for row in tables(trial)["sessions"]}
    assert status[never]["lookup_status"] == "error"
    assert "86400" in status[never]["lookup_error"]
    assert status[page]["lookup_status"] == "error"
    assert status[slow]["lookup_status"] == status[broken]["lookup_status"] == "ok"
    assert sum(row["lookup_status"] == "error" for row in status.values()) == 2
    faults.clear()
    trial.archive()
    assert not [row for row in tables(trial)["sessions"] if row["lookup_status"] == "error"]


def test_a_failed_look_up_takes_nothing_out_of_the_catalog(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, accounts=one_account())
    trial.archive()
    before = tables(trial)["recordings"]
    append(trial.config, '[lookups]\nrecheck = "all"\ndeadline_s = 1\n')
    trial.simulator.api.faults.add(Fault.answer(503), match="recordings", times=None)
    trial.archive()
    assert tables(trial)["recordings"] == before
    assert {row["lookup_status"] for row in tables(trial)["sessions"]} == {"error"}


def test_an_api_that_does_not_answer_at_all_fails_the_run(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=one_account(listed_share=1.0))
    text = trial.config.read_text().replace(trial.simulator.api.url, "http://127.0.0.1:9")
    trial.config.write_text(text.replace('[[accounts.session_sources]]\nkind = "log_export"\n', ""))
    append(trial.config, "[lookups]\ndeadline_s = 1\n")
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stdout + done.stderr


def test_a_missing_id_file_fails_its_day_but_not_the_next(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, days=2, accounts=one_account(listed_share=1.0))
    (trial.config.parent / "inbox" / "sessions-2026-01-05.csv").unlink()
    done = trial.run("archive", "--from", "2026-01-05", "--to", "2026-01-06")
    assert done.returncode == 1
    assert "sessions-2026-01-05.csv" in done.stdout
    assert Catalog.open(trial.config.parent / "catalog").days() == [date(2026, 1, 6)]


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
    assert "files" in {source for row in tables(trial)["sessions"] for source in row["sources"]}


def test_a_changed_host_key_is_refused_with_exit_code_3(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6)
    known_hosts = trial.config.parent / "known_hosts"
    other = paramiko.RSAKey.generate(2048)
    host = known_hosts.read_text().split()[0]
    known_hosts.write_text(f"{host} {other.get_name()} {other.get_base64()}\n")
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 3
    assert "SHA256:" in done.stderr


def test_an_sftp_server_that_is_gone_fails_the_run_and_the_next_finishes_it(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    trial.simulator.sftp.kill()
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert "sftp://" in done.stdout + done.stderr
    trial.simulator.sftp.restart()
    assert trial.run("archive", "--day", str(DAY)).returncode == 0
    assert {row["subaccount_id"] for row in tables(trial)["recordings"]} == {"demo_s3", "demo_sftp"}


def test_two_runs_on_one_day_wait_for_each_other(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=20)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: trial.run("archive", "--day", str(DAY), "--json"), range(2)))
    assert [run.returncode for run in runs] == [0, 0], runs
    fetched = [json.loads(run.stdout)["days"][0]["fetched_count"] for run in runs]
    assert min(fetched) == 0
    assert max(fetched) > 0
    ids = [row["recording_id"] for row in tables(trial)["recordings"]]
    assert len(ids) == len(set(ids))


def test_a_full_disk_fails_the_run_loudly_and_leaves_no_half_file_and_the_old_tables(start_trial: Start) -> None:
    """A limit on the size of files makes the kernel refuse writes in the middle, as a full disk does."""
    trial = start_trial(sessions_per_day=12)
    world = trial.simulator.world
    trial.archive()
    before, kept = tables(trial), files(trial)
    for path in (trial.config.parent / "archive").rglob("*.mp3"):
        path.unlink()
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        "from callarchive.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "archive", "--day", str(DAY)],
        env=trial.process_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert tables(trial) == before
    assert max(recording.duration_s for recording in world.recordings) > 60  # so one did not fit
    for name, sha256 in files(trial).items():
        assert kept[name] == sha256
    assert trial.run("archive", "--day", str(DAY)).returncode == 0
    assert files(trial) == kept


def test_no_secret_and_no_phone_number_is_anywhere_that_we_write(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    done = trial.run("-vv", "archive", "--day", str(DAY))
    assert done.returncode == 0
    written = [done.stdout, done.stderr]
    for folder in ("archive", "catalog"):
        for path in (trial.config.parent / folder).rglob("*"):
            if path.is_file() and path.suffix != ".mp3":
                data = path.read_bytes()
                written.append(path.name)
                if path.suffix == ".zst":
                    data = pa.input_stream(pa.BufferReader(data), compression="zstd").read()
                if path.suffix == ".parquet":
                    written.append(repr(pq.ParquetFile(path).read().to_pylist()))
                written.append(data.decode("latin-1"))
    numbers = {leg.source.digits for s in trial.simulator.world.sessions for leg in s.legs}
    for told in (*trial.simulator.environment.values(), *numbers):
        if told != trial.simulator.environment["AWS_ACCESS_KEY_ID"]:
            assert not [text for text in written if told in text]


def test_a_catalog_opens_with_the_same_counts_in_duckdb_pandas_polars_and_pyarrow(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, days=3)
    trial.archive()
    root = trial.config.parent / "catalog"
    for table in schemas.PUBLIC_TABLES:
        files = f"{root}/{table.name}/*/*.parquet"
        counts = {
            "duckdb": duckdb.sql(f"select count(*) from read_parquet('{files}', hive_partitioning=true)").fetchall()[0][
                0
            ],
            "polars": pl.scan_parquet(files, hive_partitioning=True).select(pl.len()).collect().item(),
            "pandas": len(pd.read_parquet(root / table.name)),
            "pyarrow": pads.dataset(root / table.name, partitioning="hive").count_rows(),
            "catalog": Catalog.open(root).arrow(table).num_rows,
            "views": Catalog.open(root).duckdb().sql(f"select count(*) from {table.name}").fetchall()[0][0],
        }
        assert len(set(counts.values())) == 1, counts
        assert counts["duckdb"] > 0


def test_answers_kept_are_read_again_without_asking(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    trial.archive()
    before, asked = tables(trial), api_requests(trial)
    done = trial.run("archive", "--day", str(DAY), "--reread")
    assert done.returncode == 0, done.stderr
    assert tables(trial) == before
    assert api_requests(trial) == asked


def test_find_tells_the_whole_chain_of_a_recording(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    trial.archive()
    row = next(row for row in tables(trial)["recordings"] if row["archive_status"] == "archived")
    told = trial.run("find", row["recording_id"].upper(), "--json")
    assert told.returncode == 0, told.stderr
    (found,) = json.loads(told.stdout)["found"]
    assert found["session"]["session_id"] == row["session_id"]
    assert row["recording_id"] in found["answer"]
    assert {r["recording_id"]: r["file_state"] for r in found["recordings"]}[row["recording_id"]] == "intact"
    assert trial.run("find", "00000000-0000-1000-8000-000000000000").returncode == 1
    assert trial.run("find", "../../etc/passwd").returncode == 2


def test_the_doctor_is_content_with_what_works_and_names_what_is_broken(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4)
    sound = trial.run("doctor", "--json")
    assert sound.returncode == 0, sound.stdout
    assert {finding["verdict"] for finding in json.loads(sound.stdout)["findings"]} == {"ok"}
    text = trial.config.read_text()
    trial.config.write_text(text.replace("s3://demo-recordings/", "s3://another-bucket/"))
    broken = trial.run("doctor", "--json")
    assert broken.returncode == 1
    findings = {finding["link"]: finding for finding in json.loads(broken.stdout)["findings"]}
    assert findings["demo_s3: landing"]["verdict"] == "broken"
    assert "another-bucket" in findings["demo_s3: landing"]["detail"]
    assert findings["demo_sftp: landing"]["verdict"] == "ok"


def altered(world: World, recording: Recording, **changes: Any) -> World:
    """The world in which that one recording is otherwise."""
    sessions = tuple(
        replace(s, recordings=tuple(replace(r, **changes) if r is recording else r for r in s.recordings))
        for s in world.sessions
    )
    return replace(world, sessions=sessions)


def state_of(trial: Any, recording_id: str) -> str:
    return {row["recording_id"]: row["archive_status"] for row in tables(trial)["recordings"]}[recording_id]


def append(config: Path, section: str) -> None:
    """The section before the accounts, for TOML has no way back from them."""
    head, marker, accounts = config.read_text().partition("[[accounts]]")
    config.write_text(f"{head}{section}\n{marker}{accounts}")


def test_archive_and_catalog_on_s3_hold_the_same_as_on_disk(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=12)
    trial.archive()
    on_disk, kept = tables(trial), {name: sha for name, sha in files(trial).items() if name.endswith(".mp3")}
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
            for table in (schemas.SESSIONS, schemas.STATUS_STATS, schemas.DURATION_STATS):
                rows = catalog.arrow(table).to_pylist()
                assert [{k: v for k, v in row.items() if k not in _WHEN} for row in rows] == on_disk[table.name]
            recordings = catalog.arrow("recordings").to_pylist()
            counted = catalog.duckdb().sql("select count(*) from recordings").fetchall()[0][0]
            assert counted == len(recordings) == len(on_disk["recordings"])
            assert [row["sha256"] for row in recordings] == [row["sha256"] for row in on_disk["recordings"]]
            for row in recordings:
                if row["archive_status"] == "archived":
                    path = row["archive_uri"].removeprefix("s3://our-archive/calls/archive/")
                    assert kept[path] == connections.archive.sha256_of(path) == row["sha256"]
