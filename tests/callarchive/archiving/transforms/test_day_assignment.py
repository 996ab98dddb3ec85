"""Assignment of sessions to days, given earlier runs and neighbouring days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from callarchive.archiving.transforms.day_assignment import assign_sessions
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.rows import Row

DAY = date(2026, 11, 1)
AT = datetime(2026, 11, 1, 10, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path)


def session(session_id: str, account: str = "acme", **facts: Any) -> Row:
    row: Row = dict.fromkeys(schemas.SESSION_IDS.schema.names)
    return row | {"subaccount_id": account, "session_id": session_id, "sources": ["files"]} | facts


def assign(catalog: Catalog, *named: Row, accounts: tuple[str, ...] = ("acme",)) -> tuple[dict[str, Row], list[str]]:
    """Return the day's rows by session id, and the reasons for rejecting others."""
    table = pa.Table.from_pylist(list(named), schema=schemas.SESSION_IDS.schema)
    masks = {account: lambda number: None if number is None else f"<{number}>" for account in accounts}
    earlier = catalog.partition(schemas.SESSION_IDS, DAY)
    settled = assign_sessions(catalog, DAY, table, before=earlier, masks=masks, zone=ZoneInfo("UTC"))
    rows, elsewhere = settled.rows, settled.elsewhere
    assert rows.schema.equals(schemas.SESSION_IDS.schema)
    return {row["session_id"]: row for row in rows.to_pylist()}, [problem.reason for _, problem in elsewhere]


def before(catalog: Catalog, *rows: Row, offset: int = 0) -> None:
    catalog.replace_partition(schemas.SESSION_IDS, DAY + timedelta(days=offset), rows)


def answer(catalog: Catalog, **status: str) -> None:
    keys = {"subaccount_id": "acme", "looked_up_at": AT}
    since = AT - timedelta(days=1)
    rows = [
        {**keys, "session_id": session_id, "lookup_status": text, "negative_since": since}
        for session_id, text in status.items()
    ]
    catalog.replace_partition(schemas.LOOKUPS, DAY, rows)


def test_a_day_that_never_ran_has_the_sessions_as_named(catalog: Catalog) -> None:
    named = session("a", source_number="+65", call_count=2), session("b")
    assert assign(catalog, *named) == ({"a": named[0], "b": named[1]}, [])


def test_sessions_of_neighbouring_days_are_rejected_in_order(catalog: Catalog) -> None:
    before(catalog, session("of_before"), offset=-1)
    before(catalog, session("of_after"), offset=1)
    rows, reasons = assign(catalog, session("of_after"), session("mine"), session("of_before"))
    assert set(rows) == {"mine"}
    assert reasons == [
        "session of_after belongs to 2026-11-02 already",
        "session of_before belongs to 2026-10-31 already",
    ]


def test_the_earlier_of_two_days_with_a_session_keeps_it(catalog: Catalog) -> None:
    before(catalog, session("of_before"), session("of_this"))
    before(catalog, session("of_before"), offset=-1)
    before(catalog, session("of_this"), offset=1)
    rows, _ = assign(catalog, session("of_this"), session("of_before"))
    assert set(rows) == {"of_this"}
    rows, _ = assign(catalog)  # no source lists them any more
    assert set(rows) == {"of_this"}


def test_accounts_do_not_share_sessions(catalog: Catalog) -> None:
    before(catalog, session("a", account="other"), offset=-1)
    rows, reasons = assign(catalog, session("a"))
    assert (set(rows), reasons) == ({"a"}, [])


def test_a_value_that_no_source_provides_stays_unless_it_is_a_number(catalog: Catalog) -> None:
    before(catalog, session("a", started_at=AT, call_count=2, source_number="+65", sources=["log_export"]))
    rows, _ = assign(catalog, session("a", call_count=3))
    assert rows == {"a": session("a", started_at=AT, call_count=3)}


