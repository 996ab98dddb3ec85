"""Every instant belongs to exactly one day, also where clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callarchive.domain.days import day_bounds, day_of, days_between, parse_timestamp

ZONES = [
    "UTC",
    "Asia/Singapore",
    "Asia/Kathmandu",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Beirut",  # clocks jump over midnight
    "America/Havana",  # likewise
    "America/Santiago",  # back to 23:00 of the day before
    "America/Nuuk",  # back to 23:00 of the day before
    "Atlantic/Azores",  # 00:00 to 01:00 and back
    "Asia/Pyongyang",  # changed its offset in 2015 and 2018
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
]

zones = st.sampled_from(ZONES).map(ZoneInfo)
days = st.dates(date(2015, 1, 2), date(2037, 12, 30))


@given(st.datetimes(datetime(2015, 1, 2), datetime(2037, 12, 30), timezones=st.just(UTC)), zones)
def test_an_instant_is_within_its_day_and_no_other(at: datetime, zone: ZoneInfo) -> None:
    day = day_of(at, zone)
    begin, end = day_bounds(day, zone)
    assert begin <= at < end
    for other in (day - timedelta(days=1), day + timedelta(days=1)):
        begin, end = day_bounds(other, zone)
        assert not begin <= at < end


@given(days, zones)
def test_days_follow_each_other_without_a_gap(day: date, zone: ZoneInfo) -> None:
    begin, end = day_bounds(day, zone)
    assert end == day_bounds(day + timedelta(days=1), zone)[0]
    assert begin.utcoffset() == timedelta(0)
    assert timedelta(hours=22) < end - begin < timedelta(hours=26)
    assert day_of(begin, zone) == day
    assert day_of(end - timedelta(microseconds=1), zone) == day
    assert day_of(begin - timedelta(microseconds=1), zone) == day - timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("UTC", date(2026, 3, 29), "2026-03-29T00:00Z", 24),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-28T23:00Z", 23),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-24T22:00Z", 25),
        ("America/New_York", date(2026, 3, 8), "2026-03-08T05:00Z", 23),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T04:00Z", 25),
        ("Australia/Lord_Howe", date(2026, 10, 4), "2026-10-03T13:30Z", 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), "2026-04-04T13:00Z", 24.5),
        ("Asia/Beirut", date(2022, 3, 27), "2022-03-26T22:00Z", 23),
        ("America/Havana", date(2026, 3, 8), "2026-03-08T05:00Z", 23),
        ("America/Havana", date(2025, 11, 2), "2025-11-02T04:00Z", 25),  # midnight comes twice
        ("Africa/Casablanca", date(2025, 2, 23), "2025-02-22T23:00Z", 25),  # Ramadan
        ("Africa/Casablanca", date(2025, 4, 6), "2025-04-06T00:00Z", 23),
        ("America/Vancouver", date(2025, 11, 2), "2025-11-02T07:00Z", 25),
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-29T10:00Z", 24),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00Z", 0),  # left out: the date line moved
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00Z", 24),
        ("America/Santiago", date(2026, 9, 6), "2026-09-06T04:00Z", 23),
        ("America/Santiago", date(2026, 4, 4), "2026-04-04T03:00Z", 25),
        ("Asia/Singapore", date(2028, 2, 29), "2028-02-28T16:00Z", 24),
    ],
)
def test_days_on_which_clocks_change_have_23_or_25_hours(zone: str, day: date, begin: str, hours: float) -> None:
    first, last = day_bounds(day, ZoneInfo(zone))
    assert first == datetime.fromisoformat(begin)
    assert last - first == timedelta(hours=hours)


def test_days_between_counts_both_ends_and_the_leap_day() -> None:
    assert list(days_between(date(2028, 2, 28), date(2028, 3, 1))) == [
        date(2028, 2, 28),
        date(2028, 2, 29),
        date(2028, 3, 1),
    ]
    assert len(list(days_between(date(2026, 2, 28), date(2026, 3, 1)))) == 2
    assert list(days_between(date(2026, 1, 1), date(2026, 1, 1))) == [date(2026, 1, 1)]
    assert list(days_between(date(2026, 1, 2), date(2026, 1, 1))) == []


AT = datetime(2021, 8, 26, 10, 46, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2021-08-26T10:46:56Z", AT),
        ("2021-08-26T10:46:56", AT),
        ("2021-08-26 10:46:56", AT),
        ("  2021-08-26T10:46:56Z \n", AT),
        ("2021-08-26T10:46:56.535Z", AT.replace(microsecond=535_000)),
        ("2021-08-26T10:46:56.5350009Z", AT.replace(microsecond=535_000)),
        ("2021-08-26T18:46:56+08:00", AT),
        ("2021-08-26T18:46:56+0800", AT),
        ("2021-08-26T05:46:56-05:00", AT),
        ("1969-12-31T23:59:59.999Z", datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_stamp_is_read_as_aware_utc(text: str, at: datetime) -> None:
    read = parse_timestamp(text)
    assert read == at
    assert read is not None
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2021-08-26",
        "2026-02-29T00:00:00Z",
        "2021-13-01T00:00:00Z",
        "2021-08-26T25:00:00Z",
        "26/08/2021 10:46:56",
        "1629974816535",
        "２０２１-08-26T10:46:56Z",
        "2021-08-26T10:46:5\x00Z",
        "2021-08-26T10:46:5\ud800Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2021-08-26T10:46:56Z" * 600,
        None,
        1629974816535,
        1.5,
        True,
        ["2021-08-26T10:46:56Z"],
    ],
)
def test_anything_else_than_a_time_stamp_is_none(text: object) -> None:
    assert parse_timestamp(text) is None


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones))
def test_a_time_stamp_survives_a_round_trip(at: datetime) -> None:
    assert parse_timestamp(at.astimezone(UTC).isoformat()) == at.astimezone(UTC)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    at = parse_timestamp(text)
    assert at is None or at.tzinfo is UTC
