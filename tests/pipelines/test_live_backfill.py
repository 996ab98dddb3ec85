"""A backfill by the real daemon, whose processes are killed in between: a run, and all at once as when a machine dies."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import day_of
from callarchive.settings import load_settings
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import Simulator
from callarchive.simulator.world import AccountPlan
from tools.running_dagster import (
    DAEMON,
    environment_with,
    launch_backfill,
    process_group,
    run_workers,
    shipped_home,
    wait_until,
)

DAYS = 20
RECORDINGS_PER_DAY = 5
PATIENCE_S = 420


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    first_day = date(2026, 10, 10)
    world = generate_world(
        seed=5,
        accounts=(AccountPlan("live_s3", "s3", "live-recordings/pushed"),),
        first_day=first_day,
        last_day=first_day + timedelta(days=DAYS - 1),
        sessions_per_day=RECORDINGS_PER_DAY,
        timezone="Europe/Berlin",
    )
    with Simulator.start(tmp_path / "simulator", world=world, export_polls=0) as running:
        head, marker, accounts = running.config.read_text().partition("[[accounts]]")
        running.config.write_text(f"{head}[dagster]\ndays_per_run = 4\n\n{marker}{accounts}")
        yield running


@pytest.fixture
def environment(simulator: Simulator, tmp_path: Path) -> dict[str, str]:
    """That of Dagster's processes. The instance is configured as it is shipped."""
    home = shipped_home(tmp_path / "dagster")
    return environment_with(simulator.environment, config=simulator.config, home=home)


@pytest.mark.live
@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_backfill_ends_whole_whatever_is_killed_in_the_middle(
    simulator: Simulator, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in simulator.environment.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "log"
    await_that = partial(wait_until, patience_s=PATIENCE_S, log=log)
    settings = load_settings(simulator.config)
    catalog = Catalog.open(settings.catalog.url)
    zone = settings.zone
    days = sorted({day_of(session.started_at, zone) for session in simulator.world.sessions})
    assert len(days) == DAYS
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        ordered = launch_backfill(instance, settings, [day.isoformat() for day in days])

        def status() -> BulkActionStatus:
            backfill = instance.get_backfill(ordered)
            assert backfill is not None
            return backfill.status

        def done(table: schemas.Table) -> int:
            return len(catalog.days(table))

        with process_group(DAEMON, environment=environment, log=log) as first:
            await_that(lambda: done(schemas.SESSION_IDS) >= 2 and bool(run_workers(first)), "the first run")
            run_workers(first)[0].kill()
            # The other run has got somewhere when everything dies.
            await_that(lambda: done(schemas.RECORDINGS) >= 2 and bool(run_workers(first)), "the next run")
        assert status() == BulkActionStatus.REQUESTED
        started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert started
        with process_group(DAEMON, environment=environment, log=log):
            await_that(lambda: status() != BulkActionStatus.REQUESTED, "the end")
        assert status() == BulkActionStatus.COMPLETED_SUCCESS
        gone = [instance.get_run_by_id(run.run_id) for run in started]
        assert dg.DagsterRunStatus.FAILURE in {run.status for run in gone if run is not None}
        for table in schemas.PUBLIC_TABLES:
            keys = instance.get_materialized_partitions(dg.AssetKey(table.name))
            assert keys == {day.isoformat() for day in days}
    for table in schemas.PUBLIC_TABLES:
        assert catalog.days(table) == days
    found = catalog.arrow(schemas.RECORDINGS).to_pylist()
    wanted = {
        recording.recording_id: day_of(session.started_at, zone)
        for session in simulator.world.sessions
        for recording in session.recordings
    }
    assert len(found) == len(wanted)
    assert {row["recording_id"]: row["call_date"] for row in found} == wanted
    kept = [row for row in found if row["archive_status"] == "archived"]
    assert len(list((simulator.directory / "archive").rglob("*.mp3"))) == len(kept) > DAYS
    assert all(len(row["versions"]) <= 1 for row in found)
