"""Rows of the step tables, to and from the models."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from callarchive.catalog import schemas
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

Row = dict[str, Any]
Key = tuple[str, str]
"""(subaccount_id, session_id) or (subaccount_id, recording_id)."""


def session_table(sessions: Sequence[Session]) -> pa.Table:
    """Return rows of `session_ids`, in the order of the sessions."""
    schema = schemas.SESSION_IDS.schema
    columns = [pa.array([getattr(session, field.name) for session in sessions], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def problem_row(subaccount_id: str, number: int, problem: RowProblem) -> Row:
    """Return a row of `session_problems`."""
    return {"subaccount_id": subaccount_id, "problem_number": number, **asdict(problem)}


def lookup_row(subaccount_id: str, lookup: Lookup) -> Row:
    """Return a row of `lookups`."""
    return {
        "subaccount_id": subaccount_id,
        "session_id": lookup.session_id,
        "lookup_status": lookup.status.value,
        "lookup_error": lookup.error,
        "looked_up_at": lookup.looked_up_at,
        "unreachable": lookup.unreachable,
    }


def metadata_row(subaccount_id: str, session_id: str, recording: ApiRecording) -> Row:
    """Return a row of `recording_metadata`."""
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
    """Return the recording of a `metadata_row`."""
    return ApiRecording(
        recording_id=row["recording_id"],
        api_status=ApiStatus(row["api_status"]),
        api_status_raw=row["api_status_raw"],
        external_file_url=row["external_file_url"],
        duration_api_s=row["duration_api_s"],
        started_at=row["started_at_api"],
    )


def lookup_from(row: Row, recordings: Iterable[ApiRecording]) -> Lookup:
    """Return the lookup of a `lookup_row`, without the response body."""
    return Lookup(
        session_id=row["session_id"],
        status=LookupStatus(row["lookup_status"]),
        looked_up_at=row["looked_up_at"],
        recordings=tuple(recordings),
        error=row["lookup_error"],
        unreachable=row["unreachable"],
    )


def file_row(file: RecordingFile) -> Row:
    """Return a row of `recording_files`."""
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
            source_uri=_masked_uri(file.source),
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


def _masked_uri(source: LandingObject) -> str:
    """Return the object's URI with phone numbers in its path masked; the landing's own URI stays."""
    if source.uri.endswith(source.path):
        return source.uri.removesuffix(source.path) + mask_numbers(source.path)
    return mask_numbers(source.uri)


def file_from(row: Row) -> RecordingFile:
    """Return the file of a `file_row`."""
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
