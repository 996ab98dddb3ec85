"""Rows of the step tables, to and from the models."""

from collections.abc import Sequence
from dataclasses import fields, replace
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
    Mp3Facts,
    RecordingFile,
    RowProblem,
    Session,
    Version,
)

Row = dict[str, Any]
Key = tuple[str, str]  # (subaccount_id, session_id) or (subaccount_id, recording_id)

_FILE_COLUMNS = tuple(schemas.RECORDING_FILES.schema.names)


def _values(model: RowProblem | ApiRecording | RecordingFile | LandingObject | KeptFile | Mp3Facts) -> Row:
    """Return the fields of a model; `asdict` would copy the values too, at ten times the cost."""
    return {name: getattr(model, name) for name in model.__slots__}


def session_table(sessions: Sequence[Session]) -> pa.Table:
    """Return rows of `session_ids`, in the order of the sessions."""
    schema = schemas.SESSION_IDS.schema
    columns = [pa.array([getattr(session, field.name) for session in sessions], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def problem_row(subaccount_id: str, number: int, problem: RowProblem) -> Row:
    """Return a row of `session_problems`."""
    return {"subaccount_id": subaccount_id, "problem_number": number, **_values(problem)}


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
        "api_status": recording.api_status,
        "api_status_raw": recording.api_status_raw,
        "external_file_url": recording.external_file_url,
        "duration_api_s": recording.duration_api_s,
        "started_at_api": recording.started_at,
    }


def recording_from(row: Row) -> ApiRecording:
    """Return the recording of a `metadata_row`."""
    facts = {field.name: row[field.name] for field in fields(ApiRecording) if field.name in row}
    return ApiRecording(**facts | {"api_status": ApiStatus(row["api_status"]), "started_at": row["started_at_api"]})


def file_row(file: RecordingFile) -> Row:
    """Return a row of `recording_files`."""
    row, source, kept = _values(file), file.source, file.kept
    if source is not None:
        row |= {f"source_{name}": value for name, value in _values(source).items()}
        row["source_uri"] = _masked_uri(source)
    if kept is not None:
        row |= _values(kept) | _values(kept.audio)
        row["audio_issue_detail"] = kept.audio.issue_detail
    row["versions"] = [version.archive_path for version in file.versions]
    row["versions_sha256"] = [version.sha256 for version in file.versions]
    return {name: row.get(name) for name in _FILE_COLUMNS}


def _masked_uri(source: LandingObject) -> str:
    """Return the object's URI with phone numbers in its path masked; the landing's own URI stays."""
    if source.uri.endswith(source.path):
        return source.uri.removesuffix(source.path) + mask_numbers(source.path)
    return mask_numbers(source.uri)


def file_from(row: Row) -> RecordingFile:
    """Return the file of a `file_row`."""
    source = kept = None
    if row["source_path"] is not None:
        source = LandingObject(**{field.name: row[f"source_{field.name}"] for field in fields(LandingObject)})
        if source.evidence is not None:
            source = replace(source, evidence=SourceEvidence(source.evidence))
    if row["archive_path"] is not None:
        issue = None if row["audio_issue"] is None else AudioIssue(row["audio_issue"])
        facts: Row = {field.name: row.get(field.name) for field in fields(Mp3Facts)}
        silent = None if row["silent_channels"] is None else tuple(row["silent_channels"])
        facts |= {"audio_issue": issue, "issue_detail": row["audio_issue_detail"], "silent_channels": silent}
        audio = Mp3Facts(**facts)
        kept = KeptFile(row["archive_path"], row["size_bytes"], row["sha256"], audio, row["archived_at"])
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
