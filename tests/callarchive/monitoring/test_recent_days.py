from datetime import date, timedelta
from pathlib import Path

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.monitoring.recent_days import recent_days

LAST = date(2026, 3, 1)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog")


def write(catalog: Catalog, day: date, *states: tuple[str, str, int, float | None]) -> None:
    """The day's `status_stats`: account, archive_status, recordings, seconds."""
    rows = [
        {
            "subaccount_id": account,
            "api_status": "UPLOAD_COMPLETED",
            "archive_status": status,
            "recording_count": count,
            "duration_s": seconds,
        }
        for account, status, count, seconds in states
    ]
    catalog.replace_partition(schemas.STATUS_STATS, day, rows)


def test_accounts_are_summed_up_by_day_and_status(catalog: Catalog) -> None:
    write(catalog, LAST, ("a", "archived", 3, 5400.0), ("b", "archived", 4, 1800.0), ("b", "missing", 2, 0.0))
    write(catalog, LAST - timedelta(days=1), ("a", "pending", 1, None))
    recent = recent_days(catalog, LAST, count=3)
    assert recent.days == (date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1))
    assert recent.recording_counts == {"archived": (0, 0, 7), "pending": (0, 1, 0), "missing": (0, 0, 2)}
    assert list(recent.recording_counts) == ["archived", "pending", "missing"]
    assert recent.audio_hours == (0.0, 0.0, 2.0)
    assert recent.unknown == {date(2026, 2, 27)}


def test_a_day_without_calls_is_known_and_days_outside_are_not_looked_at(catalog: Catalog) -> None:
    write(catalog, LAST)
    write(catalog, LAST + timedelta(days=1), ("a", "failed", 9, 0.0))
    write(catalog, LAST - timedelta(days=30), ("a", "failed", 9, 0.0))
    recent = recent_days(catalog, LAST)
    assert len(recent.days) == 30
    assert LAST not in recent.unknown
    assert len(recent.unknown) == 29
    assert recent.recording_counts == {}


def test_a_damaged_day_is_unknown_and_hides_no_other(catalog: Catalog) -> None:
    write(catalog, LAST, ("a", "archived", 1, 3600.0))
    before = LAST - timedelta(days=1)
    write(catalog, before, ("a", "archived", 1, 3600.0))
    Path(catalog.partition_uri(schemas.STATUS_STATS, before).removeprefix("file://")).write_bytes(b"PAR1 no more")
    recent = recent_days(catalog, LAST, count=2)
    assert recent.unknown == {before}
    assert recent.audio_hours == (0.0, 1.0)
