"""Rows that are decoded in parts are the rows of the whole files."""

import io
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from callarchive.catalog import parquet_files, stored_rows
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import STATUS_STATS
from callarchive.catalog.stored_rows import StoredRows
from callarchive.domain.errors import ArchiveError, DamagedTableError, StoreError

Row = dict[str, Any]
DAY = date(2026, 11, 1)


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parquet_files, stored_rows):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)


def rows(*numbers: int, count: int = 1) -> list[Row]:
    return [
        {
            "subaccount_id": f"account {number // 5}",
            "api_status": f"status {number % 5}",
            "archive_status": "archived",
            "recording_count": count,
            "size_bytes": number,
            "duration_s": None if number % 3 else 1.5,
        }
        for number in numbers
    ]


def table(found: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(found, schema=STATUS_STATS.schema)


def file(found: list[Row]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table(found), buffer, row_group_size=3)
    return buffer.getvalue()


def stored(*files: list[Row]) -> StoredRows:
    return StoredRows.of(STATUS_STATS, [(file(found), StoreError(f"file {n}")) for n, found in enumerate(files)])


def test_the_last_row_of_each_key_counts_and_the_rows_are_ordered_by_key() -> None:
    found = stored(rows(7, 3, 1, 0, 9, 4, 2), rows(8, 3, 6), [], rows(5, 0, count=2)).latest()
    expected = rows(0, count=2) + rows(1, 2, 3, 4) + rows(5, count=2) + rows(6, 7, 8, 9)
    assert found.decoded().equals(table(expected))
    assert found.decoded(["size_bytes"]).column("size_bytes").to_pylist() == list(range(10))
    assert [len(part) for part in found.parts()] == [4, 4, 2]


def test_rows_without_a_file_have_the_schema_of_the_table() -> None:
    assert len(stored()) == 0
    assert stored().latest().decoded().equals(STATUS_STATS.schema.empty_table())


def test_rows_are_selected_by_flag_and_by_number() -> None:
    found = stored(rows(*range(11)))
    odd = found.where(pa.array([number % 2 == 1 for number in range(11)]))
    assert odd.decoded().equals(table(rows(1, 3, 5, 7, 9)))
    assert odd.keys.equals(odd.decoded(STATUS_STATS.key))
    assert odd.between(1, 3).decoded().equals(table(rows(3, 5)))
    assert found.between(4, 4).decoded().num_rows == 0


def test_rows_up_to_a_key_are_counted_in_the_order_of_the_key_columns() -> None:
    found = stored(rows(*range(11)))
    assert found.count_up_to(["account 1", "status 2", "archived"]) == 8
    assert found.count_up_to(["account 1", "status 2", "a"]) == 7
    assert found.count_up_to(["account 1", "status 9", ""]) == 10
    assert found.count_up_to(["", "status 9", ""]) == 0


def test_the_error_of_a_damaged_file_is_raised_when_its_part_is_decoded(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    catalog.replace_partition(STATUS_STATS, DAY, rows(*range(6)))
    path = tmp_path / STATUS_STATS.partition_path(DAY)
    data = bytearray(path.read_bytes())
    last = pq.read_metadata(path).row_group(1).column(STATUS_STATS.schema.names.index("size_bytes"))
    data[last.data_page_offset + last.total_compressed_size - 3] ^= 0xFF
    path.write_bytes(data)
    parts = catalog.stored_rows(STATUS_STATS, DAY).parts()
    assert len(next(parts)) == 4
    with pytest.raises(DamagedTableError, match=f"part-0.parquet is damaged: restore or remove it, then archive {DAY}"):
        next(parts)


def test_a_long_day_is_written_in_row_groups_and_once(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    calls = []

    def parts() -> Any:
        calls.append(1)
        yield table(rows(0, 1, 2))
        yield table([])
        yield table(rows(3, 4))

    assert catalog.replace_partition(STATUS_STATS, DAY, parts) == 5
    path = tmp_path / STATUS_STATS.partition_path(DAY)
    groups = pq.read_metadata(path)
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [3, 2]
    inode = path.stat().st_ino
    assert catalog.replace_partition(STATUS_STATS, DAY, parts) == 5
    assert catalog.replace_partition(STATUS_STATS, DAY, rows(*range(5))) == 5
    assert path.stat().st_ino == inode
    assert len(calls) == 2
    assert catalog.replace_partition(STATUS_STATS, DAY, rows(*range(10))) == 10
    assert pq.read_metadata(path).num_row_groups == 3
    assert catalog.partition(STATUS_STATS, DAY).equals(table(rows(*range(10))))


def test_parts_without_rows_are_an_empty_partition(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    assert catalog.replace_partition(STATUS_STATS, DAY, lambda: iter(())) == 0
    assert catalog.has(STATUS_STATS, DAY)
    assert catalog.partition(STATUS_STATS, DAY).equals(table([]))


@pytest.mark.parametrize("second", [(2, 3), (1,)], ids=["same key", "before it"])
def test_parts_that_are_not_in_order_are_refused(tmp_path: Path, second: tuple[int, ...]) -> None:
    catalog = Catalog.open(tmp_path)
    with pytest.raises(ArchiveError, match=r"status_stats: the key .* follows"):
        catalog.replace_partition(STATUS_STATS, DAY, lambda: iter([table(rows(0, 2)), table(rows(*second))]))
    assert not catalog.has(STATUS_STATS, DAY)
