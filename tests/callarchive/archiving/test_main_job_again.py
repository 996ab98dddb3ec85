"""The main job run again: nothing twice, nothing lost, what became ready or changed meanwhile; and what reports it."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.domain.errors import StoreError, UnavailableError
from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.faults import Fault
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, Answer, FileState

Start = Callable[..., Any]
DAY = date(2026, 1, 5)


def one_account(**more: Any) -> tuple[AccountPlan]:
    return (AccountPlan("acme&co.sg", "s3", "acme-recordings/calls", **more),)


def test_a_second_run_gives_the_same_tables_and_fetches_nothing(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=30)
    trial.archive()
    before, kept_before = trial.tables(), trial.files()
    asked_before = trial.look_up_count()
    (summary,) = trial.archive()
    assert summary.fetched_count == 0
    assert summary.fetched_bytes == 0
    assert trial.tables() == before
    assert trial.files() == kept_before
    settled = sum(row["lookup_status"] == "ok" for row in before["sessions"])
    assert trial.look_up_count() - asked_before < len(before["sessions"]) - settled / 2


def test_a_temporary_file_that_could_not_be_removed_is_gone_after_the_next_run_and_fails_none(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trial = start_trial(sessions_per_day=6, accounts=one_account())
    unlink = os.unlink

    def stuck(path: Any, **more: Any) -> None:
        if str(path).endswith(".part"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, **more)

    def leftovers() -> list[Path]:
        return [path for path in (trial.config.parent / "archive").rglob("*.part") if path.is_file()]

    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", stuck)
        trial.archive()
        left = len(leftovers())
        assert left
        (summary,) = trial.archive()
        assert (summary.fetched_count, len(leftovers())) == (0, left)
        assert "Input/output error" in caplog.text
    for path in leftovers():
        os.utime(path, (0, 0))  # those of the ledger are removed after an hour
    (summary,) = trial.archive()
    assert summary.fetched_count == 0
    assert leftovers() == []


def test_a_recording_that_becomes_ready_later_is_archived_by_the_next_run(start_trial: Start) -> None:
    clock = MovableClock(datetime(2026, 1, 5, 23, tzinfo=UTC))
    world = generate_world(seed=1, accounts=one_account(), first_day=DAY, last_day=DAY, sessions_per_day=30)
    late = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    trial = start_trial(world=world.altered(late, ready_at=clock() + timedelta(hours=2)), clock=clock)
    trial.archive()
    assert trial.state_of(late.recording_id) == "pending"
    clock.advance(timedelta(hours=3))
    trial.simulator.deliver()
    trial.archive()
    assert trial.state_of(late.recording_id) == "archived"


def test_what_8x8_says_is_uploaded_is_pending_for_a_day_and_then_missing(start_trial: Start) -> None:
    clock = MovableClock(datetime(2026, 1, 6, 0, 30, tzinfo=UTC))
    world = generate_world(seed=1, accounts=one_account(), first_day=DAY, last_day=DAY, sessions_per_day=12)
    absent = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    world = world.altered(absent, file=FileState.ABSENT, status="CALLBACK_FAILED")
    trial = start_trial(world=world, clock=clock)
    trial.archive()
    assert trial.state_of(absent.recording_id) == "pending"
    clock.set(absent.started_at + timedelta(hours=24, minutes=1))
    trial.archive()
    assert trial.state_of(absent.recording_id) == "missing"


def test_bytes_that_differ_later_at_the_source_become_a_version_beside_the_first(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, accounts=one_account())
    trial.archive()
    before = next(row for row in trial.tables()["recordings"] if row["archive_status"] == "archived")
    path = before["source_uri"].removeprefix("s3://acme-recordings/calls/")
    other = make_recording(shape=SHAPES[0], duration_s=33.0, seed=99)
    trial.simulator.s3.put(trial.simulator.world.accounts[0], path, other)
    kept_before = trial.files()
    trial.archive()
    after = next(row for row in trial.tables()["recordings"] if row["recording_id"] == before["recording_id"])
    assert after["sha256"] == hashlib.sha256(other).hexdigest()
    assert after["versions"] == [before["archive_uri"], after["archive_uri"]]
    assert after["archive_uri"].endswith(".mp3")
    assert kept_before.items() <= trial.files().items()
    assert len(trial.files()) == len(kept_before) + 1
    trial.archive()
    assert next(row for row in trial.tables()["recordings"] if row["recording_id"] == before["recording_id"]) == after


def test_an_archived_file_that_was_deleted_is_fetched_again_and_verify_had_named_it(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, accounts=one_account())
    trial.archive()
    kept = trial.files()
    gone, flipped = sorted(name for name in kept if name.endswith(".mp3"))[:2]
    root = trial.config.parent / "archive"
    (root / gone).unlink()
    data = bytearray((root / flipped).read_bytes())
    data[len(data) // 2] ^= 1
    (root / flipped).chmod(0o600)
    (root / flipped).write_bytes(data)
    (root / Path(gone).parent / "intruder.mp3").write_bytes(b"x")
    result = trial.run("verify")
    assert result.returncode == 1
    assert {tuple(line.split()[::2]) for line in result.stdout.splitlines()[:-1]} == {
        ("missing", f"file://{root}/{gone}"),
        ("changed", f"file://{root}/{flipped}"),
        ("extra", f"file://{root}/{Path(gone).parent}/intruder.mp3"),
    }
    trial.archive()
    assert trial.files()[gone] == kept[gone]


def test_a_file_on_a_day_that_the_catalog_does_not_know_is_extra(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4, accounts=one_account())
    trial.archive()
    extra_file = trial.config.parent / "archive" / "acme&co.sg" / "call_date=2026-01-19" / "x" / "y.mp3"
    extra_file.parent.mkdir(parents=True)
    extra_file.write_bytes(b"x")
    result = trial.run("verify")
    assert result.returncode == 1
    assert f"extra  2026-01-19  file://{extra_file}" in result.stdout


def test_a_source_that_names_fewer_sessions_takes_no_recording_out_of_the_catalog(start_trial: Start) -> None:
    clock = MovableClock(datetime(2026, 1, 8, tzinfo=UTC))
    trial = start_trial(sessions_per_day=12, accounts=one_account(), clock=clock)
    trial.archive()
    before = trial.tables()
    trial.simulator.api.faults.add(Fault.export_job("empty"), match="exports", times=None)
    trial.archive()
    assert trial.tables()["sessions"] == before["sessions"], "that some have no recording, 8x8 has said only once"
    clock.advance(timedelta(days=1))
    trial.archive()
    trial.archive()
    after = trial.tables()
    assert after["recordings"] == before["recordings"]
    assert after["duration_stats"] == before["duration_stats"]
    with_recordings = [row for row in before["sessions"] if row["recording_count"]]
    assert [row["session_id"] for row in after["sessions"]] == [row["session_id"] for row in with_recordings]
    trial.simulator.api.faults.clear()
    trial.archive()
    assert trial.tables() == before


def test_a_recording_stays_when_8x8_forgets_it_and_then_its_source_names_it_no_more(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=12, accounts=one_account())
    trial.configure('[lookups]\nrecheck = "all"\n')
    trial.archive()
    before = trial.tables()["recordings"]
    forgotten = Fault.answer(404, body={"statusCode": "1404", "statusMessage": "Session not found"})
    trial.simulator.api.faults.add(forgotten, match="recordings", times=None)
    trial.archive()
    trial.simulator.api.faults.add(Fault.export_job("empty"), match="exports", times=None)
    for _ in range(2):
        trial.archive()
        assert trial.tables()["recordings"] == before


def test_a_session_that_two_days_name_is_in_one_of_them_and_said_to_be(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, days=2, accounts=one_account(listed_share=1.0))
    first, second = (trial.config.parent / "inbox" / f"sessions-2026-01-0{n}.csv" for n in (5, 6))
    second.write_text(second.read_text() + first.read_text().partition("\n")[2])
    _, summary = trial.archive()
    for _ in range(2):
        ids = [(row["subaccount_id"], row["session_id"]) for row in trial.tables()["sessions"]]
        assert len(ids) == len(set(ids))
        summary = trial.archive()[1]
    assert summary.rows_set_aside == len(first.read_text().splitlines()) - 1
    check = next(check for check in summary.checks if check.name == "source_rows_readable")
    assert "belongs to 2026-01-05 already" in check.examples[0]


def test_a_session_that_was_never_looked_up_stays_when_its_source_names_it_no_more(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    with monkeypatch.context() as broken:
        broken.setattr("callarchive.archiving.steps.day_steps.look_up_recordings", raise_store_error)
        with pytest.raises(StoreError):
            trial.archive()
    trial.simulator.api.faults.add(Fault.export_job("empty"), match="exports", times=None)
    trial.archive()
    assert len(trial.tables()["sessions"]) == len([s for s in trial.simulator.world.sessions if s.exported])
    assert [row for row in trial.tables()["recordings"] if row["archive_status"] == "archived"]


def test_reading_kept_answers_again_takes_no_recording_out(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    trial.archive()
    session = next(s for s in trial.simulator.world.sessions if s.recordings and s.answer is Answer.RECORDINGS)
    other = {"recordingId": "eef54fc2-065a-11ec-bce9-ed1000154345", "status": "PROCESSING"}
    trial.simulator.api.faults.add(
        Fault.answer(200, body={"recordings": [other], "statusCode": 0}), match=session.session_id, times=None
    )
    trial.configure('[lookups]\nrecheck = "all"\n')
    trial.archive()
    both = trial.tables()
    assert {row["recording_id"] for row in both["recordings"]} >= {
        other["recordingId"],
        *(recording.recording_id for recording in session.recordings),
    }
    assert trial.run("archive", "--day", str(DAY), "--reread", "--ignore-checks").returncode == 0
    assert trial.tables() == both


def test_what_was_rejected_and_is_pushed_again_elsewhere_is_archived(start_trial: Start) -> None:
    world = generate_world(seed=1, accounts=one_account(layout="flat"), first_day=DAY, last_day=DAY, sessions_per_day=8)
    whole = next(r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None)
    trial = start_trial(world=world.altered(whole, file=FileState.HTML))
    trial.archive()
    assert trial.state_of(whole.recording_id) == "rejected"
    account = world.accounts[0]
    trial.simulator.s3.delete(account, whole.path)
    trial.simulator.s3.put(account, f"2026-01-06/{whole.path}", make_recording(shape=SHAPES[0], duration_s=20, seed=5))
    trial.archive()
    assert trial.state_of(whole.recording_id) == "archived"


def test_a_failed_look_up_takes_nothing_out_of_the_catalog(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10, accounts=one_account())
    trial.archive()
    before = trial.tables()
    trial.configure('[lookups]\nrecheck = "all"\ndeadline_s = 1\n')
    trial.simulator.api.faults.add(Fault.answer(503), match="recordings", times=None)
    with pytest.raises(UnavailableError, match="no readable answer"):
        trial.archive()
    assert trial.tables() == before


def test_answers_kept_are_read_again_without_asking(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    trial.archive()
    before, asked = trial.tables(), len(trial.simulator.api.requests)
    done = trial.run("archive", "--day", str(DAY), "--reread")
    assert done.returncode == 4, done.stderr
    assert trial.tables() == before
    assert len(trial.simulator.api.requests) == asked


def test_find_shows_the_whole_chain_of_a_recording(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=10)
    trial.archive()
    row = next(row for row in trial.tables()["recordings"] if row["archive_status"] == "archived")
    result = trial.run("find", row["recording_id"].upper(), "--json")
    assert result.returncode == 0, result.stderr
    (found,) = json.loads(result.stdout)["found"]
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


def raise_store_error(*_: Any, **__: Any) -> Any:
    raise StoreError("no space left")


def test_orphans_in_landings_and_archive_are_listed_and_resolved_when_they_are_gone(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=12)
    trial.archive()
    fitting = trial.tables()["reconciliation"]
    assert {row["kind"] for row in fitting} <= {
        "connected_call_without_recording",
        "recording_without_file",
        "duration_mismatch",
    }
    on_s3, on_sftp = trial.simulator.world.accounts
    name = "5e9e2a10-ea2a-11f0-8000-010203040506_2026-01-05T10:00:00.000Z.mp3"
    trial.simulator.s3.put(on_s3, f"2026-01-05/5e9e2a10-ea2a-11f0-8000-010203040507/{name}", b"x")
    pushed = trial.config.parent / "sftp" / on_sftp.root / "5e9e2a10-ea2a-11f0-8000-010203040507" / name
    pushed.parent.mkdir()
    pushed.write_bytes(b"x")
    extra_file = trial.config.parent / "archive" / "demo_s3" / "call_date=2026-01-05" / "x" / "y.mp3"
    extra_file.parent.mkdir()
    extra_file.write_bytes(b"x")
    (summary,) = trial.archive()
    failed = {check.name for check in summary.checks if not check.passed}
    assert failed > {"landing_objects_known", "archive_files_known"}
    open_rows = [row for row in trial.tables()["reconciliation"] if row not in fitting]
    assert {(row["subaccount_id"], row["kind"], row["state"]) for row in open_rows} == {
        ("demo_s3", "orphan_object", "open"),
        ("demo_sftp", "orphan_object", "open"),
        ("demo_s3", "file_without_row", "open"),
    }
    trial.simulator.s3.delete(on_s3, f"2026-01-05/5e9e2a10-ea2a-11f0-8000-010203040507/{name}")
    pushed.unlink()
    extra_file.unlink()
    trial.archive()
    after = [row for row in trial.tables()["reconciliation"] if row not in fitting]
    assert after == [row | {"state": "resolved"} for row in open_rows]
