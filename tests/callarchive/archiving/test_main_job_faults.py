"""The main job disturbed: killed, refused, unanswered, out of disk, by itself and beside another run."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import paramiko
import pytest

from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import AccessDeniedError, StoreError
from callarchive.simulator.faults import Fault, JobOutcome
from callarchive.simulator.world import AccountPlan, Answer, FileState
from callarchive.storage.stores.local import LocalStore

Start = Callable[..., Any]
DAY = date(2026, 1, 5)


def one_account(**more: Any) -> tuple[AccountPlan]:
    return (AccountPlan("acme&co.sg", "s3", "acme-recordings/calls", **more),)


def test_a_run_killed_at_ten_moments_is_finished_by_the_next_as_if_it_had_not_been(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=30)
    begun = time.monotonic()
    assert trial.run("archive", "--day", "2026-01-05", "--ignore-checks").returncode == 0
    whole_s = time.monotonic() - begun
    undisturbed, kept = trial.tables(), trial.files()
    for name in ("archive", "catalog"):
        (trial.config.parent / name).rename(trial.config.parent / f"{name}-undisturbed")
    killed = 0
    for moment in range(1, 11):
        try:
            trial.run("archive", "--day", "2026-01-05", timeout_s=whole_s * 0.06 * moment)
        except subprocess.TimeoutExpired:
            killed += 1
        for path in (trial.config.parent / "archive").rglob("*.mp3"):
            name = str(path.relative_to(trial.config.parent / "archive"))
            assert hashlib.sha256(path.read_bytes()).hexdigest() == kept[name], "a final name without its whole file"
    assert killed >= 5
    last = trial.run("archive", "--day", "2026-01-05", "--ignore-checks")
    assert last.returncode == 0, last.stderr
    assert trial.tables() == undisturbed
    assert trial.files() == kept
    # Those of the ledger are removed after an hour. The first run writes _catalog.json, and one killed then leaves 20 bytes.
    others = ("_ledger", "catalog")
    assert not [path for path in trial.config.parent.rglob("*.part") if path.parent.name not in others]


def test_a_run_that_breaks_at_any_write_of_a_table_is_made_good_by_the_next(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    trial.archive()
    undisturbed = trial.tables()
    write = Catalog.replace_partition
    writes = 0

    def count(self: Catalog, *arguments: Any, **options: Any) -> int:
        nonlocal writes
        writes += 1
        return write(self, *arguments, **options)

    monkeypatch.setattr(Catalog, "replace_partition", count)
    trial.archive()
    assert writes == 12
    for broken in range(1, 13):
        for name in ("archive", "catalog"):
            shutil.rmtree(trial.config.parent / name)
        writes = 0

        def break_once(self: Catalog, *arguments: Any, broken: int = broken, **options: Any) -> int:
            nonlocal writes
            writes += 1
            if writes == broken:
                raise StoreError("no space left")
            return write(self, *arguments, **options)

        monkeypatch.setattr(Catalog, "replace_partition", break_once)
        with pytest.raises(StoreError, match="no space left"):
            trial.archive()
        (summary,) = trial.archive()
        assert trial.tables() == undisturbed, f"after the {broken}th write broke"
        assert all(result.passed for result in summary.checks if result.check.blocking)


def test_an_archive_that_refuses_us_stops_the_run_instead_of_failing_each_recording(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=8, accounts=one_account())
    with monkeypatch.context() as broken:
        broken.setattr(LocalStore, "stage", refuse)
        with pytest.raises(AccessDeniedError, match="credentials have expired"):
            trial.archive()
    trial.archive()
    assert "failed" not in {row["archive_status"] for row in trial.tables()["recordings"]}


def test_a_landing_that_is_down_keeps_no_other_accounts_recordings_out_of_the_archive(start_trial: Start) -> None:
    accounts = (AccountPlan("down", "sftp", "upload"), AccountPlan("healthy", "s3", "healthy-recordings/calls"))
    trial = start_trial(sessions_per_day=8, accounts=accounts)
    trial.simulator.sftp.kill()
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert "sftp://" in done.stderr
    kept = [name for name in trial.files() if name.endswith(".mp3")]
    assert kept
    assert all(name.startswith("healthy/") for name in kept)
    assert ": 0 defects" in trial.run("verify").stdout
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
    assert done.returncode == 4, done.stderr
    states = {row["recording_id"]: row for row in trial.tables()["recordings"]}
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


def test_a_range_reports_the_days_before_the_refused_one(start_trial: Start) -> None:
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
    trial.configure("[transfer]\nconcurrency = 1\n")
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
    _, output = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in output
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
    assert trial.look_up_count() < 40
    assert not (trial.config.parent / "catalog" / "sessions").exists()


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "error"])
def test_a_log_export_that_fails_fails_the_day_and_leaves_its_tables(start_trial: Start, outcome: JobOutcome) -> None:
    trial = start_trial(sessions_per_day=6, accounts=one_account())
    trial.archive()
    before = trial.tables()
    trial.simulator.api.faults.add(Fault.export_job(outcome), match="exports", times=None)
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert outcome in done.stderr + done.stdout
    assert trial.tables() == before


def test_sessions_that_8x8_does_not_answer_for_are_errors_and_the_others_go_on(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=20, accounts=one_account())
    with_recordings = [s for s in trial.simulator.world.sessions if s.recordings and s.answer is Answer.RECORDINGS]
    never, slow, broken, page, *_ = [s.session_id for s in with_recordings]
    faults = trial.simulator.api.faults
    faults.add(Fault.too_many_requests(retry_after=86400), match=never, times=None)
    faults.add(Fault.too_many_requests(retry_after=0), match=slow, times=2)
    faults.add(Fault.short_body(), match=broken, times=1)
    faults.add(Fault.answer(200, body="<html>maintenance</html>"), match=page, times=None)
    trial.configure("[lookups]\ndeadline_s = 3\n")
    trial.archive()
    status = {row["session_id"]: row for row in trial.tables()["sessions"]}
    assert status[never]["lookup_status"] == "error"
    assert "86400" in status[never]["lookup_error"]
    assert status[page]["lookup_status"] == "error"
    assert status[slow]["lookup_status"] == status[broken]["lookup_status"] == "ok"
    assert sum(row["lookup_status"] == "error" for row in status.values()) == 2
    faults.clear()
    trial.archive()
    assert not [row for row in trial.tables()["sessions"] if row["lookup_status"] == "error"]


def test_an_api_that_does_not_answer_at_all_fails_the_run(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=one_account(listed_share=1.0))
    text = trial.config.read_text().replace(trial.simulator.api.url, "http://127.0.0.1:9")
    trial.config.write_text(text.replace('[[accounts.session_sources]]\nkind = "log_export"\n', ""))
    trial.configure("[lookups]\ndeadline_s = 1\n")
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stdout + done.stderr


def test_a_missing_id_file_fails_its_day_but_not_the_next(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, days=2, accounts=one_account(listed_share=1.0))
    (trial.config.parent / "inbox" / "sessions-2026-01-05.csv").unlink()
    done = trial.run("archive", "--from", "2026-01-05", "--to", "2026-01-06")
    assert done.returncode == 1
    assert done.stderr.count("sessions-2026-01-05.csv does not exist") == 1
    assert Catalog.open(trial.config.parent / "catalog").days() == [date(2026, 1, 6)]


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
    assert trial.run("archive", "--day", str(DAY), "--ignore-checks").returncode == 0
    assert {row["subaccount_id"] for row in trial.tables()["recordings"]} == {"demo_s3", "demo_sftp"}


def test_two_runs_on_one_day_wait_for_each_other(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=20)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: trial.run("archive", "--day", str(DAY), "--json"), range(2)))
    assert [run.returncode for run in runs] == [0, 0], runs
    fetched = [json.loads(run.stdout)["days"][0]["fetched_count"] for run in runs]
    assert min(fetched) == 0
    assert max(fetched) > 0
    ids = [row["recording_id"] for row in trial.tables()["recordings"]]
    assert len(ids) == len(set(ids))


def test_a_full_disk_fails_the_run_loudly_and_leaves_no_half_file_and_the_old_tables(start_trial: Start) -> None:
    """A limit on the size of files makes the kernel refuse writes in the middle, as a full disk does."""
    trial = start_trial(sessions_per_day=12)
    world = trial.simulator.world
    trial.archive()
    before, kept = trial.tables(), trial.files()
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
    assert trial.tables() == before
    assert max(recording.duration_s for recording in world.recordings) > 60  # so one did not fit
    for name, sha256 in trial.files().items():
        assert kept[name] == sha256
    assert trial.run("archive", "--day", str(DAY), "--ignore-checks").returncode == 0
    assert trial.files() == kept


def refuse(*_: Any) -> Any:
    raise AccessDeniedError("credentials have expired")
