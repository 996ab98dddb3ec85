"""Every reader sees the same rows, days are replaced as a whole, and a kill leaves either the old or the new rows."""

import importlib
import io
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog, table_named
from callarchive.catalog.parquet_files import to_arrow
from callarchive.catalog.schemas import PUBLIC_TABLES, RECORDINGS, SESSIONS, STEP_TABLES, Table
from callarchive.domain.errors import ArchiveError, StoreError
from callarchive.storage.stores import Store

Row = dict[str, Any]
FULL, EMPTY, OLD, LAST = date(2026, 10, 30), date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 5)
ADDED_LATER = ("audio_issue_detail", "versions", "duration_event_s")


def recording(number: int, **values: Any) -> Row:
    chance = random.Random(number)
    kept = chance.random() < 0.7
    return {
        "subaccount_id": chance.choice(["acme_sg", "acme_th"]),
        "session_id": f"{number // 2:08x}-0668-41ec-8c5e-fd3f1c2a9a11",
        "recording_id": f"{number:08x}-0668-41ec-9ae2-ff0d2c1b7a22",
        "api_status": "UPLOAD_COMPLETED",
        "archive_status": "archived" if kept else "missing",
        "started_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=number, microseconds=number),
        "size_bytes": chance.randrange(10**7) if kept else None,
        "duration_s": chance.randrange(10**6) / 1024 if kept else None,
        "duration_mismatch": chance.choice([True, False, None]),
        "versions": [f"v{n}" for n in range(number % 3)],
        **values,
    }


def write_as_an_older_version_did(catalog: Catalog, day: date, rows: list[Row]) -> None:
    """Write a file without the columns that were added last."""
    schema = pa.schema([field for field in RECORDINGS.schema if field.name not in ADDED_LATER])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    catalog.store.replace(RECORDINGS.partition_path(day), buffer.getvalue())


def filled(catalog: Catalog) -> Catalog:
    """Fill four days of recordings: a full one, an empty one, an old file, and one after a gap."""
    catalog.replace_partition(RECORDINGS, FULL, [recording(n) for n in range(50)])
    catalog.replace_partition(RECORDINGS, EMPTY, [])
    write_as_an_older_version_did(catalog, OLD, [recording(n) for n in range(50, 70)])
    catalog.replace_partition(RECORDINGS, LAST, [recording(n) for n in range(70, 100)])
    return catalog


@pytest.fixture(params=["catalog", "env=prod/my [cat]alog* 100%'s", "s3"])
def empty_catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Catalog:
    """Return a catalog in a folder, in a folder whose name has special characters, and in S3."""
    if request.param == "s3":
        return Catalog(request.getfixturevalue("s3_store"))
    return Catalog.open(tmp_path / str(request.param))


@pytest.fixture
def catalog(empty_catalog: Catalog) -> Catalog:
    return filled(empty_catalog)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


@pytest.fixture
def local_catalog(root: Path) -> Catalog:
    return filled(Catalog.open(root))


def expected(first: int = 0, last: int = 100) -> tuple[int, int, float, int]:
    """Return the numbers of rows, bytes, seconds and mismatches, summed in Python."""
    rows = [recording(n) for n in range(first, last)]
    return (
        len(rows),
        sum(row["size_bytes"] or 0 for row in rows),
        sum(row["duration_s"] or 0.0 for row in rows),  # in 1024ths of a second: sums are exact
        sum(bool(row["duration_mismatch"]) for row in rows),
    )


SUMS = "count(*), sum(size_bytes)::bigint, sum(duration_s), count_if(duration_mismatch)"


def in_pandas(frame: pd.DataFrame) -> tuple[int, int, float, int]:
    mismatches = frame["duration_mismatch"].astype("boolean").sum()
    return len(frame), int(frame["size_bytes"].sum()), float(frame["duration_s"].sum()), int(mismatches)


def in_polars(frame: pl.DataFrame) -> tuple[int, int, float, int]:
    size_bytes, duration_s, mismatches = (
        frame[name].sum() for name in ("size_bytes", "duration_s", "duration_mismatch")
    )
    return frame.height, int(size_bytes), float(duration_s), int(mismatches)


