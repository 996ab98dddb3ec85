"""Ids are erased from what Dagster keeps, and Dagster's history of runs, days and checks stays and continues."""

import re
import sys
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)

from callarchive.domain.errors import StoreError
from callarchive.removal.dagster_storage import DagsterTraces, erase_from_dagster

ERASED = [str(uuid.UUID(int=0xAF0C8A52B1D011F09A550242AC120000 + number)) for number in range(40)]
KEPT = str(uuid.UUID(int=0xBF0C8A52B1D011F09A550242AC120000))
DAY = "2026-10-23"

day = dg.DailyPartitionsDefinition("2026-10-01")


@dg.asset(partitions_def=day, check_specs=[dg.AssetCheckSpec("recordings_archived", asset="recordings")])
def recordings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.warning("session %s: HTTP 500", ERASED[0])
    sys.stderr.write(f"session {ERASED[1].upper()}\n")
    table = dg.MetadataValue.table([dg.TableRecord({"concerns": f"acme {one}"}) for one in (*ERASED, KEPT)])
    check = dg.AssetCheckResult(
        check_name="recordings_archived",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"examples": dg.MetadataValue.md("\n".join(f"- `{one}`" for one in ERASED))},
    )
    return dg.MaterializeResult(metadata={"needs_attention": table}, check_results=[check])


@dg.op
def fails() -> None:
    raise dg.Failure(f"session {ERASED[2]}: cut {ERASED[3][:20]}…", metadata={"error": ERASED[2]})


@dg.job
def failing() -> None:
    fails()


WANTED = re.compile(
    "|".join({one[:13] for one in ERASED} | {one.replace("-", "") for one in ERASED}).encode(), re.IGNORECASE
)
"""At least 12 digits of an erased id, in any form."""


def traces(home: Path) -> list[str]:
    return [str(path) for path in home.rglob("*") if path.is_file() and WANTED.search(path.read_bytes())]


def with_a_cursor(instance: dg.DagsterInstance) -> InstigatorState:
    """Store a sensor's state and a tick with ids, as an older version or another sensor might."""
    repository = RemoteRepositoryOrigin(
        code_location_origin=RegisteredCodeLocationOrigin(location_name="callarchive"), repository_name="__repository__"
    )
    origin = RemoteInstigatorOrigin(repository_origin=repository, instigator_name="sensor")
    data = SensorInstigatorData(cursor=f'{{"{ERASED[4]}": 1}}')
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)
    instance.add_instigator_state(state)
    instance.create_tick(
        TickData(
            instigator_origin_id=origin.get_id(),
            instigator_name="sensor",
            instigator_type=InstigatorType.SENSOR,
            status=TickStatus.SKIPPED,
            timestamp=1.0,
            skip_reason=f"waits for {ERASED[5]}",
            selector_id=state.selector_id,
        )
    )
    return state


def work(instance: dg.DagsterInstance) -> InstigatorState:
    """A day, a run that fails, and a sensor, all of them with ids."""
    assert dg.materialize([recordings], instance=instance, partition_key=DAY).success
    assert not failing.execute_in_process(instance=instance, raise_on_error=False, tags={"why": ERASED[6]}).success
    return with_a_cursor(instance)


def history(instance: dg.DagsterInstance) -> dict[str, Any]:
    """The state of each run and the lengths of its messages, and the results of the check."""
    key = dg.AssetCheckKey(dg.AssetKey("recordings"), "recordings_archived")
    checks = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
    runs = {
        run.run_id: (run.status, [len(entry.message) for entry in instance.all_logs(run.run_id)])
        for run in instance.get_runs()
    }
    return {**runs, "check": [(check.status, check.event is not None) for check in checks]}


def require_a_history_without_ids(instance: dg.DagsterInstance, state: InstigatorState) -> None:
    assert instance.get_materialized_partitions(dg.AssetKey("recordings")) == {DAY}
    record = instance.get_latest_materialization_event(dg.AssetKey("recordings"))
    assert record is not None
    assert record.asset_materialization is not None
    table = record.asset_materialization.metadata["needs_attention"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [row.data["concerns"] for row in table.records] == [f"acme erased{'-' * 30}"] * 40 + [f"acme {KEPT}"]
    kept = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
    assert kept is not None
    assert isinstance(kept.instigator_data, SensorInstigatorData)
    assert kept.instigator_data.cursor == f'{{"erased{"-" * 30}": 1}}'
    (tick,) = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    assert tick.skip_reason == f"waits for erased{'-' * 30}"
    assert dg.materialize([recordings], instance=instance, partition_key="2026-10-24").success


def test_no_id_remains_in_dagsters_files_and_its_history_is_complete(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    home = tmp_path / "dagster"
    state = work(instance)
    before = history(instance)
    assert len(traces(home)) >= 5, "runs, events of each run, their index, schedules, the output of a step"
    found = erase_from_dagster(home, ERASED)
    assert traces(home) == []
    assert found.values >= 10
    assert found.files == 2
    assert erase_from_dagster(home, ERASED) == DagsterTraces()
    assert history(instance) == before
    require_a_history_without_ids(instance, state)


@pytest.mark.live
@pytest.mark.needs("initdb", "pg_ctl")
def test_no_id_remains_where_dagster_uses_postgresql(
    tmp_path: Path, postgresql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgresql.url.replace("+psycopg", ""))
    (tmp_path / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES_URL}}}\ntelemetry: {enabled: false}\n"
    )

    def rows() -> str:
        tables = postgresql.run("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        return "\n".join(str(postgresql.run(f"SELECT t::text FROM {table} t")) for (table,) in tables)

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        state = work(instance)
        before = history(instance)
        assert WANTED.search(rows().encode())
        found = erase_from_dagster(tmp_path, ERASED)
        assert not WANTED.search(rows().encode())
        assert found.values >= 5
        assert found.files == 2
        assert history(instance) == before
        dead = "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname = 'event_logs'"
        assert postgresql.run("SELECT pg_stat_force_next_flush()", dead) == [(0,)]
        require_a_history_without_ids(instance, state)


def test_the_tables_of_a_database_that_cannot_be_reached_are_named_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_PASSWORD", "hidden")
    (tmp_path / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_db: {hostname: 127.0.0.1, port: 1, db_name: dagster, username: dagster,"
        " password: {env: PG_PASSWORD}, params: {sslmode: disable}}}}"
    )
    with pytest.raises(StoreError, match=r"Dagster's database dagster on 127\.0\.0\.1: connection failed") as failed:
        erase_from_dagster(tmp_path, ERASED)
    assert "hidden" not in str(failed.value)
