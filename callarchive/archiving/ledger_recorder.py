"""What runs record in the ledger: files before `recording_files` names them, and public tables before readers see them.

The hash of a partition is in the ledger before the partition takes its name, and "completed" after. A run that is killed in
between leaves an entry without its completion, which verification reports as unfinished instead of as edited.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from itertools import chain, islice
from threading import Lock
from typing import TYPE_CHECKING, Any

from callarchive.catalog.parquet_catalog import Catalog, Written
from callarchive.catalog.schemas import PUBLIC_TABLES, RECORDING_FILES, Table
from callarchive.domain.errors import ArchiveError, ConfigurationError, DamagedTableError
from callarchive.domain.evidence import Present
from callarchive.ledger.anchor import Anchor
from callarchive.ledger.batches import FOLDER, STARTED, Batch, Facts, open_path
from callarchive.ledger.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa

    from callarchive.catalog.parquet_files import Parts

log = logging.getLogger(__name__)

_AT_ONCE = 10_000
"""Entries in one object: about 5 MB."""
_LOCK_WAIT_S = 3600.0
_LEFT_BEHIND_S = 3600.0
"""The age of a temporary file that a killed run left: an append takes milliseconds, and none holds a lock."""


class LedgerRecorder:
    """Records the work of one process in the ledger. Thread-safe."""

    def __init__(self, ledger: Ledger, catalog: Catalog, anchor: Anchor | None) -> None:
        self._ledger = ledger
        self._anchor = anchor
        self._catalog = catalog
        self._starting = Lock()
        self._started = False
        self._published: list[dict[str, str]] = []

    @contextmanager
    def day(self) -> Iterator[None]:
        """Record at the end of the block that the partitions published in it are in place, even if the block raises."""
        try:
            yield
        except BaseException:
            try:
                self.complete()
            except ArchiveError as err:  # the error of the block matters more
                log.warning("the ledger lacks the end of this run: %s", err)
            raise
        self.complete()

    def complete(self) -> None:
        """Record that what was published is in place; the anchor gets the checkpoint. Raises LedgerError, StoreError."""
        published, self._published = self._published, []
        if published:
            batch = self._ledger.append([{"event": "completed", "partitions": published}])
            for partition in published:
                self._ledger.store.delete(open_path(partition["path"]))
            self._keep(batch)

    def require_writing(self) -> None:
        """Raise as `record` would if the ledger cannot be written or signed here, or the anchor is out of reach."""
        self.start()
        head = None if self._ledger.can_sign else self._ledger.head()
        if head is not None and head.is_signed:
            raise ConfigurationError(
                "the ledger is signed, and ledger.signing_key is not set here: run it where recordings are archived"
            )

    def record(self, facts: Facts) -> Batch:
        """Append an entry, give the anchor the checkpoint, and return the batch.

        Raises ConfigurationError if the ledger is signed and cannot be signed here; LedgerError, StoreError.
        """
        self.require_writing()
        batch = self._ledger.append([facts])
        self._keep(batch)
        return batch

    def _keep(self, batch: Batch) -> None:
        if self._anchor is not None:
            self._anchor.keep(batch)

    def publish(self, table: Table, day: date, rows: "pa.Table | Iterable[Mapping[str, Any]] | Parts") -> int:
        """Replace the day's partition and return its row count. The ledger has the hash of a public table's first."""
        if table not in PUBLIC_TABLES:
            return self._catalog.replace_partition(table, day, rows)
        written: list[Written] = []

        def record(file: Written) -> None:
            self.start()
            self._ledger.store.replace(open_path(file.path), b"")
            self._ledger.append([_published("published", table, day, file)])
            written.append(file)

        count = self._catalog.replace_partition(table, day, rows, on_written=record)
        was_open = not written and isinstance(self._ledger.store.stat(open_path(table.partition_path(day))), Present)
        if was_open and (file := self._catalog.written(table, day)) is not None:
            record(file)  # a killed run recorded another file, and did not put it in place
        self._published += [{"path": file.path, "sha256": file.sha256} for file in written]
        return count

    def record_files(self, day: date, files: "Iterable[pa.Table]") -> None:
        """Record the files that these rows of `recording_files` name and its partition does not."""
        from callarchive.archiving.transforms.ledger_entries import FILE_COLUMNS, new_files
        from callarchive.catalog.arrow_columns import keys_of, pc

        self.start()
        rows = self._catalog.stored_rows(RECORDING_FILES, day)
        keys = keys_of(rows.keys, RECORDING_FILES.key)

        def entries() -> Iterator[Facts]:
            for part in files:
                before = rows.where(pc.is_in(keys, value_set=keys_of(part, RECORDING_FILES.key)))
                yield from new_files(before.decoded(FILE_COLUMNS), part, call_date=day)

        self._append(entries())

    def start(self) -> None:
        """Take what was archived before the ledger into it, unless that is done. Raises LedgerError, StoreError."""
        with self._starting:
            if self._started:
                return
            if self._anchor is not None:
                self._anchor.follow()  # a run whose anchor was out of reach may have left it behind
            if not isinstance(self._ledger.store.stat(STARTED), Present):
                with self._catalog.store.lock("ledger", wait_s=_LOCK_WAIT_S):
                    if not isinstance(self._ledger.store.stat(STARTED), Present) and self._adopt():
                        self._ledger.store.replace(STARTED, b"")
            self._ledger.store.sweep(FOLDER, older_than_s=_LEFT_BEHIND_S)
            self._started = True

    def _adopt(self) -> bool:
        """Record the files and tables of all days, and return whether none is left for later runs.

        A killed run leaves days recorded: the next one records the others. A day whose `recording_files` is damaged waits
        until that is restored or removed; it keeps no other day from being archived.
        """
        from callarchive.archiving.transforms.ledger_entries import FILE_COLUMNS
        from callarchive.ledger.batches import facts_of

        done: set[str] = set()
        for batch in self._ledger.batches():
            for line in batch.lines:
                facts = facts_of(line)
                if facts.get("event") == "started":
                    return True
                if facts.get("event") in ("adopted_day", "published"):
                    done.add(str(facts.get("call_date")))
        days = sorted({day for table in (*PUBLIC_TABLES, RECORDING_FILES) for day in self._catalog.days(table)})
        if days and not done:
            log.info("the ledger starts: it takes in %d days that were archived before it", len(days))
        damaged = []
        for day in (day for day in days if str(day) not in done):
            try:
                files = self._catalog.partition(RECORDING_FILES, day, columns=FILE_COLUMNS)
            except DamagedTableError as err:
                log.warning("the ledger does not take in %s yet: %s", day, err)
                damaged.append(day)
                continue
            self._append(self._of_day(day, files))
        if not damaged:
            self._ledger.append([{"event": "started", "adopted_days": len(days)}])
        return not damaged

    def _of_day(self, day: date, files: "pa.Table") -> Iterator[Facts]:
        from callarchive.archiving.transforms.ledger_entries import new_files

        yield from new_files(files.slice(0, 0), files, call_date=day, event="adopted")
        for table in PUBLIC_TABLES:
            if (file := self._catalog.written(table, day)) is not None:
                yield _published("adopted_partition", table, day, file)
        yield {"event": "adopted_day", "call_date": str(day)}

    def _append(self, entries: Iterator[Facts]) -> None:
        for first in entries:
            self._ledger.append(chain((first,), islice(entries, _AT_ONCE - 1)))


def _published(event: str, table: Table, day: date, file: Written) -> Facts:
    return {
        "event": event,
        "table": table.name,
        "call_date": str(day),
        "path": file.path,
        "sha256": file.sha256,
        "row_count": file.row_count,
    }
