"""What lies in a landing, by the day that each object seems to belong to.

Only folders are looked into that may hold what belongs to the days that are asked for: sessions' folders tell their time, as do
date folders. A bucket is listed for a month at once, an SFTP server's folders are walked for one day.

Only mp3s count, and only their paths are kept, as bytes: a million take some 120 MB. An object is dated by what 8x8 wrote
into its place; which recording it belongs to is found out by whoever knows the recordings.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of, parse_timestamp
from callarchive.domain.identifiers import plausible, uuid_time
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.recording_start import time_in_name
from callarchive.storage.landing import Gap, Landing

GOOD_FOR = timedelta(minutes=15)
"""So long a listing stands for the landing."""

_LISTED_AHEAD = timedelta(days=31)
"""So many more days of a bucket are listed with one: a run goes through its days in order."""

_DAYS_OFF = 2
"""How many days a folder's name may be off from the day of the recordings in it: time zones, calls over midnight."""

_PUSHED_WITHIN_DAYS = 9
"""How many days after the call the date folder may be: a push that failed is tried again later."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_HOUR_IN_NAME = re.compile(r"[0-9a-f-]{36}_(\d{4}-\d\d-\d\dT\d\d):[0-5]\d:[0-5]\d\.\d{3}Z\.mp3$", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class LandingContents:
    """The paths of a landing's mp3s by day. Made by `list_contents`.

    Attributes:
        first, last: the days of which it is complete, save for the gaps.
        listed_at: when the listing began.
        gaps: the places in the landing that could not be listed. What lies there is not known.
        object_count: mp3s.
        undated_count: those that nothing dates, and that therefore belong to no day.
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
        """Paths below the landing's root of the objects that seem to be of the day's calls, in the listing's order."""
        return self._days.get(day, b"").decode().split("\n")[:-1]

    def every_path(self) -> Iterator[str]:
        """Yield the paths of all objects that were listed, whichever day they seem to be of, undated ones included."""
        for paths in (*self._days.values(), self._undated):
            yield from paths.decode().split("\n")[:-1]

    def gaps_of(self, day: date) -> tuple[Gap, ...]:
        """Return the gaps in which objects of the day's calls may lie, going by the names of their folders."""
        return tuple(gap for gap in self.gaps if not is_of_other_days(gap.folder, first=day, last=day))

    def add(self, item: LandingObject) -> None:
        """The object is in its day, if it is an mp3."""
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
        # Of a path that was checked no part holds a control character, so a line is a path.
        self._days.setdefault(day, bytearray()).extend(f"{item.path}\n".encode())

    def _day_by_hour(self, path: str) -> date | None:
        """The day of an object whose name is just as 8x8 writes it, if all of its hour is in that day: saves two thirds."""
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
    """Return what lies in the landing now of at least that day's calls, and in `gaps` what could not be listed of it.

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
    """Whether nothing below the folder is of those days' calls, going by its name: 8x8's date folder, or the session's id."""
    name = folder.rpartition("/")[2]
    if _DATE.fullmatch(name):
        with suppress(ValueError):
            named = date.fromisoformat(name)
            return (first - named).days > _DAYS_OFF or (named - last).days > _PUSHED_WITHIN_DAYS
    if _UUID.fullmatch(name):
        at = uuid_time(name)
        return at is not None and ((first - at.date()).days > _DAYS_OFF or (at.date() - last).days > _DAYS_OFF)
    return False


def object_time(item: LandingObject, *, now: datetime) -> datetime | None:
    """When the recording in the object seems to have started; null when nothing plausible says so.

    What `time_in_path` says, else when the object was put there, so that it turns up on some day.
    """
    at = time_in_path(item.path, now=now)
    return at if at is not None or not plausible(item.modified_at, now=now) else item.modified_at


def time_in_path(path: str, *, now: datetime) -> datetime | None:
    """The first plausible of the time stamp in the file's name, the time in the version-1 UUID with which the name begins, and
    that in its folder's, which is the session's; null when none is.
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
    """The UUID with which a file's name begins, in lower case: its recording's in 8x8's names and in ours."""
    name = path.rpartition("/")[2][:36]
    return name.lower() if _UUID.fullmatch(name) else None


def session_id_in(path: str) -> str | None:
    """The UUID that is the name of the file's folder, in lower case: its session's in 8x8's places and in ours."""
    folder = path.rpartition("/")[0].rpartition("/")[2]
    return folder.lower() if _UUID.fullmatch(folder) else None
