"""Recordings, sessions and bytes in a landing by day, counted from its listing. No object is read.

Objects are stored in Arrow columns, about 90 bytes each: a year of a busy landing has a few million.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from callarchive.catalog.arrow_columns import pc
from callarchive.domain.days import day_of
from callarchive.domain.identifiers import plausible, uuid_time
from callarchive.storage.landing import Landing
from callarchive.storage.landing.contents import is_of_other_days, object_time, recording_id_in, session_id_in

log = logging.getLogger(__name__)

_TYPES = {"day": pa.date32(), "recording_id": pa.string(), "session_id": pa.string(), "size_bytes": pa.int64()}
_OBJECTS = pa.schema([pa.field(name, kind) for name, kind in _TYPES.items()])
_BATCH = 50_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A day's recordings in the landing, each counted once, and those left to download.

    Attributes:
        unsized_count, fetch_unsized_count: recordings whose size the server does not report; they are in no sum of bytes.
    """

    recording_count: int = 0
    size_bytes: int = 0
    session_count: int = 0
    fetch_count: int = 0
    fetch_bytes: int = 0
    unsized_count: int = 0
    fetch_unsized_count: int = 0


class LandingDays:
    """A landing's listing by day.

    Attributes:
        undated_count: mp3s without a known time or recording id, which no day counts.
        unsized_count: mp3s of these days whose size the server does not report.
    """

    def __init__(self, landing: Landing, first: date, last: date, *, zone: ZoneInfo, now: datetime) -> None:
        """List the landing. Raise ArchiveError if that fails."""
        rows = _rows(landing, first, last, zone=zone, now=now)
        batches = iter(lambda: list(islice(rows, _BATCH)), [])
        tables = [pa.Table.from_pylist(batch, schema=_OBJECTS) for batch in batches]
        self._objects = pa.concat_tables([_OBJECTS.empty_table(), *tables])
        self.undated_count = self._objects["day"].null_count
        self.unsized_count = self._objects["size_bytes"].null_count - self.undated_count

    def of(self, day: date, *, settled: Collection[Any]) -> Listed:
        """Return the day's recordings. If a recording has several objects, the largest counts.

        Args:
            settled: Arrow arrays of ids of recordings that are not fetched again.
        """
        objects = self._objects.filter(pc.equal(self._objects["day"], pa.scalar(day)))
        once = objects.group_by("recording_id", use_threads=False).aggregate([("size_bytes", "max")])
        known = pa.chunked_array(list(settled), pa.string())
        left = once.filter(pc.invert(pc.is_in(once["recording_id"], value_set=known)))
        return Listed(
            recording_count=len(once),
            size_bytes=pc.sum(once["size_bytes_max"]).as_py() or 0,
            session_count=pc.count_distinct(objects["session_id"]).as_py(),
            fetch_count=len(left),
            fetch_bytes=pc.sum(left["size_bytes_max"]).as_py() or 0,
            unsized_count=once["size_bytes_max"].null_count,
            fetch_unsized_count=left["size_bytes_max"].null_count,
        )


def _rows(landing: Landing, first: date, last: date, *, zone: ZoneInfo, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield a row for each mp3 of these days, and an empty one for each without a known time or recording id."""
    for page in landing.pages("", skip=partial(is_of_other_days, first=first, last=last)):
        for gap in page.gaps:
            log.warning("not counted: %s", gap)
        for item in page.objects:
            if not item.path.lower().endswith(".mp3"):
                continue
            recording_id, session_id = recording_id_in(item.path), session_id_in(item.path)
            # A call belongs to the day of its start, which is in the session's id; its recording may start after midnight.
            at = None if session_id is None else uuid_time(session_id)
            if not plausible(at, now=now):
                at = object_time(item, now=now)
            if recording_id is None or at is None:
                yield {}
            elif first <= (day := day_of(at, zone)) <= last:
                yield dict(zip(_OBJECTS.names, (day, recording_id, session_id, item.size_bytes), strict=True))
