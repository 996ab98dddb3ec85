"""Models survive the conversion to rows and back."""

import io
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_files import to_arrow
from callarchive.catalog.rows import (
    Row,
    file_from,
    file_row,
    lookup_row,
    metadata_row,
    problem_row,
    recording_from,
    session_table,
)
from callarchive.catalog.schemas import Table
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

DAY = date(2026, 11, 1)
AT = datetime(2026, 11, 1, 10, 46, 56, 535_000, tzinfo=UTC)
JOURNAL = "_steps/recording_files_journal"


def recording_id(number: int) -> str:
    return f"{number:08x}-0668-41ec-9ae2-ff0d2c1b7a22"


def archived(number: int = 1, *, sha256: str = "ab" * 32) -> RecordingFile:
    path = f"acme_sg/call_date={DAY}/s/{recording_id(number)}.mp3"
    return RecordingFile(
        subaccount_id="acme_sg",
        session_id="s",
        recording_id=recording_id(number),
        archive_status=ArchiveStatus.ARCHIVED,
        source=LandingObject(
            path="s/r.mp3", uri="s3://b/s/r.mp3", size_bytes=1000, etag="e", modified_at=AT, evidence=SourceEvidence.MD5
        ),
        kept=KeptFile(
            archive_path=path,
            size_bytes=1000,
            sha256=sha256,
            audio=Mp3Facts(1.5, 42, 32.0, 8000, 1, AudioIssue.TRUNCATED, "cut short", (1,)),
            archived_at=AT,
        ),
        versions=(Version("older.mp3", "cd" * 32), Version(path, sha256)),
    )


FILES = [
    archived(),
    replace(archived(), source=replace(archived().source, etag=None, modified_at=None)),  # type: ignore[type-var]
    RecordingFile("acme_sg", "s", recording_id(2), ArchiveStatus.MISSING, error="not there"),
    RecordingFile(
        "acme_sg",
        "s",
        recording_id(3),
        ArchiveStatus.REJECTED,
        error="a web page",
        source=LandingObject(path="x", uri="s3://b/x", size_bytes=0),
        quarantine_uri="file:///q/x.bin",
    ),
    *(RecordingFile("acme_sg", "s", recording_id(4), status) for status in ArchiveStatus),
]


def through_parquet(table: Table, row: Row) -> Row:
    """Return the row as it reads back from Parquet."""
    buffer = io.BytesIO()
    pq.write_table(to_arrow(table, [row]), buffer)
    (back,) = pq.read_table(buffer).to_pylist()
    return dict(back)


@pytest.mark.parametrize("file", FILES)
def test_a_file_round_trips_through_its_row(file: RecordingFile) -> None:
    assert file_from(through_parquet(schemas.RECORDING_FILES, file_row(file))) == file


def test_a_complete_file_fills_every_column_but_its_error_and_quarantine() -> None:
    row = file_row(archived())
    assert {name for name, value in row.items() if value is None} == {"error", "quarantine_uri"}


def test_a_recording_round_trips_through_its_row() -> None:
    full = ApiRecording(recording_id(1), ApiStatus.CALLBACK_FAILED, "callback failed", "https://h/x.mp3", 12.5, AT)
    for recording in (full, ApiRecording(recording_id(1), ApiStatus.UNKNOWN)):
        row = through_parquet(schemas.RECORDING_METADATA, metadata_row("acme_sg", "s", recording))
        assert recording_from(row) == recording
        assert (row["subaccount_id"], row["session_id"]) == ("acme_sg", "s")


def test_a_lookup_round_trips_through_its_row_without_the_response() -> None:
    recordings = (ApiRecording(recording_id(1), ApiStatus.PROCESSING),)
    lookup = Lookup("s", LookupStatus.ERROR, AT, recordings, "503", http_status=503, body="{}", unreachable=True)
    row = through_parquet(schemas.LOOKUPS, lookup_row("acme_sg", lookup))
    kept = {"session_id": "s", "lookup_status": "error", "lookup_error": "503", "looked_up_at": AT, "unreachable": True}
    assert row == {"subaccount_id": "acme_sg", "negative_since": None} | kept


def test_a_session_row_has_every_field() -> None:
    session = Session("acme_sg", "s", AT, AT, "COMPLETED", 2, 61.0, Decimal("0.0125"), "SGD", "1", "2", ("a", "b"))
    [row] = session_table([session]).to_pylist()
    assert row == {field.name: getattr(session, field.name) for field in fields(session)} | {"sources": ["a", "b"]}


def test_a_day_without_sessions_is_an_empty_table_with_the_same_schema() -> None:
    assert session_table([]).equals(schemas.SESSION_IDS.schema.empty_table())


def test_a_problem_row_has_its_number() -> None:
    row = through_parquet(
        schemas.SESSION_PROBLEMS, problem_row("acme_sg", 7, RowProblem("files", "x.csv", None, "bad"))
    )
    assert row == {
        "subaccount_id": "acme_sg",
        "problem_number": 7,
        "source": "files",
        "file": "x.csv",
        "line": None,
        "reason": "bad",
    }


def test_source_evidence_round_trips_and_is_none_in_older_rows() -> None:
    row = file_row(archived())
    assert row["source_evidence"] == "md5"
    again = file_from(row).source
    assert again is not None
    assert again.evidence is SourceEvidence.MD5
    older = file_from({**row, "source_evidence": None}).source
    assert older is not None
    assert older.evidence is None
