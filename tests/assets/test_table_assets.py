import re

import dagster as dg
import pytest

from assets import catalog, collection, statistics
from assets.table_assets import column_schema
from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table

ASSETS = {
    asset.key.to_user_string(): asset
    for asset in (
        collection.session_ids,
        collection.recording_metadata,
        collection.recording_files,
        catalog.sessions,
        catalog.recordings,
        catalog.reconciliation,
        statistics.status_stats,
        statistics.duration_stats,
    )
}
TABLES = {table.name: table for table in (*schemas.PUBLIC_TABLES, *schemas.STEP_TABLES)}


def spec(name: str) -> dg.AssetSpec:
    (only,) = ASSETS[name].specs
    return only


@pytest.mark.parametrize("name", ASSETS)
def test_an_asset_says_what_a_row_is_where_lists_cut_it_and_who_owns_it(name: str) -> None:
    grain, rest = re.fullmatch(r"(One row per \w+)\b(.+)", (spec(name).description or "")[:45], re.DOTALL).groups()  # type: ignore[union-attr]
    assert TABLES[name].grain.startswith(grain.lower())
    assert len(rest) > 15, "and what the row has"
    assert spec(name).owners == ["team:call-recordings"]
    assert spec(name).kinds == {"python", "parquet"}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_the_columns_shown_are_those_of_the_files(table: Table) -> None:
    shown = column_schema(table).columns
    in_files = [(field.name, str(field.type), (field.metadata or {})[b"meaning"].decode()) for field in table.schema]
    assert [(c.name, c.type, (c.description or "").partition(" ← ")[0]) for c in shown[:-1]] == in_files
    assert shown[-1].name == "call_date"
    assert {c.name for c in shown if not c.constraints.nullable} == set(table.key)


def test_a_column_names_those_that_it_comes_from() -> None:
    descriptions = {column.name: column.description for column in column_schema(schemas.STATUS_STATS).columns}
    assert descriptions["size_bytes"] == "total size of the archived files, bytes ← recordings.size_bytes"


def test_the_chain_goes_from_ids_to_statistics() -> None:
    edges = {name: {dep.asset_key.to_user_string() for dep in spec(name).deps} for name in ASSETS}
    assert edges == {
        "session_ids": set(),
        "recording_metadata": {"session_ids"},
        "recording_files": {"session_ids", "recording_metadata"},
        "sessions": {"session_ids", "recording_metadata"},
        "recordings": {"recording_metadata", "recording_files", "sessions"},
        "status_stats": {"recordings"},
        "duration_stats": {"recordings"},
        "reconciliation": {"sessions", "recordings", "recording_files"},
    }


def test_steps_that_ask_others_wait_for_the_pool_of_those() -> None:
    assert {name: asset.op.pool for name, asset in ASSETS.items() if asset.op.pool} == {
        "recording_metadata": "api",
        "recording_files": "landing",
    }


def test_tables_that_may_hold_phone_numbers_are_tagged() -> None:
    assert {name for name in ASSETS if spec(name).tags["personal_data"] == "as-configured"} == {
        "session_ids",
        "sessions",
    }
