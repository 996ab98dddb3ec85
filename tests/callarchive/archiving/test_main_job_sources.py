"""The main job with sessions from webhook events, a database and files: what only one of them knows is in the day, once."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import SourceError, StoreError
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.events import recording_uploaded, session_summary
from callarchive.simulator.faults import Fault
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, Answer, FileState, Recording, Session, World
from callarchive.storage.landing import Listing
from callarchive.storage.landing.s3.landing import S3Landing

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
ACCOUNT = AccountPlan("acme.sg", "s3", "acme-recordings/calls", layout="flat")
NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)


def send(trial: Any, *bodies: dict[str, Any]) -> None:
    """8x8's events are in the inbox."""
    file = trial.config.parent / "inbox.sqlite3"
    with closing(Inbox.open(f"sqlite:///{file}", clock=trial.simulator.clock)) as inbox:
        read = [read_event(json.dumps(b).encode(), subaccount_id="acme.sg", mask=lambda _: None) for b in bodies]
        inbox.add([("acme.sg", event) for event in read])


def prune(trial: Any) -> None:
    with closing(Inbox.open(f"sqlite:///{trial.config.parent / 'inbox.sqlite3'}")) as inbox:
        assert inbox.prune(NOW + timedelta(days=9999)) > 0


def uploaded(recording: Recording, **changes: Any) -> dict[str, Any]:
    body = recording_uploaded(recording)
    return {**body, "payload": {**body["payload"], **changes}}


@dataclass(frozen=True)
class Days:
    """A day's world, and which of its calls are special.

    Attributes:
        unexported: a session that only events name.
        unanswered: one for which the API names no recording.
        moved: a recording in a date folder that is not in its URL.
        wrong: one whose event has another duration.
        booked, listed: sessions that the export lacks, and the database or a file has.
    """

    world: World
    unexported: Session
    unanswered: Session
    moved: Recording
    wrong: Recording
    booked: Session
    listed: Session


@pytest.fixture(scope="module")
def days() -> Days:
    world = generate_world(seed=5, accounts=(ACCOUNT,), first_day=DAY, last_day=DAY, sessions_per_day=40)
    sound = [
        session
        for session in world.sessions
        if len(session.recordings) == 1
        and session.recordings[0].file is FileState.WHOLE
        and session.recordings[0].ready_at is None
        and session.recordings[0].external_file_url
        and session.recordings[0].status.endswith("COMPLETED")
        and session.answer is Answer.RECORDINGS
    ]
    unexported, unanswered, moved, wrong, booked, listed = sound[:6]
    path = f"2026-01-09/{moved.recordings[0].path}"
    changed = {
        unexported: replace(unexported, exported=False),
        unanswered: replace(unanswered, answer=Answer.EMPTY_LIST),
        moved: replace(moved, recordings=(replace(moved.recordings[0], path=path),)),
        booked: replace(booked, exported=False),
        listed: replace(listed, exported=False),
    }
    # The others are plain: one recording each, where its URL says.
    plain = [session for session in sound if session not in changed]
    world = replace(world, sessions=tuple(changed.get(session, session) for session in sound))
    assert len(plain) > 5
    return Days(
        world=world,
        unexported=changed[unexported],
        unanswered=changed[unanswered],
        moved=changed[moved].recordings[0],
        wrong=wrong.recordings[0],
        booked=changed[booked],
        listed=changed[listed],
    )


