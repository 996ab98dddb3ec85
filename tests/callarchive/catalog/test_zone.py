"""A catalog stores the time zone of its days."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.zone import MARK_PATH, kept_zone, require_same_zone
from callarchive.cli.day_results import archive_day
from callarchive.domain.errors import ConfigurationError, StoreError
from callarchive.settings import Settings, load_settings
from callarchive.simulator.world import AccountPlan

Start = Callable[..., Any]
NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
CONFIG = """
timezone = "{timezone}"
start_date = {start_date}
archive.url = "archive"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "NOT_SET" }}
landing = "s3://acme-recordings"
session_sources = [{{ kind = "log_export" }}]
"""


def written(folder: Path, timezone: str, start_date: str = "2026-10-01") -> Settings:
    file = folder / "callarchive.toml"
    file.write_text(CONFIG.format(timezone=timezone, start_date=start_date))
    return load_settings(file)


def require(settings: Settings) -> Catalog:
    catalog = Catalog.open(settings.catalog.url)
    require_same_zone(catalog, settings, now=NOW)
    return catalog


@pytest.mark.parametrize(
    ("first", "second"),
    [("UTC", "Etc/UTC"), ("Asia/Calcutta", "Asia/Kolkata"), ("Asia/Singapore", "Asia/Kuala_Lumpur")],
)
def test_another_name_for_the_same_days_is_accepted_and_the_stored_one_stays(
    tmp_path: Path, first: str, second: str
) -> None:
    require(written(tmp_path, first))
    assert kept_zone(require(written(tmp_path, second))) == first


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("UTC", "Asia/Singapore"),
        ("Etc/UTC", "Europe/London"),
        ("America/Denver", "America/Phoenix"),
        ("UTC", "Etc/GMT+1"),
    ],
)
def test_another_zone_is_refused_in_one_line_that_names_both(tmp_path: Path, first: str, second: str) -> None:
    require(written(tmp_path, first))
    with pytest.raises(ConfigurationError) as refusal:
        require(written(tmp_path, second))
    message = str(refusal.value)
    assert f"are cut in {first}, not in {second}" in message
    assert message.startswith("timezone: ")
    assert "\n" not in message
    assert kept_zone(require(written(tmp_path, first))) == first


def test_zones_that_differed_only_in_the_past_conflict_if_those_days_are_archived(tmp_path: Path) -> None:
    catalog = require(written(tmp_path, "Asia/Singapore"))
    catalog.replace_partition(schemas.SESSION_IDS, date(1981, 12, 31), [])
    require(written(tmp_path, "Asia/Kuala_Lumpur"))
    catalog.replace_partition(schemas.SESSION_IDS, date(2015, 8, 20), [])
    require(written(tmp_path, "Asia/Singapore", start_date="2015-08-01"))
    other = tmp_path / "other"
    other.mkdir()
    korea = require(written(other, "Asia/Seoul"))
    require(written(other, "Asia/Pyongyang"))
    korea.replace_partition(schemas.SESSION_IDS, date(2017, 8, 20), [])  # Pyongyang was half an hour off until 2018
    with pytest.raises(ConfigurationError, match="are cut in Asia/Seoul"):
        require(written(other, "Asia/Pyongyang"))


def test_another_start_date_is_accepted(tmp_path: Path) -> None:
    for start_date in ("2026-10-01", "2020-01-01", "2026-11-19"):
        require(written(tmp_path, "Europe/Berlin", start_date))


def test_one_of_concurrent_first_runs_decides_and_the_others_agree_or_are_refused(tmp_path: Path) -> None:
    zones = ["Europe/Berlin", "Asia/Singapore"] * 8
    settings = []
    for number, zone in enumerate(zones):
        folder = tmp_path / str(number)
        folder.mkdir()
        loaded = written(folder, zone)
        catalog = loaded.catalog.model_copy(update={"url": f"file://{tmp_path}/catalog"})
        settings.append(loaded.model_copy(update={"catalog": catalog}))

    def outcome(each: Settings) -> str | None:
        try:
            require(each)
        except ConfigurationError:
            return None
        return each.timezone

    with ThreadPoolExecutor(len(settings)) as threads:
        outcomes = list(threads.map(outcome, settings))
    winner = kept_zone(Catalog.open(tmp_path / "catalog"))
    assert outcomes == [zone if zone == winner else None for zone in zones]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"timezone": null}', b"\xff"])
def test_a_damaged_stored_zone_is_an_error(tmp_path: Path, data: bytes) -> None:
    settings = written(tmp_path, "UTC")
    catalog = require(settings)
    catalog.store.replace(MARK_PATH, data)
    with pytest.raises(StoreError, match=r"_catalog\.json is damaged"):
        require(settings)


def test_days_are_archived_in_another_zone_from_stored_responses(start_trial: Start) -> None:
    """Follow the procedure in docs/operating/time-zones.md."""
    trial = start_trial(sessions_per_day=20, days=2, accounts=(AccountPlan("acme_sg", "s3", "acme-recordings/calls"),))
    trial.archive(*trial.days, date(2026, 1, 7))
    old = Catalog.open(trial.config.parent / "catalog")
    before = {row["session_id"]: row for row in old.arrow("sessions").to_pylist()}
    hashes = {row["recording_id"]: row["sha256"] for row in old.arrow("recordings").to_pylist()}
    folder = trial.config.parent
    shutil.copytree(folder / "catalog" / "_answers", folder / "catalog-sg" / "_answers")
    text = trial.config.read_text().replace('timezone   = "UTC"', 'timezone   = "Asia/Singapore"')
    trial.config.write_text(text.replace("/archive", "/archive-sg").replace("/catalog", "/catalog-sg"))
    requests_before = len(trial.simulator.api.requests)
    with trial.connections() as connections:
        for day in (*trial.days, date(2026, 1, 7)):
            archive_day(connections, day, reread=True)
    assert len(trial.simulator.api.requests) == requests_before
    new = Catalog.open(folder / "catalog-sg")
    after = {row["session_id"]: row for row in new.arrow("sessions").to_pylist()}
    assert len(new.arrow("sessions")) == len(after)
    assert after.keys() == before.keys()
    singapore = timezone(timedelta(hours=8))
    assert {row["call_date"] for row in after.values()} == {date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)}
    assert all(row["call_date"] == row["started_at"].astimezone(singapore).date() for row in after.values())
    assert [after[name]["lookup_status"] for name in before] == [row["lookup_status"] for row in before.values()]
    assert {row["recording_id"]: row["sha256"] for row in new.arrow("recordings").to_pylist()} == hashes
    assert kept_zone(new) == "Asia/Singapore"


def test_a_run_with_another_zone_changes_nothing_and_exits_with_2(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=4)
    trial.archive()
    mark = trial.config.parent / "catalog" / MARK_PATH
    assert json.loads(mark.read_text()) == {"timezone": "UTC"}
    before = trial.tables()
    original = trial.config.read_text()
    trial.config.write_text(original.replace('timezone   = "UTC"', 'timezone   = "Asia/Singapore"'))
    requests_before = len(trial.simulator.api.requests)
    refused = trial.run("archive", "--day", "2026-01-05")
    assert refused.returncode == 2
    assert "are cut in UTC, not in Asia/Singapore" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(trial.simulator.api.requests) == requests_before
    assert trial.tables() == before
    mark.unlink()  # as in a catalog of an older version: the next run stores its zone
    trial.config.write_text(original)
    trial.archive()
    assert json.loads(mark.read_text()) == {"timezone": "UTC"}
