"""The source `inbox`: sessions named by webhook events, on the day of their call, with the facts in the events."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callarchive.domain.models import Findings, Session
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.sources.gathering import SourceContext
from callarchive.sources.inbox import InboxSessions

DAY = date(2026, 11, 1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
V4 = "11111111-1111-4111-8111-11111111111a"


class Received:
    """An inbox with received events, and the source that reads it."""

    def __init__(self, url: str) -> None:
        self.received_at = NOW
        self.inbox = Inbox.open(url, clock=lambda: self.received_at)

    def event(self, kind: str, session_id: str, *, account: str = "acme_sg", **payload: Any) -> None:
        body = json.dumps({"eventType": kind, "payload": {"sessionId": session_id, **payload}}).encode()
        self.inbox.add([(account, read_event(body, subaccount_id=account, mask=lambda number: f"<{number}>"))])

    def summary(self, session_id: str, **payload: Any) -> None:
        self.event("SESSION_SUMMARY", session_id, **payload)

    def recording(self, session_id: str, **payload: Any) -> None:
        self.event("CALL_RECORDING_STATUS", session_id, recordingId=V4, status="UPLOAD_COMPLETED", **payload)

    def find(self, day: date = DAY, *, zone: str = "UTC", guard: Any = lambda number: number) -> Findings:
        context = SourceContext(subaccount_id="acme_sg", timezone=ZoneInfo(zone), mask=guard, clock=lambda: NOW)
        return InboxSessions(context, self.inbox).find(day)

    def ids(self, *arguments: Any, **options: Any) -> list[str]:
        findings = self.find(*arguments, **options)
        assert findings.problems == ()
        return [session.session_id for session in findings.sessions]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("initdb"))])
def received(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Received]:
    database = f"sqlite:///{tmp_path}/inbox.sqlite3"
    received = Received(database if request.param == "sqlite" else request.getfixturevalue("postgresql").url)
    yield received
    received.inbox.close()


def test_a_summarys_facts_become_the_sessions(received: Received) -> None:
    received.summary(
        V4.upper(),
        subAccountId="acme_sg",
        sessionStatus="NO ANSWER",
        startTime="2026-11-01T12:00:00Z",
        endTime="2026-11-01T12:01:30.5Z",
        callCount=2,
        details={
            "callA": {"callId": "a", "source": "+6561234567", "destination": "+6580001111", "callDuration": 33},
            "callB": {"callId": "b", "source": "+6580001111", "destination": "+6567654321", "callDuration": 31},
        },
    )
    (session,) = received.find().sessions
    assert session == Session(
        subaccount_id="acme_sg",
        session_id=V4,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=90.5),
        session_status="NO_ANSWER",
        call_count=2,
        call_duration_s=33.0,
        source_number="<+6561234567>",
        destination_number="<+6580001111>",
        sources=("inbox",),
    )


def test_a_session_named_only_by_a_recording_event_has_no_facts_and_no_guessed_start(
    received: Received, uuid1_at: Callable[..., str]
) -> None:
    session_id = uuid1_at(NOON)
    received.recording(session_id)
    assert received.find().sessions == (Session("acme_sg", session_id, sources=("inbox",)),)


def test_days_are_cut_in_the_configured_zone(received: Received, uuid1_at: Callable[..., str]) -> None:
    last, first = (datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC) + timedelta(seconds=n) for n in (0, 1))
    received.recording(uuid1_at(last))
    received.summary(uuid1_at(first), startTime=first.isoformat())
    assert received.ids(date(2026, 10, 31), zone="Asia/Singapore") == [uuid1_at(last)]
    assert received.ids(DAY, zone="Asia/Singapore") == [uuid1_at(first)]
    assert received.ids(DAY) == []


def test_an_events_start_takes_precedence_over_the_uuids(received: Received, uuid1_at: Callable[..., str]) -> None:
    session_id = uuid1_at(NOON)
    received.summary(session_id, startTime="2026-11-03T12:00:00Z")
    assert received.ids() == []
    assert received.ids(date(2026, 11, 3)) == [session_id]


def test_an_implausible_start_is_dropped_and_the_uuid_dates_the_session(
    received: Received, uuid1_at: Callable[..., str]
) -> None:
    session_id = uuid1_at(NOON)
    received.summary(
        session_id, startTime="2031-11-01T12:00:00Z", endTime="2031-01-01T00:00:00Z", sessionStatus="call +6561234567"
    )
    assert received.find().sessions == (Session("acme_sg", session_id, sources=("inbox",)),)


def test_a_session_without_a_date_is_reported_on_the_day_of_its_first_event(received: Received) -> None:
    received.received_at = NOON
    received.recording(V4)
    (problem,) = received.find().problems
    assert (problem.source, problem.file, problem.line) == ("inbox", "inbox", None)
    assert V4 in problem.reason
    assert received.find(date(2026, 11, 2)) == Findings()
    received.summary(V4, startTime="2026-11-02T00:00:00Z")
    assert received.find() == Findings()
    assert received.ids(date(2026, 11, 2)) == [V4]


def test_another_accounts_events_are_ignored(received: Received, uuid1_at: Callable[..., str]) -> None:
    received.event("SESSION_SUMMARY", uuid1_at(NOON), account="acme_th")
    assert received.find() == Findings()


def test_todays_setting_applies_to_a_number_that_was_kept(received: Received, uuid1_at: Callable[..., str]) -> None:
    received.summary(uuid1_at(NOON), details={"callA": {"source": "+6561234567"}})
    assert received.find(guard=lambda _: None).sessions[0].source_number is None


def test_a_missing_inbox_is_logged_and_has_no_sessions(caplog: pytest.LogCaptureFixture) -> None:
    context = SourceContext(subaccount_id="acme_sg", timezone=ZoneInfo("UTC"), mask=lambda n: n, clock=lambda: NOW)
    source = InboxSessions(context, None)
    assert source.find(DAY) == Findings()
    assert "there is no inbox yet" in caplog.text
