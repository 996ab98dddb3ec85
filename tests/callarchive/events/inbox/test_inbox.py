import json
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.errors import ConfigurationError, StoreError, UnavailableError
from callarchive.domain.models import ApiStatus
from callarchive.events.inbox.events import ReadEvent, SessionEvent, read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.inbox.merging import InboxRecording, merge_recordings, merge_summaries
from callarchive.simulator.generation import uuid_at

ACCOUNT = "acme_sg"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = datetime(2026, 11, 19, 10, tzinfo=UTC)


def read(event: dict[str, Any], account: str = ACCOUNT) -> tuple[str, ReadEvent]:
    return account, read_event(json.dumps(event).encode(), subaccount_id=account, mask=lambda _: None)


def uploaded(session: str, recording: str | None = None, **more: Any) -> dict[str, Any]:
    payload = {
        "sessionId": session,
        "recordingId": recording or str(uuid.uuid4()),
        "status": "UPLOAD_COMPLETED",
        **more,
    }
    return {"eventType": "CALL_RECORDING_STATUS", "payload": payload}


def ended(session: str, **more: Any) -> dict[str, Any]:
    return {"eventType": "SESSION_SUMMARY", "payload": {"sessionId": session, **more}}


def session_at(at: datetime, seed: int = 1) -> str:
    return uuid_at(at, random.Random(seed))


@pytest.fixture
def inbox(url: str) -> Iterator[Inbox]:
    opened = Inbox.open(url, clock=lambda: NOW)
    yield opened
    opened.close()


def test_an_exact_repeat_is_one_event_with_one_more_delivery(inbox: Inbox) -> None:
    session = session_at(AT)
    event = uploaded(session)
    assert inbox.add([read(event), read(event)]) == 1
    assert inbox.add([read(event)]) == 0
    (kept,) = inbox.events_of(session)
    assert (kept.delivery_count, kept.kind, kept.number) == (3, "recording", inbox.latest_number())


def test_the_same_event_of_two_accounts_is_two(inbox: Inbox) -> None:
    event = uploaded(session_at(AT))
    assert inbox.add([read(event, "one"), read(event, "two")]) == 2
    assert [account.subaccount_id for account in inbox.statistics()] == ["one", "two"]


def test_a_summarys_start_takes_precedence_over_the_session_ids_time(inbox: Inbox) -> None:
    session, midnight = session_at(AT), datetime(2026, 11, 20, tzinfo=UTC)
    inbox.add([read(uploaded(session))])
    (by_id,) = inbox.sessions(ACCOUNT, AT - timedelta(hours=1), midnight)
    assert abs(by_id.call_at - AT) < timedelta(seconds=1)
    inbox.add([read(ended(session, startTime="2026-11-20T00:00:01.000Z", sessionStatus="NO ANSWER"))])
    assert inbox.sessions(ACCOUNT, AT - timedelta(hours=1), midnight) == []
    (found,) = inbox.sessions(ACCOUNT, midnight, midnight + timedelta(days=1))
    assert found.summary is not None
    assert (found.summary.session_status, found.recording_count) == ("NO_ANSWER", 1)
    inbox.add([read(ended(session, startTime="1969-12-31T23:59:59.999Z"))])  # unset: no information
    assert len(inbox.sessions(ACCOUNT, midnight, midnight + timedelta(days=1))) == 1


def test_a_session_without_a_time_is_undated_until_a_summary_dates_it(inbox: Inbox) -> None:
    session = str(uuid.uuid4())
    inbox.add([read(uploaded(session))])
    assert [undated.session_id for undated in inbox.undated(ACCOUNT)] == [session]
    assert inbox.changes(0)[0].call_at is None
    inbox.add([read(ended(session, startTime="2026-11-19T10:00:00Z"))])
    assert inbox.undated(ACCOUNT) == []


def test_changes_are_ordered_and_list_only_new_events(inbox: Inbox) -> None:
    sessions = [session_at(AT, seed) for seed in range(5)]
    for session in sessions:
        inbox.add([read(uploaded(session)), read({"eventType": "OTHER", "payload": session})])
    found = inbox.changes(0)
    assert [change.session_id for change in found] == sessions
    assert [change.number for change in found] == sorted(change.number for change in found)
    assert inbox.changes(found[1].number, limit=2) == found[2:4]
    inbox.add([read(uploaded(sessions[0], "11111111-1111-4111-8111-111111111111"))] * 3)
    assert len(inbox.changes(found[-1].number)) == 1
    assert inbox.unknown_events() == {"OTHER": 5}


def test_concurrent_writers_leave_no_gap_that_a_reader_could_miss(url: str) -> None:
    seen: list[int] = []
    stop = threading.Event()

    def write(seed: int) -> None:
        own = Inbox.open(url)
        for number in range(40):
            own.add([read(uploaded(session_at(AT, 1000 * seed + number)))])
        own.close()

    def follow() -> None:
        own = Inbox.open(url)
        while True:
            last = stop.is_set()
            seen.extend(change.number for change in own.changes(seen[-1] if seen else 0))
            if last:
                own.close()
                return
            time.sleep(0.005)

    Inbox.open(url).close()
    reader = threading.Thread(target=follow)
    writers = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2, 3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert len(seen) == len(set(seen)) == 120


