"""Rows give back what they were made of, and a killed transfer's journal tells what it had done."""

import io
import subprocess
import sys
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.parquet_files import to_arrow
from callarchive.catalog.rows import (
    Journal,
    Row,
    file_from,
    file_row,
    journal_folder,
    lookup_from,
    lookup_row,
    metadata_row,
    problem_row,
    recording_from,
    session_table,
)
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import StoreError
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
            audio=Mp3Facts(1.5, 42, 32.0, 8000, 1, AudioIssue.TRUNCATED, "cut short"),
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
    """The row as the catalog gives it back."""
    buffer = io.BytesIO()
    pq.write_table(to_arrow(table, [row]), buffer)
    (back,) = pq.read_table(buffer).to_pylist()
    return dict(back)


@pytest.mark.parametrize("file", FILES)
def test_a_file_survives_the_way_into_a_row_and_back(file: RecordingFile) -> None:
    assert file_from(through_parquet(schemas.RECORDING_FILES, file_row(file))) == file


def test_a_file_with_everything_leaves_only_what_was_null_null() -> None:
    row = file_row(archived())
    assert {name for name, value in row.items() if value is None} == {"error", "quarantine_uri"}


def test_a_recording_survives_the_way_into_a_row_and_back() -> None:
    full = ApiRecording(recording_id(1), ApiStatus.CALLBACK_FAILED, "callback failed", "https://h/x.mp3", 12.5, AT)
    for recording in (full, ApiRecording(recording_id(1), ApiStatus.UNKNOWN)):
        row = through_parquet(schemas.RECORDING_METADATA, metadata_row("acme_sg", "s", recording))
        assert recording_from(row) == recording
        assert (row["subaccount_id"], row["session_id"]) == ("acme_sg", "s")


def test_a_lookup_survives_the_way_into_a_row_and_back_but_for_the_answer_itself() -> None:
    recordings = (ApiRecording(recording_id(1), ApiStatus.PROCESSING),)
    lookup = Lookup("s", LookupStatus.ERROR, AT, recordings, "503", http_status=503, body="{}", unreachable=True)
    row = through_parquet(schemas.LOOKUPS, lookup_row("acme_sg", lookup))
    assert lookup_from(row, recordings) == replace(lookup, http_status=None, body=None)


def test_a_session_is_written_with_all_it_has() -> None:
    session = Session("acme_sg", "s", AT, AT, "COMPLETED", 2, 61.0, Decimal("0.0125"), "SGD", "1", "2", ("a", "b"))
    [row] = session_table([session]).to_pylist()
    assert row == {field.name: getattr(session, field.name) for field in fields(session)} | {"sources": ["a", "b"]}


def test_a_day_without_sessions_is_a_table_of_the_same_columns() -> None:
    assert session_table([]).equals(schemas.SESSION_IDS.schema.empty_table())


def test_a_problem_is_written_with_its_number() -> None:
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


# --- the journal ------------------------------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path)


def journal(catalog: Catalog, *, piece: int = 3) -> Journal:
    return Journal(catalog, DAY, piece=piece, piece_s=3600)


def known(catalog: Catalog, day: date = DAY) -> dict[tuple[str, str], RecordingFile]:
    rows = Journal(catalog, day).known()
    assert rows.schema.equals(schemas.RECORDING_FILES.schema)
    return by_key(*map(file_from, rows.to_pylist()))


def rows_of(*files: RecordingFile) -> pa.Table:
    return pa.Table.from_pylist([file_row(file) for file in files], schema=schemas.RECORDING_FILES.schema)


def pieces(catalog: Catalog) -> int:
    return len(catalog.store.list(JOURNAL))


def by_key(*files: RecordingFile) -> dict[tuple[str, str], RecordingFile]:
    return {(file.subaccount_id, file.recording_id): file for file in files}


def test_a_day_that_never_ran_has_an_empty_journal(catalog: Catalog) -> None:
    assert known(catalog) == {}


def test_what_was_flushed_before_a_kill_is_known_afterwards(catalog: Catalog) -> None:
    files = [archived(n) for n in range(7)]
    killed = journal(catalog, piece=3)
    for file in files:
        killed.add(file)
    assert pieces(catalog) == 2
    assert known(catalog) == by_key(*files[:6])
    killed.flush()
    assert known(catalog) == by_key(*files)


def test_a_piece_is_written_after_a_while_even_if_it_is_small(catalog: Catalog) -> None:
    hasty = Journal(catalog, DAY, piece=1000, piece_s=-1)
    hasty.add(archived(1))
    assert known(catalog) == by_key(archived(1))


def test_nothing_to_flush_writes_nothing(catalog: Catalog) -> None:
    journal(catalog).flush()
    assert pieces(catalog) == 0


def test_closing_leaves_the_partition_and_no_piece(catalog: Catalog) -> None:
    one = journal(catalog, piece=1)
    one.add(archived(1))
    one.add(archived(2))
    one.close(rows_of(archived(1), archived(3)))
    assert pieces(catalog) == 0
    assert known(catalog) == by_key(archived(1), archived(3))
    assert len(catalog.rows(schemas.RECORDING_FILES, DAY)) == 2


