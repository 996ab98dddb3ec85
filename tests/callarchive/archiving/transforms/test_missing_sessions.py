"""Sessions that a source should have listed, according to earlier runs and webhook events."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from callarchive.archiving.transforms.day_assignment import assign_sessions
from callarchive.archiving.transforms.missing_sessions import AccountSources, missing_sessions
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import Findings
from callarchive.settings import AccountSettings

DAY = date(2026, 11, 1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY_END = datetime(2026, 11, 2, tzinfo=UTC)
NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)
ALL = frozenset(("log_export", "files", "sql"))
BEFORE, EVENTS = "an earlier run found it in this source", "webhook events name it"


class Runs:
    """Runs of one day, each with the sessions that the sources list."""

    def __init__(self, folder: Path) -> None:
        self.catalog = Catalog.open(folder)

    def run(
        self,
        named: Mapping[str, list[str]],
        *,
        kinds: frozenset[str] = ALL,
        other_days: Mapping[str, frozenset[str]] | None = None,
        unread: bool = False,
        started_at: datetime | None = NOON,
    ) -> dict[tuple[str, str], str]:
        """Run, and return the reasons for missing sessions by session and source."""
        row: dict[str, Any] = dict.fromkeys(schemas.SESSION_IDS.schema.names)
        rows = [
            row | {"subaccount_id": "acme", "session_id": id_, "sources": sources, "started_at": started_at}
            for id_, sources in named.items()
        ]
        table = pa.Table.from_pylist(rows, schema=schemas.SESSION_IDS.schema)
        before = self.catalog.partition(schemas.SESSION_IDS, DAY)
        failed = ["acme"] if unread else []
        settled = assign_sessions(
            *(self.catalog, DAY, table),
            before=before,
            masks={"acme": lambda _: None},
            zone=ZoneInfo("UTC"),
            unread=failed,
        ).rows
        found = missing_sessions(
            self.catalog,
            DAY,
            before=before,
            named=table,
            settled=settled,
            sources={} if unread else {"acme": AccountSources(kinds, other_days or {})},
            unread=failed,
            now=NOW,
        )
        assert self.catalog.replace_partition(schemas.MISSING_SESSIONS, DAY, found) == len(found)
        self.catalog.replace_partition(schemas.SESSION_IDS, DAY, settled)
        assert self.catalog.rows(schemas.MISSING_SESSIONS, DAY) == found
        assert {row["subaccount_id"] for row in found} <= {"acme"}
        return {(row["session_id"], row["source"]): row["reason"] for row in found}

    def answered(self, *, negative_since: datetime, **status: str) -> None:
        keys = {"subaccount_id": "acme", "looked_up_at": NOW, "negative_since": negative_since}
        rows = [{**keys, "session_id": id_, "lookup_status": text} for id_, text in status.items()]
        self.catalog.replace_partition(schemas.LOOKUPS, DAY, rows)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


EXPORT, FILES = ["log_export"], ["files"]


def test_first_and_unchanged_runs_miss_nothing(runs: Runs) -> None:
    for _ in range(2):
        assert runs.run({"a": EXPORT, "b": [*EXPORT, "inbox"], "c": FILES}) == {}


def test_a_session_dropped_by_a_source_is_missing_until_it_is_listed_again(runs: Runs) -> None:
    runs.run({"a": EXPORT, "b": EXPORT, "c": FILES})
    for _ in range(3):
        assert runs.run({"a": EXPORT}) == {("b", "log_export"): BEFORE, ("c", "files"): BEFORE}
    assert runs.run({"a": EXPORT, "b": EXPORT}) == {("c", "files"): BEFORE}
    assert runs.run({"a": EXPORT, "b": EXPORT, "c": FILES}) == {}


def test_new_sessions_do_not_compensate_for_missing_ones(runs: Runs) -> None:
    runs.run({"a": EXPORT, "b": EXPORT})
    assert runs.run({"a": EXPORT, "c": EXPORT, "d": EXPORT}) == {("b", "log_export"): BEFORE}


def test_a_session_is_missing_from_one_source_even_if_another_lists_it(runs: Runs) -> None:
    runs.run({"a": ["files", "log_export"]})
    for _ in range(3):
        assert runs.run({"a": FILES}) == {("a", "log_export"): BEFORE}


def test_pruned_events_are_not_missing(runs: Runs) -> None:
    runs.run({"a": ["inbox", "log_export"], "b": ["inbox"]}, kinds=frozenset(("files",)))
    assert runs.run({"a": EXPORT}, kinds=frozenset(("files",))) == {}


def test_a_session_dropped_by_the_export_is_missing_even_if_it_leaves_the_day(runs: Runs) -> None:
    runs.run({"a": EXPORT, "b": EXPORT})
    runs.answered(a="ok", b="no_recordings", negative_since=NOW - timedelta(days=1))
    for _ in range(3):
        assert runs.run({"a": EXPORT}) == {("b", "log_export"): BEFORE}
    assert runs.run({"a": EXPORT, "b": EXPORT}) == {}


def test_the_users_own_list_may_drop_a_session_without_recordings(runs: Runs) -> None:
    runs.run({"a": FILES, "b": ["sql"], "c": FILES})
    runs.answered(a="ok", b="no_recordings", c="not_found", negative_since=NOW - timedelta(days=1))
    assert runs.run({}) == {("a", "files"): BEFORE}


def test_a_single_negative_response_lets_no_list_drop_a_session(runs: Runs) -> None:
    runs.run({"b": ["sql"], "c": FILES})
    runs.answered(b="no_recordings", c="not_found", negative_since=NOW)
    assert runs.run({}) == {("b", "sql"): BEFORE, ("c", "files"): BEFORE}


def test_a_source_that_is_not_configured_or_does_not_reach_back_misses_nothing(runs: Runs) -> None:
    runs.run({"a": EXPORT, "b": FILES})
    assert runs.run({}, kinds=frozenset(("files",))) == {("b", "files"): BEFORE}
    assert runs.run({}, kinds=frozenset()) == {}


def test_an_account_whose_sources_could_not_be_read_keeps_its_missing_sessions(runs: Runs) -> None:
    runs.run({"a": EXPORT, "b": EXPORT})
    expected = runs.run({"a": EXPORT})
    assert runs.run({}, unread=True) == expected == {("b", "log_export"): BEFORE}


def test_a_session_listed_for_another_day_is_not_missing(runs: Runs) -> None:
    runs.run({"a": EXPORT, "b": ["inbox"]}, other_days={"log_export": frozenset("b")})
    assert runs.run({"b": ["inbox"]}, other_days={"log_export": frozenset("ab")}) == {}


def test_a_session_named_only_by_events_is_missing_from_the_export(runs: Runs, uuid1_at: Callable[..., str]) -> None:
    named = {"a": ["inbox"], "b": ["files", "inbox"], "c": ["inbox", "log_export"], "d": FILES}
    for _ in range(2):
        assert runs.run(named) == {("a", "log_export"): EVENTS, ("b", "log_export"): EVENTS}
    assert runs.run({**named, "a": ["inbox", "log_export"]}) == {("b", "log_export"): EVENTS}
    assert runs.run(named, kinds=frozenset(("files",))) == {}


@pytest.mark.parametrize(("age", "is_missing"), [(timedelta(minutes=59), False), (timedelta(minutes=61), True)])
@pytest.mark.parametrize("by_uuid", [True, False])
def test_the_export_has_an_hour_to_list_a_session_named_by_events(
    age: timedelta, is_missing: bool, by_uuid: bool, runs: Runs, uuid1_at: Callable[..., str]
) -> None:
    at = NOW - age
    found = runs.run({uuid1_at(at): ["inbox"]}, started_at=None if by_uuid else at)
    assert bool(found) is is_missing


@pytest.fixture
def uuid1_at() -> Callable[[datetime], str]:
    """A version-1 UUID of a time: 0x01B21DD213814000 is RFC 9562's number of 100 ns between 1582-10-15 and 1970-01-01."""

    def make(at: datetime) -> str:
        ticks = round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10_000_000 + 0x01B21DD213814000
        return f"{ticks & 0xFFFFFFFF:08x}-{ticks >> 32 & 0xFFFF:04x}-1{ticks >> 48:03x}-8000-000000000000"

    return make


@pytest.mark.parametrize(
    ("days_later", "kinds"),
    [
        (0, {"log_export", "files", "sql"}),
        (7, {"log_export", "files", "sql"}),
        (8, {"log_export", "files"}),
        (31, {"files"}),
    ],
)
def test_reach_days_limits_how_far_a_source_reaches_back(days_later: int, kinds: set[str]) -> None:
    account = AccountSettings.model_validate(
        {
            "subaccount_id": "acme",
            "api_key": {"env": "KEY"},
            "landing": "s3://acme-recordings",
            "session_sources": [
                {"kind": "log_export", "reach_days": 30},
                {"kind": "inbox"},
                {"kind": "files", "path": "/ids.csv", "reach_days": 7},
                {"kind": "files", "path": "/ids-{day}.csv"},
                {"kind": "sql", "url": "sqlite:///x", "query": "select :start, :end", "reach_days": 7},
            ],
        }
    )
    found = [("files", Findings(other_days=frozenset("a"))), ("files", Findings(other_days=frozenset("b")))]
    answers = AccountSources.of(account, found, day_end=DAY_END, now=DAY_END + timedelta(days=days_later))
    assert answers.kinds == kinds
    assert answers.other_days == {"files": {"a", "b"}}
