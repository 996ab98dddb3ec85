"""A trace names the exact step that failed."""

import json
import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.trace import Trace, find
from callarchive.settings import load_settings
from callarchive.simulator.faults import FOREVER, Fault

Start = Callable[..., Any]


@pytest.fixture
def trial(start_trial: Start) -> Any:
    return start_trial(sessions_per_day=40)


def trace_of(trial: Any, identifier: str) -> Trace:
    with trial.connections() as connections:
        (found,) = find(connections, identifier)
    return found


def recording_with(trial: Any, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return next(row for row in trial.tables()["recordings"] if wanted(row))


@pytest.mark.parametrize(
    ("state", "step"),
    [
        ("missing", "object in the landing: missing"),
        ("not_uploaded", "8x8's status: "),
        ("rejected", "transfer: rejected"),
    ],
)
def test_the_trace_of_an_unarchived_recording_breaks_where_it_stopped(trial: Any, state: str, step: str) -> None:
    trial.archive()
    row = recording_with(trial, lambda row: row["archive_status"] == state and row["api_status"] != "PROCESSING")
    found = trace_of(trial, row["recording_id"])
    assert found.broken_at is not None
    assert f"recording {row['recording_id']}: {step}" in found.broken_at


def test_a_changed_or_deleted_file_breaks_the_trace(trial: Any) -> None:
    trial.archive()
    row = recording_with(trial, lambda row: row["archive_status"] == "archived" and row["audio_issue"] is None)
    [file] = (trial.config.parent / "archive").rglob(f"{row['recording_id']}.mp3")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert "the archived file is changed" in str(trace_of(trial, row["recording_id"]).broken_at)
    file.unlink()
    assert "the archived file is gone" in str(trace_of(trial, row["session_id"]).broken_at)


def test_truncated_audio_breaks_the_trace(trial: Any) -> None:
    trial.archive()
    row = recording_with(trial, lambda row: row["audio_issue"] == "truncated")
    found = trace_of(trial, row["recording_id"])
    assert f"recording {row['recording_id']}: audio: audio is truncated" in str(found.broken_at)


def test_a_failed_lookup_is_the_first_broken_step(trial: Any) -> None:
    session = trial.simulator.world.sessions[0].session_id
    trial.simulator.api.faults.add(Fault.answer(500, body={}), match=session, times=FOREVER)
    trial.configure("[lookups]\ndeadline_s = 1\n")
    trial.archive()
    assert str(trace_of(trial, session).broken_at).startswith("8x8's response: 8x8 gave no usable response")


def test_numbers_are_masked_even_if_they_are_kept(trial: Any) -> None:
    text = trial.config.read_text()
    trial.config.write_text(text.replace("api_key = {", 'phone_numbers = "keep"\napi_key = {'))
    with Connections(load_settings(trial.config), clock=trial.simulator.clock) as connections:
        from callarchive.cli.day_results import archive_day

        archive_day(connections, trial.days[0])
    session = trial.simulator.world.sessions[0]
    kept = next(row for row in trial.tables()["sessions"] if row["session_id"] == session.session_id)
    assert kept["source_number"] is not None
    for words in (("find", session.session_id), ("find", session.session_id, "--json")):
        done = trial.run(*words)
        assert done.returncode == 0, done.stderr
        for leg in session.legs:
            assert leg.source.digits not in done.stdout
            assert leg.destination.digits not in done.stdout


def drop(trial: Any, session: str, recording: str) -> None:
    inbox = Inbox.open(f"sqlite:///{trial.config.parent}/inbox.sqlite3")
    payload = {"sessionId": session, "recordingId": recording, "status": "UPLOAD_COMPLETED", "caller": "+6591234567"}
    body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": payload}).encode()
    inbox.add([("demo_s3", read_event(body, subaccount_id="demo_s3", mask=lambda number: number))] * 2)
    inbox.close()


def test_the_trace_of_a_session_from_an_event_has_the_day_to_archive(trial: Any) -> None:
    session, recording = "b6c3f3b3-e1ed-11f0-b20e-fd5bc17a64f7", str(uuid.uuid4())
    drop(trial, session, recording)
    for identifier in (session, recording):
        found = trace_of(trial, identifier)
        assert found.call_date is not None
        assert found.broken_at == (
            f"sessions: {found.call_date} has not been archived: callarchive archive --day {found.call_date}"
        )
    assert found.links[0].detail == "1 event, delivered 2 times"
    done = trial.run("find", session, "--json")
    assert "9123" not in done.stdout


def test_a_session_whose_id_has_no_time_has_the_day_of_its_event(trial: Any) -> None:
    session, undated = str(uuid.uuid4()), str(uuid.uuid4())
    inbox = Inbox.open(f"sqlite:///{trial.config.parent}/inbox.sqlite3")
    for wanted, start in ((session, "2026-01-02T23:59:59Z"), (undated, None)):
        payload = {"sessionId": wanted, "sessionStatus": "COMPLETED", "startTime": start}
        body = json.dumps({"eventType": "SESSION_SUMMARY", "payload": payload}).encode()
        inbox.add([("demo_s3", read_event(body, subaccount_id="demo_s3", mask=lambda number: number))])
    inbox.close()
    found = trace_of(trial, session)
    assert found.call_date == date(2026, 1, 2)
    assert found.broken_at == "sessions: 2026-01-02 has not been archived: callarchive archive --day 2026-01-02"
    found = trace_of(trial, undated)
    assert (found.call_date, found.broken_at) == (None, "sessions: the session's day is unknown, so no day has it")


def test_events_of_a_known_session_are_in_its_trace(trial: Any) -> None:
    trial.archive()
    row = recording_with(trial, lambda row: row["subaccount_id"] == "demo_s3" and row["archive_status"] == "archived")
    drop(trial, row["session_id"], row["recording_id"])
    found = trace_of(trial, row["recording_id"])
    (step,) = [step for step in found.links if step.name == "events"]
    assert (step.state, step.detail) == ("ok", "1 event, delivered 2 times")


def test_an_unknown_id_exits_1(trial: Any) -> None:
    done = trial.run("find", "b6c3f3b3-e1ed-11f0-b20e-fd5bc17a64f7")
    assert done.returncode == 1
    assert "is neither in the catalog nor in the inbox" in done.stderr
