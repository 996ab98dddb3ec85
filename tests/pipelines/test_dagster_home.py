"""Dagster's home belongs to one archive: what `python -m pipelines.ui` does before it starts Dagster."""

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import days_between
from callarchive.domain.errors import ConfigurationError
from callarchive.settings import load_settings
from pipelines import ui
from pipelines.reporting import report_catalog

DEMO_WEEK = tuple(days_between(date(2026, 10, 23), date(2026, 10, 29)))
OWN_DAYS = (date(2026, 10, 1), date(2026, 10, 28))
LONG_NAME = "a_subaccount_id_with_more_than_22_characters"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Dagster's home, without a note of the catalog."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return ui.prepare_home(tmp_path / "not-this-one")


def archive(folder: Path, account: str, days: tuple[date, ...], monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Make the configured archive one of this account, with one recording on each of these days."""
    folder.mkdir(exist_ok=True)
    config = folder / "callarchive.toml"
    config.write_text(
        f"""
        start_date = 2026-10-01
        archive.url = "archive"
        catalog.url = "catalog"
        [[accounts]]
        subaccount_id = "{account}"
        api_key = {{ env = "A_KEY_THAT_IS_NOT_SET" }}
        landing = "s3://acme-recordings/pushed"
        session_sources = [{{ kind = "log_export" }}]
        """,
        encoding="utf-8",
    )
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(config))
    catalog = Catalog.open(load_settings().catalog.url)
    row = {"subaccount_id": account, "api_status": "UPLOAD_COMPLETED", "archive_status": "archived"}
    for day in days:
        catalog.replace_partition(schemas.STATUS_STATS, day, [{**row, "recording_count": 1}])
    return catalog


def show(home: Path, catalog: Catalog) -> None:
    """Report the catalog to Dagster as versions without the note did."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        report_catalog(instance, catalog, load_settings())


def shown(home: Path) -> set[str]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.get_materialized_partitions(dg.AssetKey("status_stats"))


def test_a_home_that_showed_the_demo_is_refused_to_the_users_archive(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show(home, archive(tmp_path / "demo", "demo_s3", DEMO_WEEK, monkeypatch))
    by_an_older_version = dg.MetadataValue.table([dg.TableRecord({"subaccount_id": "demo_sftp", "recording_count": 1})])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                "status_stats", partition="2026-10-30", metadata={"status_stats": by_an_older_version}
            )
        )
    own = archive(tmp_path / "own", "acme_sg", OWN_DAYS, monkeypatch)
    assert ui.main(["--port=0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: Dagster's home {home} was used with another archive: it shows 2026-10-23 to 2026-10-27, 2026-10-29 to"
        f" 2026-10-30 of demo_s3, demo_sftp, which the catalog {own.store.url} does not have: set another DAGSTER_HOME,"
        f" delete the home (it has no recordings), or, to keep it, write that URL into {home / 'catalog-url'}"
    )
    assert shown(home) == {*map(str, DEMO_WEEK), "2026-10-30"}, "nothing was reported"

    (home / "catalog-url").write_text(own.store.url, encoding="utf-8")
    ui._report_days(home, with_a_run=False)
    assert capsys.readouterr().err == (
        f"warning: Dagster shows 7 days as materialized that the catalog {own.store.url} does not have: 2026-10-23 to"
        " 2026-10-27, 2026-10-29 to 2026-10-30: archive them; a backfill of the missing days would skip them\n"
    )


@pytest.mark.parametrize("account", ["acme_sg", LONG_NAME])
def test_a_home_of_an_older_version_is_adopted_with_a_warning_of_days_that_were_removed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], account: str
) -> None:
    catalog = archive(tmp_path / "own", account, OWN_DAYS, monkeypatch)
    show(home, catalog)
    ui._report_days(home, with_a_run=False)
    assert capsys.readouterr() == ("", "")
    assert (home / "catalog-url").read_text(encoding="utf-8") == f"{catalog.store.url}\n"

    (home / "catalog-url").unlink()
    (removed,) = (tmp_path / "own" / "catalog").glob("*/call_date=2026-10-01/*.parquet")
    removed.unlink()
    ui._report_days(home, with_a_run=False)
    assert "warning: Dagster shows 1 day as materialized" in capsys.readouterr().err
    assert (home / "catalog-url").exists()


def test_a_home_of_another_catalog_is_refused_and_stays_unchanged(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = archive(tmp_path / "first", "acme_sg", OWN_DAYS, monkeypatch)
    ui._report_days(home, with_a_run=False)
    assert "reported 2 partitions" in capsys.readouterr().out
    second = archive(tmp_path / "second", "acme_sg", (OWN_DAYS[0] + timedelta(days=1),), monkeypatch)
    with pytest.raises(ConfigurationError) as refused:
        ui._report_days(home, with_a_run=False)
    assert str(refused.value) == (
        f"Dagster's home {home} belongs to the catalog {first.store.url}, not to {second.store.url}: set another"
        f" DAGSTER_HOME, or, if the catalog was moved, write its URL into {home / 'catalog-url'}"
    )
    assert shown(home) == {day.isoformat() for day in OWN_DAYS}
