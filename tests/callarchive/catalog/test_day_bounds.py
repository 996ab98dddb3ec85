"""Days archived with one version of the time zone data and reviewed with another.

The zone is Casablanca with the rules of fixed-offset zones, so that midnight moves by an hour at a busy time of the
simulated calls.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.day_bounds import keep_bounds, review_bounds
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.monitoring.status import read_status
from callarchive.planning.look_back import requests_for_look_back
from callarchive.settings import DagsterSettings, load_settings
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan

Start = Callable[..., Any]
TzAge = Callable[..., Path]
Use = Callable[[Path | None], None]
ZONE = "Africa/Casablanca"
TEN, ELEVEN = "Etc/GMT+10", "Etc/GMT+11"  # midnight at 10:00 and at 11:00 UTC
DAYS = [date(2026, 1, 4), date(2026, 1, 5), date(2026, 1, 6)]
NIGHT = datetime(2026, 1, 20, 18, tzinfo=UTC)


@pytest.fixture
def trial(start_trial: Start) -> Any:
    world = generate_world(
        seed=5,
        accounts=(AccountPlan("acme_sg", "s3", "acme-recordings/calls"),),
        first_day=date(2026, 1, 5),
        last_day=date(2026, 1, 6),
        sessions_per_day=24,
        timezone=ZONE,
    )
    found = start_trial(world=world)
    text = found.config.read_text()
    found.config.write_text(text.replace("start_date = 2026-01-05", "start_date = 2026-01-01"))
    return found


def requested(trial: Any) -> dict[date, str]:
    """Return the days that a nightly run requests because their bounds moved, in order, with the reasons."""
    with trial.connections() as connections:
        settings = connections.settings.model_copy(
            update={"dagster": DagsterSettings(look_back_days=0, catch_up_days=1)}
        )
        requests = requests_for_look_back(connections.catalog, settings, at=NIGHT, is_busy=lambda _: False)
    return {request.day: request.why for request in requests if "bounds moved" in request.why}


def days_of_sessions(trial: Any) -> dict[str, list[date]]:
    """Return the days of each session in the public table."""
    found: dict[str, list[date]] = {}
    for row in Catalog.open(trial.config.parent / "catalog").arrow("sessions").to_pylist():
        found.setdefault(row["session_id"], []).append(row["call_date"])
    return found


def exported(trial: Any) -> dict[str, datetime]:
    return {s.session_id: s.started_at for s in trial.simulator.world.sessions if s.exported}


def in_the_hour(trial: Any, day: int) -> set[str]:
    begin = datetime(2026, 1, day, 10, tzinfo=UTC)
    return {name for name, at in exported(trial).items() if begin <= at < begin + timedelta(hours=1)}


def rerun(trial: Any, days: Iterable[date]) -> None:
    for day in days:
        (summary,) = trial.archive(day)
        assert not [check.name for check in summary.checks if not check.passed and "session" in check.name]


@pytest.mark.parametrize(("old", "new"), [(TEN, ELEVEN), (ELEVEN, TEN)])
def test_a_nightly_run_archives_days_with_a_moved_midnight_and_each_session_is_in_one_day(
    trial: Any, tz_age: TzAge, use_tz_data: Use, old: str, new: str
) -> None:
    use_tz_data(tz_age(ZONE, old))
    trial.archive(*DAYS)
    before = days_of_sessions(trial)
    assert before.keys() == exported(trial).keys()
    assert requested(trial) == {}
    use_tz_data(tz_age(ZONE, new))
    assert list(requested(trial)) == DAYS[::-1]
    with trial.connections() as connections:
        overview = read_status(connections, DAYS[:2])
    assert [item.day for item in overview.moved] == DAYS[:2]
    assert not overview.is_well
    assert in_the_hour(trial, 5)
    assert in_the_hour(trial, 6)
    for days in (requested(trial), DAYS):
        rerun(trial, days)
        assert {name: Counter(days).total() for name, days in days_of_sessions(trial).items()} == dict.fromkeys(
            before, 1
        )
    assert requested(trial) == {}


def test_an_hour_that_was_in_no_day_is_archived_later(trial: Any, tz_age: TzAge, use_tz_data: Use) -> None:
    use_tz_data(tz_age(ZONE, TEN))
    trial.archive(*DAYS[:2])
    use_tz_data(tz_age(ZONE, ELEVEN))
    trial.archive(DAYS[2])
    lost = in_the_hour(trial, 6)
    assert exported(trial).keys() - days_of_sessions(trial).keys() == lost
    assert requested(trial)[DAYS[1]] == (
        "its bounds moved: archived as 2026-01-05T10:00:00Z to 2026-01-06T10:00:00Z with tz data of unknown release, SHA-256 "
        f"{sha256_of(TEN)[:12]}, now 2026-01-05T11:00:00Z to 2026-01-06T11:00:00Z"
    )
    rerun(trial, requested(trial))
    found = days_of_sessions(trial)
    assert all(len(days) == 1 for days in found.values())
    assert {name: found[name] for name in lost} == {name: [DAYS[1]] for name in lost}
    assert found.keys() == exported(trial).keys()


def sha256_of(zone: str) -> str:
    return hashlib.sha256(files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()).hexdigest()


def test_processes_with_different_time_zone_data_store_bounds_and_report_moved_days(trial: Any, tz_age: TzAge) -> None:
    environment = trial.process_environment()
    folder = tz_age(ZONE, TEN, version="2025b")
    trial.process_environment = lambda: {**environment, "PYTHONTZPATH": str(folder)}
    span = ("--from", "2026-01-04", "--to", "2026-01-06")
    archived = trial.run("archive", *span)
    assert archived.returncode in (0, 4), archived.stderr
    (kept,) = Catalog.open(trial.config.parent / "catalog").rows(schemas.DAY_BOUNDS, DAYS[1])
    assert kept == {
        "timezone": ZONE,
        "begins_at": datetime(2026, 1, 5, 10, tzinfo=UTC),
        "ends_at": datetime(2026, 1, 6, 10, tzinfo=UTC),
        "tz_origin": str(folder),
        "tz_version": "2025b",
        "tz_sha256": sha256_of(TEN),
    }
    folder = tz_age(ZONE, ELEVEN, version="2026f")
    status = trial.run("status", *span)
    assert status.returncode == 1, status.stderr
    assert "2026-01-04 to 2026-01-06: calls near midnight may be in no day" in " ".join(status.stdout.split())
    document = json.loads(trial.run("doctor", "--json").stdout)
    finding = next(f for f in document["findings"] if f["link"] == "catalog: bounds of days")
    assert finding["verdict"] == "broken"
    assert "3 days have other bounds than when archived" in finding["detail"]
    assert finding["advice"].startswith("callarchive archive --from 2026-01-04 --to 2026-01-06")


def test_bounds_of_a_day_from_an_older_version_are_assumed_from_the_machines_data(
    trial: Any, tz_age: TzAge, use_tz_data: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tz_age(ZONE, TEN, version="2025b")
    use_tz_data(machine)
    trial.archive(*DAYS)
    use_tz_data(tz_age(ZONE, ELEVEN))
    monkeypatch.setattr("callarchive.runtime.time_zones._machine_folders", lambda: (str(machine),))
    with trial.connections() as connections:
        catalog, settings = connections.catalog, connections.settings
        for day in DAYS:
            catalog.store.delete(schemas.DAY_BOUNDS.partition_path(day))
        review = review_bounds(catalog, settings, DAYS)
        assert [item.day for item in review.moved] == DAYS
        assert "tz data 2025b" in review.moved[0].data
        monkeypatch.setattr("callarchive.runtime.time_zones._machine_folders", lambda: (str(tz_age(ZONE, ELEVEN)),))
        assert review_bounds(catalog, settings, DAYS).assumed == frozenset(DAYS)
        monkeypatch.setattr("callarchive.runtime.time_zones._machine_folders", lambda: ())
        review = review_bounds(catalog, settings, DAYS)
        assert (review.moved, review.unknown, review.assumed) == ((), frozenset(DAYS), frozenset())
        path = catalog.partition_uri(schemas.DAY_BOUNDS, DAYS[0]).removeprefix("file://")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"PAR1 torn")
        assert DAYS[0] in review_bounds(catalog, settings, DAYS).unknown


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Africa/Casablanca", date(2025, 2, 23)),
        ("America/Vancouver", date(2025, 11, 2)),
        ("America/Havana", date(2025, 11, 2)),
        ("Australia/Lord_Howe", date(2025, 4, 6)),
        ("Pacific/Apia", date(2011, 12, 30)),
    ],
)
def test_days_with_a_clock_change_have_not_moved(tmp_path: Path, zone: str, day: date) -> None:
    file = tmp_path / "callarchive.toml"
    file.write_text(
        f'timezone = "{zone}"\nstart_date = 2011-01-01\narchive.url = "archive"\ncatalog.url = "catalog"\n[[accounts]]\n'
        'subaccount_id = "acme"\napi_key = { env = "K" }\nlanding = "s3://acme"\nsession_sources = [{ kind = "log_export" }]\n'
    )
    settings = load_settings(file)
    catalog = Catalog.open(settings.catalog.url)
    around = [day + timedelta(days=offset) for offset in (-1, 0, 1)]
    for each in around:
        catalog.replace_partition(schemas.SESSION_IDS, each, [])
        keep_bounds(catalog, each, settings)
    review = review_bounds(catalog, settings, around)
    assert (review.moved, review.unknown, review.assumed) == ((), frozenset(), frozenset())
    rows = [catalog.rows(schemas.DAY_BOUNDS, each)[0] for each in around]
    assert [row["ends_at"] for row in rows[:-1]] == [row["begins_at"] for row in rows[1:]]
    local = datetime.combine(day, datetime.min.time(), tzinfo=ZoneInfo(zone))
    assert rows[1]["begins_at"] == local.astimezone(UTC)