@pytest.fixture
def trial(days: Days, start_trial: Start) -> Any:
    """The day's simulators, with the account's other sources configured and filled."""
    trial = start_trial(world=days.world, clock=MovableClock(NOW))
    folder = trial.config.parent
    with closing(sqlite3.connect(folder / "bookings.sqlite3")) as bookings, bookings:
        bookings.execute("create table bookings (call text, begins text)")
        rows = [(session.session_id, f"{session.started_at:%Y-%m-%dT%H:%M:%SZ}") for session in (days.booked,)]
        bookings.executemany("insert into bookings values (?, ?)", rows)
    (folder / "ids.txt").write_text(f"{days.listed.session_id}\n11111111-1111-4111-8111-111111111111\n")
    with trial.config.open("a") as config:
        config.write(
            '\n[[accounts.session_sources]]\nkind = "inbox"\n'
            '\n[[accounts.session_sources]]\nkind = "files"\npath = "ids.txt"\n'
            '\n[[accounts.session_sources]]\nkind = "sql"\nurl = "sqlite:///bookings.sqlite3"\n'
            'query = "select call as session_id, begins as started_at from bookings '
            'where begins >= :start and begins < :end"\n'
        )
    trial.configure("[reconciliation]\nlist_landing = false\n")
    return trial


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often which folder of the landing was listed."""
    counted: Counter[str] = Counter()
    listing = S3Landing.list

    def count(self: S3Landing, folder: str) -> Listing:
        counted[folder] += 1
        return listing(self, folder)

    monkeypatch.setattr(S3Landing, "list", count)
    return counted


def rows_of(trial: Any, table: schemas.Table) -> list[dict[str, Any]]:
    return Catalog.open(trial.config.parent / "catalog").rows(table, DAY)


def test_what_only_events_a_database_or_a_file_know_is_archived_once_and_stays(
    days: Days, trial: Any, listings: Counter[str]
) -> None:
    world = days.world
    (unexported,), (unanswered,) = days.unexported.recordings, days.unanswered.recordings
    events = [
        session_summary(days.unexported),
        *(uploaded(recording) for recording in (unexported, unanswered, days.moved)),
        uploaded(days.wrong, durationSeconds=round(days.wrong.duration_s) + 30),
    ]
    send(trial, *events, *events[::2])
    trial.archive()

    tables = trial.tables()
    sessions = {row["session_id"]: row for row in tables["sessions"]}
    recordings = {row["recording_id"]: row for row in tables["recordings"]}
    assert sorted(sessions) == sorted(session.session_id for session in world.sessions)
    assert sorted(recordings) == sorted(recording.recording_id for recording in world.recordings)
    assert {row["archive_status"] for row in recordings.values()} == {"archived"}

    named_by = {session_id: row["sources"] for session_id, row in sessions.items()}
    assert named_by[days.unexported.session_id] == ["inbox"]
    assert named_by[days.booked.session_id] == ["sql"]
    assert named_by[days.listed.session_id] == ["files"]
    assert named_by[days.wrong.session_id] == ["inbox", "log_export"]
    summary = sessions[days.unexported.session_id]
    assert (summary["started_at"], summary["ended_at"]) == (days.unexported.started_at, days.unexported.ended_at)

    silent = sessions[days.unanswered.session_id]
    assert (silent["lookup_status"], silent["recording_count"]) == ("no_recordings", 1)
    by_event = recordings[unanswered.recording_id]
    assert (by_event["api_status"], by_event["duration_api_s"]) == ("UPLOAD_COMPLETED", None)
    assert by_event["duration_event_s"] == round(unanswered.duration_s)

    assert recordings[days.moved.recording_id]["source_uri"].endswith(days.moved.path)
    assert listings == {}, "each file is where its URL or its event says"

    wrong = recordings[days.wrong.recording_id]
    assert wrong["duration_event_s"] == round(days.wrong.duration_s) + 30
    assert wrong["duration_mismatch"] is True

    kept, internal = trial.files(), rows_of(trial, schemas.RECORDING_EVENTS)
    assert len(internal) == 4
    for then in (lambda: None, lambda: prune(trial), (trial.config.parent / "inbox.sqlite3").unlink):
        then()
        (again,) = trial.archive()
        assert trial.tables() == tables
        assert trial.files() == kept
        assert rows_of(trial, schemas.RECORDING_EVENTS) == internal
        assert again.fetched_count == 0
        passed = {check.name for check in again.checks if check.passed}
        assert {"every_session_accounted_for", "every_recording_accounted_for", "recordings_archived"} <= passed
    reasons = [row["reason"] for row in rows_of(trial, schemas.SESSION_PROBLEMS)]
    assert ["11111111-1111-4111-8111-111111111111" in reason for reason in reasons] == [True]


def test_a_session_is_open_until_what_an_event_names_is_archived_and_the_apis_word_counts_then(
    days: Days, trial: Any
) -> None:
    (late,) = days.unanswered.recordings
    trial.archive()
    asked = trial.look_up_count()
    trial.archive()
    assert trial.look_up_count() == asked, "every session is final"
    s3, asked_for = trial.simulator.s3, {"Bucket": ACCOUNT.bucket, "Key": f"{ACCOUNT.prefix}/{late.path}"}
    data = s3.client.get_object(**asked_for)["Body"].read()
    s3.delete(ACCOUNT, late.path)
    for status, state in (("PROCESSING", "pending"), ("UPLOAD_COMPLETED", "missing"), ("UPLOAD_FAILED", "missing")):
        send(trial, uploaded(late, status=status))
        asked = trial.look_up_count()
        trial.archive()
        assert trial.state_of(late.recording_id) == state
        assert trial.look_up_count() == asked + 1, "this session alone is looked up again"
    s3.put(ACCOUNT, late.path, data)
    trial.archive()
    assert trial.state_of(late.recording_id) == "archived"

    named = {"recordingId": late.recording_id, "sessionId": late.session_id}
    answer = {"recordings": [{**named, "status": "CALLBACK_COMPLETED", "duration": 7}]}
    trial.simulator.api.faults.add(Fault.answer(200, body=answer), match=late.session_id, times=1)
    trial.configure('[lookups]\nrecheck = "all"\n')
    trial.archive()
    (row,) = [row for row in trial.tables()["recordings"] if row["recording_id"] == late.recording_id]
    assert (row["api_status"], row["duration_api_s"], row["archive_status"]) == ("CALLBACK_COMPLETED", 7.0, "archived")
    trial.archive()  # and 8x8 forgets it again
    assert row in trial.tables()["recordings"]


def test_a_look_up_that_fails_does_not_keep_what_an_event_names_from_the_archive(days: Days, trial: Any) -> None:
    send(trial, uploaded(days.wrong))
    trial.simulator.api.faults.add(Fault.answer(500), match=days.wrong.session_id, times=None)
    trial.configure("[lookups]\ndeadline_s = 1\n")
    trial.archive()
    assert trial.state_of(days.wrong.recording_id) == "archived"
    (session,) = [row for row in trial.tables()["sessions"] if row["session_id"] == days.wrong.session_id]
    assert (session["lookup_status"], session["recording_count"]) == ("error", 1)


def test_old_events_go_once_their_day_knows_them_and_a_late_one_waits_for_the_next_run(days: Days, trial: Any) -> None:
    def events_left() -> int:
        trial.simulator.clock.set(NOW + timedelta(days=200))
        with trial.connections() as connections, closing(connections.inbox()) as inbox:
            connections.prune_inbox()
            left = len(inbox.changes(0))
        trial.simulator.clock.set(NOW)
        return left

    send(trial, uploaded(days.wrong), session_summary(days.unexported))
    assert events_left() == 2
    trial.archive()
    send(trial, uploaded(days.moved))  # its session is in the day, but its content is not
    assert events_left() == 1
    trial.archive()
    assert events_left() == 0
    assert trial.state_of(days.moved.recording_id) == "archived"


def test_an_inbox_that_cannot_be_read_fails_a_check_and_not_the_day_unless_it_names_sessions(
    days: Days, trial: Any
) -> None:
    send(trial, uploaded(days.wrong))
    trial.archive()
    before = rows_of(trial, schemas.RECORDING_EVENTS)
    inbox = trial.config.parent / "inbox.sqlite3"
    for path in inbox.parent.glob("inbox.sqlite3*"):
        path.unlink()
    inbox.write_text("no database at all\n" * 100)
    with pytest.raises(StoreError, match="is not an inbox, or is damaged"):
        trial.archive()
    trial.config.write_text(trial.config.read_text().replace('[[accounts.session_sources]]\nkind = "inbox"\n', ""))
    (summary,) = trial.archive()
    assert rows_of(trial, schemas.RECORDING_EVENTS) == before
    (check,) = [check for check in summary.checks if check.name == "source_rows_readable"]
    assert not check.passed
    assert any("webhook events were not ingested" in example for example in check.examples)


def test_a_database_that_is_gone_fails_the_day_and_leaves_its_tables(trial: Any) -> None:
    trial.archive()
    before = trial.tables()
    Path(trial.config.parent / "bookings.sqlite3").unlink()
    with pytest.raises(
        SourceError, match=r"accounts\.0\.session_sources\.3\.url: /.*/bookings\.sqlite3 does not exist"
    ):
        trial.archive()
    assert trial.tables() == before
