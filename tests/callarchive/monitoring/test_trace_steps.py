"""Links of the passport that the other claims about it leave out, on one archived day."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.trace import Passport, find
from callarchive.monitoring.trace_steps import LinkState, broken_at, reconciliation_link, recording_links
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


def passport_of(trial: Any, identifier: str) -> Passport:
    with trial.connections() as connections:
        (found,) = find(connections, identifier)
    return found


def rows(trial: Any, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = trial.tables()[table]
    return found


def link_of(links: Any, name: str) -> Any:
    (link,) = [link for link in links if link.name == name]
    return link


def drop(trial: Any, kind: str, payload: dict[str, Any]) -> None:
    inbox = Inbox.open(f"sqlite:///{trial.config.parent}/inbox.sqlite3")
    body = json.dumps({"eventType": kind, "payload": payload}).encode()
    inbox.add([("demo_s3", read_event(body, subaccount_id="demo_s3", mask=lambda number: number))])
    inbox.close()


def test_each_state_of_a_look_up_and_of_a_recording_is_told_where_it_stands(trial: Any) -> None:
    sessions, recordings = rows(trial, "sessions"), rows(trial, "recordings")
    open_ids = {row["session_id"] for row in rows(trial, "reconciliation") if row["state"] == "open"}
    not_found = next(row for row in sessions if row["lookup_status"] == "not_found")
    assert passport_of(trial, not_found["session_id"]).broken_at == "8x8's answer: 8x8 does not know the session"
    none = next(row for row in sessions if row["lookup_status"] == "no_recordings")
    link = link_of(passport_of(trial, none["session_id"]).links, "8x8's answer")
    assert (link.state, link.told) == (LinkState.HOLDS, "8x8 knows the session and names no recording")
    waiting = next(row for row in recordings if row["api_status"] == "PROCESSING")
    broken = str(passport_of(trial, waiting["recording_id"]).broken_at)
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
    found = passport_of(trial, well["recording_id"])
    assert found.broken_at is None
    assert [link.name for link in found.links] == [
        "named by",
        "events",
        "8x8's answer",
        "reconciliation",
        "checks of the day",
    ]
    assert {link.name for link in found.recordings[0]["links"]} == {
        "8x8's status",
        "object in the landing",
        "transfer",
        "file in the archive",
        "audio",
        "durations",
    }
    # Its neighbours in the chain stay as they are when its durations disagree.
    differing = {**found.recordings[0], "duration_mismatch": True, "duration_api_s": 999.0}
    links = list(recording_links(differing, versions=(), call_duration_s=98.0))
    assert [link.name for link in links if link.state is not LinkState.HOLDS] == ["durations"]
    assert "duration_api_s 999" in links[-1].told
    assert "call_duration_s 98" in links[-1].told
    done = trial.run("find", well["session_id"].upper(), "--json")
    (told,) = json.loads(done.stdout)["found"]
    assert (done.returncode, told["broken_at"]) == (0, None)
    assert [link["name"] for link in told["links"]] == [link.name for link in found.links]


def test_what_the_reconciliation_has_open_breaks_the_chain_at_last(trial: Any) -> None:
    row = next(
        row
        for row in rows(trial, "reconciliation")
        if row["state"] == "open" and row["session_id"] and row["kind"] == "connected_call_without_recording"
    )
    found = passport_of(trial, row["session_id"])
    link = link_of(found.links, "reconciliation")
    assert link.state is LinkState.BROKEN
    assert f"{row['kind']}: {row['reason']}" in link.told
    assert found.broken_at is not None


def test_what_was_resolved_breaks_nothing() -> None:
    row = {"kind": "orphan_object", "reason": "x", "state": "resolved", "first_seen_at": None}
    assert broken_at([reconciliation_link([row])]) is None


def test_a_file_that_was_rejected_has_no_place_in_the_archive(trial: Any) -> None:
    row = next(r for r in rows(trial, "recordings") if r["archive_status"] == "rejected")
    found = passport_of(trial, row["recording_id"])
    [recording] = [r for r in found.recordings if r["recording_id"] == row["recording_id"]]
    assert link_of(recording["links"], "transfer").state is LinkState.BROKEN
    assert not [link for link in recording["links"] if link.name == "file in the archive"]


def test_a_recording_that_changed_at_8x8_has_both_versions(trial: Any) -> None:
    row = next(
        r
        for r in rows(trial, "recordings")
        if r["archive_status"] == "archived" and r["subaccount_id"] == "demo_sftp" and r["audio_issue"] is None
    )
    [kept] = (trial.simulator.directory / "sftp").rglob(f"*{row['recording_id']}*.mp3")
    kept.write_bytes(kept.read_bytes() * 2)
    trial.archive()
    found = passport_of(trial, row["recording_id"])
    [recording] = [r for r in found.recordings if r["recording_id"] == row["recording_id"]]
    link = link_of(recording["links"], "later versions")
    assert (link.state, link.told) == (LinkState.HOLDS, "2 versions are kept")
    first = next(v["uri"] for v in link.facts["version"] if v["sha256"] == row["sha256"])
    (trial.config.parent / "archive" / first.split("/archive/", 1)[1]).unlink()
    found = passport_of(trial, row["recording_id"])
    [recording] = [r for r in found.recordings if r["recording_id"] == row["recording_id"]]
    assert link_of(recording["links"], "later versions").state is LinkState.BROKEN


def test_a_recording_that_only_an_event_names_is_told_with_its_session(small: Any) -> None:
    session = next(row for row in rows(small, "sessions") if row["subaccount_id"] == "demo_s3")
    drop(small, "CALL_RECORDING_STATUS", {"sessionId": session["session_id"], "recordingId": LATE})
    found = passport_of(small, LATE)
    assert found.session["session_id"] == session["session_id"]
    link = link_of(found.links, f"recording {LATE}")
    assert link.state is LinkState.BROKEN
    assert "callarchive archive --day 2026-01-05" in link.told


def test_an_archived_day_that_lacks_a_session_of_an_event_says_so(small: Any) -> None:
    known = small.simulator.world.sessions[0].session_id
    session = f"{int(known[:8], 16) ^ 1:08x}{known[8:]}"
    drop(small, "CALL_RECORDING_STATUS", {"sessionId": session, "recordingId": LATE})
    broken = str(passport_of(small, session).broken_at)
    assert broken.startswith("sessions: 2026-01-05 was archived and does not have the session")


def test_a_session_that_nothing_dates_says_so(small: Any) -> None:
    session = "9b2d7c1e-4a5f-4b3c-8d2e-1f0a9b8c7d6e"
    drop(small, "CALL_RECORDING_STATUS", {"sessionId": session, "recordingId": LATE})
    found = passport_of(small, session)
    assert found.call_date is None
    assert small.run("find", session).returncode == 0


def test_a_number_in_an_event_is_masked_however_short(small: Any) -> None:
    session = next(row for row in rows(small, "sessions") if row["subaccount_id"] == "demo_s3")["session_id"]
    numbers = ["6123", "+65 9123 4567", "999"]
    for number in numbers:
        call = {"source": {"msisdn": number}, "destination": {"msisdn": number}}
        drop(small, "SESSION_SUMMARY", {"sessionId": session, "sessionStatus": "COMPLETED", "details": {"callA": call}})
    events = link_of(passport_of(small, session).links, "events").facts["event"]
    told = [json.loads(event["payload"])["payload"]["details"]["callA"] for event in events]
    assert told == [{"source": {"msisdn": "***"}, "destination": {"msisdn": "***"}}] * len(numbers)


def test_what_is_no_id_is_a_usage_error(small: Any) -> None:
    done = small.run("find", "+65 9123 4567")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_answer_that_is_none_any_more_is_the_first_broken_link(small: Any) -> None:
    session = next(row for row in rows(small, "sessions") if row["lookup_status"] == "ok")["session_id"]
    small.simulator.api.faults.add(Fault.answer(422, body={"statusMessage": "odd"}), match=session, times=FOREVER)
    small.archive()
    assert str(passport_of(small, session).broken_at).startswith(
        "8x8's answer: 8x8 gave no usable answer: HTTP 422: odd"
    )