# --- external readers ------------------------------------------------------------------------------------------------


def test_duckdb_reads_the_catalog_directly(local_catalog: Catalog, root: Path) -> None:
    source = f"read_parquet('{root}/recordings/*/*.parquet', hive_partitioning = true, union_by_name = true)"
    with duckdb.connect() as connection:
        assert connection.execute(f"select {SUMS} from {source}").fetchone() == expected()
        by_day = connection.execute(f"select call_date, count(*) from {source} group by 1 order by 1").fetchall()
    assert by_day == [(FULL, 50), (OLD, 20), (LAST, 30)]


def test_polars_reads_the_catalog_directly(local_catalog: Catalog, root: Path) -> None:
    frame = pl.scan_parquet(root / "recordings", hive_partitioning=True, missing_columns="insert").collect()
    assert in_polars(frame) == expected()
    assert frame["call_date"].unique().sort().to_list() == [FULL, OLD, LAST]


def test_pandas_and_pyarrow_read_the_catalog_directly(local_catalog: Catalog, root: Path) -> None:
    frame = pd.read_parquet(root / "recordings")
    assert in_pandas(frame) == expected()
    assert sorted(frame["call_date"].astype(str).unique()) == [str(FULL), str(OLD), str(LAST)]
    assert ds.dataset(root / "recordings", partitioning="hive").count_rows() == 100
    assert pq.read_table(root / "recordings").num_rows == 100


def test_tables_without_days_have_the_same_columns_in_duckdb_and_import_no_pandas(
    local_catalog: Catalog, tmp_path: Path
) -> None:
    with local_catalog.duckdb() as connection:
        described = connection.execute("describe recordings").fetchall()
    code = (
        "import sys\nfrom callarchive.catalog.parquet_catalog import Catalog\n"
        f"with Catalog.open({tmp_path.as_uri() + '/empty'!r}).duckdb() as connection:\n"
        "    print(connection.execute('describe recordings').fetchall(), 'pandas' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == f"{described} False\n"


# --- our own readers --------------------------------------------------------------------------------------------------


def test_all_readers_return_the_same_sums(catalog: Catalog) -> None:
    assert in_pandas(catalog.pandas("recordings")) == expected()
    assert in_polars(pl.DataFrame(catalog.arrow("recordings"))) == expected()
    with catalog.duckdb() as connection:
        assert connection.execute(f"select {SUMS} from recordings").fetchone() == expected()


def test_an_old_file_has_nulls_in_columns_added_later(catalog: Catalog) -> None:
    table = catalog.arrow("recordings", OLD, OLD)
    assert table.num_rows == 20
    assert {name: table[name].null_count for name in ADDED_LATER} == dict.fromkeys(ADDED_LATER, 20)
    with catalog.duckdb(OLD, OLD) as connection:
        query = "select count(*), count(versions), count(audio_issue_detail) from recordings"
        assert connection.execute(query).fetchone() == (20, 0, 0)


def test_all_readers_return_the_columns_of_the_schema_and_call_date(catalog: Catalog) -> None:
    names = [*RECORDINGS.schema.names, "call_date"]
    assert catalog.arrow("recordings").schema.names == names
    assert list(catalog.pandas("recordings").columns) == names
    for first, last in ((None, None), (OLD, OLD), (EMPTY, EMPTY), (date(2020, 1, 1), date(2020, 1, 2))):
        with catalog.duckdb(first, last) as connection:
            described = connection.execute("describe recordings").fetchall()
            assert [row[0] for row in described] == names
            types = {row[0]: row[1] for row in described}
            assert (types["call_date"], types["started_at"]) == ("DATE", "TIMESTAMP WITH TIME ZONE")
            assert (types["versions"], types["size_bytes"]) == ("VARCHAR[]", "BIGINT")


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [
        (None, None, (0, 100)),
        (FULL, LAST, (0, 100)),
        (None, OLD, (0, 70)),
        (OLD, None, (50, 100)),
        (FULL, FULL, (0, 50)),
        (EMPTY, EMPTY, (0, 0)),
        (EMPTY, OLD, (50, 70)),
        (date(2026, 11, 2), date(2026, 11, 4), (0, 0)),
        (date(2026, 11, 2), date(2026, 11, 2), (0, 0)),
        (LAST, FULL, (0, 0)),
    ],
)
def test_a_range_of_days_includes_both_ends(
    catalog: Catalog, first: date | None, last: date | None, numbers: tuple[int, int]
) -> None:
    assert in_pandas(catalog.pandas("recordings", first, last)) == expected(*numbers)
    with catalog.duckdb(first, last) as connection:
        found = connection.execute("select count(*) from recordings").fetchone()
    assert found == (numbers[1] - numbers[0],)


