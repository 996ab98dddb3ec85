"""Rows of erased sessions and recordings leave the tables, and tombstones stay."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from callarchive.archiving.transforms.erased_rows import (
    not_erased,
    not_mentioning,
    recounted,
    with_tombstones,
    without_erased,
)
from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table
from callarchive.custody.erasures import Erased, session_hash
from callarchive.domain.erased_ids import ErasedIds

ON, AT = date(2026, 11, 3), datetime(2026, 11, 1, 10, tzinfo=UTC)
ONE, TWO = (f"e35e3d0e-065a-11ec-b119-676cb2bc33e{number}" for number in (1, 2))
A, B, C = (f"eef54fc2-065a-11ec-bce9-ed100015434{letter}" for letter in "abc")
IDS = ErasedIds("acme", frozenset([ONE]), frozenset([A, B]))
ERASED = Erased(frozenset([session_hash("acme", ONE)]), frozenset([("acme", A), ("acme", B)]))
WITH_IDS = [table for table in (*schemas.STEP_TABLES, *schemas.PUBLIC_TABLES) if "subaccount_id" in table.schema.names]


def table_of(table: Table, *rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"subaccount_id": "acme", **row} for row in rows], schema=table.schema)


def full(table: Table, session_id: str, recording_id: str) -> dict[str, Any]:
    """Return a row with a value in every column; its texts name the session and the recording."""
    values = {
        pa.string(): f"of {session_id.upper()} and {recording_id}",
        pa.int64(): 1,
        pa.float64(): 1.0,
        pa.bool_(): True,
        pa.list_(pa.string()): [f"s/{session_id}/{recording_id}.mp3"],
        pa.list_(pa.int64()): [1],
        pa.decimal128(18, 6): 1,
    }
    row = {field.name: values.get(field.type, AT) for field in table.schema}
    ids = {"subaccount_id": "acme", "session_id": session_id, "recording_id": recording_id}
    states: dict[str, Any] = {
        "sources": ["files"],
        "archive_status": "archived",
        "lookup_status": "ok",
        "api_status": "UPLOAD_COMPLETED",
    }
    return row | {name: value for name, value in (ids | states).items() if name in row}


@pytest.mark.parametrize("table", WITH_IDS, ids=lambda table: table.name)
def test_no_table_keeps_an_erased_id_but_in_tombstones(table: Table) -> None:
    rows = table_of(table, full(table, ONE, A), full(table, TWO, B), full(table, TWO, C))
    left = without_erased(table, rows, IDS, on=ON).to_pylist()
    tombstones = [row for row in left if row.get("archive_status") == "erased"]
    others = [row for row in left if row not in tombstones]
    assert not IDS.in_text(repr(others))
    if "recording_id" in table.schema.names:
        assert [row["recording_id"] for row in others] == [C]
    elif "session_id" in table.schema.names:
        assert {row["session_id"] for row in others} == {TWO}
    names = {"subaccount_id", "session_id", "recording_id", "api_status", "archive_status", "error", "versions"}
    for row in tombstones:
        assert {name for name, value in row.items() if value not in (None, [])} <= names
        assert row["error"] == "erased on 2026-11-03"
    assert len(tombstones) == (2 if table in (schemas.RECORDING_FILES, schemas.RECORDINGS) else 0)
    again = without_erased(table, table_of(table, *left), IDS, on=date(2027, 1, 1))
    assert again.to_pylist() == left


def test_rows_of_another_account_stay() -> None:
    rows = table_of(schemas.RECORDING_METADATA, {"session_id": ONE, "recording_id": A} | {"subaccount_id": "other"})
    assert without_erased(schemas.RECORDING_METADATA, rows, IDS, on=ON).equals(rows)


def test_a_failure_of_an_account_stays_without_the_id() -> None:
    rows = table_of(schemas.ACCOUNT_FAILURES, {"step": "session_ids", "reason": f"session {ONE}: HTTP 500"})
    [row] = without_erased(schemas.ACCOUNT_FAILURES, rows, IDS, on=ON).to_pylist()
    assert row["reason"] == "session (erased): HTTP 500"


def test_a_run_leaves_out_what_the_register_has() -> None:
    metadata = table_of(
        schemas.RECORDING_METADATA,
        *({"session_id": session, "recording_id": one} for session, one in ((ONE, C), (TWO, B), (TWO, C))),
    )
    assert [(row["session_id"], row["recording_id"]) for row in not_erased(metadata, ERASED).to_pylist()] == [(TWO, C)]
    assert not_erased(metadata, Erased()) is metadata
    discrepancies = table_of(
        schemas.RECONCILIATION,
        *({"kind": "orphan_object", "subject": f"up/{one}.mp3", "state": "open"} for one in (A.upper(), C)),
    )
    assert [row["subject"] for row in not_mentioning(discrepancies, ERASED).to_pylist()] == [f"up/{C}.mp3"]


def test_tombstones_are_in_recordings_and_count_for_no_session() -> None:
    ids = [{"session_id": TWO, "recording_id": one} for one in (B, C)]
    files = table_of(
        schemas.RECORDING_FILES, *({**one, "archive_status": "erased", "error": "erased on 2026-11-03"} for one in ids)
    )
    listed = table_of(schemas.RECORDINGS, {**ids[1], "api_status": "PROCESSING", "archive_status": "pending"})
    recordings = with_tombstones(listed, files)
    assert sorted(
        (row["recording_id"], row["api_status"], row["archive_status"]) for row in recordings.to_pylist()
    ) == [
        (B, "UNKNOWN", "erased"),
        (C, "UNKNOWN", "erased"),
    ]
    for lookup_status, after in (("ok", "no_recordings"), ("error", "error")):
        sessions = table_of(schemas.SESSIONS, {"session_id": TWO, "lookup_status": lookup_status, "recording_count": 2})
        [row] = recounted(sessions, recordings).to_pylist()
        assert (row["lookup_status"], row["recording_count"]) == (after, 0)
