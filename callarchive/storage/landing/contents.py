"""The mp3s in a landing, by the day of their calls.

Only folders that may hold the requested days are read: date folders and sessions' folders have a time in their names. A bucket
is listed for a month at once, an SFTP server's folders are walked for one day.

Only paths are kept, as bytes: a million take some 120 MB. An object is dated by its path. Objects are assigned to recordings in
`listed_objects`.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of, parse_timestamp
from callarchive.domain.identifiers import is_uuid, plausible, uuid_time
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.recording_start import time_in_name
from callarchive.storage.landing import Gap, Landing

GOOD_FOR = timedelta(minutes=15)
"""How long a listing is reused."""

_LISTED_AHEAD = timedelta(days=31)
"""Days of a bucket that are listed together with one: a run processes its days in order."""

_DAYS_OFF = 2
"""How many days a folder's name may differ from its recordings' day: time zones, calls over midnight."""

_PUSHED_WITHIN_DAYS = 9
"""How many days after the call the date folder may be: a failed push is retried later."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_HOUR_IN_NAME = re.compile(r"[0-9a-f-]{36}_(\d{4}-\d\d-\d\dT\d\d):[0-5]\d:[0-5]\d\.\d{3}Z\.mp3$", re.ASCII)


class LandingContents:
    """The paths of a landing's mp3s by day. Made by `list_contents`.

    Attributes:
        first, last: the days for which it is complete, except for the gaps.
        listed_at: when the listing began.
        gaps: the parts that could not be listed.
        object_count: number of mp3s.
        undated_count: number of mp3s without a date, which belong to no day.
    """

    def __init__(self, *, first: date, last: date, zone: ZoneInfo, listed_at: datetime) -> None:
        self.first, self.last = first, last
        self.listed_at = listed_at
        self.object_count = self.undated_count = 0
        self.gaps: tuple[Gap, ...] = ()
        self._zone = zone
        self._days: dict[date, bytearray] = {}
        self._undated = bytearray()
        self._hours: dict[str, date | None] = {}

    def paths(self, day: date) -> list[str]:
        """Return the paths of the objects of the day's calls, judging by their dates, in the listing's order."""
        return self._days.get(day, b"").decode().split("\n")[:-1]

    def every_path(self) -> Iterator[str]:
        """Yield the paths of all objects of all days, and of undated ones."""
        for paths in (*self._days.values(), self._undated):
            yield from paths.decode().split("\n")[:-1]

    def gaps_of(self, day: date) -> tuple[Gap, ...]:
        """Return the gaps that may hold objects of the day's calls, judging by the names of their folders."""
        return tuple(gap for gap in self.gaps if not is_of_other_days(gap.folder, first=day, last=day))

    def add(self, item: LandingObject) -> None:
        """Add the object to its day, if it is an mp3."""
        if item.path[-4:].lower() != ".mp3":
            return
        self.object_count += 1
        day = self._day_by_hour(item.path)
        if day is None:
            at = object_time(item, now=self.listed_at)
            if at is None:
                self.undated_count += 1
                self._undated.extend(f"{item.path}\n".encode())
                return
            day = day_of(at, self._zone)
        # Checked paths contain no control character, so a line is a path.
        self._days.setdefault(day, bytearray()).extend(f"{item.path}\n".encode())

    def _day_by_hour(self, path: str) -> date | None:
        """Return the day of an object with a name in 8x8's format if its whole hour is in that day: three times as fast."""
        named = _HOUR_IN_NAME.match(path, path.rfind("/") + 1)
        if named is None:
            return None
        hour = named[1]
        if hour not in self._hours:
            self._hours[hour] = self._day_of_hour(hour)
        return self._hours[hour]

    def _day_of_hour(self, hour: str) -> date | None:
        begin = parse_timestamp(f"{hour}:00:00Z")
        end = parse_timestamp(f"{hour}:59:59.999999Z")
        if (
            begin is None
            or end is None
            or not (plausible(begin, now=self.listed_at) and plausible(end, now=self.listed_at))
        ):
            return None
        day = day_of(begin, self._zone)
        return day if day == day_of(end, self._zone) else None


def list_contents(landing: Landing, day: date, *, zone: ZoneInfo, now: datetime) -> LandingContents:
    """Return the landing's mp3s of at least that day's calls, and the gaps.

    Raises:
        ArchiveError: as `Landing.list`: nothing could be listed.
    """
    last = day if landing.walks_folders else day + _LISTED_AHEAD
    contents = LandingContents(first=day, last=last, zone=zone, listed_at=now)
    for page in landing.pages("", skip=partial(is_of_other_days, first=day, last=last)):
        for item in page.objects:
            contents.add(item)
        contents.gaps += page.gaps
    return contents


def is_of_other_days(folder: str, *, first: date, last: date) -> bool:
    """Return whether the folder, by its date or session id, holds nothing of those days' calls."""
    name = folder.rpartition("/")[2]
    if _DATE.fullmatch(name):
        with suppress(ValueError):
            named = date.fromisoformat(name)
            return (first - named).days > _DAYS_OFF or (named - last).days > _PUSHED_WITHIN_DAYS
    if is_uuid(name):
        at = uuid_time(name)
        return at is not None and ((first - at.date()).days > _DAYS_OFF or (at.date() - last).days > _DAYS_OFF)
    return False


def object_time(item: LandingObject, *, now: datetime) -> datetime | None:
    """Return `time_in_path`, else the object's modification time if it is plausible, else `None`."""
    at = time_in_path(item.path, now=now)
    return at if at is not None or not plausible(item.modified_at, now=now) else item.modified_at


def time_in_path(path: str, *, now: datetime) -> datetime | None:
    """Return the start of the recording at the path, `None` if it has no plausible one.

    That is the first plausible of: the time stamp in the file's name, the time in the UUID at its beginning, and the time in
    the UUID of its folder, which is the session's.
    """
    at = time_in_name(path)
    if plausible(at, now=now):
        return at
    for id_ in (recording_id_in(path), session_id_in(path)):
        at = None if id_ is None else uuid_time(id_)
        if plausible(at, now=now):
            return at
    return None


def recording_id_in(path: str) -> str | None:
    """Return the UUID at the beginning of a file's name, in lower case: the recording id in 8x8's names and in ours."""
    name = path.rpartition("/")[2][:36]
    return name.lower() if is_uuid(name) else None


def session_id_in(path: str) -> str | None:
    """Return the file's folder if its name is a UUID, in lower case: the session id in 8x8's paths and in ours."""
    folder = path.rpartition("/")[0].rpartition("/")[2]
    return folder.lower() if is_uuid(folder) else None