def test_a_piece_is_newer_than_the_partition_and_a_later_piece_newer_than_an_earlier(catalog: Catalog) -> None:
    journal(catalog).close(rows_of(archived(1, sha256="00" * 32), archived(2)))
    killed = journal(catalog, piece=1)
    killed.add(archived(1, sha256="11" * 32))
    assert known(catalog) == by_key(archived(1, sha256="11" * 32), archived(2))
    killed.add(archived(1, sha256="22" * 32))
    assert known(catalog) == by_key(archived(1, sha256="22" * 32), archived(2))


def test_a_kill_while_closing_loses_nothing(catalog: Catalog) -> None:
    one = journal(catalog, piece=1)
    one.add(archived(1))
    catalog.replace_partition(schemas.RECORDING_FILES, DAY, [file_row(archived(1)), file_row(archived(2))])
    assert known(catalog) == by_key(archived(1), archived(2))


def test_the_mark_that_older_versions_put_into_a_journal_is_read_over(catalog: Catalog) -> None:
    catalog.store.replace(f"{journal_folder(DAY)}/begun", b"")
    journal(catalog, piece=1).add(archived(1))
    assert known(catalog) == by_key(archived(1))
    journal(catalog).close(rows_of(archived(1)))
    assert pieces(catalog) == 0


def test_a_piece_that_could_not_be_written_is_written_by_the_next_flush(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = journal(catalog, piece=2)
    failing.add(archived(1))

    def no_room(*_: object) -> None:
        raise StoreError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(catalog.store, "replace", no_room)
        with pytest.raises(StoreError):
            failing.add(archived(2))
    failing.flush()
    assert known(catalog) == by_key(archived(1), archived(2))


def test_days_do_not_see_each_others_pieces(catalog: Catalog) -> None:
    journal(catalog, piece=1).add(archived(1))
    other = Journal(catalog, date(2026, 11, 2))
    assert known(catalog, date(2026, 11, 2)) == {}
    other.close(rows_of())
    assert pieces(catalog) == 1


def test_a_damaged_piece_is_named(catalog: Catalog) -> None:
    journal(catalog, piece=1).add(archived(1))
    [piece] = catalog.store.list(JOURNAL)
    catalog.store.replace(piece.path, b"PAR1 no more")
    with pytest.raises(StoreError, match=rf"{piece.path} is damaged: remove it, then archive {DAY}"):
        known(catalog)


def test_named_columns_are_those_of_all_rows(catalog: Catalog) -> None:
    columns = ("recording_id", "archive_status", "size_bytes")
    for number in (3, 1, 2):
        journal(catalog, piece=1).add(archived(number))
    in_pieces = Journal(catalog, DAY).known(columns)
    assert in_pieces.equals(Journal(catalog, DAY).known().select(columns))
    journal(catalog).close(Journal(catalog, DAY).known())
    assert Journal(catalog, DAY).known(columns).equals(in_pieces)


def test_a_long_days_pieces_are_held_once(catalog: Catalog) -> None:
    """With half as much for what is at work: once more would be a hundred MB of a day of 100,000 recordings."""
    writing = journal(catalog, piece=100)
    for number in range(20_000):
        writing.add(archived(number))
    code = (
        "import sys, pyarrow as pa; from datetime import date\n"
        "from callarchive.catalog.parquet_catalog import Catalog; from callarchive.catalog.rows import Journal\n"
        "rows = Journal(Catalog.open(sys.argv[1]), date.fromisoformat(sys.argv[2])).known()\n"
        "print(rows.num_rows, rows.nbytes, pa.default_memory_pool().max_memory())"
    )
    folder = catalog.store.url.removeprefix("file://")
    words = [sys.executable, "-c", code, folder, str(DAY)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    count, size_bytes, peak_bytes = map(int, told.split())
    assert count == 20_000
    assert peak_bytes < 1.75 * size_bytes


def test_pieces_and_partitions_of_an_older_version_are_read(catalog: Catalog) -> None:
    later = ("versions_sha256", "quarantine_uri", "audio_issue_detail")
    schema = pa.schema([field for field in schemas.RECORDING_FILES.schema if field.name not in later])
    for path, number in ((f"{JOURNAL}/call_date={DAY}/0.parquet", 1), (schemas.RECORDING_FILES.partition_path(DAY), 2)):
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([file_row(archived(number))], schema=schema), buffer)
        catalog.store.replace(path, buffer.getvalue())
    loaded = known(catalog)
    assert loaded.keys() == by_key(archived(1), archived(2)).keys()
    for number in (1, 2):
        kept = loaded["acme_sg", recording_id(number)].kept
        assert kept is not None
        assert kept.sha256 == "ab" * 32


def test_what_confirmed_the_bytes_comes_back_and_is_not_known_in_older_rows() -> None:
    row = file_row(archived())
    assert row["source_evidence"] == "md5"
    again = file_from(row).source
    assert again is not None
    assert again.evidence is SourceEvidence.MD5
    older = file_from({**row, "source_evidence": None}).source
    assert older is not None
    assert older.evidence is None
