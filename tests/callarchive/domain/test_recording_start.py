"""A recording's start comes from the API, else the file's name, else the id."""

from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import pytest

from callarchive.domain.recording_start import recording_start, time_in_name

# uuid -v1 of 2021-08-26 10:46:56.535: 0x1eb065a_ea5d2f70 intervals of 100 ns since 1582-10-15.
AT = datetime(2021, 8, 26, 10, 46, 56, 535_000, tzinfo=UTC)
_TICKS = (AT - datetime(1582, 10, 15, tzinfo=UTC)) // timedelta(microseconds=1) * 10
DATED_ID = f"{_TICKS & 0xFFFFFFFF:08x}-{_TICKS >> 32 & 0xFFFF:04x}-1{_TICKS >> 48:03x}-8000-0123456789ab"
RANDOM_ID = "919108f7-52d1-4320-9bac-f847db4148a8"
DAY = date(2021, 8, 26)
NOW = datetime(2021, 8, 27, tzinfo=UTC)
UNSET = datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
API_AT = datetime(2021, 8, 26, 10, 47, tzinfo=UTC)
NAMED_AT = datetime(2021, 8, 26, 10, 46, 58, tzinfo=UTC)
NAME = f"{DATED_ID}_2021-08-26T10:46:58.000Z.mp3"


def start(
    *, api: datetime | None = None, file_name: str | None = None, recording_id: str = RANDOM_ID, day: date = DAY
) -> tuple[datetime | None, str | None]:
    return recording_start(api=api, file_name=file_name, recording_id=recording_id, call_date=day, now=NOW)


def test_the_api_comes_first() -> None:
    assert start(api=API_AT, file_name=NAME, recording_id=DATED_ID) == (API_AT, "api")


@pytest.mark.parametrize("api", [None, UNSET, NOW + timedelta(days=3), datetime(2014, 12, 31, tzinfo=UTC)])
def test_the_files_name_comes_second_where_the_api_has_no_plausible_time(api: datetime | None) -> None:
    assert start(api=api, file_name=NAME, recording_id=DATED_ID) == (NAMED_AT, "filename")


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        f"{DATED_ID}.mp3",
        f"{DATED_ID}_1969-12-31T23:59:59.999Z.mp3",
        f"{DATED_ID}_2021-02-30T10:46:56.535Z.mp3",
        f"{DATED_ID}_2099-08-26T10:46:56.535Z.mp3",
        f"{DATED_ID}_２０２１-08-26T10:46:56.535Z.mp3",
    ],
)
def test_the_id_comes_third_where_the_name_has_no_plausible_time(name: str | None) -> None:
    assert start(api=UNSET, file_name=name, recording_id=DATED_ID) == (AT, "uuid")


def test_without_a_source_the_start_is_none() -> None:
    assert start(api=UNSET, file_name="recording.mp3") == (None, None)


def test_an_id_whose_time_is_far_from_the_call_is_ignored() -> None:
    assert start(recording_id=DATED_ID, day=DAY + timedelta(days=3)) == (AT, "uuid")
    assert start(recording_id=DATED_ID, day=DAY - timedelta(days=3)) == (AT, "uuid")
    assert start(recording_id=DATED_ID, day=DAY + timedelta(days=4)) == (None, None)
    assert start(recording_id=DATED_ID, day=DAY - timedelta(days=4)) == (None, None)


@pytest.mark.parametrize(
    "spelling",
    [
        "{id}_2021-08-26T10:46:56.535Z.mp3",
        "a/b/{id}_2021-08-26T10:46:56.535Z.mp3",
        "{id}_2021-08-26T18:46:56.535+08:00.mp3",
        "{id}_2021-08-26T10-46-56.535Z.mp3",
        "{id}_2021-08-26T10_46_56.535Z.mp3",
        "{id}_2021-08-26T10.46.56.535Z.mp3",
        "{id}_2021-08-26 10:46:56.535Z.mp3",
        "{id}_2021-08-26T104656.535Z.mp3",
    ],
)
@pytest.mark.parametrize("encode", [str, quote, lambda name: quote(name).replace("%3A", "%3a")])
def test_a_time_in_a_name_is_read_raw_or_encoded(spelling: str, encode: object) -> None:
    name = spelling.format(id=RANDOM_ID)
    assert time_in_name(encode(name)) == AT  # type: ignore[operator]


def test_a_time_in_a_folder_is_not_the_files() -> None:
    assert time_in_name(f"x_2021-08-26T10:46:56Z/{RANDOM_ID}.mp3") is None


def test_a_query_behind_the_name_does_no_harm() -> None:
    url = f"https://bucket.s3.amazonaws.com/x/{RANDOM_ID}_2021-08-26T10%3A46%3A56.535Z.mp3?versionId=1"
    assert time_in_name(url) == AT