def test_rows_round_trip(empty_catalog: Catalog) -> None:
    catalog = empty_catalog
    row = dict.fromkeys(SESSIONS.schema.names) | {
        "subaccount_id": "acme_sg",
        "session_id": "s",
        "started_at": datetime(2026, 11, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        "price": Decimal("0.012500"),
        "sources": ["files", "log_export"],
        "session_status": "é\U0001f4de\n",
        "call_duration_s": 1.25,
    }
    catalog.replace_partition(SESSIONS, FULL, [row])
    assert catalog.rows(SESSIONS, FULL) == [row]
    assert catalog.rows(SESSIONS, LAST) == []


def test_only_selected_columns_are_read(catalog: Catalog) -> None:
    assert catalog.arrow("recordings", columns=["call_date", "duration_s"]).schema.names == ["call_date", "duration_s"]
    assert list(catalog.pandas("recordings", OLD, OLD, columns=["versions"]).columns) == ["versions"]


@pytest.mark.parametrize("day", [FULL, EMPTY, OLD, LAST, date(2026, 11, 2)])
def test_a_partition_is_one_day_in_the_tables_schema(catalog: Catalog, day: date) -> None:
    whole = catalog.partition(RECORDINGS, day)
    assert whole.schema.equals(RECORDINGS.schema)
    assert whole.to_pylist() == catalog.arrow(RECORDINGS, day, day).drop_columns(["call_date"]).to_pylist()
    names = ["versions", "duration_event_s", "started_at"]
    assert catalog.partition(RECORDINGS, day, columns=names).equals(whole.select(names))


def test_a_partition_with_other_types_is_cast_to_the_schema(empty_catalog: Catalog) -> None:
    catalog = empty_catalog
    rows = [{"subaccount_id": "acme_sg", "recording_count": 3, "total_s": 7, "written_by": "another program"}]
    types: dict[str, pa.DataType] = {
        "recording_count": pa.int32(),
        "total_s": pa.int32(),
        "subaccount_id": pa.large_string(),
    }
    schema = pa.schema(types)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.append(pa.field("written_by", pa.string()))), buffer)
    catalog.store.replace(schemas.DURATION_STATS.partition_path(FULL), buffer.getvalue())
    table = catalog.partition(schemas.DURATION_STATS, FULL)
    assert table.schema.equals(schemas.DURATION_STATS.schema)
    (row,) = table.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "subaccount_id": "acme_sg",
        "recording_count": 3,
        "total_s": 7.0,
    }


def test_days_include_those_with_an_empty_partition(catalog: Catalog) -> None:
    assert catalog.days(RECORDINGS) == [FULL, EMPTY, OLD, LAST]
    assert catalog.days(SESSIONS) == []
    assert catalog.has(RECORDINGS, EMPTY)
    assert not catalog.has(RECORDINGS, date(2026, 11, 2))


def test_a_range_without_partitions_has_views_of_all_tables(empty_catalog: Catalog) -> None:
    with empty_catalog.duckdb() as connection:
        for table in PUBLIC_TABLES:
            assert connection.execute(f"select count(*) from {table.name}").fetchone() == (0,)


def test_only_public_tables_are_available_by_name() -> None:
    assert table_named("sessions") is SESSIONS
    with pytest.raises(ArchiveError, match="no table named lookups"):
        table_named("lookups")


# --- files ------------------------------------------------------------------------------------------------------------


