"""Rows of the step tables to and from the models, and the journal of a transfer under way."""

import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import date
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, last_of_each
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.parquet_files import DamagedError, decode, to_arrow
from callarchive.domain.errors import StoreError
from callarchive.domain.foreign_text import mask_numbers
from callarchive.domain.landing_objects import LandingObject, SourceEvidence
from callarchive.domain.models import (
    ApiRecording,
    ApiStatus,
    ArchiveStatus,
    AudioIssue,
    KeptFile,
    Lookup,
    LookupStatus,
    Mp3Facts,
    RecordingFile,
    RowProblem,
    Session,
    Version,
)
from callarchive.runtime.memory import give_memory_back
from callarchive.storage.stores import StoredObject

Row = dict[str, Any]
Key = tuple[str, str]
"""(subaccount_id, session_id) or (subaccount_id, recording_id)."""


def session_table(sessions: Sequence[Session]) -> pa.Table:
    """Rows of `session_ids`, in the order of the sessions."""
    schema = schemas.SESSION_IDS.schema
    columns = [pa.array([getattr(session, field.name) for session in sessions], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def problem_row(subaccount_id: str, number: int, problem: RowProblem) -> Row:
    """A row of `session_problems`."""
    return {
        "subaccount_id": subaccount_id,
        "problem_number": number,
        "source": problem.source,
        "file": problem.file,
        "line": problem.line,
        "reason": problem.reason,
    }


def lookup_row(subaccount_id: str, lookup: Lookup) -> Row:
    """A row of `lookups`."""
    return {
        "subaccount_id": subaccount_id,
        "session_id": lookup.session_id,
        "lookup_status": lookup.status.value,
        "lookup_error": lookup.error,
        "looked_up_at": lookup.looked_up_at,
        "unreachable": lookup.unreachable,
    }


def metadata_row(subaccount_id: str, session_id: str, recording: ApiRecording) -> Row:
    """A row of `recording_metadata`."""
    return {
        "subaccount_id": subaccount_id,
        "session_id": session_id,
        "recording_id": recording.recording_id,
        "api_status": recording.api_status.value,
        "api_status_raw": recording.api_status_raw,
        "external_file_url": recording.external_file_url,
        "duration_api_s": recording.duration_api_s,
        "started_at_api": recording.started_at,
    }


def recording_from(row: Row) -> ApiRecording:
    """What `metadata_row` was made of."""
    return ApiRecording(
        recording_id=row["recording_id"],
        api_status=ApiStatus(row["api_status"]),
        api_status_raw=row["api_status_raw"],
        external_file_url=row["external_file_url"],
        duration_api_s=row["duration_api_s"],
        started_at=row["started_at_api"],
    )


def lookup_from(row: Row, recordings: Iterable[ApiRecording]) -> Lookup:
    """What `lookup_row` was made of, without the answer's text."""
    return Lookup(
        session_id=row["session_id"],
        status=LookupStatus(row["lookup_status"]),
        looked_up_at=row["looked_up_at"],
        recordings=tuple(recordings),
        error=row["lookup_error"],
        unreachable=row["unreachable"],
    )


def file_row(file: RecordingFile) -> Row:
    """A row of `recording_files`."""
    row: Row = dict.fromkeys(schemas.RECORDING_FILES.schema.names)
    row.update(
        subaccount_id=file.subaccount_id,
        session_id=file.session_id,
        recording_id=file.recording_id,
        archive_status=file.archive_status.value,
        error=file.error,
        quarantine_uri=file.quarantine_uri,
        versions=[version.archive_path for version in file.versions],
        versions_sha256=[version.sha256 for version in file.versions],
    )
    if file.source is not None:
        row.update(
            source_path=file.source.path,
            source_uri=_shown_uri(file.source),
            source_size_bytes=file.source.size_bytes,
            source_etag=file.source.etag,
            source_modified_at=file.source.modified_at,
            source_evidence=None if file.source.evidence is None else file.source.evidence.value,
        )
    if file.kept is not None:
        audio = file.kept.audio
        row.update(
            archive_path=file.kept.archive_path,
            size_bytes=file.kept.size_bytes,
            sha256=file.kept.sha256,
            archived_at=file.kept.archived_at,
            duration_s=audio.duration_s,
            audio_issue=None if audio.audio_issue is None else audio.audio_issue.value,
            audio_issue_detail=audio.issue_detail,
            bitrate_kbps=audio.bitrate_kbps,
            sample_rate_hz=audio.sample_rate_hz,
            channels=audio.channels,
            frame_count=audio.frame_count,
        )
    return row


def _shown_uri(source: LandingObject) -> str:
    """The object's place without phone numbers in its path; the landing itself is as configured."""
    if source.uri.endswith(source.path):
        return source.uri.removesuffix(source.path) + mask_numbers(source.path)
    return mask_numbers(source.uri)


def file_from(row: Row) -> RecordingFile:
    """What `file_row` was made of."""
    source = kept = None
    if row["source_path"] is not None:
        source = LandingObject(
            path=row["source_path"],
            uri=row["source_uri"],
            size_bytes=row["source_size_bytes"],
            etag=row["source_etag"],
            modified_at=row["source_modified_at"],
            evidence=None if row["source_evidence"] is None else SourceEvidence(row["source_evidence"]),
        )
    if row["archive_path"] is not None:
        kept = KeptFile(
            archive_path=row["archive_path"],
            size_bytes=row["size_bytes"],
            sha256=row["sha256"],
            archived_at=row["archived_at"],
            audio=Mp3Facts(
                duration_s=row["duration_s"],
                frame_count=row["frame_count"],
                bitrate_kbps=row["bitrate_kbps"],
                sample_rate_hz=row["sample_rate_hz"],
                channels=row["channels"],
                audio_issue=None if row["audio_issue"] is None else AudioIssue(row["audio_issue"]),
                issue_detail=row["audio_issue_detail"],
            ),
        )
    return RecordingFile(
        subaccount_id=row["subaccount_id"],
        session_id=row["session_id"],
        recording_id=row["recording_id"],
        archive_status=ArchiveStatus(row["archive_status"]),
        error=row["error"],
        source=source,
        kept=kept,
        quarantine_uri=row["quarantine_uri"],
        versions=tuple(map(Version, row["versions"] or (), row["versions_sha256"] or ())),
    )


_PACK = 64
"""So many pieces are made one while they are read."""
_BEGUN = "begun"
"""A piece without rows, which older versions wrote: its file is empty."""


def journal_folder(day: date) -> str:
    """Where the day's journal lies below the catalog's root."""
    return f"_steps/recording_files_journal/call_date={day}"


class Journal:
    """What a transfer under way has done, in small durable pieces, so that a killed run's work is not fetched again.

    Pieces are Parquet files with the schema of `recording_files` below `_steps/recording_files_journal/`. What was
    fetched after the last piece is found again by its bytes: see `RecordingArchive.keep`.

    Args:
        piece: how many recordings a piece holds at the most.
        piece_s: after how many seconds a smaller piece is written.
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
        """What is known of the day's files: the partition, and in its place what later pieces say. One row per recording.

        In the schema of `recording_files`, or the columns of it that are named; ordered by its key.
        """
        table = schemas.RECORDING_FILES
        pieces = self._pieces()
        if not pieces:
            return self._catalog.partition(table, self._day, columns=columns)
        packs = [self._catalog.partition(table, self._day)]
        # Small buffers by the thousand leave gaps, which stay taken: a long day would be held twice.
        for begin in range(0, len(pieces), _PACK):
            pack = pa.concat_tables([self._read(item.path) for item in pieces[begin : begin + _PACK]])
            packs.append(pack.combine_chunks())
        rows = pa.concat_tables(packs)
        last = last_of_each(rows, table.key)
        parts: dict[str, Column] = dict(zip(rows.column_names, rows.columns, strict=True))
        del packs, pack, rows
        known: dict[str, Column] = {}
        for name in columns or table.schema.names:
            known[name] = parts.pop(name).take(last)
            give_memory_back(len(last))
        return pa.table(known)

    def add(self, file: RecordingFile) -> None:
        """The file's record is on its way into a piece. Thread-safe."""
        with self._adding:
            self._waiting.append(file)
            due = len(self._waiting) >= self._piece or time.monotonic() - self._written_at > self._piece_s
        if due:
            self.flush()

    def flush(self) -> None:
        """Every record that was added is durable. Thread-safe; other threads may add meanwhile."""
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

    def _write(self, files: list[RecordingFile]) -> None:
        rows = to_arrow(schemas.RECORDING_FILES, [file_row(file) for file in files])
        buffer = pa.BufferOutputStream()
        pq.write_table(rows, buffer, compression="zstd")
        # The time puts pieces in order; what follows keeps processes that write at once apart.
        name = f"{self._folder}/{time.time_ns():020}-{secrets.token_hex(4)}.parquet"
        self._catalog.store.replace(name, buffer.getvalue().to_pybytes())

    def close(self, files: pa.Table) -> int:
        """The partition of `recording_files` holds these rows, and no piece is left. Returns how many there are."""
        count = self._catalog.replace_partition(schemas.RECORDING_FILES, self._day, files)
        self._waiting.clear()
        for item in self._catalog.store.list(self._folder):
            self._catalog.store.delete(item.path)
        return count

    def _pieces(self) -> list[StoredObject]:
        return self._catalog.store.list(self._folder)

    def _read(self, path: str) -> pa.Table:
        """The rows of a piece, which an older version may have left. Raises StoreError."""
        data = None if path.endswith(_BEGUN) else self._catalog.store.read(path)
        try:
            return decode(data, schemas.RECORDING_FILES, columns=None)
        except DamagedError as err:
            uri = self._catalog.store.uri(path)
            raise StoreError(f"{uri} is damaged: remove it, then archive {self._day}") from err
