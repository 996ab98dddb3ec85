from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callarchive.planning.reopening import days_to_reopen, due_at
from callarchive.settings import ReopenSettings
from callarchive.simulator.clock import MovableClock

SETTINGS = ReopenSettings(first_minutes=30, growth=0.5, max_hours=24, max_age_days=14)
ENDED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
DAY = date(2026, 3, 2)
Start = Callable[..., Any]


def test_a_session_is_looked_up_in_growing_intervals_and_then_given_up() -> None:
    at, gaps = ENDED + timedelta(minutes=1), []
    while (again := due_at(ENDED, at, SETTINGS)) is not None:
        gaps.append(again - at)
        at = again
    assert gaps[0] == timedelta(minutes=30)
    assert max(gaps) <= timedelta(hours=24)
    assert all(later >= sooner for sooner, later in pairwise(gaps[:-1]))
    assert timedelta(days=14) <= at - ENDED <= timedelta(days=14, minutes=31)
    assert len(gaps) < 40


@given(st.integers(0, 60 * 24 * 20))
def test_a_lookup_always_comes_after_the_previous_one(minutes: int) -> None:
    looked_up_at = ENDED + timedelta(minutes=minutes)
    again = due_at(ENDED, looked_up_at, SETTINGS)
    assert again is None or again >= looked_up_at
    assert (again is None) == (minutes >= 14 * 24 * 60)


def test_a_clock_behind_that_of_8x8_gives_no_negative_age() -> None:
    assert due_at(ENDED, ENDED - timedelta(hours=1), SETTINGS) == ENDED - timedelta(minutes=30)


def test_a_day_is_reopened_until_everything_is_final_or_given_up(start_trial: Start) -> None:
    clock = MovableClock(datetime(2026, 1, 6, 1, 0, tzinfo=UTC))
    trial = start_trial(sessions_per_day=25, clock=clock)
    trial.configure("[reopen]\nmax_age_days = 3\ngrowth = 2")
    trial.archive()
    runs = 1
    with trial.connections() as connections:
        assert {row["archive_status"] for row in trial.tables()["recordings"]} > {"archived", "pending"}
        while days := days_to_reopen(connections.catalog, connections.settings, now=clock()):
            (day,) = days
            assert day.day == date(2026, 1, 5)
            clock.set(max(clock(), day.due_at))
            trial.simulator.deliver()
            trial.archive()
            runs += 1
            assert runs < 60
    assert clock() <= datetime(2026, 1, 6, tzinfo=UTC) + timedelta(days=4)
    states = {row["api_status"]: row for row in trial.tables()["recordings"] if row["archive_status"] != "archived"}
    assert "pending" not in {row["archive_status"] for row in states.values()}
    assert states["PROCESSING"]["archive_status"] == "missing"
    assert "after 3 days: given up" in states["PROCESSING"]["error"]


def test_a_catalog_without_days_has_none_to_reopen(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=1)
    with trial.connections() as connections:
        assert days_to_reopen(connections.catalog, connections.settings, now=datetime(2026, 1, 6, tzinfo=UTC)) == []
