"""The event log's connections during a run: opened once, each event visible at once, closed afterwards."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from pipelines.event_log import kept_connections


@dg.op(required_resource_keys={"kept"})
def five_lines(context: dg.OpExecutionContext) -> None:
    for number in range(5):
        context.log.info("line %s", number)
    with dg.DagsterInstance.from_ref(context.instance.get_ref()) as reader:
        lines = [entry.user_message for entry in reader.all_logs(context.run_id)]
    assert [f"line {number}" for number in range(5)] == [line for line in lines if line.startswith("line ")]


@dg.resource
def kept(context: dg.InitResourceContext) -> Iterator[None]:
    assert context.instance is not None
    with kept_connections(context.instance):
        yield


@dg.job(resource_defs={"kept": kept})
def noted() -> None:
    five_lines()


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(tmp_path))


def test_a_run_opens_each_database_once_and_readers_see_its_events_at_once(instance: dg.DagsterInstance) -> None:
    opened: list[str] = []
    storage = instance.event_log_storage
    run_id = noted.execute_in_process(instance=instance).run_id  # makes the databases
    with kept_connections(instance):
        instance.all_logs(run_id)

        def note(connection: object, _: object) -> None:
            opened.append(str(connection))

        event.listen(Pool, "connect", note)
        try:
            for _ in range(3):
                assert instance.all_logs(run_id)
        finally:
            event.remove(Pool, "connect", note)
    assert opened == []
    assert "_connect" not in vars(storage)
    assert instance.all_logs(run_id)


def test_a_log_without_sqlite_files_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = dict(vars(instance.event_log_storage))
        with kept_connections(instance):
            assert vars(instance.event_log_storage) == before
