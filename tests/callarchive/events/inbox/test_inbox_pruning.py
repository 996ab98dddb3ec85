"""Old events are deleted once their day has ingested them, and never before."""

import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.inbox.pruning import prune_used
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.generation import uuid_at

ACCOUNT = "acme_sg"
AT = datetime(2026, 11, 19, 10, tzinfo=UTC)
DAY = AT.date()
KEEP = timedelta(days=90)
UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(AT + timedelta(hours=1))


@pytest.fixture
def inbox(url: str, clock: MovableClock) -> Iterator[Inbox]:
    opened = Inbox.open(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog")


def session_at(at: datetime, seed: int = 1) -> str:
    return uuid_at(at, random.Random(seed))


def add_event(inbox: Inbox, session_id: str, recording_id: str | None = None, *, account: str = ACCOUNT) -> int:
    """Add the event of an uploaded recording of the session, and return its number."""
    payload = {"sessionId": session_id, "recordingId": recording_id or str(uuid.uuid4())}
    body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": payload}).encode()
    inbox.add([(account, read_event(body, subaccount_id=account, mask=lambda _: None))])
    return inbox.latest_number()


def list_sessions(catalog: Catalog, day: date, *session_ids: str, account: str = ACCOUNT) -> None:
    empty: dict[str, Any] = dict.fromkeys(schemas.SESSION_IDS.schema.names)
    rows = [{**empty, "subaccount_id": account, "session_id": session_id} for session_id in session_ids]
    catalog.replace_partition(schemas.SESSION_IDS, day, rows)


def pruned(inbox: Inbox, catalog: Catalog) -> int:
    return prune_used(inbox, catalog, timezone=UTC_ZONE, keep=KEEP)


def test_old_events_that_their_day_ingested_are_deleted(inbox: Inbox, catalog: Catalog, clock: MovableClock) -> None:
    used, unlisted = session_at(AT, 1), session_at(AT, 2)
    for session_id in (used, unlisted):
        add_event(inbox, session_id)
    list_sessions(catalog, DAY, used)
    inbox.mark_ingested(DAY, inbox.latest_number())
    clock.advance(KEEP - timedelta(seconds=1))
    assert pruned(inbox, catalog) == 0
    clock.advance(timedelta(seconds=2))
    assert pruned(inbox, catalog) == 1
    assert [bool(inbox.events_of(session_id)) for session_id in (used, unlisted)] == [False, True]


def test_an_event_received_after_its_days_last_run_stays_until_the_next(
    inbox: Inbox, catalog: Catalog, clock: MovableClock
) -> None:
    session_id = session_at(AT)
    list_sessions(catalog, DAY, session_id)
    inbox.mark_ingested(DAY, add_event(inbox, session_id))
    late = str(uuid.uuid4())
    number = add_event(inbox, session_id, late)
    clock.advance(KEEP * 2)
    assert pruned(inbox, catalog) == 1
    assert len(inbox.events_of(late)) == 1
    inbox.mark_ingested(DAY, number)
    assert pruned(inbox, catalog) == 1


def test_a_days_ingested_number_never_decreases(inbox: Inbox) -> None:
    for number in (5, 3, 7, 6):
        inbox.mark_ingested(DAY, number)
    inbox.mark_ingested(DAY + timedelta(days=1), 2)
    assert inbox.ingested_days() == {DAY: 7, DAY + timedelta(days=1): 2}


@pytest.mark.parametrize("listed_on", [-1, 0, 1])
def test_a_session_of_a_neighbouring_day_is_ingested_by_that_day(
    inbox: Inbox, catalog: Catalog, clock: MovableClock, listed_on: int
) -> None:
    session_id, day = session_at(AT), DAY + timedelta(days=listed_on)
    number = add_event(inbox, session_id)
    list_sessions(catalog, day, session_id)
    clock.advance(KEEP * 2)
    for other in (-1, 0, 1):
        if other != listed_on:
            inbox.mark_ingested(DAY + timedelta(days=other), number)
    assert pruned(inbox, catalog) == 0
    inbox.mark_ingested(day, number)
    assert pruned(inbox, catalog) == 1


@pytest.mark.parametrize(("event_account", "listed"), [(ACCOUNT, "another"), ("another", ACCOUNT)])
def test_another_accounts_session_of_the_same_id_ingests_nothing(
    inbox: Inbox, catalog: Catalog, clock: MovableClock, event_account: str, listed: str
) -> None:
    session_id = session_at(AT)
    inbox.mark_ingested(DAY, add_event(inbox, session_id, account=event_account))
    list_sessions(catalog, DAY, session_id, account=listed)
    clock.advance(KEEP * 2)
    assert pruned(inbox, catalog) == 0


def test_undated_events_stay_and_unknown_types_are_deleted_by_age(
    inbox: Inbox, catalog: Catalog, clock: MovableClock
) -> None:
    undated = str(uuid.uuid4())
    add_event(inbox, undated)
    inbox.add([(ACCOUNT, read_event(b'{"eventType": "OTHER"}', subaccount_id=ACCOUNT, mask=lambda _: None))])
    clock.advance(KEEP * 2)
    assert pruned(inbox, catalog) == 1
    assert inbox.unknown_events() == {}
    assert len(inbox.events_of(undated)) == 1


def test_an_event_delivered_again_during_deletion_is_kept(inbox: Inbox, clock: MovableClock) -> None:
    session_id, recording_id = session_at(AT), str(uuid.uuid4())
    number = add_event(inbox, session_id, recording_id)
    cutoff = clock() + timedelta(seconds=1)
    old = inbox.older_than(cutoff)

    def with_a_repeat() -> Iterator[int]:
        for found, _ in old:
            clock.advance(timedelta(minutes=1))
            add_event(inbox, session_id, recording_id)
            yield found

    assert inbox.delete(with_a_repeat(), received_before=cutoff) == 0
    (kept,) = inbox.events_of(session_id)
    assert (kept.number, kept.delivery_count) == (number, 2)


def test_deletion_works_in_several_batches(inbox: Inbox, clock: MovableClock) -> None:
    def batch(count: int, seed: int) -> None:
        bodies = [
            json.dumps({"eventType": "SESSION_SUMMARY", "payload": {"sessionId": session_at(AT, seed + n)}}).encode()
            for n in range(count)
        ]
        inbox.add([(ACCOUNT, read_event(b, subaccount_id=ACCOUNT, mask=lambda _: None)) for b in bodies])

    batch(1500, 10_000)
    clock.advance(timedelta(seconds=1))
    batch(1100, 20_000)
    clock.advance(timedelta(seconds=1))
    batch(3, 30_000)
    assert len({number for number, _ in inbox.older_than(clock())}) == 2600
    assert inbox.prune(clock()) == 2600
    assert len(inbox.changes(0)) == 3
    assert len(inbox.sessions(ACCOUNT, AT - timedelta(days=1), AT + timedelta(days=1))) == 3
