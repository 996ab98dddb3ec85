"""Comparison of what earlier runs kept with what archive and landing hold now, without reading any file."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from callarchive.archiving.fetcher.account_day import AccountDay, FetchCounts
from callarchive.catalog.arrow_columns import Column, pc
from callarchive.domain.errors import AccessDeniedError, UnavailableError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.domain.models import ArchiveStatus
from callarchive.storage.landing import NOT_LISTED, Gap, Landing

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
    """Sizes in bytes of the kept files that are in the archive, by path, and ids of recordings that need nothing."""

    archived_sizes: Mapping[str, int]
    unchanged_ids: frozenset[str]


def compare(day: AccountDay, known: pa.Table) -> Comparison:
    """Compare the kept files of one account's day with the archive, and their sources with the landing.

    A source that is gone removes nothing that we hold; one that was no audio may be elsewhere by now. One that cannot be read
    casts no doubt: it is counted, and its place refused. Raises AccessDeniedError or HostKeyError if the whole landing is.
    """
    landing, counts = day.landing, day.counts
    sizes = day.archive.sizes(day.subaccount_id, day.date, _texts(known["archive_path"]))
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
                day.refusals.add(Gap(source_path, uri, now.reason.removeprefix(f"{uri}: ")))
            if isinstance(now, Absent) and status != ArchiveStatus.ARCHIVED:
                continue
            if isinstance(now, Present) and not now.value.same_as(
                size_bytes=source_size_bytes, etag=etag, modified_at=modified_at
            ):
                continue
        unchanged.add(recording_id)
    counts.unchanged_count += len(unchanged)
    return Comparison(archived_sizes=sizes, unchanged_ids=frozenset(unchanged | erased))


def _sources_now(known: pa.Table, landing: Landing, counts: FetchCounts) -> dict[str, Evidence[LandingObject]] | None:
    """Return what the landing reports now of the objects that earlier runs read; None if it cannot be asked."""
    is_archived = pc.equal(known["archive_status"], ArchiveStatus.ARCHIVED.value)
    paths = _texts(known["source_path"])
    if not paths:
        return {}
    try:
        # What is archived stays so if its source is gone, so its absence need not be confirmed.
        sources = landing.stat_many(_texts(known["source_path"].filter(is_archived)), confirm_absent=False)
        others = _texts(known["source_path"].filter(pc.invert(is_archived)))
        return {**sources, **landing.stat_many(others)} if others else sources
    except (AccessDeniedError, UnavailableError) as err:
        if isinstance(err, AccessDeniedError):
            landing.check()  # raises where the landing as a whole is refused
        counts.uncompared_count = len(paths)
        log.warning("%d files kept earlier were not compared with their source: %s", len(paths), err)
        return None


def _texts(column: Column) -> list[str]:
    """Return the values of the column that are not NULL."""
    return list(column.drop_null().to_pylist())


def _rows(known: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the values to compare, row by row, with few rows in memory at a time."""
    for batch in known.select(list(COMPARED)).to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
