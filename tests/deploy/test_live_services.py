"""The three services as `deploy/dagster/` starts them, ended and killed while they backfill."""

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from callarchive.settings import load_settings
from callarchive.simulator.landings import free_port
from tools.running_dagster import launch_backfill, process_group, wait_until

SHIPPED = Path(__file__).parents[2] / "deploy" / "dagster"
DAYS = 6
PATIENCE_S = 300
UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@contextmanager
def service(name: str, *, port: int, workspace: Path, environment: dict[str, str], log: Path) -> Iterator[Any]:
    """The service's program with options and environment of its unit, and with a port and a workspace of the test's own."""
    unit = (SHIPPED / f"{name}.service").read_text()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    environment = {**dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE)), **environment}
    assert command is not None
    program, *words = shlex.split(command.group(1))
    words = [{"4266": str(port), "/etc/callarchive/workspace.yaml": str(workspace)}.get(word, word) for word in words]
    with process_group(
        [Path(sys.executable).with_name(Path(program).name), *words], environment=environment, log=log
    ) as it:
        yield it


@pytest.mark.live
@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_restart_of_the_daemon_ends_no_run_and_one_of_the_code_server_starts_its_runs_again(
    start_trial: Callable[..., Any], tmp_path: Path
) -> None:
    trial = start_trial(sessions_per_day=2, days=DAYS)
    trial.configure("[dagster]\ndays_per_run = 1\n")
    home, port, log = tmp_path / "home", free_port(), tmp_path / "log"
    home.mkdir()
    await_that = partial(wait_until, patience_s=PATIENCE_S / 2, log=log)
    (home / "dagster.yaml").write_bytes((SHIPPED / "dagster.yaml").read_bytes())
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text((SHIPPED / "workspace.yaml").read_text().replace("4266", str(port)))
    here: dict[str, Any] = {
        "port": port,
        "workspace": workspace,
        "environment": {**trial.process_environment(), "DAGSTER_HOME": str(home)},
        "log": log,
    }
    keys = [day.isoformat() for day in trial.days]
    with dg.DagsterInstance.from_config(str(home)) as instance, ExitStack() as running:

        def runs(*statuses: dg.DagsterRunStatus) -> set[str]:
            return {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=list(statuses)))}

        def status() -> BulkActionStatus:
            found = instance.get_backfill(backfill_id)
            assert found is not None
            return found.status

        code = running.enter_context(service("callarchive-code", **here))
        with service("callarchive-daemon", **here) as daemon:
            backfill_id = launch_backfill(instance, load_settings(trial.config), keys)
            await_that(lambda: runs(dg.DagsterRunStatus.STARTED), "the first run")
            daemon.terminate()
            left = runs(*UNDER_WAY)
            daemon.wait(60)
        await_that(lambda: not runs(*UNDER_WAY), "the end of the runs")
        assert left <= runs(dg.DagsterRunStatus.SUCCESS)
        with service("callarchive-daemon", **here):
            await_that(lambda: runs(dg.DagsterRunStatus.STARTED), "the next run")
            os.killpg(code.pid, signal.SIGKILL)
            code.wait()
            lost = runs(dg.DagsterRunStatus.STARTED)
            assert lost
            running.enter_context(service("callarchive-code", **here))
            await_that(lambda: status() != BulkActionStatus.REQUESTED, "the end")
        assert status() == BulkActionStatus.COMPLETED_SUCCESS
        assert lost <= runs(dg.DagsterRunStatus.FAILURE)
        assert instance.get_materialized_partitions(dg.AssetKey("reconciliation")) == set(keys)
    wanted = {recording.recording_id for session in trial.simulator.world.sessions for recording in session.recordings}
    found = [row["recording_id"] for row in trial.tables()["recordings"]]
    assert sorted(found) == sorted(wanted)
