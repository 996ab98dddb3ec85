"""Forecasts from archived days written by hand."""

from datetime import date, timedelta

import pytest

from callarchive.planning.forecast.archived_days import ArchivedDay, History, Pace
from callarchive.planning.forecast.figures import (
    CATALOG,
    HISTORY,
    LANDING,
    LEAST_LANDING,
    UNKNOWN,
    Figure,
    Ratio,
    at_least,
    counted,
    total,
    unknown,
)
from callarchive.planning.forecast.forecasting import archiving_time

MONDAY = date(2026, 1, 5)


def a_day(sessions: int, **more: object) -> ArchivedDay:
    return ArchivedDay(session_count=sessions, **more)  # type: ignore[arg-type]


def test_sessions_come_from_the_same_weekday_or_else_from_any_day() -> None:
    counts = (10, 20, 30, 40, 50, 2, 1, 14, 28)  # from a Monday on
    history = History({MONDAY + timedelta(days=n): a_day(count) for n, count in enumerate(counts)})
    assert history.sessions_on(MONDAY + timedelta(days=70)) == Figure(12, 10, 14, {HISTORY: 1})
    assert history.sessions_on(MONDAY + timedelta(days=76)) == Figure(1, 1, 1, {HISTORY: 1})
    two_days = History({MONDAY: a_day(10), MONDAY + timedelta(days=1): a_day(20)})
    assert two_days.sessions_on(MONDAY + timedelta(days=2)) == Figure(15, 10, 20, {HISTORY: 1})
    assert two_days.description == "2 archived days, 2026-01-05 to 2026-01-06"


def test_days_before_an_accounts_first_session_are_ignored() -> None:
    history = History({MONDAY: a_day(0), MONDAY + timedelta(days=7): a_day(8), MONDAY + timedelta(days=14): a_day(0)})
    assert history.sessions_on(MONDAY) == Figure(4, 0, 8, {HISTORY: 1})
    empty = History({MONDAY: a_day(0)})
    assert empty.sessions_on(MONDAY) == unknown()
    assert (empty.seconds_per_byte, empty.description) == (None, "no archived day")


def test_a_ratio_is_over_all_days_and_its_range_over_single_days() -> None:
    history = History(
        {
            MONDAY: a_day(10, recorded_count=5, found_count=8, size_bytes=800, audio_s=40.0),
            MONDAY + timedelta(days=1): a_day(30, recorded_count=10, found_count=12, size_bytes=3200, audio_s=120.0),
            MONDAY + timedelta(days=2): a_day(4),
        }
    )
    assert history.sessions_per_recorded == Ratio(40 / 15, 2, 3)
    assert history.recordings_per_session == Ratio(20 / 44, 0, 0.8)
    assert history.bytes_per_recording == Ratio(200, 100, 3200 / 12)
    assert history.seconds_per_byte == Ratio(0.04, 0.0375, 0.05)
    assert counted(1000, LANDING).times(history.seconds_per_byte) == Figure(40, 37.5, 50, {HISTORY: 1})
    assert at_least(1000, LEAST_LANDING).times(history.seconds_per_byte) == Figure(40, 37.5, None, {HISTORY: 1})
    assert counted(0, LANDING).times(None) == counted(0, LANDING), "nothing is nothing, whatever the ratio"
    assert counted(1000, LANDING).times(None) == unknown()


def test_a_pace_needs_ten_recordings() -> None:
    quick, slow = Pace(4000.0, 9, 2.0), Pace(1000.0, 1, 2.0)
    assert History({MONDAY: a_day(1, fetch_pace=quick)}).fetch_s_per_byte is None
    both = History({MONDAY: a_day(1, fetch_pace=quick), MONDAY + timedelta(days=1): a_day(1, fetch_pace=slow)})
    assert both.fetch_s_per_byte == Ratio(1 / 1250, 1 / 2000, 1 / 500)


def test_a_sum_with_an_unknown_day_has_no_upper_bound() -> None:
    certain, likely = counted(5, CATALOG), Figure(10, 8, 12, {HISTORY: 1})
    assert total([certain, likely]) == Figure(15, 13, 17, {CATALOG: 1, HISTORY: 1})
    assert total([certain, likely, unknown()]) == Figure(15, 13, None, {CATALOG: 1, HISTORY: 1, UNKNOWN: 1})
    assert total([certain, likely, unknown()], partial=False).value is None
    assert total([unknown()] * 2) == Figure(None, None, None, {UNKNOWN: 2})


def test_time_comes_from_measured_paces_below_the_cap() -> None:
    figures = {"look_ups": Figure(1000, 800, 1200, {HISTORY: 1}), "fetch_bytes": counted(6e6, LANDING)}
    without = archiving_time(50, History({}), figures)
    assert (without.value, without.low, without.high) == (None, 16, None)
    fetching = Pace(2e6, 20, 1.0)
    slow, fast = Pace(40, 40, 4.0), Pace(400, 400, 4.0)  # 10 and 100 lookups a second
    days = {
        MONDAY + timedelta(days=n): a_day(1, look_up_pace=p, fetch_pace=fetching)
        for n, p in enumerate((slow, slow, fast))
    }
    measured = archiving_time(50, History(days), figures)
    assert measured.value == pytest.approx(1000 / 40 + 3)
    assert measured.low == pytest.approx(800 / 50 + 3), "not faster than the cap"
    assert measured.high == pytest.approx(1200 / 10 + 3)
