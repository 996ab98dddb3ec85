from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.planning.look_back import day_before, days_left_behind, requests_for_look_back
from callarchive.settings import Settings, load_settings
from callarchive.simulator.clock import MovableClock

CONFIG = """
timezone = "{timezone}"
start_date = 2026-10-01
archive.url = "archive"
catalog.url = "catalog"
dagster.look_back_days = {look_back_days}
dagster.catch_up_days = {catch_up_days}
[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "NOT_SET" }}
landing = "s3://acme-recordings"
session_sources = [{{ kind = "log_export" }}]
"""
NIGHT = datetime(2026, 11, 20, 4, tzinfo=UTC)
Start = Callable[..., Any]


def written(folder: Path, *, timezone: str = "UTC", look_back_days: int = 3, catch_up_days: int = 14) -> Settings:
    file = folder / "callarchive.toml"
    file.write_text(CONFIG.format(timezone=timezone, look_back_days=look_back_days, catch_up_days=catch_up_days))
    return load_settings(file)


def keep(settings: Settings, *days: date, looked_up_at: datetime | None, status: str = "no_recordings") -> None:
    """Archive the days, with a session each that was looked up then, or without one."""
    catalog = Catalog.open(settings.catalog.url)
    for day in days:
        key = {"subaccount_id": "acme", "session_id": f"s-{day}"}
        noon = datetime.combine(day, time(12), tzinfo=UTC)
        session = {**key, "started_at": noon, "ended_at": noon, "sources": ["log_export"]}
        lookup = {**key, "lookup_status": status, "looked_up_at": looked_up_at, "unreachable": False}
        if looked_up_at is not None and status == "no_recordings":
            lookup["negative_since"] = looked_up_at - timedelta(hours=24)
        catalog.replace_partition(schemas.SESSION_IDS, day, [session] if looked_up_at else [])
        catalog.replace_partition(schemas.LOOKUPS, day, [lookup] if looked_up_at else [])
        for table in schemas.PUBLIC_TABLES:
            catalog.replace_partition(table, day, [])


def answered_once(settings: Settings, day: date, *, since: datetime | None) -> None:
    """Look up the day's session, for which 8x8 lists no recording for the first time."""
    keep(settings, day, looked_up_at=since or NIGHT - timedelta(days=2))
    catalog = Catalog.open(settings.catalog.url)
    (row,) = catalog.rows(schemas.LOOKUPS, day)
    catalog.replace_partition(schemas.LOOKUPS, day, [row | {"negative_since": since}])


def asked(settings: Settings, *, at: datetime = NIGHT, busy: tuple[date, ...] = ()) -> dict[str, str]:
    requests = requests_for_look_back(
        Catalog.open(settings.catalog.url), settings, at=at, is_busy=lambda day: day in busy
    )
    assert all(request.key == request.day.isoformat() for request in requests)
    return {request.day.isoformat(): request.why for request in requests}


def back(*numbers: int) -> list[date]:
    """Days before the previous day."""
    return [date(2026, 11, 19) - timedelta(days=number) for number in numbers]


def test_days_never_archived_are_requested_newest_first_within_a_limit(tmp_path: Path) -> None:
    settings = written(tmp_path, catch_up_days=5)
    keep(settings, *back(2, 4), looked_up_at=NIGHT)
    assert list(asked(settings)) == ["2026-11-18", "2026-11-16", "2026-11-14"]


def test_no_day_before_the_start_date_is_requested(tmp_path: Path) -> None:
    settings = written(tmp_path, catch_up_days=100)
    found = asked(settings, at=datetime(2026, 10, 4, 4, tzinfo=UTC))
    assert list(found) == ["2026-10-02", "2026-10-01"]
    assert day_before(datetime(2026, 10, 1, 4, tzinfo=UTC), settings) is None
    first = day_before(datetime(2026, 10, 2, 4, tzinfo=UTC), settings)
    assert first is not None
    assert first.day == date(2026, 10, 1)


def test_a_day_whose_run_was_interrupted_between_two_tables_was_not_archived(tmp_path: Path) -> None:
    settings = written(tmp_path)
    keep(settings, *back(*range(1, 15)), looked_up_at=NIGHT)
    assert asked(settings) == {}
    partition = Catalog.open(settings.catalog.url).partition_uri(schemas.DURATION_STATS, back(9)[0])
    Path(partition.removeprefix("file://")).unlink()
    assert asked(settings) == {"2026-11-10": "it was never archived completely"}


