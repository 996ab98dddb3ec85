"""More steps of a trace, on one archived day."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.trace import Trace, find
from callarchive.monitoring.trace_steps import StepState, broken_at, reconciliation_step, recording_steps
from callarchive.simulator.faults import FOREVER, Fault

Start = Callable[..., Any]
LATE = "b6c3f3b3-e1ed-11f0-b20e-fd5bc17a64f7"


@pytest.fixture
def trial(start_trial: Start) -> Any:
    found = start_trial(sessions_per_day=40)
    found.archive()
    return found


@pytest.fixture
def small(start_trial: Start) -> Any:
    """A day of few calls."""
    found = start_trial(sessions_per_day=3)
    found.archive()
    return found


def trace_of(trial: Any, identifier: str) -> Trace:
    with trial.connections() as connections:
        (found,) = find(connections, identifier)
    return found


def rows(trial: Any, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = trial.tables()[table]
    return found


def step_of(steps: Any, name: str) -> Any:
    (step,) = [step for step in steps if step.name == name]
    return step


def drop(trial: Any, kind: str, payload: dict[str, Any]) -> None:
    inbox = Inbox.open(f"sqlite:///{trial.config.parent}/inbox.sqlite3")
    body = json.dumps({"eventType": kind, "payload": payload}).encode()
    inbox.add([("demo_s3", read_event(body, subaccount_id="demo_s3", mask=lambda number: number))])
    inbox.close()


def test_a_trace_has_each_state_of_a_lookup_and_a_recording(trial: Any) -> None:
    sessions, recordings = rows(trial, "sessions"), rows(trial, "recordings")
    open_ids = {row["session_id"] for row in rows(trial, "reconciliation") if row["state"] == "open"}
    not_found = next(row for row in sessions if row["lookup_status"] == "not_found")
    assert trace_of(trial, not_found["session_id"]).broken_at == "8x8's response: 8x8 does not know the session"
    none = next(row for row in sessions if row["lookup_status"] == "no_recordings")
    step = step_of(trace_of(trial, none["session_id"]).links, "8x8's response")
    assert (step.state, step.detail) == (StepState.OK, "8x8 knows the session and lists no recording")
    waiting = next(row for row in recordings if row["api_status"] == "PROCESSING")
    broken = str(trace_of(trial, waiting["recording_id"]).broken_at)
    assert broken == f"recording {waiting['recording_id']}: 8x8's status: PROCESSING"
    well = next(
        row
        for row in recordings
        if row["archive_status"] == "archived"
        and not row["duration_mismatch"]
        and row["audio_issue"] is None
        and row["session_id"] not in open_ids
        and sum(other["session_id"] == row["session_id"] for other in recordings) == 1
    )
    found = trace_of(trial, well["recording_id"])
    assert found.broken_at is None
    assert [step.name for step in found.links] == [
        "named by",
        "events",
        "8x8's response",
        "reconciliation",
        "checks of the day",
    ]
    assert {step.name for step in found.recordings[0]["links"]} == {
        "8x8's status",
        "object in the landing",
        "transfer",
        "file in the archive",
        "audio",
        "durations",
    }
    # The other steps are unchanged if its durations disagree.
    differing = {**found.recordings[0], "duration_mismatch": True, "duration_api_s": 999.0}
    steps = list(recording_steps(differing, versions=(), call_duration_s=98.0))
    assert [step.name for step in steps if step.state is not StepState.OK] == ["durations"]
    assert "duration_api_s 999" in steps[-1].detail
    assert "call_duration_s 98" in steps[-1].detail
    done = trial.run("find", well["session_id"].upper(), "--json")
    (document,) = json.loads(done.stdout)["found"]
    assert (done.returncode, document["broken_at"]) == (0, None)
    assert [link["name"] for link in document["links"]] == [step.name for step in found.links]


def test_open_reconciliation_rows_break_the_trace(trial: Any) -> None:
    row = next(
        row
        for row in rows(trial, "reconciliation")
        if row["state"] == "open" and row["session_id"] and row["kind"] == "connected_call_without_recording"
    )
    found = trace_of(trial, row["session_id"])
    step = step_of(found.links, "reconciliation")
    assert step.state is StepState.BROKEN
    assert f"{row['kind']}: {row['reason']}" in step.detail
    assert found.broken_at is not None


def test_resolved_rows_break_nothing() -> None:
    row = {"kind": "orphan_object", "reason": "x", "state": "resolved", "first_seen_at": None}
    assert broken_at([reconciliation_step([row])]) is None


def test_a_rejected_file_is_not_in_the_archive(trial: Any) -> None:
    row = next(r for r in rows(trial, "recordings") if r["archive_status"] == "rejected")
    found = trace_of(trial, row["recording_id"])
    [recording] = [r for r in found.recordings if r["recording_id"] == row["recording_id"]]
    assert step_of(recording["links"], "transfer").state is StepState.BROKEN
    assert not [step for step in recording["links"] if step.name == "file in the archive"]


def test_a_recording_that_changed_at_8x8_has_both_versions(trial: Any) -> None:
    row = next(
        r
        for r in rows(trial, "recordings")
        if r["archive_status"] == "archived" and r["subaccount_id"] == "demo_sftp" and r["audio_issue"] is None
    )
    [kept] = (trial.simulator.directory / "sftp").rglob(f"*{row['recording_id']}*.mp3")
    kept.write_bytes(kept.read_bytes() * 2)
    trial.archive()
    found = trace_of(trial, row["recording_id"])
    [recording] = [r for r in found.recordings if r["recording_id"] == row["recording_id"]]
    step = step_of(recording["links"], "later versions")
    assert (step.state, step.detail) == (StepState.OK, "2 versions are kept")
    first = next(v["uri"] for v in step.facts["version"] if v["sha256"] == row["sha256"])
    (trial.config.parent / "archive" / first.split("/archive/", 1)[1]).unlink()
    found = trace_of(trial, row["recording_id"])
    [recording] = [r for r in found.recordings if r["recording_id"] == row["recording_id"]]
    assert step_of(recording["links"], "later versions").state is StepState.BROKEN


def test_a_recording_that_only_an_event_names_is_traced_with_its_session(small: Any) -> None:
    session = next(row for row in rows(small, "sessions") if row["subaccount_id"] == "demo_s3")
    drop(small, "CALL_RECORDING_STATUS", {"sessionId": session["session_id"], "recordingId": LATE})
    found = trace_of(small, LATE)
    assert found.session["session_id"] == session["session_id"]
    step = step_of(found.links, f"recording {LATE}")
    assert step.state is StepState.BROKEN
    assert "callarchive archive --day 2026-01-05" in step.detail


def test_a_trace_shows_that_an_archived_day_lacks_a_session_of_an_event(small: Any) -> None:
    known = small.simulator.world.sessions[0].session_id
    session = f"{int(known[:8], 16) ^ 1:08x}{known[8:]}"
    drop(small, "CALL_RECORDING_STATUS", {"sessionId": session, "recordingId": LATE})
    broken = str(trace_of(small, session).broken_at)
    assert broken.startswith("sessions: 2026-01-05 was archived without the session")


def test_a_session_may_have_no_day(small: Any) -> None:
    session = "9b2d7c1e-4a5f-4b3c-8d2e-1f0a9b8c7d6e"
    drop(small, "CALL_RECORDING_STATUS", {"sessionId": session, "recordingId": LATE})
    found = trace_of(small, session)
    assert found.call_date is None
    assert small.run("find", session).returncode == 0


def test_a_number_in_an_event_is_masked_however_short(small: Any) -> None:
    session = next(row for row in rows(small, "sessions") if row["subaccount_id"] == "demo_s3")["session_id"]
    numbers = ["6123", "+65 9123 4567", "999"]
    for number in numbers:
        call = {"source": {"msisdn": number}, "destination": {"msisdn": number}}
        drop(small, "SESSION_SUMMARY", {"sessionId": session, "sessionStatus": "COMPLETED", "details": {"callA": call}})
    events = step_of(trace_of(small, session).links, "events").facts["event"]
    calls = [json.loads(event["payload"])["payload"]["details"]["callA"] for event in events]
    assert calls == [{"source": {"msisdn": "***"}, "destination": {"msisdn": "***"}}] * len(numbers)


def test_an_invalid_id_is_a_usage_error(small: Any) -> None:
    done = small.run("find", "+65 9123 4567")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_unusable_response_is_the_first_broken_step(small: Any) -> None:
    session = next(row for row in rows(small, "sessions") if row["lookup_status"] == "ok")["session_id"]
    small.simulator.api.faults.add(Fault.answer(422, body={"statusMessage": "odd"}), match=session, times=FOREVER)
    small.archive()
    assert str(trace_of(small, session).broken_at).startswith(
        "8x8's response: 8x8 gave no usable response: HTTP 422: odd"
    )
