"""Re-reads the archive against the catalog: what is missing, what has changed, what nobody wrote down."""

import logging
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from callarchive import schemas
from callarchive.columns import rows_in
from callarchive.connections import Connections
from callarchive.errors import AccessDeniedError, ObjectNotFoundError, StoreError
from callarchive.landing.places import PlaceRefusedError
from callarchive.records import Journal, Row
from callarchive.workers import Progress, in_threads

log = logging.getLogger(__name__)

_KEPT = ("archive_path", "sha256", "versions", "versions_sha256")


class Defect(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    CHANGED = "changed"
    EXTRA = "extra"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class VerifiedDay:
    """What re-reading a day found.

    Attributes:
        file_count: files that the catalog says are kept, all versions counted.
        read_count: how many of them were read and hashed.
        defects: what is wrong, and the file's URI.
    """

    day: date
    file_count: int
    read_count: int
    defects: tuple[tuple[Defect, str], ...]


def days_to_verify(connections: Connections) -> list[date]:
    """The days that the catalog knows or the archive has a folder of, oldest first."""
    days = set(connections.catalog.days(schemas.RECORDING_FILES))
    store = connections.archive.store
    for account in connections.archive.account_folders():
        for name in store.folders(account):
            with suppress(ValueError):
                days.add(date.fromisoformat(name.removeprefix("call_date=")))
    return sorted(days)


def verify_days(
    connections: Connections, days: list[date], *, sample: float = 1.0, progress: Progress
) -> Iterator[VerifiedDay]:
    """Each day's findings. Every file's presence and every extra file is told, whatever the sample.

    Args:
        sample: the share of files, above 0 and up to 1, that are read and hashed, chosen at random.
    """
    for day in days:
        with connections.day_lock(day):
            yield _verify(connections, day, sample=sample, progress=progress)


def _verify(connections: Connections, day: date, *, sample: float, progress: Progress) -> VerifiedDay:
    archive = connections.archive
    expected: dict[str, str | None] = {}
    for row in rows_in(Journal(connections.catalog, day).known(_KEPT)):
        expected |= _hashes(row)
    on_disk: dict[str, int] = {}
    for account in connections.archive.account_folders():
        on_disk |= {item.path: item.size_bytes for item in archive.store.list(f"{account}/call_date={day}")}
    defects = [(Defect.MISSING, path) for path in expected.keys() - on_disk.keys()]
    defects += [(Defect.EXTRA, path) for path in on_disk.keys() - expected.keys()]
    present = sorted(expected.keys() & on_disk.keys())
    chosen = present if sample >= 1 else random.sample(present, k=min(len(present), -int(-len(present) * sample // 1)))
    progress.begin(f"{day} files", len(chosen))

    def read(path: str, _: object) -> tuple[Defect, str] | None:
        sha256 = expected[path]
        try:
            if sha256 is None:
                log.warning(
                    "%s: recording_files of %s tells no hash of it, so nobody can tell whether it has changed:"
                    " compare it with a backup",
                    archive.store.uri(path),
                    day,
                )
                return Defect.UNREADABLE, path
            same = archive.sha256_of(path) == sha256
        except ObjectNotFoundError:
            return Defect.MISSING, path
        except (StoreError, AccessDeniedError, PlaceRefusedError) as err:
            log.warning("%s", err)
            return Defect.UNREADABLE, path
        finally:
            progress.advance()
        return None if same else (Defect.CHANGED, path)

    with in_threads(read, chosen, concurrency=4, name="verify") as results:
        defects += [defect for defect in results if defect is not None]
    located = tuple(sorted((defect, archive.store.uri(path)) for defect, path in defects))
    return VerifiedDay(day, len(expected), len(chosen), located)


def _hashes(row: Row) -> dict[str, str | None]:
    """SHA-256 of each file that the row says is kept; null where none is told, as in rows of an older version."""
    paths: list[str] = row["versions"] or []
    told: list[str | None] = row["versions_sha256"] or []
    hashes = dict(zip(paths, [*told, *[None] * len(paths)], strict=False))
    return {
        path: row["sha256"] if sha256 is None and path == row["archive_path"] else sha256
        for path, sha256 in hashes.items()
    }
