"""Runs on two Celery workers set up as in `deploy/celery`: real Redis, real PostgreSQL, Dagster's real daemon."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.settings import load_settings
from callarchive.simulator.faults import Fault
from callarchive.simulator.world import AccountPlan
from tools.running_dagster import wait_until

DAYS = 20
SESSIONS_A_DAY = 6
PATIENCE_S = 600
TABLES = [table.name for table in (schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES)] + [
    table.name for table in schemas.PUBLIC_TABLES
]


def hasten(config: dict[str, Any]) -> None:
    """The shipped times, shortened; nothing else of the instance is changed."""
    launcher = config["run_launcher"]["config"]
    launcher["config_source"]["broker_transport_options"]["visibility_timeout"] = 15
    launcher["lost_after_seconds"] = 3
    config["run_monitoring"]["poll_interval_seconds"] = 2


@contextmanager
def instance_at(
    home: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Yield the Dagster instance as a process on that machine sees it."""
    for name, value in environment.items():
        if name.startswith("DAGSTER_"):
            monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """Return the process id of the run, from Dagster's event log."""
    for record in instance.get_records_for_run(run.run_id).records:
        message = record.event_log_entry.user_message or record.event_log_entry.message
        if "Started process for run (pid: " in message:
            return int(message.partition("pid: ")[2].partition(")")[0])
    return None


def partition_of(record: Any) -> str:
    first, last = (record.dagster_run.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    assert first == last
    return str(first)


@pytest.mark.live
@pytest.mark.needs("initdb", "redis-server")
@pytest.mark.timeout(700)
def test_a_backfill_over_two_workers_succeeds_although_one_is_killed(
    start_trial: Callable[..., Any], start_cluster: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(
        accounts=(AccountPlan("acme_s3", "s3", "acme-recordings/pushed"),),
        sessions_per_day=SESSIONS_A_DAY,
        days=DAYS,
    )
    assert len(trial.days) == DAYS
    first, last = trial.days[0], trial.days[-1]
    assert trial.run("archive", "--from", str(first), "--to", str(last), "--ignore-checks").returncode == 0
    expected, expected_files = trial.tables(), trial.files()
    archive = f"{trial.config.parent.as_uri()}/archive"

    # With several machines, archive and catalog are in a bucket, whose locks work across machines.
    trial.simulator.s3.create_bucket("kept")
    text = trial.config.read_text()
    for name in ("archive", "catalog"):
        s3 = f'[{name}.s3]\nendpoint_url = "{trial.simulator.s3.endpoint_url}"\nregion = "us-east-1"\n'
        text = text.replace(f'url = "{trial.config.parent.as_uri()}/{name}"', f'url = "s3://kept/{name}"\n{s3}')
    trial.config.write_text(text)
    trial.configure("[dagster]\ndays_per_run = 1\n")
    settings = load_settings(trial.config)
    looked_up_before = trial.look_up_count()
    trial.simulator.api.faults.add(Fault.delay(0.3), times=None)  # so that a run takes long enough to be killed

    cluster = start_cluster(trial.process_environment(), hasten)
    cluster.start_worker("worker-1")
    cluster.start_worker("worker-2")
    cluster.start_daemon("server")
    selection = json.dumps([{"path": [name]} for name in TABLES]).replace('"path"', "path")
    answer = cluster.ask(
        "server",
        "mutation { launchPartitionBackfill(backfillParams: {assetSelection: "
        f"{selection}, partitionNames: {json.dumps([str(day) for day in trial.days])}}}) "
        "{ __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
    )
    backfill_id = answer["launchPartitionBackfill"]["backfillId"]

    with instance_at(cluster.home("server"), cluster.environment, monkeypatch) as instance:
        killed: str | None = None
        ends_at = time.monotonic() + PATIENCE_S
        while (backfill := instance.get_backfill(backfill_id)) is not None:
            if backfill.status is not BulkActionStatus.REQUESTED and killed is not None:
                break
            assert time.monotonic() < ends_at, (killed, backfill.status, cluster.folder)
            if killed is None and instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])) >= 4:
                for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
                    pid = process_of(instance, run)
                    if pid is not None and (machine := cluster.machine_of(pid)) is not None:
                        cluster.kill(machine)
                        cluster.start_worker(machine)  # like systemd, under the same name
                        trial.simulator.api.faults.clear()
                        killed = run.run_id
                        break
            time.sleep(0.5 if killed is None else 2)
        assert backfill is not None
        assert backfill.status is BulkActionStatus.COMPLETED_SUCCESS
        records = instance.get_run_records(ascending=True)
        for name in TABLES:
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == {str(day) for day in trial.days}
        assert killed is not None
        check_runs(instance, records, killed_run=killed, days=trial.days)
        trial.simulator.api.faults.add(Fault.delay(20), times=None)
        check_termination(instance, cluster, first)

    found = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
    rows = {table.name: found.arrow(table).to_pylist() for table in schemas.PUBLIC_TABLES}
    assert comparable(rows, archive="s3://kept/archive") == comparable(expected, archive=archive)
    kept = trial.simulator.s3.client.get_paginator("list_objects_v2").paginate(Bucket="kept", Prefix="archive/")
    names = {item["Key"].removeprefix("archive/") for page in kept for item in page.get("Contents", ())}
    assert {name for name in names if name.endswith(".mp3")} == {n for n in expected_files if n.endswith(".mp3")}
    session_count = len(trial.simulator.world.sessions)
    looked_up = trial.look_up_count() - looked_up_before
    assert session_count <= looked_up <= session_count + SESSIONS_A_DAY


