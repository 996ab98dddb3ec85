"""The journal of a transfer: small durable pieces, so that a rerun after a kill does not download its recordings again."""

import time
from collections.abc import Iterator, Sequence
from datetime import date
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from callarchive.archiving.pieces import piece_name
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.parquet_files import Parts
from callarchive.catalog.rows import file_row
from callarchive.catalog.schemas import RECORDING_FILES
from callarchive.catalog.stored_rows import StoredRows
from callarchive.domain.errors import StoreError
from callarchive.domain.models import RecordingFile

_BEGUN = "begun"
"""A piece without rows that older versions wrote: an empty file."""


def journal_folder(day: date) -> str:
    """Return the folder of the day's journal, relative to the catalog's root."""
    return f"_steps/recording_files_journal/call_date={day}"


class TransferJournal:
    """The files that a transfer in progress has processed, as Parquet pieces with the schema of `recording_files`.

    A rerun recognizes files downloaded after the last piece by their bytes: see `RecordingArchive.keep`.
    """

    def __init__(self, catalog: Catalog, day: date, *, piece: int = 256, piece_s: float = 0.5) -> None:
        self._catalog = catalog
        self._day = day
        self._folder = journal_folder(day)
        self._piece = piece
        self._piece_s = piece_s
        self._waiting: list[RecordingFile] = []
        self._adding = Lock()
        self._writing = Lock()
        self._written_at = time.monotonic()

    def known(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the latest row of each of the day's recordings, from the partition and the pieces.

        The table has the schema of `recording_files`, or the named columns only, and is ordered by its key.
        """
        if not self._catalog.store.list(self._folder):
            return self._catalog.partition(RECORDING_FILES, self._day, columns=columns)
        return self.latest().decoded(columns)

    def latest(self) -> StoredRows:
        """Return the rows of `known`, which are decoded in parts. Raises StoreError."""
        return StoredRows.of(RECORDING_FILES, self._files()).latest()

    def add(self, file: RecordingFile) -> None:
        """Queue the file's row for the next piece, and write the piece if it is due. Thread-safe."""
        with self._adding:
            self._waiting.append(file)
            due = len(self._waiting) >= self._piece or time.monotonic() - self._written_at > self._piece_s
        if due:
            self.flush()

    def flush(self) -> None:
        """Write the queued rows durably. Thread-safe; other threads may add rows meanwhile."""
        with self._writing:
            with self._adding:
                waiting, self._waiting = self._waiting, []
                self._written_at = time.monotonic()
            if not waiting:
                return
            try:
                self._write(waiting)
            except BaseException:
                with self._adding:
                    self._waiting = waiting + self._waiting
                raise

    def close(self, files: pa.Table | Parts) -> int:
        """Replace the partition of `recording_files` with these rows and delete the pieces. Return the row count."""
        count = self._catalog.replace_partition(RECORDING_FILES, self._day, files)
        self._waiting.clear()
        for item in self._catalog.store.list(self._folder):
            self._catalog.store.delete(item.path)
        return count

    def _write(self, files: list[RecordingFile]) -> None:
        rows = pa.Table.from_pylist([file_row(file) for file in files], schema=RECORDING_FILES.schema)
        buffer = pa.BufferOutputStream()
        # Nobody searches a piece, so it has no statistics, and its values hardly repeat.
        pq.write_table(rows, buffer, compression="zstd", use_dictionary=False, write_statistics=False)
        self._catalog.store.replace(f"{self._folder}/{piece_name()}.parquet", buffer.getvalue().to_pybytes())

    def _files(self) -> Iterator[tuple[bytes, StoreError]]:
        yield from self._catalog.files(RECORDING_FILES, self._day)
        store = self._catalog.store
        for item in store.list(self._folder):
            if not item.path.endswith(_BEGUN):
                error = StoreError(f"{store.uri(item.path)} is damaged: remove it, then archive {self._day}")
                yield store.read(item.path), error
