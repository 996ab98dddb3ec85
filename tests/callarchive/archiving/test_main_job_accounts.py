"""Accounts of one configuration are independent: one that cannot be archived does not hold back the others, and is named."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.cli.day_results import DaySummary
from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Outcome
from callarchive.planning.look_back import requests_for_look_back
from callarchive.planning.reopening import days_to_reopen
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.world import AccountPlan, FileState

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
DARK, HONEST = "dark", "honest"
HTML = "<html><body><h1>Bad gateway</h1></body></html>"


def two_accounts(**more: Any) -> tuple[AccountPlan, AccountPlan]:
    return (
        AccountPlan(DARK, "s3", "dark-recordings/calls", **more),
        AccountPlan(HONEST, "s3", "honest-recordings/calls", **more),
    )


def darken(trial: Any, fault: Fault) -> None:
    """Every lookup of the account fails; its exports do not."""
    for session in trial.simulator.world.sessions:
        if session.subaccount_id == DARK:
            trial.simulator.api.faults.add(fault, match=session.session_id, times=FOREVER)


def rows_of(trial: Any, account: str) -> dict[str, list[dict[str, Any]]]:
    return {name: [row for row in rows if row["subaccount_id"] == account] for name, rows in trial.tables().items()}


def check_of(summary: DaySummary, name: str) -> Any:
    return next(check for check in summary.checks if check.name == name)


UNREADABLE = [
    pytest.param(Fault.answer(503), id="503"),
    pytest.param(Fault.answer(200, body=HTML), id="HTML with 200"),
    pytest.param(Fault.answer(502, body=HTML), id="HTML with 502"),
    pytest.param(Fault.answer(200, body=b""), id="empty body"),
    pytest.param(Fault.answer(200, body={}), id="an object that says nothing"),
    pytest.param(Fault.answer(200, body=b"\x00\xff junk"), id="junk"),
]


@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_account_without_a_readable_answer_fails_alone_and_keeps_its_rows(start_trial: Start, fault: Fault) -> None:
    trial = start_trial(sessions_per_day=8, accounts=two_accounts())
    trial.configure("[lookups]\ndeadline_s = 1\n")
    darken(trial, fault)
    (first,) = trial.archive()
    assert rows_of(trial, DARK)["sessions"] == []
    assert rows_of(trial, HONEST)["recordings"]
    (failure,) = first.failures
    assert (failure.subaccount_id, failure.exit_code, failure.retryable) == (DARK, 1, True)
    assert "no readable answer" in failure.reason
    assert check_of(first, "accounts_archived").outcome is Outcome.FAILED
    assert check_of(first, "recordings_unique").outcome is Outcome.NOT_CHECKED

    trial.simulator.api.faults.clear()
    (healed,) = trial.archive()
    assert healed.failures == ()
    assert rows_of(trial, DARK)["recordings"]
    assert all(result.passed for result in healed.checks if result.check.blocking)


def test_the_rows_of_a_dark_account_stay_as_they_were(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=8, accounts=two_accounts())
    trial.configure("[lookups]\ndeadline_s = 1\n")
    trial.archive()
    before = rows_of(trial, DARK)
    catalog = Catalog.open(trial.config.parent / "catalog")
    catalog.store.delete(schemas.LOOKUPS.partition_path(DAY))  # everything is looked up again
    darken(trial, Fault.answer(503))
    done = trial.run("archive", "--day", str(DAY), "--json")
    assert done.returncode == 1
    assert done.stderr.count(f"error: {DAY}: {DARK}: ") == 1
    assert rows_of(trial, DARK) == before
    (day,) = json.loads(done.stdout)["days"]
    assert [failure["subaccount_id"] for failure in day["failures"]] == [DARK]


def test_a_single_account_without_a_readable_answer_fails_the_run_and_writes_no_table(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=two_accounts()[:1])
    trial.configure("[lookups]\ndeadline_s = 1\n")
    darken(trial, Fault.answer(502, body=HTML))
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert "no readable answer" in done.stderr
    assert all(rows == [] for rows in trial.tables().values())
    assert not Catalog.open(trial.config.parent / "catalog").has(schemas.ACCOUNT_FAILURES, DAY)


def test_a_session_that_alone_is_answered_badly_is_a_row_and_not_an_outage(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=8, accounts=two_accounts()[:1])
    trial.configure("[lookups]\ndeadline_s = 1\n")
    bad = trial.simulator.world.sessions[0].session_id
    trial.simulator.api.faults.add(Fault.answer(200, body=HTML), match=bad, times=FOREVER)
    for _ in range(2):  # the second run looks up little else
        (summary,) = trial.archive()
        assert summary.failures == ()
        states = {row["session_id"]: row["lookup_status"] for row in trial.tables()["sessions"]}
        assert states[bad] == "error"


def test_a_refused_key_of_one_account_ends_with_exit_code_3_and_the_other_is_published(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, days=2, accounts=two_accounts())
    trial.simulator.api.faults.add(Fault.answer(401, body={}), match=DARK, times=FOREVER)
    done = trial.run("archive", "--from", str(DAY), "--to", str(DAY + timedelta(days=1)))
    assert done.returncode == 3
    assert f"{DAY}: {DARK}" in done.stderr
    assert f"{DAY + timedelta(days=1)}: {DARK}" in done.stderr
    assert {row["call_date"] for row in rows_of(trial, HONEST)["sessions"]} == {DAY, DAY + timedelta(days=1)}


def test_a_source_of_one_account_that_cannot_be_read_leaves_the_other_account_alone(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=two_accounts())
    (before,) = trial.archive()
    assert before.failures == ()
    kept = rows_of(trial, DARK)
    trial.simulator.api.faults.add(Fault.export_job("failed"), match=DARK, times=FOREVER)
    (summary,) = trial.archive()
    (failure,) = summary.failures
    assert (failure.subaccount_id, failure.step) == (DARK, "session_ids")
    assert rows_of(trial, DARK) == kept
    steps = Catalog.open(trial.config.parent / "catalog").rows(schemas.SESSION_IDS, DAY)
    assert {row["subaccount_id"] for row in steps} == {DARK, HONEST}


def test_a_day_on_which_an_account_failed_is_run_again_by_itself(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=two_accounts())
    trial.simulator.api.faults.add(Fault.export_job("failed"), match=DARK, times=FOREVER)
    trial.archive()
    with trial.connections() as connections:
        night = datetime(2026, 1, 7, 2, tzinfo=UTC)
        due = days_to_reopen(connections.catalog, connections.settings, now=night)
        assert DAY in {day.day for day in due if day.due_count}
        looked_back = requests_for_look_back(
            connections.catalog, connections.settings, at=night, is_busy=lambda _: False
        )
        assert any(request.day == DAY and DARK in request.why for request in looked_back)
    status = trial.run("status", "--from", str(DAY), "--to", str(DAY))
    assert status.returncode == 1
    assert "accounts_archived" in status.stdout


def test_an_account_without_any_file_is_one_sentence_and_exit_code_1(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=30, accounts=two_accounts())
    wrong = trial.config.read_text().replace("s3://dark-recordings/calls", "s3://dark-recordings/cals")
    trial.config.write_text(wrong)
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1, done.stderr
    dark = rows_of(trial, DARK)["recordings"]
    missing = [row for row in dark if row["archive_status"] == "missing"]
    assert {row["archive_status"] for row in dark} == {"missing", "not_uploaded"}
    sentence = f"none of {len(missing)} recordings of {DARK} was found below s3://dark-recordings/cals"
    assert done.stderr.count(sentence) == 1
    assert not any(row["recording_id"] in done.stdout for row in missing)
    assert [row for row in rows_of(trial, HONEST)["recordings"] if row["archive_status"] == "archived"]


def test_a_landing_that_is_down_leaves_rows_as_they_were_and_publishes_the_other_account(start_trial: Start) -> None:
    accounts = (AccountPlan("down", "sftp", "upload"), AccountPlan(HONEST, "s3", "honest-recordings/calls"))
    trial = start_trial(sessions_per_day=6, accounts=accounts)
    trial.simulator.sftp.kill()
    done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 1
    assert rows_of(trial, "down")["recordings"] == []
    whole = {
        recording.recording_id
        for recording in trial.simulator.world.recordings
        if recording.subaccount_id == HONEST and recording.file is FileState.WHOLE
    }
    archived = {
        row["recording_id"] for row in rows_of(trial, HONEST)["recordings"] if row["archive_status"] == "archived"
    }
    assert archived >= whole
    trial.simulator.sftp.restart()
    (summary,) = trial.archive()
    assert summary.failures == ()
    assert [row for row in rows_of(trial, "down")["recordings"] if row["archive_status"] == "archived"]


def test_an_archived_day_shows_that_its_latest_run_failed_until_one_succeeds(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4, accounts=two_accounts())
    day = ("--from", str(DAY), "--to", str(DAY))
    trial.archive()
    before = trial.tables()
    url, config = trial.simulator.api.url, trial.config.read_text()
    trial.config.write_text(config.replace(url, "http://127.0.0.1:9"))  # nothing listens there
    trial.configure("[lookups]\ndeadline_s = 1\n")
    failed = trial.run("archive", "--day", str(DAY))
    assert failed.returncode == 1
    assert trial.tables() == before

    status = trial.run("status", *day)
    assert status.returncode == 1
    assert "2 accounts could not be archived by the latest run" in " ".join(status.stdout.replace("│", " ").split())
    report = trial.run("report", "--day", str(DAY), "--output", str(trial.config.parent / "page.html"))
    assert report.returncode == 0
    page = (trial.config.parent / "page.html").read_text()
    for account in (DARK, HONEST):
        assert f"The last run of 5 January 2026 failed for the account {account}: what this page says" in page
    assert "every_session_accounted_for and" in status.stdout, "one row for the checks without an answer"
    verified = trial.run("verify", *day)
    assert verified.returncode == 1
    assert verified.stdout.count("the latest run could not archive it") == 2
    found = trial.run("find", before["sessions"][0]["session_id"])
    assert f"latest run (waiting): it could not archive {DARK}: " in found.stdout
    with trial.connections() as connections:
        night = datetime(2026, 1, 7, 2, tzinfo=UTC)
        (due,) = days_to_reopen(connections.catalog, connections.settings, now=night)
        assert (due.day, due.due_count >= 2) == (DAY, True)

    trial.config.write_text(config)
    (healed,) = trial.archive()
    assert (healed.failures, check_of(healed, "accounts_archived").passed) == ((), True)
    assert "could not be archived" not in trial.run("status", *day).stdout
    assert trial.run("verify", *day).returncode == 0


def test_a_step_that_failed_for_every_account_is_repeated_for_every_account(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4, accounts=two_accounts()[:1])
    trial.configure("[lookups]\ndeadline_s = 1\n")
    trial.archive()
    catalog = Catalog.open(trial.config.parent / "catalog")
    catalog.store.delete(schemas.LOOKUPS.partition_path(DAY))  # everything is looked up again
    darken(trial, Fault.answer(503))
    look_up = next(step for step in DAY_STEPS if step.table is schemas.RECORDING_METADATA)
    with trial.connections() as connections, connections.day_lock(DAY):
        with pytest.raises(ArchiveError, match="no readable answer"):
            look_up.run(connections, DAY)
        assert len(catalog.rows(schemas.ACCOUNT_FAILURES, DAY)) == 1
        trial.simulator.api.faults.clear()
        report = look_up.run(connections, DAY)
    assert (report.failures, report.counts["asked"]) == ((), 4)
    assert catalog.rows(schemas.ACCOUNT_FAILURES, DAY) == []
