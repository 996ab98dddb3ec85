"""A killed transfer's journal keeps the files that it had processed."""

import io
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.archiving.transfer_journal import TransferJournal, journal_folder
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.rows import file_from, file_row
from callarchive.domain.errors import StoreError
from callarchive.domain.models import ArchiveStatus, KeptFile, Mp3Facts, RecordingFile, Version

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
        kept=KeptFile(
            archive_path=path,
            size_bytes=1000,
            sha256=sha256,
            audio=Mp3Facts(1.5, 42, 32.0, 8000, 1),
            archived_at=AT,
        ),
        versions=(Version("older.mp3", "cd" * 32), Version(path, sha256)),
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path)


def journal(catalog: Catalog, *, piece: int = 3) -> TransferJournal:
    return TransferJournal(catalog, DAY, piece=piece, piece_s=3600)


def known(catalog: Catalog, day: date = DAY) -> dict[tuple[str, str], RecordingFile]:
    rows = TransferJournal(catalog, day).known()
    assert rows.schema.equals(schemas.RECORDING_FILES.schema)
    return by_key(*map(file_from, rows.to_pylist()))


def rows_of(*files: RecordingFile) -> pa.Table:
    return pa.Table.from_pylist([file_row(file) for file in files], schema=schemas.RECORDING_FILES.schema)


def pieces(catalog: Catalog) -> int:
    return len(catalog.store.list(JOURNAL))


def by_key(*files: RecordingFile) -> dict[tuple[str, str], RecordingFile]:
    return {(file.subaccount_id, file.recording_id): file for file in files}


def test_a_day_that_never_ran_has_no_known_files(catalog: Catalog) -> None:
    assert known(catalog) == {}


def test_files_flushed_before_a_kill_are_known_afterwards(catalog: Catalog) -> None:
    files = [archived(n) for n in range(7)]
    killed = journal(catalog, piece=3)
    for file in files:
        killed.add(file)
    assert pieces(catalog) == 2
    assert known(catalog) == by_key(*files[:6])
    killed.flush()
    assert known(catalog) == by_key(*files)


def test_a_small_piece_is_written_after_piece_s(catalog: Catalog) -> None:
    eager = TransferJournal(catalog, DAY, piece=1000, piece_s=-1)
    eager.add(archived(1))
    assert known(catalog) == by_key(archived(1))


def test_flushing_an_empty_queue_writes_nothing(catalog: Catalog) -> None:
    journal(catalog).flush()
    assert pieces(catalog) == 0


def test_closing_writes_the_partition_and_deletes_the_pieces(catalog: Catalog) -> None:
    one = journal(catalog, piece=1)
    one.add(archived(1))
    one.add(archived(2))
    one.close(rows_of(archived(1), archived(3)))
    assert pieces(catalog) == 0
    assert known(catalog) == by_key(archived(1), archived(3))
    assert len(catalog.rows(schemas.RECORDING_FILES, DAY)) == 2


def test_a_piece_overrides_the_partition_and_earlier_pieces(catalog: Catalog) -> None:
    journal(catalog).close(rows_of(archived(1, sha256="00" * 32), archived(2)))
    killed = journal(catalog, piece=1)
    killed.add(archived(1, sha256="11" * 32))
    assert known(catalog) == by_key(archived(1, sha256="11" * 32), archived(2))
    killed.add(archived(1, sha256="22" * 32))
    assert known(catalog) == by_key(archived(1, sha256="22" * 32), archived(2))


def test_a_kill_while_closing_loses_no_data(catalog: Catalog) -> None:
    one = journal(catalog, piece=1)
    one.add(archived(1))
    catalog.replace_partition(schemas.RECORDING_FILES, DAY, [file_row(archived(1)), file_row(archived(2))])
    assert known(catalog) == by_key(archived(1), archived(2))


def test_the_empty_marker_of_older_versions_is_ignored(catalog: Catalog) -> None:
    catalog.store.replace(f"{journal_folder(DAY)}/begun", b"")
    journal(catalog, piece=1).add(archived(1))
    assert known(catalog) == by_key(archived(1))
    journal(catalog).close(rows_of(archived(1)))
    assert pieces(catalog) == 0


def test_the_next_flush_retries_a_failed_piece(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = journal(catalog, piece=2)
    failing.add(archived(1))

    def disk_full(*_: object) -> None:
        raise StoreError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(catalog.store, "replace", disk_full)
        with pytest.raises(StoreError):
            failing.add(archived(2))
    failing.flush()
    assert known(catalog) == by_key(archived(1), archived(2))


def test_days_do_not_share_pieces(catalog: Catalog) -> None:
    journal(catalog, piece=1).add(archived(1))
    other = TransferJournal(catalog, date(2026, 11, 2))
    assert known(catalog, date(2026, 11, 2)) == {}
    other.close(rows_of())
    assert pieces(catalog) == 1


def test_the_error_names_a_damaged_piece(catalog: Catalog) -> None:
    journal(catalog, piece=1).add(archived(1))
    [piece] = catalog.store.list(JOURNAL)
    catalog.store.replace(piece.path, b"PAR1 no more")
    with pytest.raises(StoreError, match=rf"{piece.path} is damaged: remove it, then archive {DAY}"):
        known(catalog)


def test_selected_columns_equal_those_of_all_rows(catalog: Catalog) -> None:
    columns = ("recording_id", "archive_status", "size_bytes")
    for number in (3, 1, 2):
        journal(catalog, piece=1).add(archived(number))
    in_pieces = TransferJournal(catalog, DAY).known(columns)
    assert in_pieces.equals(TransferJournal(catalog, DAY).known().select(columns))
    journal(catalog).close(TransferJournal(catalog, DAY).known())
    assert TransferJournal(catalog, DAY).known(columns).equals(in_pieces)


def test_reading_a_long_day_holds_its_pieces_in_memory_once(catalog: Catalog) -> None:
    """Peak memory is below 1.75 times the rows: a second copy would cost 100 MB for a day of 100,000 recordings."""
    writing = journal(catalog, piece=100)
    for number in range(20_000):
        writing.add(archived(number))
    code = (
        "import sys, pyarrow as pa; from datetime import date\n"
        "from callarchive.catalog.parquet_catalog import Catalog\n"
        "from callarchive.archiving.transfer_journal import TransferJournal\n"
        "rows = TransferJournal(Catalog.open(sys.argv[1]), date.fromisoformat(sys.argv[2])).known()\n"
        "print(rows.num_rows, rows.nbytes, pa.default_memory_pool().max_memory())"
    )
    folder = catalog.store.url.removeprefix("file://")
    words = [sys.executable, "-c", code, folder, str(DAY)]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    count, size_bytes, peak_bytes = map(int, output.split())
    assert count == 20_000
    assert peak_bytes < 1.75 * size_bytes


def test_pieces_and_partitions_of_older_versions_are_readable(catalog: Catalog) -> None:
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
