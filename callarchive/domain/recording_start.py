"""The start of a recording: from 8x8's response, else the file's name, else the recording id."""

import re
from datetime import date, datetime, timedelta
from urllib.parse import unquote

from callarchive.domain.days import parse_timestamp
from callarchive.domain.identifiers import plausible, uuid_time

_IN_NAME = re.compile(r"_(\d{4}-\d\d-\d\d[T ]\d\d[:.\-_]?\d\d[:.\-_]?\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)")
_NEAR_THE_CALL = timedelta(days=3)


def recording_start(
    *, api: datetime | None, file_name: str | None, recording_id: str, call_date: date, now: datetime
) -> tuple[datetime | None, str | None]:
    """Return the start and its source: `api`, `filename` or `uuid`; `None` twice if there is none.

    A UUID's time counts only within three days of the call's day: its generator's clock may be off. The file name is that
    of the object found, else of 8x8's URL; percent-encoded or not.
    """
    if plausible(api, now=now):
        return api, "api"
    named = time_in_name(file_name) if file_name else None
    if plausible(named, now=now):
        return named, "filename"
    at = uuid_time(recording_id)
    if at is not None and plausible(at, now=now) and abs(at.date() - call_date) <= _NEAR_THE_CALL:
        return at, "uuid"
    return None, None


def time_in_name(file_name: str) -> datetime | None:
    """Return the time stamp after the `_` in `{recordingId}_2021-08-26T10:46:56.535Z.mp3`, or `None`."""
    match = _IN_NAME.search(unquote(file_name.rpartition("/")[2]))
    if match is None:
        return None
    return parse_timestamp(re.sub(r"T(\d\d)[.\-_](\d\d)[.\-_](\d\d)", r"T\1:\2:\3", match[1]))