def files_in(catalog: Catalog) -> Iterator[Path]:
    yield from sorted(Path(catalog.store.url.removeprefix("file://")).rglob("*.parquet"))


@pytest.mark.parametrize("table", [*PUBLIC_TABLES, *STEP_TABLES], ids=lambda table: table.name)
def test_every_file_of_a_table_has_the_same_schema_even_if_all_values_are_null(tmp_path: Path, table: Table) -> None:
    catalog = Catalog.open(tmp_path)
    catalog.replace_partition(table, FULL, [])
    catalog.replace_partition(table, LAST, [dict.fromkeys(table.schema.names)])
    found = [pq.read_schema(file) for file in files_in(catalog)]
    assert len(found) == 2
    for schema in found:
        assert schema.equals(table.schema, check_metadata=False)
        assert "call_date" not in schema.names


def test_files_are_zstd_with_timestamps_in_microseconds_utc_and_the_day_in_the_path(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    catalog.replace_partition(RECORDINGS, FULL, [recording(1)])
    (file,) = files_in(catalog)
    assert file.relative_to(tmp_path).parent == Path("recordings/call_date=2026-10-30")
    metadata = pq.read_metadata(file)
    group = metadata.row_group(0)
    assert {group.column(n).compression for n in range(group.num_columns)} == {"ZSTD"}
    started_at = metadata.schema.column(metadata.schema.names.index("started_at"))
    assert "isAdjustedToUTC=true" in str(started_at.logical_type)
    assert "timeUnit=microseconds" in str(started_at.logical_type)
    assert pq.read_schema(file).field("started_at").type == pa.timestamp("us", tz="UTC")


def test_internal_tables_are_hidden_from_readers(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    catalog.replace_partition(schemas.LOOKUPS, FULL, [])
    catalog.replace_partition(schemas.SESSIONS, FULL, [])
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["_steps", "sessions"]


def test_temporary_and_foreign_files_are_ignored(catalog: Catalog) -> None:
    folder = RECORDINGS.partition_path(FULL).rpartition("/")[0]
    if catalog.store.url.startswith("file://"):  # S3 has no temporary files
        Path(catalog.store.url.removeprefix("file://"), folder, ".0123.part").write_bytes(b"half a file")
    catalog.store.create(f"{folder}/notes.txt", b"not a table")
    catalog.store.create("recordings/call_date=someday/part-0.parquet", b"not a table")
    assert in_pandas(catalog.pandas("recordings")) == expected()
    with catalog.duckdb() as connection:
        assert connection.execute(f"select {SUMS} from recordings").fetchone() == expected()


# --- writing ----------------------------------------------------------------------------------------------------------


def test_writing_a_day_again_replaces_it(catalog: Catalog) -> None:
    assert catalog.replace_partition(RECORDINGS, FULL, [recording(n) for n in range(10)]) == 10
    assert in_pandas(catalog.pandas("recordings", FULL, FULL)) == expected(0, 10)
    assert catalog.days(RECORDINGS) == [FULL, EMPTY, OLD, LAST]


def test_equal_rows_in_any_order_make_equal_files(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    rows = [recording(n) for n in range(50)]
    catalog.replace_partition(RECORDINGS, FULL, rows)
    (file,) = files_in(catalog)
    before = file.read_bytes()
    catalog.replace_partition(RECORDINGS, FULL, rows[::-1])
    assert file.read_bytes() == before
    catalog.replace_partition(RECORDINGS, FULL, pa.Table.from_pylist(rows[::-1], schema=RECORDINGS.schema))
    assert file.read_bytes() == before
    assert list(files_in(catalog)) == [file]


class Watched:
    """A store that records whether it was written to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.replaced: list[str] = []

    def replacing(self, path: str) -> AbstractContextManager[BinaryIO]:
        self.replaced.append(path)
        return self._store.replacing(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def written(catalog: Catalog, rows: list[Row]) -> bool:
    """Return whether replacing the full day's partition with these rows wrote a file."""
    store = Watched(catalog.store)
    assert Catalog(store).replace_partition(RECORDINGS, FULL, rows) == len(rows)
    assert catalog.partition(RECORDINGS, FULL).equals(to_arrow(RECORDINGS, rows))
    return store.replaced == [RECORDINGS.partition_path(FULL)]


def test_a_partition_that_has_the_rows_already_is_not_written(catalog: Catalog) -> None:
    rows = [recording(n) for n in range(50)]
    assert not written(catalog, rows)
    assert not written(catalog, rows[::-1])
    assert written(catalog, rows[:-1])
    assert written(catalog, [])
    assert not written(catalog, [])


def test_the_comparison_covers_all_batches_of_rows(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    rows = [recording(n) for n in range(40_000)]
    catalog.replace_partition(RECORDINGS, FULL, rows)
    assert not written(catalog, rows)
    rows[39_000] |= {"error": "only this one has changed"}
    assert written(catalog, rows)


@pytest.mark.parametrize(
    "changed",
    [{"duration_s": 7.5}, {"error": ""}, {"versions": None}, {"started_at": None}, {"session_id": "é"}],
    ids=str,
)
def test_one_changed_value_is_written(catalog: Catalog, changed: Row) -> None:
    rows = [recording(n) for n in range(50)]
    rows[9] |= {"error": None} | changed
    assert written(catalog, rows)
    assert not written(catalog, rows)


def without(name: str) -> pa.Schema:
    return pa.schema([field for field in RECORDINGS.schema if field.name != name])


OLDER_FILES: dict[str, dict[str, Any]] = {
    "other compression": {"compression": "snappy"},
    "a column less": {"schema": without("audio_issue_detail")},
    "columns in another order": {"schema": pa.schema(list(RECORDINGS.schema)[::-1])},
    "another type": {"schema": pa.schema([*without("channels"), pa.field("channels", pa.int32())])},
    "no meanings": {"schema": pa.schema([field.remove_metadata() for field in RECORDINGS.schema])},
}


@pytest.mark.parametrize("older", OLDER_FILES)
def test_a_file_with_the_same_rows_in_an_older_format_is_rewritten(tmp_path: Path, older: str) -> None:
    catalog = Catalog.open(tmp_path)
    rows = to_arrow(RECORDINGS, [recording(n) for n in range(20)]).to_pylist()
    form: dict[str, Any] = {"compression": "zstd", "schema": RECORDINGS.schema, **OLDER_FILES[older]}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=form["schema"]), buffer, compression=form["compression"])
    catalog.store.replace(RECORDINGS.partition_path(FULL), buffer.getvalue())
    assert written(catalog, rows)
    (file,) = files_in(catalog)
    assert pq.read_schema(file).equals(RECORDINGS.schema)
    assert not written(catalog, rows)


@pytest.mark.parametrize("damage", [b"", b"not a table", None])
def test_a_damaged_file_is_rewritten(catalog: Catalog, damage: bytes | None) -> None:
    path = RECORDINGS.partition_path(FULL)
    whole = catalog.store.read(path)
    catalog.store.replace(path, whole[: len(whole) // 3] + whole[len(whole) // 3 + 99 :] if damage is None else damage)
    if damage is not None:
        with pytest.raises(StoreError, match=r"part-0\.parquet is damaged"):
            catalog.partition(RECORDINGS, FULL)
    assert written(catalog, [recording(n) for n in range(50)])
    assert catalog.store.read(path) == whole


def test_a_damaged_name_of_a_column_is_damage(catalog: Catalog) -> None:
    path = RECORDINGS.partition_path(FULL)
    whole = catalog.store.read(path)
    catalog.store.replace(path, whole.replace(b"audio_issue_detail", b"audio_issue_d\xe1tail"))
    with pytest.raises(StoreError, match=r"part-0\.parquet is damaged"):
        catalog.partition(RECORDINGS, FULL)


def test_a_flipped_byte_of_a_page_is_damage(catalog: Catalog) -> None:
    path = RECORDINGS.partition_path(FULL)
    whole = catalog.store.read(path)
    chunk = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).column(RECORDINGS.schema.names.index("sha256"))
    at = chunk.dictionary_page_offset or chunk.data_page_offset
    flipped = bytearray(whole)
    flipped[at + chunk.total_compressed_size // 2] ^= 1
    catalog.store.replace(path, bytes(flipped))
    with pytest.raises(StoreError, match=r"part-0\.parquet is damaged"):
        catalog.partition(RECORDINGS, FULL)
    with pytest.raises(OSError, match="CRC"):
        catalog.arrow("recordings")


def test_an_unchanged_partition_is_synced(local_catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr("callarchive.catalog.parquet_catalog.sync_folder", synced.append)
    assert not written(local_catalog, [recording(n) for n in range(50)])
    (file,) = (path for path in files_in(local_catalog) if path.parent.name == f"call_date={FULL}")
    assert synced == [file.parent]


def test_rows_are_ordered_by_key() -> None:
    table = to_arrow(RECORDINGS, [recording(n) for n in (3, 1, 2, 0)])
    keys = list(zip(*(table[name].to_pylist() for name in RECORDINGS.key), strict=True))
    assert keys == sorted(keys)


def test_duplicate_keys_are_refused_and_the_old_rows_stay(catalog: Catalog) -> None:
    rows = [recording(1), recording(2), recording(1)]
    with pytest.raises(ArchiveError, match=r"recordings: 2 rows have the key .*recording_id=00000001-"):
        catalog.replace_partition(RECORDINGS, FULL, rows)
    assert in_pandas(catalog.pandas("recordings", FULL, FULL)) == expected(0, 50)


# The parent never touches pyarrow's threads: each child writes the partition and kills itself at the nth event, which is
# the opening, syncing, renaming, linking or removing of a file.
KILLED_WRITER = """
import os, signal, sys
from datetime import date
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import STATUS_STATS

DAY = date(2026, 11, 1)

def write(root, count, kill_at):
    seen = 0
    def event(*_):
        nonlocal seen
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    fsync = os.fsync
    def synced(descriptor):
        event()
        fsync(descriptor)
        event()
    os.fsync = synced
    def audit(name, arguments):
        if name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            event()
        elif name in ("os.rename", "os.link", "os.remove", "os.mkdir"):
            event()
    sys.addaudithook(audit)
    rows = [
        dict(subaccount_id="acme_sg", api_status=str(n), archive_status="archived", recording_count=count)
        for n in range(count)
    ]
    Catalog.open(root).replace_partition(STATUS_STATS, DAY, rows)

def in_child(*arguments):
    child = os.fork()
    if child == 0:
        write(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for point in range(1, 100):
    root = f"{sys.argv[1]}/{point}"
    assert in_child(root, 3, 0) == 0
    code = in_child(root, 5, point)
    print(point, code, flush=True)
    if code == 0:
        break
"""


def test_a_kill_at_any_point_of_a_write_leaves_the_old_or_the_new_rows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(tmp_path)], capture_output=True, text=True, timeout=180, check=True
    )
    outcomes = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(outcomes) >= 5, "opened, synced, renamed, folder synced"
    assert [code for _, code in outcomes] == [-signal.SIGKILL] * (len(outcomes) - 1) + [0]
    seen = []
    for point, _ in outcomes:
        catalog = Catalog.open(tmp_path / str(point))
        rows = catalog.rows(schemas.STATUS_STATS, date(2026, 11, 1))
        assert {row["recording_count"] for row in rows} == {len(rows)}, "never a mix"
        with catalog.duckdb() as connection:
            assert connection.execute("select count(*) from status_stats").fetchone() == (len(rows),)
        seen.append(len(rows))
        assert catalog.replace_partition(schemas.STATUS_STATS, date(2026, 11, 1), []) == 0, "the next run succeeds"
        assert catalog.rows(schemas.STATUS_STATS, date(2026, 11, 1)) == []
    assert set(seen) == {3, 5}
    assert seen == sorted(seen)


def test_the_package_offers_the_catalog_and_rejects_unknown_names() -> None:
    package = importlib.import_module("callarchive.catalog")
    assert package.Catalog is Catalog
    with pytest.raises(AttributeError, match="no attribute 'Cats'"):
        _ = package.Cats
