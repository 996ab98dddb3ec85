"""Dagster's real daemon, back after it was away for some nights."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import Simulator
from callarchive.simulator.world import AccountPlan
from tools.running_dagster import DAEMON, environment_with, process_group, shipped_home

NIGHTS = 4
PATIENCE_S = 240


@pytest.mark.live
@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_daemon_that_was_away_for_some_nights_archives_each_of_their_days_once(tmp_path: Path) -> None:
    now = datetime.now(UTC)  # the last night was at this hour, the next one is nearly a day away
    yesterday = now.date() - timedelta(days=1)
    days = [yesterday - timedelta(days=number) for number in reversed(range(NIGHTS))]
    world = generate_world(
        seed=2,
        accounts=(AccountPlan("live_s3", "s3", "live-recordings/pushed"),),
        first_day=days[0],
        last_day=yesterday,
        sessions_per_day=3,
    )
    home, log = shipped_home(tmp_path / "dagster"), tmp_path / "log"
    with Simulator.start(tmp_path / "simulator", world=world, export_polls=0) as simulator:
        head, marker, accounts = simulator.config.read_text().partition("[[accounts]]")
        simulator.config.write_text(f"{head}[dagster]\nschedule_hour = {now.hour}\n\n{marker}{accounts}")
        environment = environment_with(simulator.environment, config=simulator.config, home=home)
        dagster = Path(sys.executable).with_name("dagster")
        words: list[Path | str] = [dagster, "schedule", "start", "nightly", "-m", "pipelines.definitions"]
        subprocess.run(words, env=environment, check=True, capture_output=True, timeout=120)
        catalog = Catalog.open(simulator.directory / "catalog")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            [state] = instance.all_instigator_state()
            switched_on_at = now - timedelta(days=NIGHTS)
            instance.update_instigator_state(
                state.with_data(ScheduleInstigatorData(f"0 {now.hour} * * *", switched_on_at.timestamp()))
            )
            deadline, unfinished = time.monotonic() + PATIENCE_S, True
            with process_group(DAEMON, environment=environment, log=log):
                while catalog.days(schemas.RECONCILIATION) != days or unfinished:
                    assert time.monotonic() < deadline, f"{catalog.days(schemas.RECONCILIATION)}; the log is {log}"
                    time.sleep(0.5)
                    unfinished = any(not run.is_finished for run in instance.get_runs())
            runs = instance.get_runs()
            assert sorted(run.tags["dagster/partition"] for run in runs) == [day.isoformat() for day in days]
            assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
            whys = {run.tags["dagster/partition"]: run.tags["callarchive/why"] for run in runs}
            assert whys.pop(yesterday.isoformat()) == "the day before"
            assert set(whys.values()) == {"it was never archived completely"}
