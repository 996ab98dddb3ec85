"""Which sessions 8x8 is asked for: those that are not final, and of a run that was broken off the rest."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from callarchive.errors import AccessDeniedError
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
    """A run ends after so many look-ups, one at a time."""
    trial.simulator.api.faults.add(Fault.answer(401), match="recordings", after=after, times=None)
    with pytest.raises(AccessDeniedError):
        trial.archive()
    trial.simulator.api.faults.clear()


def test_the_run_after_one_that_was_broken_off_asks_for_the_rest_only(trial):
    trial.configure("[lookups]\nconcurrency = 1\n")
    break_off(trial, after=15)
    before = asked(trial)
    with trial.connections() as connections:
        answered = {session_id for _, session_id in connections.answers.load_lookups(DAY)}
    assert len(answered) == 15
    trial.archive()
    every = {row["session_id"] for row in trial.tables()["sessions"]}
    assert set(asked(trial) - before) == every - answered
    with trial.connections() as connections:
        assert {session_id for _, session_id in connections.answers.load_lookups(DAY)} == every
    pieces = [path for path in trial.config.parent.rglob("*.zst") if path.parent.name == "pieces"]
    assert pieces == []


def test_the_tables_do_not_tell_that_a_run_was_broken_off(trial):
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
