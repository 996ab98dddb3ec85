"""The source `inbox`: sessions of which webhook events told, on the day of their call, with the facts that events hold."""

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
from callarchive.sources.inbox import InboxSessions

DAY = date(2026, 11, 1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
V4 = "11111111-1111-4111-8111-11111111111a"


class Told:
    """An inbox that events are put into, and what the source makes of them."""

    def __init__(self, url: str) -> None:
        self.received_at = NOW
        self.inbox = Inbox.open(url, clock=lambda: self.received_at)

    def event(self, kind: str, session_id: str, *, account: str = "acme_sg", **payload: Any) -> None:
        body = json.dumps({"eventType": kind, "payload": {"sessionId": session_id, **payload}}).encode()
        self.inbox.add([(account, read_event(body, subaccount_id=account, treat=lambda number: f"<{number}>"))])

    def summary(self, session_id: str, **payload: Any) -> None:
        self.event("SESSION_SUMMARY", session_id, **payload)

    def recording(self, session_id: str, **payload: Any) -> None:
        self.event("CALL_RECORDING_STATUS", session_id, recordingId=V4, status="UPLOAD_COMPLETED", **payload)

    def find(self, day: date = DAY, *, zone: str = "UTC", guard: Any = lambda number: number) -> Findings:
        source = InboxSessions(
            self.inbox, subaccount_id="acme_sg", timezone=ZoneInfo(zone), guard=guard, clock=lambda: NOW
        )
        return source.find(day)

    def ids(self, *arguments: Any, **options: Any) -> list[str]:
        findings = self.find(*arguments, **options)
        assert findings.problems == ()
        return [session.session_id for session in findings.sessions]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("initdb"))])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Told]:
    database = f"sqlite:///{tmp_path}/inbox.sqlite3"
    told = Told(database if request.param == "sqlite" else request.getfixturevalue("postgresql").url)
    yield told
    told.inbox.close()


def test_a_summary_tells_the_facts_of_its_session(told: Told) -> None:
    told.summary(
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
    (session,) = told.find().sessions
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


def test_a_session_of_which_only_a_recording_is_told_has_no_facts_and_no_guessed_start(
    told: Told, uuid1_at: Callable[..., str]
) -> None:
    session_id = uuid1_at(NOON)
    told.recording(session_id)
    assert told.find().sessions == (Session("acme_sg", session_id, sources=("inbox",)),)


def test_days_are_cut_in_the_configured_zone(told: Told, uuid1_at: Callable[..., str]) -> None:
    last, first = (datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC) + timedelta(seconds=n) for n in (0, 1))
    told.recording(uuid1_at(last))
    told.summary(uuid1_at(first), startTime=first.isoformat())
    assert told.ids(date(2026, 10, 31), zone="Asia/Singapore") == [uuid1_at(last)]
    assert told.ids(DAY, zone="Asia/Singapore") == [uuid1_at(first)]
    assert told.ids(DAY) == []


def test_what_an_event_says_of_the_start_counts_before_the_uuid(told: Told, uuid1_at: Callable[..., str]) -> None:
    session_id = uuid1_at(NOON)
    told.summary(session_id, startTime="2026-11-03T12:00:00Z")
    assert told.ids() == []
    assert told.ids(date(2026, 11, 3)) == [session_id]


def test_a_start_that_cannot_be_is_none_and_the_uuid_dates_the_session(
    told: Told, uuid1_at: Callable[..., str]
) -> None:
    session_id = uuid1_at(NOON)
    told.summary(
        session_id, startTime="2031-11-01T12:00:00Z", endTime="2031-01-01T00:00:00Z", sessionStatus="call +6561234567"
    )
    assert told.find().sessions == (Session("acme_sg", session_id, sources=("inbox",)),)


def test_a_session_that_nothing_dates_is_named_on_the_day_on_which_it_was_told(told: Told) -> None:
    told.received_at = NOON
    told.recording(V4)
    (problem,) = told.find().problems
    assert (problem.source, problem.file, problem.line) == ("inbox", "inbox", None)
    assert V4 in problem.reason
    assert told.find(date(2026, 11, 2)) == Findings()
    told.summary(V4, startTime="2026-11-02T00:00:00Z")
    assert told.find() == Findings()
    assert told.ids(date(2026, 11, 2)) == [V4]


def test_another_accounts_events_are_none_of_ours(told: Told, uuid1_at: Callable[..., str]) -> None:
    told.event("SESSION_SUMMARY", uuid1_at(NOON), account="acme_th")
    assert told.find() == Findings()


def test_a_number_that_was_kept_is_guarded_by_todays_setting(told: Told, uuid1_at: Callable[..., str]) -> None:
    told.summary(uuid1_at(NOON), details={"callA": {"source": "+6561234567"}})
    assert told.find(guard=lambda _: None).sessions[0].source_number is None


def test_without_an_inbox_there_are_no_sessions_yet_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    source = InboxSessions(
        None, subaccount_id="acme_sg", timezone=ZoneInfo("UTC"), guard=lambda n: n, clock=lambda: NOW
    )
    assert source.find(DAY) == Findings()
    assert "there is no inbox yet" in caplog.text