def test_deleting_a_sessions_last_event_deletes_the_session(inbox: Inbox) -> None:
    one, two = session_at(AT, 1), session_at(AT, 2)
    inbox.add([read(uploaded(one)), read(ended(one)), read(uploaded(two))])
    first = inbox.events_of(one)
    assert inbox.delete([first[0].number], received_before=NOW + timedelta(seconds=1)) == 1
    assert len(inbox.sessions(ACCOUNT, AT - timedelta(days=1), AT + timedelta(days=1))) == 2
    assert inbox.prune(NOW + timedelta(seconds=1)) == 2
    assert inbox.sessions(ACCOUNT, AT - timedelta(days=1), AT + timedelta(days=1)) == []
    inbox.add([read(uploaded(one))])
    assert inbox.latest_number() > first[-1].number, "a number is never reused"


STATUSES = st.sampled_from(ApiStatus)
TEXTS = st.none() | st.sampled_from(["", "a", "b", "2026-01-05/x.mp3"])
SECONDS = st.none() | st.floats(0, 100)


@given(st.lists(st.tuples(STATUSES, TEXTS, SECONDS, TEXTS), min_size=1, max_size=6), st.randoms())
def test_recordings_merge_the_same_in_any_order_and_never_go_back(events: list[Any], rng: random.Random) -> None:
    events = [
        InboxRecording("s", "r", *event, first_received_at=at, last_received_at=at)
        for at, event in ((NOW + timedelta(hours=n), event) for n, event in enumerate(events))
    ]
    shuffled = [*events, rng.choice(events)]
    rng.shuffle(shuffled)
    merged = merge_recordings(shuffled)
    assert merged == merge_recordings(events)
    assert merged.status in {event.status for event in events}
    if any(event.status is ApiStatus.UPLOAD_COMPLETED for event in events):
        assert merged.status.value.startswith(("UPLOAD_COMPLETED", "CALLBACK_"))
    assert (merged.file_path is None) == (not any(event.file_path for event in events))
    assert (merged.duration_s is None) == all(event.duration_s is None for event in events)
    assert (merged.first_received_at, merged.last_received_at) == (NOW, events[-1].last_received_at)


WORDS = st.none() | st.sampled_from(["COMPLETED", "NO_ANSWER", "BUSY", "FAILED", "STRANGE"])
TIMES = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1), timezones=st.just(UTC))


SUMMARIES = st.builds(SessionEvent, st.just("s"), WORDS, TIMES, TIMES, st.none() | st.integers(0, 9), SECONDS)


@given(st.lists(SUMMARIES, min_size=1), st.randoms())
@settings(max_examples=60)
def test_summaries_merge_the_same_in_any_order(events: list[SessionEvent], rng: random.Random) -> None:
    shuffled = [*events, rng.choice(events)]
    rng.shuffle(shuffled)
    assert merge_summaries(shuffled) == merge_summaries(events)
    if any(event.session_status == "COMPLETED" for event in events):
        assert merge_summaries(events).session_status == "COMPLETED"


def test_readers_create_no_inbox(tmp_path: Path) -> None:
    assert Inbox.open_existing(f"sqlite:///{tmp_path}/inbox.sqlite3") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_an_inbox_is_reported(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite3").write_text("not a database" * 100)
    with pytest.raises(StoreError, match="is not an inbox, or is damaged"):
        Inbox.open(f"sqlite:///{tmp_path}/text.sqlite3")
    with pytest.raises(StoreError, match="cannot be created"):
        Inbox.open(f"sqlite:///{tmp_path}/nowhere/inbox.sqlite3")
    with pytest.raises(ConfigurationError, match="no driver is installed"):
        Inbox.open("oracle+nothing://host/db")


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_a_missing_postgresql_driver_is_reported_with_how_to_install_it(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"inbox\.url: .*pip install 'callarchive\[postgresql\]'"):
        Inbox.open(f"{scheme}://callarchive@127.0.0.1:9/db")


def test_an_inbox_of_another_version_is_refused(url: str) -> None:
    opened = Inbox.open(url)
    with opened._engine.begin() as connection:
        connection.execute(sa.text("update inbox_about set number = 99"))
    opened.close()
    with pytest.raises(ConfigurationError, match="version 99"):
        Inbox.open(url)


def test_a_missing_database_is_unavailable_and_its_password_is_not_shown() -> None:
    with pytest.raises(UnavailableError, match=r"inbox\.url") as caught:
        Inbox.open("postgresql+psycopg://user:hunter2@127.0.0.1:9/db")
    assert "hunter2" not in str(caught.value)
