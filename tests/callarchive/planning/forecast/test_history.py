"""Forecasts from archived days written by hand."""

from datetime import date, timedelta

import pytest

from callarchive.planning.forecast.archived_days import ArchivedDay, Pace
from callarchive.planning.forecast.history import History, Ratio
from callarchive.planning.forecast.models import Basis, Figure, sum_of

MONDAY = date(2026, 1, 5)


def a_day(sessions: int, **more: object) -> ArchivedDay:
    return ArchivedDay(session_count=sessions, **more)  # type: ignore[arg-type]


def test_sessions_come_from_the_same_weekday_or_else_from_any_day() -> None:
    counts = (10, 20, 30, 40, 50, 2, 1, 14, 28)  # from a Monday on
    history = History({MONDAY + timedelta(days=n): a_day(count) for n, count in enumerate(counts)})
    assert history.sessions_on(MONDAY + timedelta(days=70)) == Figure(12, 10, 14, ((Basis.HISTORY, 1),))
    assert history.sessions_on(MONDAY + timedelta(days=76)) == Figure(1, 1, 1, ((Basis.HISTORY, 1),))
    two_days = History({MONDAY: a_day(10), MONDAY + timedelta(days=1): a_day(20)})
    assert two_days.sessions_on(MONDAY + timedelta(days=2)) == Figure(15, 10, 20, ((Basis.HISTORY, 1),))
    assert two_days.description == "2 archived days, 2026-01-05 to 2026-01-06"


def test_days_before_an_accounts_first_session_are_ignored() -> None:
    history = History({MONDAY: a_day(0), MONDAY + timedelta(days=7): a_day(8), MONDAY + timedelta(days=14): a_day(0)})
    assert history.sessions_on(MONDAY) == Figure(4, 0, 8, ((Basis.HISTORY, 1),))
    empty = History({MONDAY: a_day(0)})
    assert empty.sessions_on(MONDAY) == Figure.unknown()
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
    counted = Figure.counted(1000, Basis.LANDING)
    assert history.seconds_per_byte.of(counted) == Figure(40, 37.5, 50, ((Basis.HISTORY, 1),))
    least = history.seconds_per_byte.of(Figure.least(1000, Basis.LEAST_LANDING))
    assert (least.value, least.low, least.high) == (40, 37.5, None)


def test_a_pace_needs_ten_recordings() -> None:
    quick, slow = Pace(4000.0, 9, 2.0), Pace(1000.0, 1, 2.0)
    assert History({MONDAY: a_day(1, fetch_pace=quick)}).bytes_per_s is None
    both = History({MONDAY: a_day(1, fetch_pace=quick), MONDAY + timedelta(days=1): a_day(1, fetch_pace=slow)})
    assert both.bytes_per_s == Ratio(1250, 500, 2000)


def test_a_sum_with_an_unknown_day_has_no_upper_bound() -> None:
    counted, likely = Figure.counted(5, Basis.CATALOG), Figure.likely(10, 8, 12)
    assert sum_of([counted, likely]) == Figure(15, 13, 17, ((Basis.CATALOG, 1), (Basis.HISTORY, 1)))
    partly = sum_of([counted, likely, Figure.unknown()])
    assert (partly.value, partly.low, partly.high) == (15, 13, None)
    assert partly.source == "counted in the catalog: 1 day; from history: 1 day; not known: 1 day"
    assert sum_of([Figure.unknown()] * 2) == Figure(None, None, None, ((Basis.UNKNOWN, 2),))
    assert sum_of([]) == Figure(0, 0, 0, ())


@pytest.mark.parametrize(
    ("figure", "actual", "expected"),
    [
        (Figure.likely(10, 8, 12), 12.000000001, True),
        (Figure.likely(10, 8, 12), 12.1, False),
        (Figure.likely(10, 8, 12), 7.9, False),
        (Figure.least(8, Basis.LEAST_LANDING), 7, False),
        (Figure.least(8, Basis.LEAST_LANDING), 900, None),
        (Figure.unknown(), 1, None),
    ],
)
def test_the_outcome_is_compared_with_known_bounds(figure: Figure, actual: float, expected: bool | None) -> None:
    assert figure.holds(actual) is expected
