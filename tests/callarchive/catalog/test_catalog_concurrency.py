"""Readers of a partition that two runs keep replacing see one version of it, whole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Event
from typing import Any

import duckdb
import pytest

from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import STATUS_STATS
from callarchive.domain.errors import UnavailableError
from callarchive.storage.stores import Store

DAY = date(2026, 11, 1)
AGES = (7, 400, 31, 1500)
"""Row counts of the versions of the partition. Each row has the count of its version."""
WRITES = 24

Read = Callable[[Catalog], list[tuple[int, str]]]


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "subaccount_id": "acme_sg" * (1 + count % 3),
            "api_status": f"{number:05d}",
            "archive_status": str(count),
            "recording_count": count,
        }
        for number in range(count)
    ]


def by_arrow(catalog: Catalog) -> list[tuple[int, str]]:
    found = catalog.arrow("status_stats", columns=["recording_count", "archive_status"]).to_pylist()
    return [(row["recording_count"], row["archive_status"]) for row in found]


def by_partition(catalog: Catalog) -> list[tuple[int, str]]:
    return [(row["recording_count"], row["archive_status"]) for row in catalog.rows(STATUS_STATS, DAY)]


def by_duckdb(catalog: Catalog) -> list[tuple[int, str]]:
    with catalog.duckdb() as connection:
        return connection.execute("select recording_count, archive_status from status_stats").fetchall()


def is_one_age(found: list[tuple[int, str]]) -> bool:
    count = len(found)
    return count in AGES and set(found) == {(count, str(count))}


@pytest.fixture
def catalog(store: Store) -> Catalog:
    catalog = Catalog(store)
    catalog.replace_partition(STATUS_STATS, DAY, rows(AGES[0]))
    return catalog


def test_concurrent_writers_and_readers_see_only_whole_partitions(catalog: Catalog) -> None:
    done = Event()

    def write(first: int) -> None:
        for number in range(WRITES):
            catalog.replace_partition(STATUS_STATS, DAY, rows(AGES[(first + number) % len(AGES)]))

    def read(how: Read) -> tuple[int, list[list[tuple[int, str]]]]:
        """Return how many reads returned one version, and the results of the others."""
        good, torn = 0, []
        while not done.is_set() or good == 0:
            try:
                found = how(catalog)
            except UnavailableError:  # moto answers 500 while an object is replaced
                continue
            except duckdb.Error:
                # DuckDB opens a file twice and fails if it was replaced in between: an error, no mix of rows.
                assert how is by_duckdb
                continue
            if is_one_age(found):
                good += 1
            else:
                torn.append(found[:3])
        return good, torn

    with ThreadPoolExecutor(5) as pool:
        reading = [pool.submit(read, how) for how in (by_arrow, by_partition, by_duckdb)]
        writing = [pool.submit(write, first) for first in (0, 2)]
        try:
            for writer in writing:
                writer.result(timeout=120)
        finally:
            done.set()
        outcomes = [reader.result(timeout=60) for reader in reading]
    assert [torn for _, torn in outcomes] == [[], [], []]
    assert all(good > 0 for good, _ in outcomes)
    final = by_partition(catalog)
    assert is_one_age(final)
    assert by_arrow(catalog) == final
    assert by_duckdb(catalog) == final
    files = [item.path for item in catalog.store.list(STATUS_STATS.folder)]
    assert files == [STATUS_STATS.partition_path(DAY)]


def test_a_connection_reads_the_new_rows_after_a_day_was_replaced(local_store: Store) -> None:
    catalog = Catalog(local_store)
    catalog.replace_partition(STATUS_STATS, DAY, rows(AGES[0]))
    with catalog.duckdb() as connection:
        for count in (*AGES, *AGES[::-1]):
            catalog.replace_partition(STATUS_STATS, DAY, rows(count))
            found = connection.execute("select recording_count, archive_status from status_stats").fetchall()
            assert found == [(count, str(count))] * count
