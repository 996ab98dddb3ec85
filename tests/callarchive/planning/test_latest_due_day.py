from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from callarchive.planning.latest_due_day import latest_due_day
from callarchive.settings import Settings, load_settings

CONFIGURATION = """
timezone = "{timezone}"
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
dagster.schedule_hour = 4
[[accounts]]
subaccount_id = "acme_sg"
api_key = {{ env = "NOT_SET" }}
landing = "s3://acme-recordings/pushed"
session_sources = [{{ kind = "log_export" }}]
"""


def settings(folder: Path, timezone: str) -> Settings:
    file = folder / "callarchive.toml"
    file.write_text(CONFIGURATION.format(timezone=timezone), encoding="utf-8")
    return load_settings(file)


@pytest.mark.parametrize(
    ("timezone", "now", "day"),
    [
        ("UTC", "2026-03-10T15:59:59", date(2026, 3, 8)),
        ("UTC", "2026-03-10T16:00:00", date(2026, 3, 9)),
        ("Asia/Singapore", "2026-03-10T07:59:59", date(2026, 3, 8)),
        ("Asia/Singapore", "2026-03-10T08:00:00", date(2026, 3, 9)),
        # A day of 25 hours in Berlin ends at 23:00 UTC, the one before it at 22:00.
        ("Europe/Berlin", "2026-10-26T14:59:59", date(2026, 10, 24)),
        ("Europe/Berlin", "2026-10-26T15:00:00", date(2026, 10, 25)),
        ("UTC", "2026-01-02T15:59:59", None),
        ("UTC", "2026-01-02T16:00:00", date(2026, 1, 1)),
    ],
)
def test_a_day_is_due_twelve_hours_after_the_hour_of_its_nightly_run(
    tmp_path: Path, timezone: str, now: str, day: date | None
) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert latest_due_day(settings(tmp_path, timezone), now=at) == day
