"""Recordings, sessions and bytes in a landing by day, counted from its listing. No object is read.

A day's objects are stored as three columns of fixed width, about 80 bytes each: a year of a busy landing has a few million.
"""

import logging
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from callarchive.catalog.arrow_columns import Column, pc
from callarchive.domain.days import day_of
from callarchive.domain.identifiers import plausible, uuid_time
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Landing
from callarchive.storage.landing.contents import is_of_other_days, object_time, recording_id_in, session_id_in

log = logging.getLogger(__name__)

_ID_BYTES = 36
_NO_SESSION = b"\0" * _ID_BYTES


@dataclass(frozen=True, slots=True)
class Listed:
    """A day's recordings in the landing, each counted once, and those left to fetch."""

    recording_count: int = 0
    size_bytes: int = 0
    session_count: int = 0
    fetch_count: int = 0
    fetch_bytes: int = 0


class _Day:
    def __init__(self) -> None:
        self.recordings, self.sessions, self.sizes = bytearray(), bytearray(), array("q")


class LandingDays:
    """A listing by day, from `list_days`.

    Attributes:
        undated_count: mp3s without a known time or recording id, which no day counts.
    """

    def __init__(self, *, first: date, last: date, zone: ZoneInfo, now: datetime) -> None:
        self.undated_count = 0
        self._first, self._last, self._zone, self._now = first, last, zone, now
        self._days: dict[date, _Day] = {}

    def add(self, item: LandingObject) -> None:
        """Count the object if it is an mp3 of one of the days."""
        if item.path[-4:].lower() != ".mp3":
            return
        recording_id, session_id = recording_id_in(item.path), session_id_in(item.path)
        # A call belongs to the day of its start, which is in the session's id; its recording may start after midnight.
        at = None if session_id is None else uuid_time(session_id)
        if not plausible(at, now=self._now):
            at = object_time(item, now=self._now)
        if recording_id is None or at is None:
            self.undated_count += 1
            return
        day = day_of(at, self._zone)
        if self._first <= day <= self._last:
            rows = self._days.setdefault(day, _Day())
            rows.recordings += recording_id.encode()
            rows.sessions += _NO_SESSION if session_id is None else session_id.encode()
            rows.sizes.append(item.size_bytes)

    def of(self, day: date, *, settled: Collection[Any]) -> Listed:
        """Return the day's recordings. If a recording has several objects, the largest counts.

        Args:
            settled: Arrow arrays of ids of recordings that are not fetched again.
        """
        rows = self._days.get(day)
        if rows is None:
            return Listed()
        table = pa.table({"id": _ids(rows.recordings), "size": pa.array(rows.sizes, pa.int64())})
        once = table.group_by("id", use_threads=False).aggregate([("size", "max")])
        known = pa.chunked_array(list(settled), pa.string())
        left = once.filter(pc.invert(pc.is_in(once["id"], value_set=known)))
        sessions = pc.unique(_ids(rows.sessions))
        return Listed(
            recording_count=len(once),
            size_bytes=pc.sum(once["size_max"]).as_py(),
            session_count=len(sessions.filter(pc.not_equal(sessions, _NO_SESSION.decode()))),
            fetch_count=len(left),
            fetch_bytes=pc.sum(left["size_max"]).as_py() or 0,
        )


def _ids(packed: bytearray) -> Column:
    count = len(packed) // _ID_BYTES
    offsets = pa.array(range(0, len(packed) + 1, _ID_BYTES), pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), count, [None, offsets, pa.py_buffer(packed)])


def list_days(landing: Landing, first: date, last: date, *, zone: ZoneInfo, now: datetime) -> LandingDays:
    """List the landing, and return the recordings of these days.

    Raises:
        ArchiveError: The landing cannot be listed.
    """
    found = LandingDays(first=first, last=last, zone=zone, now=now)
    for page in landing.pages("", skip=partial(is_of_other_days, first=first, last=last)):
        for item in page.objects:
            found.add(item)
        for gap in page.gaps:
            log.warning("not counted: %s", gap)
    return found
