"""Which sessions 8x8 is asked for: those that are not final, and of a run that was broken off the rest."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from callarchive.archiving.steps.looking_up import look_up_recordings, sessions_to_ask
from callarchive.catalog import schemas
from callarchive.domain.errors import AccessDeniedError
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.faults import Fault
from callarchive.simulator.world import AccountPlan

DAY = date(2026, 1, 5)
ACCOUNT = AccountPlan("acme_sg", "s3", "acme-recordings/calls")


@pytest.fixture
def trial(start_trial):
    return start_trial(sessions_per_day=40, accounts=(ACCOUNT,))


def asked(trial):
    """How often 8x8 was asked for each session so far."""
    asks = [r.path for r in trial.simulator.api.requests if r.method == "GET" and "/recordings/" in r.path]
    return Counter(path.rpartition("/")[2] for path in asks)


def final_sessions(tables):
    """From the tables: answered, and no recording that is not archived."""
    wanting = {row["session_id"] for row in tables["recordings"] if row["archive_status"] != "archived"}
    answered = {row["session_id"] for row in tables["sessions"] if row["lookup_status"] != "error"}
    return answered - wanting


def test_final_sessions_are_not_asked_for_again_and_all_others_are(trial):
    trial.archive()
    before = asked(trial)
    tables = trial.tables()
    every = {row["session_id"] for row in tables["sessions"]}
    final = final_sessions(tables)
    without_any = {
        row["session_id"] for row in tables["sessions"] if row["lookup_status"] in ("no_recordings", "not_found")
    }
    assert without_any < final < every
    trial.archive()
    assert set(asked(trial) - before) == every - final
    trial.configure('[lookups]\nrecheck = "all"\n')
    before = asked(trial)
    trial.archive()
    assert set(asked(trial) - before) == every
    assert trial.tables() == tables


def break_off(trial, *, after):
    """Interrupt a run after `after` lookups, one at a time."""
    trial.simulator.api.faults.add(Fault.answer(401), match="recordings", after=after, times=None)
    with pytest.raises(AccessDeniedError):
        trial.archive()
    trial.simulator.api.faults.clear()


def test_the_run_after_one_that_was_broken_off_asks_for_the_rest_only(trial):
    trial.configure("[lookups]\nconcurrency = 1\n")
    break_off(trial, after=15)
    before = asked(trial)
    with trial.connections() as connections:
        answered = {session_id for _, session_id in connections.responses.load_lookups(DAY)}
    assert len(answered) == 15
    trial.archive()
    every = {row["session_id"] for row in trial.tables()["sessions"]}
    assert set(asked(trial) - before) == every - answered
    with trial.connections() as connections:
        assert {session_id for _, session_id in connections.responses.load_lookups(DAY)} == every
    pieces = [path for path in trial.config.parent.rglob("*.zst") if path.parent.name == "pieces"]
    assert pieces == []


def test_the_tables_do_not_show_that_a_run_was_interrupted(trial):
    trial.archive()
    undisturbed = trial.tables()
    for place in ("archive", "catalog"):
        (trial.config.parent / place).rename(trial.config.parent / f"{place}-before")
    break_off(trial, after=20)
    trial.archive()
    assert trial.tables() == undisturbed


def test_answers_that_a_broken_off_run_left_long_ago_do_not_stand_for_asking(start_trial):
    clock = MovableClock(datetime(2026, 2, 1, tzinfo=UTC))
    trial = start_trial(sessions_per_day=20, accounts=(ACCOUNT,), clock=clock)
    break_off(trial, after=10)
    before = asked(trial)
    clock.advance(timedelta(hours=1, seconds=1))
    trial.archive()
    assert set(asked(trial) - before) == {row["session_id"] for row in trial.tables()["sessions"]}


FOREIGN_404S = (
    b"",
    "<!DOCTYPE html><html><body>404 Not Found</body></html>",
    b"404 page not found\n",
    {"message": "no Route matched with those values"},
    {"message": "Not Found"},
    {"statusCode": 404, "message": "Resource not found"},
    {"timestamp": "2026-01-05T00:00:00Z", "status": 404, "error": "Not Found", "path": "/"},
    {"code": 404, "message": "not found"},
    {"error": {"code": 404, "status": "NOT_FOUND"}},
    {},
    [],
    b'{"statusCode": 1404, "statusMessage": "Session not',
    {"statusCode": 1404, "statusMessage": "Session not found", "sessionId": "e35e3d0e-065a-11ec-b119-676cb2bc33ef"},
)
NO_PROOF_OF_NONE = (
    {"recordings": None, "statusCode": None},
    {"recordings": None},
    {"statusCode": 0, "statusMessage": "ok"},
    b'{"recordings": [], "recordings": null, "statusCode": 0}',
    b'{"recordings": [], "RECORDINGS": [], "statusCode": 0}',
    {"recordings": [], "statusCode": 0, "sessionId": "e35e3d0e-065a-11ec-b119-676cb2bc33ef"},
)


def statuses(trial):
    return {row["session_id"]: row["lookup_status"] for row in trial.tables()["sessions"]}


def negatives(trial):
    return {id_ for id_, status in statuses(trial).items() if status in ("no_recordings", "not_found")}


def test_what_is_no_answer_of_8x8s_hides_no_recording(start_trial):
    trial = start_trial(sessions_per_day=60, accounts=(ACCOUNT,))
    trial.archive()
    expected = trial.tables()
    with_recordings = sorted(row["session_id"] for row in expected["sessions"] if row["recording_count"])
    for place in ("archive", "catalog"):
        (trial.config.parent / place).rename(trial.config.parent / f"{place}-before")
    faults = trial.simulator.api.faults
    answers = [Fault.answer(404, body=body) for body in FOREIGN_404S]
    answers += [Fault.answer(200, body=body) for body in NO_PROOF_OF_NONE]
    hidden = with_recordings[: len(answers)]
    assert len(hidden) == len(answers)
    for session_id, fault in zip(hidden, answers, strict=True):
        faults.add(fault, match=session_id, times=None)
    trial.archive()
    assert {statuses(trial)[session_id] for session_id in hidden} == {"error"}
    faults.clear()
    before = asked(trial)
    trial.archive()
    assert set(hidden) <= set(asked(trial) - before)
    healed = trial.tables()
    for table in ("sessions", "recordings", "status_stats", "duration_stats"):
        assert healed[table] == expected[table]


def test_a_session_without_recordings_is_asked_for_twice_and_a_rerun_on_the_same_day_asks_for_none(start_trial):
    clock = MovableClock(datetime(2026, 1, 8, tzinfo=UTC))
    trial = start_trial(sessions_per_day=40, accounts=(ACCOUNT,), clock=clock)
    trial.archive()
    none = negatives(trial)
    assert len(none) > 5

    def asks_of_none(pause):
        clock.advance(pause)
        before = asked(trial)
        trial.archive()
        return set(asked(trial) - before) & none

    assert asks_of_none(timedelta(0)) == set()
    assert asks_of_none(timedelta(hours=23, minutes=59)) == set()
    assert asks_of_none(timedelta(minutes=1)) == none
    assert asks_of_none(timedelta(0)) == set()
    assert asks_of_none(timedelta(days=30)) == set()


def test_rereading_responses_gives_the_same_tables_and_counts_no_second_response(start_trial):
    clock = MovableClock(datetime(2026, 1, 8, tzinfo=UTC))
    trial = start_trial(sessions_per_day=20, accounts=(ACCOUNT,), clock=clock)
    trial.archive()
    clock.advance(timedelta(hours=1))
    with trial.connections() as connections:
        lookups = connections.catalog.rows(schemas.LOOKUPS, DAY)
        look_up_recordings(
            connections.catalog_day(DAY),
            responses=connections.responses,
            voice=connections.voice,
            failures=(),
            reread=True,
        )
        assert connections.catalog.rows(schemas.LOOKUPS, DAY) == lookups
        assert {row["negative_since"] for row in lookups if row["session_id"] in negatives(trial)} == {
            datetime(2026, 1, 8, tzinfo=UTC)
        }
        clock.advance(timedelta(days=1))
        to_ask = set(sessions_to_ask(connections.catalog_day(DAY))["session_id"].to_pylist())
    assert negatives(trial) <= to_ask


def test_sessions_that_an_older_version_gave_up_on_a_404_are_looked_up_once_more(start_trial):
    clock = MovableClock(datetime(2026, 1, 8, tzinfo=UTC))
    trial = start_trial(sessions_per_day=30, accounts=(ACCOUNT,), clock=clock)
    trial.archive()
    expected = trial.tables()
    lost = sorted(row["session_id"] for row in expected["sessions"] if row["recording_count"])[:3]
    with trial.connections() as connections:
        catalog = connections.catalog
        rows = [
            row | {"negative_since": None} | ({"lookup_status": "not_found"} if row["session_id"] in lost else {})
            for row in catalog.rows(schemas.LOOKUPS, DAY)
        ]
        catalog.replace_partition(schemas.LOOKUPS, DAY, rows)
        for table in (schemas.RECORDING_METADATA, schemas.RECORDING_FILES):
            kept = [row for row in catalog.rows(table, DAY) if row["session_id"] not in lost]
            catalog.replace_partition(table, DAY, kept)
    clock.advance(timedelta(days=2))
    before = asked(trial)
    trial.archive()
    assert set(lost) | negatives(trial) <= set(asked(trial) - before)
    assert trial.tables()["recordings"] == expected["recordings"]
    assert statuses(trial) == {row["session_id"]: row["lookup_status"] for row in expected["sessions"]}
    before = asked(trial)
    trial.archive()
    assert not (set(lost) | negatives(trial)) & set(asked(trial) - before)
