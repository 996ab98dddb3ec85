"""Transfers during the lookups: what they download is what the next step would have, and they change no result of a run."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from callarchive.archiving.steps import early_fetching
from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.archiving.steps.early_fetching import EarlyTransfers
from callarchive.archiving.transfer_journal import journal_folder
from callarchive.cli.day_results import DaySummary
from callarchive.domain.errors import AccessDeniedError
from callarchive.domain.models import Lookup
from callarchive.simulator.faults import Fault
from callarchive.simulator.world import AccountPlan
from callarchive.voice_api.client import VoiceClient

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
PATIENCE_S = 20.0
S3 = (AccountPlan("acme.sg", "s3", "acme-recordings/calls"),)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with the first lookup, whatever the CPU does."""
    monkeypatch.setattr(early_fetching, "_MEASURED_S", 0.0)
    monkeypatch.setattr(early_fetching, "_IDLE", float("inf"))


def recordings_in(trial: Any) -> set[str]:
    """Return the names of the archived files."""
    return {path.name for path in (trial.config.parent / "archive").rglob("*.mp3")}


@pytest.fixture
def trial(start_trial: Start, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a world whose seventh lookup waits for the first early transfer."""
    trial = start_trial(sessions_per_day=9, accounts=S3)
    trial.configure("[lookups]\nconcurrency = 1\n")
    monkeypatch.setattr(VoiceClient, "look_up", nth_lookup(7, lambda: wait_for_recordings(trial)))
    return trial


def wait_for_recordings(trial: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while early_fetching._MEASURED_S == 0 and not recordings_in(trial):
        assert time.monotonic() < deadline, "nothing was downloaded during the lookups"
        time.sleep(0.01)


def nth_lookup(number: int, act: Callable[[], None]) -> Callable[[VoiceClient, str], Lookup]:
    """Return a `look_up` that acts before its nth call of each client."""
    look_up, counts = VoiceClient.look_up, Counter[int]()

    def acting(self: VoiceClient, session_id: str) -> Lookup:
        counts[id(self)] += 1
        if counts[id(self)] == number:
            act()
        return look_up(self, session_id)

    return acting


def without_early(trial: Any, monkeypatch: pytest.MonkeyPatch) -> DaySummary:
    with monkeypatch.context() as never:
        never.setattr(early_fetching, "_MEASURED_S", float("inf"))
        (summary,) = trial.archive()
    assert isinstance(summary, DaySummary)
    return summary


def start_over(trial: Any) -> None:
    for name in ("archive", "catalog"):
        shutil.rmtree(trial.config.parent / name)


def test_recordings_are_in_the_archive_when_the_lookups_end_and_the_next_step_counts_them(trial: Any) -> None:
    find, look_up, fetch = DAY_STEPS[:3]
    with trial.connections() as connections, connections.day_lock(DAY):
        early = EarlyTransfers(connections.archive, connections.landings)
        find.run(connections, DAY)
        look_up.run(connections, DAY, early=early)
        ids = set(early.files["acme.sg"].recording_ids)
        assert recordings_in(trial) == {f"{id_}.mp3" for id_ in ids}
        report = fetch.run(connections, DAY, early=early)
    assert ids
    assert report.counts["archived"] == len(recordings_in(trial))
    assert report.counts["fetched"] >= report.counts["archived"]
    assert report.counts["unchanged"] == 0


def test_results_and_counts_are_those_of_a_run_without_them_and_a_killed_run_leaves_nothing_to_download_twice(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = without_early(trial, monkeypatch)
    tables, files = trial.tables(), trial.files()
    start_over(trial)
    (summary,) = trial.archive()
    assert (trial.tables(), trial.files()) == (tables, files)
    for name in ("recordings", "fetched_count", "fetched_bytes", "unchanged_count", "attention", "failures"):
        assert getattr(summary, name) == getattr(before, name), name
    start_over(trial)
    downloaded_count = archive_until_killed(trial, monkeypatch)
    assert downloaded_count > 0
    (summary,) = trial.archive()
    assert summary.fetched_count == before.fetched_count - downloaded_count
    assert (trial.tables(), trial.files()) == (tables, files)
    assert not list((trial.config.parent / "catalog" / journal_folder(DAY)).glob("*.parquet"))


def archive_until_killed(trial: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Interrupt a run at its eighth lookup, and return how many recordings it downloaded."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(VoiceClient, "look_up", nth_lookup(8, interrupt))
        with pytest.raises(KeyboardInterrupt):
            trial.archive()
    return len(recordings_in(trial))


def test_a_landing_that_fails_during_the_lookups_is_reported_as_without_them(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = (AccountPlan("down", "sftp", "upload"), AccountPlan("healthy", "s3", "healthy-recordings/calls"))
    trial = start_trial(sessions_per_day=4, accounts=accounts)
    trial.configure("[lookups]\nconcurrency = 1\n")
    trial.simulator.api.faults.add(Fault.delay(0.03), match="/recordings/", times=None)
    trial.simulator.sftp.kill()
    before = without_early(trial, monkeypatch)
    warnings = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    tables = trial.tables()
    start_over(trial)
    caplog.clear()
    (summary,) = trial.archive()
    assert summary.failures == before.failures
    assert trial.tables() == tables
    assert [r.getMessage() for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == warnings


def test_what_was_downloaded_before_the_lookups_of_an_account_failed_is_counted(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=9, accounts=(*S3, AccountPlan("other", "s3", "other-recordings/calls")))
    trial.configure("[lookups]\nconcurrency = 1\n")
    look_up, count = VoiceClient.look_up, Counter[str]()

    def failing(self: VoiceClient, session_id: str) -> Lookup:
        account = next(s.subaccount_id for s in trial.simulator.world.sessions if s.session_id == session_id)
        count[account] += 1
        if account == "acme.sg" and count[account] == 7:
            wait_for_recordings(trial)
            raise AccessDeniedError("the key was revoked")
        return look_up(self, session_id)

    monkeypatch.setattr(VoiceClient, "look_up", failing)
    (summary,) = trial.archive()
    assert [failure.subaccount_id for failure in summary.failures] == ["acme.sg"]
    files = list((trial.config.parent / "archive").rglob("*.mp3"))
    assert any("acme.sg" in file.parts for file in files)
    assert summary.fetched_count >= len(files)
    assert summary.fetched_bytes >= sum(file.stat().st_size for file in files)


def test_lookups_that_keep_the_processor_busy_are_not_delayed_by_transfers(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_fetching, "_IDLE", 0.0)
    trial = start_trial(sessions_per_day=4, accounts=S3)
    with trial.connections() as connections, connections.day_lock(DAY):
        early = EarlyTransfers(connections.archive, connections.landings)
        for step in DAY_STEPS[:2]:
            step.run(connections, DAY, early=early)
    assert early.files["acme.sg"].recording_ids == []
    assert recordings_in(trial) == set()
