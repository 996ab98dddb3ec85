"""A day and a batch of days archived through Dagster, on the simulator's servers."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.newest_day import NAME as NEWEST_DAY
from assets.past_time import NAME as PAST_TIME
from callarchive.archiving.connections import Connections
from callarchive.archiving.transforms import public_tables
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.monitoring.checks import CHECKS
from callarchive.settings import Settings
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.running import Simulator
from pipelines.code_location import partitioned_assets
from pipelines.reporting import days_not_in_catalog, report_catalog

DAYS = ("2026-10-23", "2026-10-24", "2026-10-25")
TABLES = {
    "session_ids",
    "recording_metadata",
    "recording_files",
    "sessions",
    "recordings",
    "status_stats",
    "duration_stats",
    "reconciliation",
}
KEY_REFUSED = Fault.answer(401, body={"message": "Unauthorized"})


def archive(
    definitions: dg.Definitions, instance: dg.DagsterInstance, first: str, last: str
) -> dg.ExecuteInProcessResult:
    """One run over the days from `first` to `last`, as a backfill launches it."""
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
    )


def metadata(instance: dg.DagsterInstance, table: str, day: str) -> dict[str, object]:
    """What the latest materialization of that partition shows."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(table), asset_partitions=[day]), limit=1
    ).records
    event = records[0].asset_materialization
    assert event is not None
    return {key: value.value for key, value in event.metadata.items()}


def lose_sources_of_the_second_day(simulator: Simulator, config: Path) -> None:
    """Neither account's sessions of the second day can be known in a run over all days."""
    (config.parent / "inbox" / f"sessions-{DAYS[1]}.csv").unlink()
    simulator.api.faults.add(Fault.export_job("failed"), match="acme_s3", after=1)


def known_sessions(simulator: Simulator, day: str) -> int:
    """Return how many sessions of the day the sources name."""
    return sum(s.exported or s.listed for s in simulator.world.sessions_on(date.fromisoformat(day)))


def test_one_run_makes_all_tables_of_a_day_and_a_second_run_fetches_nothing(
    simulator: Simulator, definitions: dg.Definitions, instance: dg.DagsterInstance, settings: Settings
) -> None:
    job = definitions.resolve_job_def("archive_day")
    assert job.execute_in_process(instance=instance, partition_key=DAYS[2]).success
    first = {table: metadata(instance, table, DAYS[2]) for table in TABLES}
    assert first["sessions"]["dagster/row_count"] == known_sessions(simulator, DAYS[2])
    assert first["recordings"]["dagster/row_count"] == first["recording_files"]["dagster/row_count"]
    assert first["recording_files"]["fetched"] != 0
    kept = list(Path(settings.archive.url.removeprefix("file://")).rglob("*.mp3"))
    audio = [path for path in kept if "_quarantine" not in path.as_posix()]
    assert first["recordings"]["archived"] == len(audio)
    assert first["recordings"]["size_bytes"] == sum(path.stat().st_size for path in audio)

    assert job.execute_in_process(instance=instance, partition_key=DAYS[2]).success
    again = {table: metadata(instance, table, DAYS[2]) for table in TABLES}
    assert again["recording_files"]["fetched"] == 0
    for table in ("sessions", "recordings", "status_stats", "duration_stats", "reconciliation"):
        assert again[table] | {"ledger": ""} == first[table] | {"ledger": ""}  # it has grown


def test_a_batch_is_one_run_and_a_check_that_fails_does_not_fail_it(
    simulator: Simulator, definitions: dg.Definitions, instance: dg.DagsterInstance, settings: Settings
) -> None:
    result = archive(definitions, instance, DAYS[0], DAYS[2])
    assert result.success
    for table in TABLES:
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == set(DAYS)
    for table, picture in (("status_stats", "last_30_days"), ("duration_stats", "duration_histogram")):
        assert [day for day in DAYS if picture in metadata(instance, table, day)] == [DAYS[2]], "the last day's"
    assert [metadata(instance, "sessions", day)["dagster/row_count"] for day in DAYS] == [
        known_sessions(simulator, day) for day in DAYS
    ]

    lost = 0
    for row in Catalog.open(settings.catalog.url).arrow(schemas.RECORDINGS).to_pylist():
        lost += row["archive_status"] in ("failed", "missing", "rejected", "not_uploaded")
    assert lost > 0, "the simulated days should hold recordings that are lost"
    checks = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert checks.keys() == {NEWEST_DAY, PAST_TIME, *(check.name for check in CHECKS)}
    assert not checks["recordings_archived"].passed
    assert {name for name, check in checks.items() if check.blocking and not check.passed} == set()


