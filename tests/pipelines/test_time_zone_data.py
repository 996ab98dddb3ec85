"""Dagster's windows and days are cut with the same time zone data, whichever of the two came first."""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from callarchive.domain.days import day_bounds
from callarchive.settings import load_settings
from pipelines.code_location import partitioned_assets

CONFIGURATION = """
timezone = "{timezone}"
start_date = {start}
archive.url = "archive"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_key = {{ env = "A_KEY_THAT_IS_NOT_SET" }}
landing = "s3://acme-recordings/pushed"
session_sources = [{{ kind = "log_export" }}]
"""
DAEMON = """
import dagster as dg
days = dg.DailyPartitionsDefinition("2026-01-01", timezone="Africa/Casablanca")
days.time_window_for_partition_key("2026-01-04")
import pipelines.run_launcher
from datetime import date
from zoneinfo import ZoneInfo
from callarchive.domain.days import day_bounds
fresh = dg.DailyPartitionsDefinition("2026-01-01", timezone="Africa/Casablanca")
window = fresh.time_window_for_partition_key("2026-01-05")
assert tuple(window) == day_bounds(date(2026, 1, 5), ZoneInfo("Africa/Casablanca")), window
print(window.start.utcoffset())
"""


@pytest.mark.parametrize(
    ("timezone", "day"),
    [
        ("Africa/Casablanca", date(2025, 2, 23)),
        ("Africa/Casablanca", date(2026, 11, 20)),
        ("America/Vancouver", date(2025, 11, 2)),
        ("America/Vancouver", date(2026, 11, 2)),
        ("America/Havana", date(2025, 11, 2)),
        ("America/Havana", date(2026, 11, 2)),
        ("Australia/Lord_Howe", date(2026, 4, 5)),
    ],
)
def test_a_partitions_window_is_the_day_that_is_archived(tmp_path: Path, timezone: str, day: date) -> None:
    file = tmp_path / "callarchive.toml"
    file.write_text(CONFIGURATION.format(timezone=timezone, start=day - timedelta(days=3)))
    settings = load_settings(file)
    partitions = partitioned_assets(settings)[0].partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    for offset in (-1, 0, 1):
        each = day + timedelta(days=offset)
        window = partitions.time_window_for_partition_key(each.isoformat())
        # Not the datetimes themselves: Python calls a time that comes twice unlike every time of another zone.
        assert [at.timestamp() for at in window] == [at.timestamp() for at in day_bounds(each, settings.zone)]


def test_a_daemon_that_loads_our_run_launcher_cuts_days_as_we_do() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONTZPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DAEMON], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
