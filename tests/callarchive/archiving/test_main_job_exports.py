"""The main job where 8x8's export is cut, or names fewer sessions than it did: nothing is believed, and nothing is lost."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.cli.day_results import DaySummary
from callarchive.domain.errors import ExportError, SourceError
from callarchive.domain.evidence import Outcome
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.checks import CheckResult
from callarchive.monitoring.evaluation import run_checks
from callarchive.simulator.events import session_summary
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.world import AccountPlan

Start = Callable[..., Any]
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACCOUNT = AccountPlan("acme.sg", "s3", "acme-recordings/calls", layout="flat")


@pytest.fixture
def trial(start_trial: Start) -> Any:
    trial = start_trial(sessions_per_day=12, accounts=(ACCOUNT,))
    trial.configure("[reconciliation]\nlist_landing = false\n")
    return trial


def complete(summary: DaySummary) -> CheckResult:
    (check,) = [check for check in summary.checks if check.name == "sources_complete"]
    return check


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.no_length(at_bytes=2000), "neither a Content-Length nor chunks"),
        (Fault.no_length(), "neither a Content-Length nor chunks"),
        (Fault.few_rows(0), "has no row"),
        (Fault.answer(200, body="<html>\nmaintenance\n</html>\n"), "HTML"),
        (Fault.answer(200, body={"code": 4018, "message": "Invalid jobId"}), "JSON"),
        (Fault.answer(200, body=b"SessionId,InitiatedAt\r\n7f,2026-01-05T10:00:00\r\n"), "names a session"),
    ],
)
def test_an_export_that_cannot_be_believed_fails_the_day_and_keeps_its_tables(
    trial: Any, fault: Fault, why: str
) -> None:
    trial.archive()
    before = trial.tables()
    trial.simulator.api.faults.add(fault, match="download", times=FOREVER)
    with pytest.raises((ExportError, SourceError), match=why):
        trial.archive()
    assert trial.tables() == before


def test_a_cut_that_passes_leaves_no_trace(trial: Any) -> None:
    for fault in (Fault.no_length(at_bytes=2000), Fault.short_body(at_bytes=2000), Fault.few_rows(0)):
        trial.simulator.api.faults.add(fault, match="download", times=1)
        (summary,) = trial.archive()
        assert summary.session_count == sum(session.exported for session in trial.simulator.world.sessions)
        assert complete(summary).outcome is Outcome.PASSED


def test_an_export_with_fewer_sessions_than_before_fails_a_check_until_it_is_whole_again(trial: Any) -> None:
    (whole,) = trial.archive()
    assert complete(whole).outcome is Outcome.PASSED
    before = trial.tables()
    named = {row["session_id"] for row in before["sessions"]}
    with_recordings = {row["session_id"] for row in before["sessions"] if row["recording_count"]}
    trial.simulator.api.faults.add(Fault.few_rows(6), match="download", times=FOREVER)
    for _ in range(2):
        (cut,) = trial.archive()
        check = complete(cut)
        assert (check.outcome, check.is_error) == (Outcome.FAILED, True)
        missing = {example.partition(":")[0] for example in check.examples}
        assert missing < named
        assert len(missing) == check.numbers["missing"] >= 6
        assert f"{len(missing)} sessions missing" in check.summary
        assert f"{len(missing)} from log_export" in check.summary
        after = trial.tables()
        assert with_recordings <= {row["session_id"] for row in after["sessions"]}
        assert named - {row["session_id"] for row in after["sessions"]} <= missing
        assert after["recordings"] == before["recordings"]
    result = trial.run("archive", "--day", "2026-01-05")
    assert result.returncode == 4, result.stderr
    assert "sources_complete" in result.stdout + result.stderr
    trial.simulator.api.faults.clear()
    (again,) = trial.archive()
    assert complete(again).outcome is Outcome.PASSED
    assert trial.tables() == before


def test_an_export_that_becomes_empty_fails_the_check_and_reach_days_or_a_limit_lets_it_pass(trial: Any) -> None:
    trial.archive()
    trial.simulator.api.faults.add(Fault.export_job("empty"), match="exports", times=FOREVER)
    (empty,) = trial.archive()
    assert complete(empty).outcome is Outcome.FAILED
    text = trial.config.read_text()
    trial.configure("[checks]\nmax_missing_sessions = 100\n")
    (limited,) = trial.archive()
    assert complete(limited).outcome is Outcome.PASSED
    trial.config.write_text(text.replace('kind = "log_export"', 'kind = "log_export"\nreach_days = 0.001'))
    (late,) = trial.archive()
    assert complete(late).numbers == {"missing": 0}


def test_a_session_that_only_events_name_fails_the_check_until_the_export_names_it(trial: Any) -> None:
    with trial.config.open("a") as config:
        config.write('\n[[accounts.session_sources]]\nkind = "inbox"\n')
    sessions = [session for session in trial.simulator.world.sessions if session.exported]
    last = max(sessions, key=lambda session: session.started_at)
    with closing(Inbox.open(f"sqlite:///{trial.config.parent / 'inbox.sqlite3'}")) as inbox:
        body = json.dumps(session_summary(last)).encode()
        inbox.add([("acme.sg", read_event(body, subaccount_id="acme.sg", mask=lambda _: None))])
    rows = sum(len(session.legs) for session in sessions) - len(last.legs)
    trial.simulator.api.faults.add(Fault.few_rows(rows), match="download", times=FOREVER)
    (summary,) = trial.archive()
    check = complete(summary)
    assert check.outcome is Outcome.FAILED
    assert check.examples == (f"{last.session_id}: log_export: webhook events name it",)
    trial.simulator.api.faults.clear()
    (again,) = trial.archive()
    assert complete(again).outcome is Outcome.PASSED


def test_a_list_that_names_no_session_fails_its_day(trial: Any) -> None:
    (trial.config.parent / "ids.jsonl").write_text(json.dumps([{"session_id": "11111111-1111-4111-8111-111111111111"}]))
    with trial.config.open("a") as config:
        config.write('\n[[accounts.session_sources]]\nkind = "files"\npath = "ids.jsonl"\n')
    result = trial.run("archive", "--day", "2026-01-05")
    assert result.returncode == 1
    assert "ids.jsonl: none of its 1 rows names a session" in result.stdout + result.stderr
    assert "line 1: session 11111111-1111-4111-8111-111111111111 has no readable time" in result.stdout + result.stderr


def test_events_that_nothing_dates_are_no_day_without_calls(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=2, accounts=(ACCOUNT,))
    text = trial.config.read_text()
    trial.config.write_text(text.replace('kind = "log_export"', 'kind = "inbox"'))
    payload = {
        "sessionId": "11111111-1111-4111-8111-111111111111",
        "recordingId": "11111111-1111-4111-8111-11111111111a",
    }
    body = json.dumps(
        {"eventType": "CALL_RECORDING_STATUS", "payload": {**payload, "status": "UPLOAD_COMPLETED"}}
    ).encode()
    with closing(Inbox.open(f"sqlite:///{trial.config.parent / 'inbox.sqlite3'}", clock=lambda: NOON)) as inbox:
        inbox.add([("acme.sg", read_event(body, subaccount_id="acme.sg", mask=lambda _: None))])
    with pytest.raises(SourceError, match="the inbox has no session dated 2026-01-05"):
        trial.archive()


def test_a_day_of_an_older_version_is_not_checked(trial: Any) -> None:
    trial.archive()
    catalog = Catalog.open(trial.config.parent / "catalog")
    path = trial.config.parent / "catalog" / schemas.MISSING_SESSIONS.partition_path("2026-01-05")
    path.unlink()
    with trial.connections() as connections:
        results = run_checks(catalog, trial.days[0], connections.settings)
    (check,) = [result for result in results if result.name == "sources_complete"]
    assert check.outcome is Outcome.NOT_CHECKED
    assert "archive it again" in check.summary
