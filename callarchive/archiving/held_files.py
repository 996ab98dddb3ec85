"""The legal hold of S3's Object Lock on archived files: set where a hold covers them, and released with it."""

import logging
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from threading import Event
from typing import TYPE_CHECKING

from callarchive.archiving.transforms.ledger_entries import files_of
from callarchive.catalog.arrow_columns import rows_in
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.rows import Row
from callarchive.catalog.schemas import RECORDING_FILES
from callarchive.custody.holds import Holds, Item, Scope
from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.domain.plurals import many
from callarchive.runtime.worker_pool import in_threads
from callarchive.storage.stores import Store

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

COLUMNS = [
    *("subaccount_id", "session_id", "recording_id"),
    *("archive_path", "sha256", "versions", "versions_sha256", "quarantine_uri"),
]
"""The columns of `recording_files` that say which files are held."""
_AT_ONCE = 16


def held_paths(rows: Iterable[Row], scopes: Collection[Scope]) -> Iterator[str]:
    """Yield the paths of the files of these rows of `recording_files`, with their call_date, that one of the scopes covers."""
    for row in rows:
        item = Item(row["subaccount_id"], row["call_date"], row["session_id"], row["recording_id"])
        if any(scope.covers(item) for scope in scopes):
            yield from (path for path, _, _ in files_of(row))


def set_legal_holds(store: Store, paths: Collection[str], *, on: bool) -> None:
    """Set or release the legal hold of every version of the files. Raises StoreError with the number of those that failed."""
    failed: list[str] = []

    def change(path: str, _: Event) -> None:
        try:
            store.set_legal_hold(path, on=on)
        except ObjectNotFoundError:  # `verify` reports it
            log.warning("%s does not exist, so nothing holds it", store.uri(path))
        except ArchiveError as err:
            failed.append(str(err))

    with in_threads(change, paths, concurrency=_AT_ONCE, name="hold") as results:
        for _ in results:
            pass
    if failed:
        what = "set" if on else "released"
        raise ArchiveError(
            f"the legal hold of {many(len(failed), 'object', 'objects')} in S3 was not {what}: {failed[0]}"
        )


def hold_new_files(store: Store, catalog: Catalog, day: date, files: "Iterable[pa.Table]") -> None:
    """Set the legal hold of the day's new files that a hold covers. What fails is logged: the hold itself is in force.

    `files` are the rows, with the columns `COLUMNS`, that will be the day's `recording_files`. Without holds, this lists one
    folder.
    """
    try:
        scopes = [hold.scope for hold in Holds(store).active()]
        if not scopes or not store.supports_legal_hold():
            return
        before = catalog.partition(RECORDING_FILES, day, columns=COLUMNS)
        known, now = (
            dict.fromkeys(held_paths(({**row, "call_date": day} for one in some for row in rows_in(one)), scopes))
            for some in ([before], files)
        )
        set_legal_holds(store, [path for path in now if path not in known], on=True)
    except ArchiveError as err:
        log.warning("%s: %s: repeat the `callarchive hold add`: `callarchive hold list` shows it", day, err)