def check_termination(instance: dg.DagsterInstance, cluster: Any, day: date) -> None:
    """A run of the nightly job that is terminated in the UI ends soon, and its worker is free again."""
    await_that = partial(wait_until, patience_s=60, log=cluster.folder)
    cluster.order("server", "archive_day", day)
    [run] = instance.get_runs(limit=1)
    await_that(lambda: process_of(instance, run) is not None, "the run's process")
    await_that(lambda: status_of(instance, run) is dg.DagsterRunStatus.STARTED, "the run")
    answer = cluster.ask("server", f'mutation {{ terminateRun(runId: "{run.run_id}") {{ __typename }} }}')
    assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"
    await_that(lambda: status_of(instance, run) is dg.DagsterRunStatus.CANCELED, "the cancellation")
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event is not None]
    assert not [event for event in events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def check_runs(instance: dg.DagsterInstance, records: Sequence[Any], *, killed_run: str, days: list[date]) -> None:
    """Assert that every day has one successful run, that only the killed one has two, and that no run ran twice."""
    by_day: dict[str, list[Any]] = {}
    for record in records:
        by_day.setdefault(partition_of(record), []).append(record)
    assert by_day.keys() == {str(day) for day in days}
    failed = [r for r in records if r.dagster_run.status is not dg.DagsterRunStatus.SUCCESS]
    assert [r.dagster_run.run_id for r in failed] == [killed_run]
    assert sorted(len(of_day) for of_day in by_day.values()) == [1] * (DAYS - 1) + [2]
    for of_day in by_day.values():
        for earlier, later in pairwise(of_day):
            assert earlier.end_time <= later.start_time
    for record in records:
        begun = [
            entry
            for entry in instance.all_logs(record.dagster_run.run_id)
            if entry.dagster_event is not None and entry.dagster_event.event_type is dg.DagsterEventType.RUN_START
        ]
        assert len(begun) == 1


def comparable(tables: dict[str, list[dict[str, Any]]], *, archive: str) -> dict[str, list[str]]:
    """Without times at which runs differ and the place of the archive."""
    but = {"archived_at", "looked_up_at", "first_seen_at", "resolved_at"}
    return {
        name: [str({k: v for k, v in row.items() if k not in but}).replace(archive, "archive:") for row in rows]
        for name, rows in tables.items()
    }
