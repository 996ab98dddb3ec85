"""The lineage that is declared is the one that is there: a column is changed, and it is looked which columns change with it."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

import dagster as dg
import pyarrow as pa
import pytest

from assets import catalog, collection, statistics
from assets.lineage import column_lineage
from callarchive.archiving.transforms.public_tables import (
    duration_stats_table,
    recordings_table,
    sessions_table,
    status_stats_table,
)
from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table

DAY = date(2026, 11, 1)
AT = datetime(2026, 11, 1, 10, tzinfo=UTC)
ASSETS = (schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES, *schemas.PUBLIC_TABLES)
Given = Mapping[str, pa.Table]


def uuid(number: int) -> str:
    return f"{number:08x}-0668-41ec-8c5e-fd3f1c2a9a11"


def value(column: schemas.Column, number: int) -> object:
    """Another one for every row."""
    return {
        schemas.TEXT: f"{column.name} {number}",
        schemas.COUNT: number + 1,
        schemas.NUMBER: number + 1.5,
        schemas.FLAG: number % 2 == 0,
        schemas.TIMESTAMP: AT.replace(minute=number),
        schemas.PRICE: number,
        schemas.TEXTS: [f"{column.name} {number}"],
        schemas.COUNTS: [number],
    }[column.type]


def rows_of(table: Table, **columns: list[object]) -> pa.Table:
    """Eight rows of two accounts, with these columns as given."""
    ids = {"subaccount_id": [f"acme_{number % 2}" for number in range(8)]}
    ids |= {name: [uuid(number) for number in range(8)] for name in ("session_id", "recording_id")}
    given = ids | columns
    rows = [
        {c.name: given[c.name][number] if c.name in given else value(c, number) for c in table.columns}
        for number in range(8)
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)


# Starts: as 8x8's API says, from the object's name, from the URL's.
_NAMED = [f"{uuid(number)}_2026-11-01T09:0{number}:00.000Z.mp3" for number in range(8)]
GIVEN: Given = {
    "session_ids": rows_of(schemas.SESSION_IDS),
    "lookups": rows_of(schemas.LOOKUPS),
    "recording_metadata": rows_of(
        schemas.RECORDING_METADATA,
        started_at_api=[AT, None, None, None, AT, None, None, None],
        external_file_url=[f"https://recordings.example/{name}" for name in _NAMED],
        api_status=["UPLOAD_COMPLETED"] * 8,
    ),
    "recording_files": rows_of(
        schemas.RECORDING_FILES,
        source_path=["a_2026-11-01T08:30:00Z.mp3", "b_2026-11-01T08:40:00Z.mp3", None, None] * 2,
        archive_status=["archived"] * 8,
    ),
    "recording_events": rows_of(schemas.RECORDING_EVENTS),
    "recordings": rows_of(schemas.RECORDINGS, api_status=["UPLOAD_COMPLETED"] * 8, archive_status=["archived"] * 8),
}

MADE: dict[str, tuple[Table, tuple[str, ...], Callable[[Given], pa.Table]]] = {
    "sessions": (
        schemas.SESSIONS,
        ("session_ids", "recording_metadata"),
        lambda given: sessions_table(
            sessions=given["session_ids"], lookups=given["lookups"], metadata=given["recording_metadata"]
        ),
    ),
    "recordings": (
        schemas.RECORDINGS,
        ("recording_metadata", "recording_files"),
        lambda given: recordings_table(
            metadata=given["recording_metadata"],
            files=given["recording_files"],
            events=given["recording_events"],
            call_date=DAY,
            now=AT,
            archive_root="file:///archive/",
            tolerance_s=0.25,
        ),
    ),
    "status_stats": (schemas.STATUS_STATS, ("recordings",), lambda given: status_stats_table(given["recordings"])),
    "duration_stats": (
        schemas.DURATION_STATS,
        ("recordings",),
        lambda given: duration_stats_table(given["recordings"]),
    ),
}


def changed(table: pa.Table, column: schemas.Column) -> list[pa.Table]:
    """The table with other values in half of the column's rows, and with nulls there."""
    old = table[column.name].to_pylist()
    others: list[list[object]] = [
        [*old[:4], *(value(column, number + 20) for number in range(4, 8))],
        [*old[:4], *[None] * 4],
        [*[None] * 4, *old[4:]],
    ]
    index, field = table.column_names.index(column.name), table.schema.field(column.name)
    return [table.set_column(index, field, pa.array(new, field.type)) for new in others]


def declared(table: Table) -> set[tuple[str, str, str]]:
    return {
        (column, dep.asset_key.to_user_string(), dep.column_name)
        for column, deps in column_lineage(table).deps_by_column.items()
        for dep in deps
    }


@pytest.mark.parametrize("name", MADE)
def test_a_column_changes_with_the_columns_of_its_lineage_and_with_no_other(name: str) -> None:
    table, sources, make = MADE[name]
    before = make(GIVEN)
    found = set()
    looked_at = set()
    for source in sources:
        of_source = {t.name: t for t in ASSETS}[source]
        for column in of_source.columns:
            if column.name in of_source.key or column.name in table.key:
                continue  # by these rows are joined and grouped: with them everything changes
            looked_at.add((source, column.name))
            for other in changed(GIVEN[source], column):
                after = make({**GIVEN, source: other})
                found |= {(n, source, column.name) for n in table.schema.names if not after[n].equals(before[n])}
    assert found == {line for line in declared(table) if line[1:] in looked_at}


def test_lines_go_from_columns_of_an_asset_that_is_depended_on() -> None:
    deps = {
        spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
        for module in (collection, catalog, statistics)
        for asset in vars(module).values()
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
    }
    columns = {table.name: set(table.schema.names) for table in ASSETS}
    assert deps.keys() == columns.keys()
    for table in ASSETS:
        for column, source, source_column in declared(table):
            assert column in columns[table.name]
            assert source in deps[table.name], f"{table.name} does not depend on {source}"
            assert source_column in columns[source]
