from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import dagster as dg
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.settings import Settings, load_settings
from pipelines import reporting
from pipelines.reporting import report_catalog

CONFIGURATION = """
start_date = 2026-10-23
archive.url = "archive"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_key = { env = "A_KEY_THAT_IS_NOT_SET" }
landing = "s3://acme-recordings/pushed"
session_sources = [{ kind = "log_export" }]
"""
DAYS = (date(2026, 10, 23), date(2026, 10, 24))
TABLES = {
    "session_ids": schemas.SESSION_IDS,
    "recording_metadata": schemas.RECORDING_METADATA,
    "recording_files": schemas.RECORDING_FILES,
    **{table.name: table for table in schemas.PUBLIC_TABLES},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A configuration without any server behind it."""
    file = tmp_path / "callarchive.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    return load_settings(file)


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    """Two days that were archived without Dagster: one session on the first, none of anything else."""
    opened = Catalog.open(settings.catalog.url)
    for table in TABLES.values():
        for day in DAYS:
            opened.replace_partition(table, day, [])
    session = {"subaccount_id": "acme_sg", "session_id": str(UUID(int=1)), "sources": ["log_export"]}
    opened.replace_partition(schemas.SESSION_IDS, DAYS[0], [session])
    row = {**session, "lookup_status": "no_recordings", "recording_count": 0}
    opened.replace_partition(schemas.SESSIONS, DAYS[0], [row])
    return opened


def shown_by(instance: dg.DagsterInstance, table: str) -> dict[str | None, dict[str, object]]:
    """What Dagster shows of each day of the table."""
    records = instance.fetch_materializations(dg.AssetKey(table), limit=100).records
    events = [record.asset_materialization for record in records]
    assert len({event.partition for event in events if event}) == len(events), "each day is reported once"
    return {event.partition: {k: v.value for k, v in event.metadata.items()} for event in events if event}


def test_days_archived_without_dagster_are_shown_by_it(
    catalog: Catalog, settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert report_catalog(instance, catalog, settings) == len(DAYS) * 8
    for table in TABLES:
        assert set(shown_by(instance, table)) == {"2026-10-23", "2026-10-24"}
    sessions = shown_by(instance, "sessions")
    assert sessions["2026-10-23"]["dagster/row_count"] == 1
    assert sessions["2026-10-24"]["dagster/row_count"] == 0
    key = dg.AssetCheckKey(dg.AssetKey("sessions"), "every_session_accounted_for")
    (check,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    assert check.status.value == "SUCCEEDED"


def test_what_dagster_has_seen_is_not_reported_again(
    catalog: Catalog, settings: Settings, instance: dg.DagsterInstance
) -> None:
    report_catalog(instance, catalog, settings)
    catalog.replace_partition(schemas.SESSIONS, DAYS[1] + timedelta(days=1), [])
    assert report_catalog(instance, catalog, settings) == 1
    assert set(shown_by(instance, "sessions")) == {"2026-10-23", "2026-10-24", "2026-10-25"}


def test_of_older_days_only_the_rows_are_counted(
    catalog: Catalog, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_DESCRIBED_DAYS", 1)
    report_catalog(instance, catalog, settings)
    assert shown_by(instance, "sessions")["2026-10-23"] == {"dagster/row_count": 1}
    assert "needs_attention_count" in shown_by(instance, "sessions")["2026-10-24"]


def test_days_before_the_first_partition_are_passed_over(
    catalog: Catalog, settings: Settings, instance: dg.DagsterInstance
) -> None:
    later = settings.model_copy(update={"start_date": DAYS[1]})
    assert report_catalog(instance, catalog, later) == 8
    assert set(shown_by(instance, "recordings")) == {"2026-10-24"}