def test_a_bad_day_fails_the_run_and_the_other_days_of_its_batch_go_through_all_steps(
    simulator: Simulator, config: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    lose_sources_of_the_second_day(simulator, config)
    result = archive(definitions, instance, DAYS[0], DAYS[2])
    assert not result.success
    for table in TABLES:
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == {DAYS[0], DAYS[2]}
    for day in (DAYS[0], DAYS[2]):
        assert metadata(instance, "sessions", day)["dagster/row_count"] == known_sessions(simulator, day)
        assert (
            metadata(instance, "recordings", day)["archived"] == metadata(instance, "recording_files", day)["archived"]
        )
    events = [entry.dagster_event for entry in instance.all_logs(result.run_id)]
    evaluations = [
        event.asset_check_evaluation_data
        for event in events
        if event and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    assert sorted(f"{check.asset_key.to_user_string()}.{check.check_name}" for check in evaluations) == sorted(
        [f"{check.table.name}.{check.name}" for check in CHECKS] + [f"recordings.{PAST_TIME}"]
    )
    assert "recordings_archived" in {check.check_name for check in evaluations if not check.passed}
    (failed,) = result.get_step_failure_events()
    assert failed.step_key == "session_ids"
    shown = failed.step_failure_data.user_failure_data
    assert shown is not None
    assert DAYS[1] in (shown.description or "")
    assert "acme_s3" in (shown.description or "")


def test_a_day_with_one_failed_account_is_published_for_the_others_and_fails_the_run(
    simulator: Simulator, config: Path, settings: Settings, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    (config.parent / "inbox" / f"sessions-{DAYS[1]}.csv").unlink()  # only acme_sftp has files
    result = archive(definitions, instance, DAYS[1], DAYS[2])
    assert not result.success
    (failed,) = result.get_step_failure_events()
    shown = failed.step_failure_data.user_failure_data
    assert shown is not None
    assert f"{DAYS[1]}: acme_sftp: " in (shown.description or "")
    assert f"sessions-{DAYS[1]}.csv" in (shown.description or "")
    assert f"{DAYS[2]}: " not in (shown.description or "")
    for table in TABLES:
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == {DAYS[2]}, "that day has to be run again"
    catalog = Catalog.open(settings.catalog.url)
    assert report_catalog(instance, catalog, settings) == 0, "nor is it taken for archived without Dagster"
    assert days_not_in_catalog(instance, catalog, settings) == []
    rows = catalog.rows(schemas.SESSIONS, date.fromisoformat(DAYS[1]))
    assert {row["subaccount_id"] for row in rows} == {"acme_s3"}
    checks = {
        event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data
        for entry in instance.all_logs(result.run_id)
        if (event := entry.dagster_event) and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }
    assert not checks["accounts_archived"].passed
    assert checks["accounts_archived"].severity is dg.AssetCheckSeverity.ERROR
    assert not checks["recordings_unique"].passed
    assert checks["recordings_unique"].severity is dg.AssetCheckSeverity.WARN
    assert "not checked: " in (checks["recordings_unique"].description or "")


def test_good_days_go_no_further_than_the_assets_that_the_run_was_asked_for(
    simulator: Simulator, config: Path, settings: Settings, instance: dg.DagsterInstance
) -> None:
    lose_sources_of_the_second_day(simulator, config)
    with Connections(settings) as connections:
        result = dg.materialize(
            partitioned_assets(settings),
            selection=["session_ids", "recording_metadata"],
            resources={"connections": connections},
            instance=instance,
            raise_on_error=False,
            tags={"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[2]},
        )
    assert not result.success
    seen = {table: instance.get_materialized_partitions(dg.AssetKey(table)) for table in TABLES}
    assert {table for table, days in seen.items() if days} == {"session_ids", "recording_metadata"}
    assert seen["recording_metadata"] == {DAYS[0], DAYS[2]}


def test_a_day_whose_blocking_check_fails_goes_no_further_and_the_days_beside_it_do(
    simulator: Simulator,
    config: Path,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose_sources_of_the_second_day(simulator, config)
    whole = public_tables.sessions_table

    def forgetful(*arguments: Any, **options: Any) -> pa.Table:
        monkeypatch.setattr(
            "callarchive.archiving.transforms.public_tables.sessions_table", whole
        )  # forgets the first day alone
        return schemas.SESSIONS.schema.empty_table()

    monkeypatch.setattr("callarchive.archiving.transforms.public_tables.sessions_table", forgetful)
    result = archive(definitions, instance, DAYS[0], DAYS[2])
    assert not result.success
    assert instance.get_materialized_partitions(dg.AssetKey("sessions")) == {DAYS[0], DAYS[2]}
    assert instance.get_materialized_partitions(dg.AssetKey("recordings")) == {DAYS[2]}
    (failed,) = result.get_step_failure_events()
    shown = failed.step_failure_data.user_failure_data
    assert shown is not None
    assert f"{DAYS[0]}: the check every_session_accounted_for failed" in (shown.description or "")


def test_a_blocking_check_that_fails_fails_the_run_and_holds_back_what_is_downstream(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(**_: object) -> pa.Table:
        return schemas.SESSIONS.schema.empty_table()

    monkeypatch.setattr("callarchive.archiving.transforms.public_tables.sessions_table", forgetful)
    result = archive(definitions, instance, DAYS[0], DAYS[0])
    assert not result.success
    bad = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    assert bad == {"every_session_accounted_for"}
    assert instance.get_materialized_partitions(dg.AssetKey("sessions")) == {DAYS[0]}
    assert instance.get_materialized_partitions(dg.AssetKey("recordings")) == set()


def test_an_asset_runs_as_an_ordinary_function(settings: Settings) -> None:
    session_ids = next(asset for asset in partitioned_assets(settings) if asset.key == dg.AssetKey("session_ids"))
    with Connections(settings) as connections:
        result = session_ids(dg.build_asset_context(partition_key=DAYS[0]), connections=connections)
        assert isinstance(result, dg.MaterializeResult)
        rows = connections.catalog.rows(schemas.SESSION_IDS, date.fromisoformat(DAYS[0]))
        assert result.metadata is not None
        assert result.metadata["dagster/row_count"] == dg.MetadataValue.int(len(rows))


def test_no_secret_and_no_phone_number_gets_into_dagsters_files(
    simulator: Simulator, definitions: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert archive(definitions, instance, DAYS[0], DAYS[0]).success
    simulator.api.faults.add(KEY_REFUSED, times=FOREVER)
    assert not archive(definitions, instance, DAYS[1], DAYS[1]).success
    written = b"".join(path.read_bytes() for path in (tmp_path / "dagster").rglob("*") if path.is_file())
    assert DAYS[0].encode() in written
    assert b"API key" in written
    secrets = {value for name, value in simulator.environment.items() if name != "AWS_ACCESS_KEY_ID"}
    legs = [leg for session in simulator.world.sessions for leg in session.legs]
    numbers = {number.digits for leg in legs for number in (leg.source, leg.destination)}
    assert len(secrets) >= 4
    assert len(numbers) >= 10
    assert [text for text in secrets | numbers if text.encode() in written] == []


def test_a_secret_that_is_not_set_fails_the_run_with_its_name(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_S3_API_KEY")
    result = archive(definitions, instance, DAYS[0], DAYS[0])
    assert not result.success
    events = [str(event.event_specific_data) for event in result.all_events if event.is_failure]
    assert any("accounts.0.api_key: the environment variable ACME_S3_API_KEY is not set" in text for text in events)


def command_line(folder: Path, day: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The main job as documented, in a process of its own."""
    dagster = Path(sys.executable).with_name("dagster")
    return subprocess.run(
        [dagster, "asset", "materialize", "-m", "pipelines.definitions", "--select", "*", "--partition", day],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_main_job_exits_0_when_the_day_is_accounted_for(config: Path, settings: Settings, tmp_path: Path) -> None:
    done = command_line(tmp_path, DAYS[0])
    assert done.returncode == 0, done.stderr
    statuses = Catalog.open(settings.catalog.url).arrow(schemas.RECORDINGS).column("archive_status").to_pylist()
    assert "archived" in statuses
    assert set(statuses) > {"archived"}, "recordings that could not be archived are rows, not errors"


def test_the_main_job_exits_with_an_error_when_8x8_refuses_the_key(
    simulator: Simulator, config: Path, tmp_path: Path
) -> None:
    simulator.api.faults.add(KEY_REFUSED, times=FOREVER)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    refused = command_line(tmp_path, DAYS[0], DAGSTER_HOME=str(home))
    assert refused.returncode != 0
    assert "acme_s3" in refused.stderr
    assert not any(
        value in refused.stderr + refused.stdout for value in simulator.environment.values() if len(value) > 30
    )