@pytest.mark.parametrize(
    ("timezone", "looked_up_at", "is_asked"),
    [
        ("UTC", datetime(2026, 11, 9, 23, 59, tzinfo=UTC), True),
        ("UTC", datetime(2026, 11, 10, 0, 0, tzinfo=UTC), False),
        ("America/Santiago", datetime(2026, 11, 10, 2, 59, tzinfo=UTC), True),  # UTC-3
        ("America/Santiago", datetime(2026, 11, 10, 3, 0, tzinfo=UTC), False),
    ],
)
def test_a_day_archived_only_before_it_ended_is_requested(
    tmp_path: Path, timezone: str, looked_up_at: datetime, is_asked: bool
) -> None:
    settings = written(tmp_path, timezone=timezone)
    keep(settings, *back(*range(1, 15)), looked_up_at=NIGHT)
    keep(settings, date(2026, 11, 9), looked_up_at=looked_up_at)
    assert asked(settings) == ({"2026-11-09": "it was last archived before it ended"} if is_asked else {})


def test_a_day_without_sessions_is_requested_within_the_look_back(tmp_path: Path) -> None:
    settings = written(tmp_path)
    keep(settings, *back(*range(1, 15)), looked_up_at=None)
    assert asked(settings) == dict.fromkeys(["2026-11-18", "2026-11-17", "2026-11-16"], "no source lists a session")
    assert asked(written(tmp_path, look_back_days=0)) == {}


def test_a_day_with_an_open_session_is_requested_when_it_is_due(tmp_path: Path) -> None:
    settings = written(tmp_path)
    keep(settings, *back(*range(1, 15)), looked_up_at=NIGHT + timedelta(days=2))
    (day,) = back(1)
    # Looked up 17 hours after the call: due again after half of that.
    keep(settings, day, looked_up_at=datetime(2026, 11, 19, 5, tzinfo=UTC), status="error")
    assert asked(settings, at=datetime(2026, 11, 20, 0, tzinfo=UTC)) == {
        "2026-11-18": "1 of 1 open sessions are due again"
    }
    keep(settings, day, looked_up_at=datetime(2026, 11, 19, 20, tzinfo=UTC), status="error")
    assert asked(settings, at=datetime(2026, 11, 20, 0, tzinfo=UTC)) == {}
    keep(settings, *back(4), looked_up_at=datetime(2026, 11, 16, 5, tzinfo=UTC), status="error")
    assert asked(settings, at=datetime(2026, 11, 20, 0, tzinfo=UTC)) == {}


def test_a_session_without_a_recording_is_looked_up_again_a_day_later(tmp_path: Path) -> None:
    settings = written(tmp_path)
    keep(settings, *back(*range(1, 15)), looked_up_at=NIGHT)
    for number in (2, 9, 14):
        (day,) = back(number)
        since = NIGHT - timedelta(days=1)
        answered_once(settings, day, since=since + timedelta(seconds=1))
        assert asked(settings) == {}
        answered_once(settings, day, since=since)
        assert list(asked(settings)) == [day.isoformat()]
        answered_once(settings, day, since=None)  # an older version's
        assert list(asked(settings)) == [day.isoformat()] * (number <= 3)
        keep(settings, day, looked_up_at=NIGHT)


def test_a_day_with_a_run_in_progress_is_not_requested(tmp_path: Path) -> None:
    settings = written(tmp_path, catch_up_days=3)
    assert list(asked(settings, busy=(date(2026, 11, 17),))) == ["2026-11-18", "2026-11-16"]


def test_days_beyond_the_look_back_are_counted(tmp_path: Path) -> None:
    settings = written(tmp_path)
    catalog = Catalog.open(settings.catalog.url)
    # 1 October to 4 November: the night asks for 19 November and looks 14 days back, to the 5th.
    assert days_left_behind(catalog, settings, at=NIGHT) == 35
    keep(settings, date(2026, 10, 1), date(2026, 11, 4), date(2026, 11, 5), date(2026, 9, 30), looked_up_at=NIGHT)
    assert days_left_behind(catalog, settings, at=NIGHT) == 33
    assert days_left_behind(catalog, settings, at=datetime(2026, 10, 3, tzinfo=UTC)) == 0


def test_a_simulated_day_is_archived_once_more_and_then_for_open_sessions(start_trial: Start) -> None:
    night = datetime(2026, 1, 6, 4, tzinfo=UTC)
    clock = MovableClock(night)
    trial = start_trial(sessions_per_day=25, clock=clock)
    trial.archive()
    whys, open_counts = [], []
    with trial.connections() as connections:
        for _ in range(3):
            night += timedelta(days=1)
            clock.set(night)
            trial.simulator.deliver()
            found = requests_for_look_back(connections.catalog, connections.settings, at=night, is_busy=lambda _: False)
            whys += [request.why for request in found if request.day in trial.days]
            trial.archive()
            tables = trial.tables()
            recordings, sessions = tables["recordings"], tables["sessions"]
            open_counts.append(len({row["session_id"] for row in recordings if row["archive_status"] != "archived"}))
            none_count = sum(row["lookup_status"] in ("no_recordings", "not_found") for row in sessions)
    assert 0 < open_counts[0] < 20
    assert none_count > 5
    # The first night was too soon for final results. Sessions without a recording are looked up twice.
    expected = (50, open_counts[0] + none_count, open_counts[1])
    assert whys == [f"{count} of {count} open sessions are due again" for count in expected]
