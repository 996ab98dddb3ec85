"""Recordings at risk: from when the hours count, what is at risk, and which days are checked."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.monitoring.at_risk import AtRisk, at_risk, days_at_risk, support_text
from callarchive.settings import Settings, load_settings

CONFIG = """
timezone = "{zone}"
start_date = 2026-01-01
archive = {{ url = "file://{folder}/archive" }}
catalog = {{ url = "file://{folder}/catalog" }}
[[accounts]]
subaccount_id = "near"
api_key = {{ env = "KEY" }}
landing = "s3://near/x"
session_sources = [{{ kind = "log_export" }}]
[[accounts]]
subaccount_id = "far"
api_key = {{ env = "KEY" }}
landing = "s3://far/x"
push_retention_hours = 100
session_sources = [{{ kind = "log_export" }}]
"""
DAY = date(2026, 3, 28)
SESSION = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"
AT = datetime(2026, 3, 28, 10, tzinfo=UTC)

Write = Callable[..., None]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, "UTC")


def configured(folder: Path, zone: str) -> Settings:
    (folder / "callarchive.toml").write_text(CONFIG.format(folder=folder, zone=zone))
    return load_settings(folder / "callarchive.toml")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog")


def name(number: int) -> str:
    return str(UUID(int=number))


def session(number: int = 0, account: str = "near", **more: Any) -> dict[str, Any]:
    return {"subaccount_id": account, "session_id": name(number), "lookup_status": "ok", "sources": [], **more}


def recording(number: int = 0, account: str = "near", **more: Any) -> dict[str, Any]:
    state = {"api_status": "UPLOAD_FAILED", "archive_status": "not_uploaded", **more}
    return {"subaccount_id": account, "session_id": name(number), "recording_id": name(1000 + number), **state}


def write(catalog: Catalog, sessions: Iterable[Any], recordings: Iterable[Any] = (), *, day: date = DAY) -> None:
    catalog.replace_partition(schemas.SESSIONS, day, list(sessions))
    catalog.replace_partition(schemas.RECORDINGS, day, list(recordings))


def only(catalog: Catalog, settings: Settings, *, now: datetime = AT, day: date = DAY) -> AtRisk:
    (item,) = at_risk(catalog, settings, now=now, days=[day])
    return item


@pytest.mark.parametrize(
    ("of_session", "of_recording", "ended_at"),
    [
        ({"ended_at": AT, "started_at": AT - timedelta(hours=1)}, {"started_at": AT, "duration_api_s": 9.0}, AT),
        ({"started_at": AT}, {"started_at": AT, "duration_api_s": 90.0}, AT + timedelta(seconds=90)),
        ({"started_at": AT}, {"started_at": AT, "duration_event_s": 60.0}, AT + timedelta(seconds=60)),
        ({"started_at": AT}, {"started_at": AT + timedelta(seconds=5)}, AT + timedelta(seconds=5)),
        ({"started_at": AT}, {"duration_api_s": 90.0}, AT),
        ({}, {"duration_api_s": 90.0}, datetime(2026, 3, 29, tzinfo=UTC)),
    ],
    ids=["call's end", "start and duration", "duration of the event", "start alone", "call's start", "end of the day"],
)
def test_the_hours_count_from_the_best_known_end(
    catalog: Catalog, settings: Settings, of_session: Any, of_recording: Any, ended_at: datetime
) -> None:
    write(catalog, [session(**of_session)], [recording(**of_recording)])
    item = only(catalog, settings)
    assert item.call_ended_at == ended_at
    assert item.deadline_at == ended_at + timedelta(hours=24)
    assert item.hours_left == pytest.approx((ended_at - AT).total_seconds() / 3600 + 24)


def test_each_account_has_its_own_retention(catalog: Catalog, settings: Settings) -> None:
    calls = [session(1, "near", ended_at=AT), session(2, "far", ended_at=AT)]
    write(catalog, calls, [recording(1, "near"), recording(2, "far")])
    items = at_risk(catalog, settings, now=AT + timedelta(hours=30), days=[DAY])
    assert [(item.subaccount_id, round(item.hours_left)) for item in items] == [("far", 70), ("near", -6)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/Havana", date(2026, 3, 8), 23),
        ("Asia/Singapore", date(2026, 3, 29), 24),
    ],
)
def test_hours_are_real_ones_on_days_when_clocks_change(
    catalog: Catalog, tmp_path: Path, zone: str, day: date, hours: int
) -> None:
    """Nothing dates the call, so its day's last instant counts: it is `hours` after the first, and 24 from the deadline."""
    settings = configured(tmp_path, zone)
    # The day's first instant by the machine's own tables, one second after the day before.
    midnight = datetime(day.year, day.month, day.day, tzinfo=settings.zone).astimezone(UTC)
    write(catalog, [session()], [recording()], day=day)
    item = only(catalog, settings, now=midnight, day=day)
    assert item.hours_left == hours + 24
    assert item.call_ended_at.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("api_status", "archive_status", "age", "state"),
    [
        ("UPLOAD_FAILED", "not_uploaded", timedelta(minutes=1), "UPLOAD_FAILED"),
        ("PROCESSING_FAILED", "not_uploaded", timedelta(minutes=1), "PROCESSING_FAILED"),
        ("UNKNOWN", "not_uploaded", timedelta(minutes=1), "UNKNOWN"),
        ("UPLOAD_COMPLETED", "missing", timedelta(hours=25), "UPLOAD_COMPLETED, not found"),
        ("UPLOAD_COMPLETED", "failed", timedelta(minutes=1), "transfer failed"),
        ("PROCESSING", "pending", timedelta(minutes=59), None),
        ("PROCESSING", "pending", timedelta(minutes=61), "PROCESSING"),
        ("UPLOAD_COMPLETED", "pending", timedelta(minutes=59), None),
        ("UPLOAD_COMPLETED", "pending", timedelta(minutes=61), "UPLOAD_COMPLETED, not found"),
        ("UPLOAD_COMPLETED", "archived", timedelta(hours=25), None),
        ("UPLOAD_COMPLETED", "erased", timedelta(hours=25), None),
    ],
)
def test_what_is_at_risk_and_from_which_age(
    catalog: Catalog, settings: Settings, api_status: str, archive_status: str, age: timedelta, state: str | None
) -> None:
    write(catalog, [session(ended_at=AT)], [recording(api_status=api_status, archive_status=archive_status)])
    items = at_risk(catalog, settings, now=AT + age, days=[DAY])
    assert [item.state for item in items] == ([] if state is None else [state])
    assert all(item.next_step for item in items)
    # What we ourselves could not fetch is none of 8x8's business.
    assert bool(support_text(items)) == (state not in (None, "transfer failed"))


