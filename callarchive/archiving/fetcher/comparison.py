"""Compare what earlier runs kept with what archive and landing hold now, without reading any of it."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from callarchive.archiving.fetcher.wanted import FetchCounts
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.catalog.arrow_columns import pc
from callarchive.domain.errors import AccessDeniedError, UnavailableError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.models import ArchiveStatus
from callarchive.storage.landing import NOT_LISTED, Gap, Landing
from callarchive.storage.landing.refusals import Refusals

if TYPE_CHECKING:
    import pyarrow as pa

    from callarchive.catalog.arrow_columns import Column

log = logging.getLogger(__name__)

COMPARED = (
    "recording_id",
    "archive_status",
    "archive_path",
    "size_bytes",
    "source_path",
    "source_size_bytes",
    "source_etag",
    "source_modified_at",
)
"""The columns of `recording_files` that `compare` reads."""

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Comparison:
    """What archive and landing hold now of what earlier runs kept.

    Attributes:
        archived_sizes: of the kept files that are in the archive, in bytes, by path.
        as_they_are: ids of recordings for which there is nothing to do: kept and unchanged, or erased.
    """

    archived_sizes: Mapping[str, int]
    as_they_are: frozenset[str]


def compare(
    known: "pa.Table",
    *,
    subaccount_id: str,
    day: date,
    archive: RecordingArchive,
    landing: Landing,
    counts: FetchCounts,
    refusals: Refusals,
) -> Comparison:
    """Compare the kept files of one account's day with the archive, and their sources with the landing.

    A source that is gone does not take back what we hold; one that was no audio may lie elsewhere by now. A source that
    cannot be looked at puts nothing in doubt: it is counted as not compared, and its place goes to `refusals`.

    Args:
        known: rows of `recording_files` of this account's day, of which the columns `COMPARED` are enough.

    Raises:
        AccessDeniedError, HostKeyError: the landing refuses us.
    """
    sizes = archive.sizes(subaccount_id, day, _texts(known["archive_path"]))
    sources = _sources_now(known, landing, counts)
    unchanged, erased = set(), set()
    for recording_id, status, path, size_bytes, source_path, source_size_bytes, etag, modified_at in _rows(known):
        if status == ArchiveStatus.ERASED:
            erased.add(recording_id)
            continue
        held = path is None or sizes.get(path) == size_bytes
        if not held or source_path is None or status not in (ArchiveStatus.ARCHIVED, ArchiveStatus.REJECTED):
            continue
        if sources is not None:
            now = sources.get(source_path)
            if isinstance(now, Unknown) and now != NOT_LISTED:
                counts.uncompared_count += 1
                uri = landing.uri_of(source_path)
                refusals.add(Gap(source_path, uri, now.reason.removeprefix(f"{uri}: ")))
            if isinstance(now, Absent) and status != ArchiveStatus.ARCHIVED:
                continue
            if isinstance(now, Present) and not now.value.same_as(
                size_bytes=source_size_bytes, etag=etag, modified_at=modified_at
            ):
                continue
        unchanged.add(recording_id)
    counts.unchanged_count += len(unchanged)
    return Comparison(archived_sizes=sizes, as_they_are=frozenset(unchanged | erased))


def _sources_now(known: "pa.Table", landing: Landing, counts: FetchCounts) -> dict[str, Evidence[LandingObject]] | None:
    """Return what the landing says now of the objects that earlier runs read; None if it cannot be asked."""
    is_archived = pc.equal(known["archive_status"], ArchiveStatus.ARCHIVED.value)
    paths = _texts(known["source_path"])
    if not paths:
        return {}
    try:
        # What is archived stays so when its source is gone, so nobody need make sure of that.
        sources = landing.stat_many(_texts(known["source_path"].filter(is_archived)), confirm_absent=False)
        others = _texts(known["source_path"].filter(pc.invert(is_archived)))
        return {**sources, **landing.stat_many(others)} if others else sources
    except (AccessDeniedError, UnavailableError) as err:
        if isinstance(err, AccessDeniedError):
            landing.check()  # raises where the landing as a whole is refused
        counts.uncompared_count = len(paths)
        log.warning("%d files kept earlier were not compared with their source: %s", len(paths), err)
        return None


def _texts(column: "Column") -> list[str]:
    """Return the values of the column that are not NULL."""
    texts: list[str] = column.drop_null().to_pylist()
    return texts


def _rows(known: "pa.Table") -> Iterator[tuple[Any, ...]]:
    """Yield the values to compare, row by row; a few rows are in memory at a time: a day may be long."""
    for batch in known.select(list(COMPARED)).to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
