"""What the doctor finds about time zone data, the catalog's zone and the bounds of days."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.day_bounds import keep_bounds
from callarchive.catalog.zone import MARK_PATH, require_same_zone
from callarchive.monitoring.doctor import Finding, Verdict, calendar
from callarchive.settings import load_settings

TzAge = Callable[..., Path]
Use = Callable[[Path | None], None]
ZONE = "Africa/Casablanca"
DAY = date(2026, 1, 4)
NOW = datetime(2026, 1, 5, 18, tzinfo=UTC)
CONFIG = f"""
timezone = "{ZONE}"
start_date = 2026-01-01
archive.url = "archive"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "A_KEY" }}
landing = "s3://acme-recordings"
session_sources = [{{ kind = "log_export" }}]
"""


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    monkeypatch.setenv("A_KEY", "a key")
    (tmp_path / "callarchive.toml").write_text(CONFIG)
    with Connections(load_settings(tmp_path / "callarchive.toml"), clock=lambda: NOW) as opened:
        yield opened


def found(connections: Connections) -> dict[str, Finding]:
    return {finding.link: finding for finding in calendar.findings(connections)}


def machine_has(folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = () if folder is None else (str(folder),)
    monkeypatch.setattr("callarchive.runtime.time_zones._machine_folders", lambda: folders)


def test_other_data_on_the_machine_is_named_with_the_days_that_differ(
    connections: Connections, tz_age: TzAge, use_tz_data: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tz_data(None)
    machine_has(tz_age(ZONE, "Etc/GMT+10", version="2019c"), monkeypatch)
    finding = found(connections)["time zone data"]
    assert finding.verdict is Verdict.WARNING
    assert "tz data 2019c in " in finding.detail
    assert "starts 5 days at another time, from 2026-01-01 to 2026-01-05" in finding.detail
    machine_has(tz_age(ZONE, "Europe/Paris", version="2020a"), monkeypatch)  # UTC+1 in winter, as Casablanca
    assert found(connections)["time zone data"].verdict is Verdict.OK
    machine_has(None, monkeypatch)
    assert "has no other data for Africa/Casablanca" in found(connections)["time zone data"].detail


def test_a_path_that_hides_the_package_is_compared_with_it(
    connections: Connections, tz_age: TzAge, use_tz_data: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_has(None, monkeypatch)
    use_tz_data(tz_age(ZONE, "Etc/GMT+10"))
    details = [finding.detail for finding in calendar.findings(connections) if finding.link == "time zone data"]
    assert any("tzdata 20" in detail and "starts 5 days at another time" in detail for detail in details)


def test_the_days_of_duckdb_are_compared(connections: Connections, tz_age: TzAge, use_tz_data: Use) -> None:
    use_tz_data(tz_age(ZONE, "Etc/GMT+10"))
    finding = found(connections)["time zone data: DuckDB"]
    with duckdb.connect() as db:
        db.execute(f"set timezone = '{ZONE}'")
        (begin,) = db.execute("select epoch('2026-01-04 00:00:00'::timestamptz)").fetchone() or (None,)
    assert begin == datetime(2026, 1, 3, 23, tzinfo=UTC).timestamp(), "by DuckDB's own data"
    assert finding.verdict is Verdict.WARNING
    assert "starts 5 days at another time" in finding.detail
    use_tz_data(tz_age(ZONE, "Europe/Paris"))
    assert found(connections)["time zone data: DuckDB"].verdict is Verdict.OK


def test_an_empty_catalog_has_no_bounds_and_no_zone(connections: Connections) -> None:
    assert {link for link in found(connections) if link.startswith("catalog")} == set()


def test_bounds_are_unchanged_moved_or_unknown(
    connections: Connections, tz_age: TzAge, use_tz_data: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, settings = connections.catalog, connections.settings
    use_tz_data(None)
    catalog.replace_partition(schemas.SESSION_IDS, DAY, [])
    machine_has(None, monkeypatch)
    assert found(connections)["catalog: bounds of days"].verdict is Verdict.WARNING
    assert (
        "are unknown: 1 day was archived without them, the last 2026-01-04"
        in found(connections)["catalog: bounds of days"].detail
    )
    keep_bounds(catalog, DAY, settings)
    assert found(connections)["catalog: bounds of days"].verdict is Verdict.OK
    use_tz_data(tz_age(ZONE, "Etc/GMT+10"))
    finding = found(connections)["catalog: bounds of days"]
    assert finding.verdict is Verdict.BROKEN
    assert "1 day has other bounds than when archived" in finding.detail


def test_the_zone_of_the_catalog_is_shown_and_not_written(connections: Connections) -> None:
    catalog, settings = connections.catalog, connections.settings
    catalog.replace_partition(schemas.SESSION_IDS, DAY, [])
    assert "the next run stores Africa/Casablanca" in found(connections)["catalog: time zone"].detail
    assert MARK_PATH not in [item.path for item in catalog.store.list("")]
    require_same_zone(catalog, settings.model_copy(update={"timezone": "UTC"}), now=NOW)
    finding = found(connections)["catalog: time zone"]
    assert finding.verdict is Verdict.BROKEN
    assert "are cut in UTC, not in Africa/Casablanca" in finding.detail