def test_a_session_that_no_source_lists_stays_with_masked_numbers(catalog: Catalog) -> None:
    before(catalog, session("a", source_number="+65", call_count=2), session("b", account="gone", source_number="+66"))
    rows, reasons = assign(catalog, session("c"))
    assert rows["a"] == session("a", source_number="<+65>", call_count=2)
    assert rows["b"] == session("b", account="gone", source_number=None)
    assert (set(rows), reasons) == ({"a", "b", "c"}, [])


def test_a_session_leaves_only_if_8x8_never_listed_a_recording(catalog: Catalog) -> None:
    names = ("none", "unknown", "error", "ok", "never_asked", "had_one")
    before(catalog, *map(session, names), session("none", account="gone"))
    answer(catalog, none="no_recordings", unknown="not_found", error="error", ok="ok", had_one="no_recordings")
    recording = {"subaccount_id": "acme", "session_id": "had_one", "recording_id": "r", "api_status": "UNKNOWN"}
    catalog.replace_partition(schemas.RECORDING_METADATA, DAY, [recording])
    rows, _ = assign(catalog)
    assert set(rows) == {"error", "ok", "never_asked", "had_one", "none"}
    assert rows["none"]["subaccount_id"] == "gone"


@pytest.mark.parametrize("since", [None, AT - timedelta(days=1) + timedelta(seconds=1), AT])
def test_a_single_negative_response_does_not_remove_a_session(catalog: Catalog, since: datetime) -> None:
    before(catalog, session("a"))
    answer(catalog, a="not_found")
    (row,) = catalog.rows(schemas.LOOKUPS, DAY)
    catalog.replace_partition(schemas.LOOKUPS, DAY, [row | {"negative_since": since}])
    assert set(assign(catalog)[0]) == {"a"}


def test_a_session_that_an_event_named_stays_when_the_inbox_is_pruned(catalog: Catalog) -> None:
    before(catalog, session("a", sources=["inbox"]), session("b", sources=["files"]), session("c", sources=["files"]))
    answer(catalog, a="not_found", b="not_found", c="no_recordings")
    rows, _ = assign(catalog)
    assert set(rows) == {"a"}


def test_inbox_stays_a_source_after_its_events_are_pruned(catalog: Catalog) -> None:
    before(
        catalog,
        session("a", sources=["files", "inbox"]),
        session("b", sources=["files"]),
        session("c", sources=["inbox"]),
    )
    rows, _ = assign(catalog, *(session(name, sources=["log_export"]) for name in "abcd"))
    assert {name: row["sources"] for name, row in rows.items()} == {
        "a": ["inbox", "log_export"],
        "b": ["log_export"],
        "c": ["inbox", "log_export"],
        "d": ["log_export"],
    }


def test_a_session_moved_to_the_next_day_by_a_midnight_stays_without_recordings(catalog: Catalog) -> None:
    """The next day does not take the session, so it must stay, or it would be in no day."""
    version_1 = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"  # of 2021-08-26
    late = session("late", started_at=datetime(2026, 11, 2, 0, 30, tzinfo=UTC), sources=["log_export"])
    mine = session("mine", started_at=datetime(2026, 11, 1, 23, 30, tzinfo=UTC), sources=["log_export"])
    by_id = session(version_1, sources=["log_export"])
    undated = session("undated", sources=["log_export"])
    before(catalog, late, mine, by_id, undated)
    answer(catalog, late="not_found", mine="not_found", undated="no_recordings", **{version_1: "not_found"})
    rows, _ = assign(catalog)
    assert set(rows) == {"late", version_1}


def test_a_session_moved_to_this_day_by_a_midnight_is_not_reported(catalog: Catalog) -> None:
    at = datetime(2026, 11, 1, 0, 30, tzinfo=UTC)
    moved = session("moved", started_at=at, sources=["log_export"])
    redated = session("redated", started_at=at, sources=["log_export"])
    in_files = session("in_files", started_at=at)
    before(catalog, moved, in_files, redated | {"started_at": at - timedelta(hours=1)}, offset=-1)
    rows, reasons = assign(catalog, moved, redated, in_files)
    assert rows == {}
    assert reasons == [
        "session redated belongs to 2026-10-31 already",
        "session in_files belongs to 2026-10-31 already",
    ]