def test_a_session_whose_lookup_failed_is_at_risk(catalog: Catalog, settings: Settings) -> None:
    write(catalog, [session(lookup_status="error", lookup_error="HTTP 500"), session(1, lookup_status="not_found")])
    item = only(catalog, settings)
    assert (item.session_id, item.recording_id, item.reason) == (name(0), None, "HTTP 500")
    assert item.next_step == "callarchive archive --day 2026-03-28"
    assert "recording not known, call ended 2026-03-29 00:00:00 UTC, lookup failed" in support_text([item])


def test_it_looks_back_as_far_as_the_longest_retention_and_no_further(catalog: Catalog, settings: Settings) -> None:
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    days = days_at_risk(settings, now=now)
    # 100 hours before is on the 24th; a call of the 23rd may have gone on past midnight.
    assert (days[0], days[-1], len(days)) == (date(2026, 3, 23), date(2026, 3, 28), 6)
    for number, day in enumerate((date(2026, 3, 22), date(2026, 3, 23), date(2026, 3, 28))):
        write(catalog, [session(number, "far")], [recording(number, "far")], day=day)
    assert {item.call_date for item in at_risk(catalog, settings, now=now)} == {date(2026, 3, 23), date(2026, 3, 28)}
    assert days_at_risk(settings, now=datetime(2026, 1, 2, tzinfo=UTC))[0] == settings.start_date


def test_the_text_for_support_is_plain_and_ordered_by_account(catalog: Catalog, settings: Settings) -> None:
    calls = [session(n, account, ended_at=AT) for n, account in ((1, "near"), (2, "far"), (3, "near"))]
    write(catalog, calls, [recording(n, account) for n, account in ((1, "near"), (2, "far"), (3, "near"))])
    text = support_text(at_risk(catalog, settings, now=AT, days=[DAY]))
    assert [line for line in text.splitlines() if line.startswith("Subaccount")] == [
        "Subaccount far:",
        "Subaccount near:",
    ]
    assert (
        f"- session {name(2)}, recording {name(1002)}, call ended 2026-03-28 10:00:00 UTC, UPLOAD_FAILED"
        in text.splitlines()
    )
    assert support_text([]) == ""
