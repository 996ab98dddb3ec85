import logging
from collections.abc import Callable
from datetime import date

import dagster as dg
import pytest

from assets.days import Step, run_days
from assets.failures import STEP_RETRIES
from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.reports import StepReport
from callarchive.catalog import schemas
from callarchive.domain.errors import ArchiveError, RefusedError, SourceError, UnavailableError

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
FIRST, LAST = date(2026, 1, 5), date(2026, 1, 7)
SESSION = "5e9e2a10-0000-11f1-8000-010203040506"


def step_that_fails_on(day: int | None, error: Callable[[str], BaseException] = SourceError) -> Step:
    """A step that writes one row a day into `session_ids`, and fails on that day of January."""

    def step(connections: Connections, at: date) -> StepReport:
        if at.day == day:
            raise error(f"nothing is known of {at}")
        row = {"subaccount_id": "acme_sg", "session_id": SESSION, "sources": ["files"]}
        count = connections.catalog.replace_partition(schemas.SESSION_IDS, at, [row])
        return StepReport(schemas.SESSION_IDS, at, count, {"files": 1})

    return step


def run(step: Step, connections: Connections, instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    @dg.asset(partitions_def=DAYS)
    def session_ids(
        context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]
    ) -> dg.MaterializeResult:
        return run_days(context, connections, step)

    return dg.materialize(
        [session_ids],
        resources={"connections": connections},
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": str(FIRST),
            "dagster/asset_partition_range_end": str(LAST),
            **tags,
        },
    )


def materialized(instance: dg.DagsterInstance) -> dict[str | None, dict[str, object]]:
    records = instance.fetch_materializations(dg.AssetKey("session_ids"), limit=100).records
    events = [record.asset_materialization for record in records]
    assert len({event.partition for event in events if event}) == len(events), "one event a day"
    return {event.partition: {k: v.value for k, v in event.metadata.items()} for event in events if event}


def test_each_day_of_a_batch_has_its_own_rows_and_place(connections: Connections, instance: dg.DagsterInstance) -> None:
    assert run(step_that_fails_on(None), connections, instance).success
    days = materialized(instance)
    assert set(days) == {"2026-01-05", "2026-01-06", "2026-01-07"}
    for key, metadata in days.items():
        assert metadata["dagster/row_count"] == 1
        assert metadata["files"] == 1
        assert {name for name, value in metadata.items() if f"call_date={key}" in str(value)} == {"file"}
        assert metadata["file"] == f"call_date={key}/part-0.parquet"


def test_the_runs_log_has_one_line_of_ours_for_each_day(connections: Connections, instance: dg.DagsterInstance) -> None:
    result = run(step_that_fails_on(None), connections, instance)
    entries = instance.all_logs(result.run_id)
    ours = [(entry.level, entry.user_message) for entry in entries if not entry.is_dagster_event]
    assert ours == [(logging.INFO, f"2026-01-0{day}: 1 session, 1 files") for day in (5, 6, 7)]


def test_a_day_that_fails_leaves_the_days_around_it_good(
    connections: Connections, instance: dg.DagsterInstance
) -> None:
    result = run(step_that_fails_on(6), connections, instance)
    assert not result.success
    days = materialized(instance)
    assert set(days) == {"2026-01-05", "2026-01-07"}
    assert {metadata["dagster/row_count"] for metadata in days.values()} == {1}
    (failed,) = result.get_step_failure_events()
    shown = failed.step_failure_data.user_failure_data
    assert shown is not None
    assert "2026-01-06: nothing is known of 2026-01-06" in (shown.description or "")


def test_an_outage_ends_the_batch_at_once(connections: Connections, instance: dg.DagsterInstance) -> None:
    result = run(step_that_fails_on(6, UnavailableError), connections, instance)
    assert not result.success
    assert set(materialized(instance)) == {"2026-01-05"}
    (failed,) = result.get_step_failure_events()
    assert failed.step_failure_data.user_failure_data is not None
    assert "1 were not tried" in (failed.step_failure_data.user_failure_data.description or "")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_days_before_a_mistake_in_the_code_or_a_termination_stay(
    error: Callable[[str], BaseException], connections: Connections, instance: dg.DagsterInstance
) -> None:
    assert not run(step_that_fails_on(7, error), connections, instance).success
    assert set(materialized(instance)) == {"2026-01-05", "2026-01-06"}


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(UnavailableError, 3), (RefusedError, 1), (dg.DagsterExecutionInterruptedError, 1), (KeyboardInterrupt, 1)],
)
def test_a_step_is_tried_again_only_where_that_can_help_and_nobody_ended_the_run(
    error: Callable[[str], BaseException],
    attempts: int,
    connections: Connections,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assets.failures._FIRST_DELAY_S", 0)
    begun = []

    def step(_: Connections, day: date) -> StepReport:
        begun.append(day)
        raise error("not today")

    result = run(step, connections, instance, **{STEP_RETRIES: "2"})
    assert not result.success
    assert len(begun) == attempts
    again = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert len(again) == attempts - 1


@pytest.mark.parametrize(("error", "tries"), [(SourceError, "0"), (UnavailableError, "0"), (UnavailableError, "1")])
def test_the_last_event_of_a_failed_run_has_cause_day_and_next_step(
    connections: Connections,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    error: type[ArchiveError],
    tries: str,
) -> None:
    monkeypatch.setattr("assets.failures._FIRST_DELAY_S", 0)
    result = run(step_that_fails_on(5, error), connections, instance, **{STEP_RETRIES: tries})
    found = result.get_run_failure_event().job_failure_data
    assert found.error
    assert found.first_step_failure_event
    assert "2026-01-05: nothing is known of 2026-01-05\n" in found.error.message
    assert "\nNext step: " in found.error.message
    failure = found.first_step_failure_event.step_failure_data.user_failure_data
    assert failure
    places = failure.metadata["failed_days"].value
    assert [(place["day"], place["step"], place["cause"]) for place in places] == [  # type: ignore[call-overload,index,union-attr]  # Dagster's type of JSON is wider
        ("2026-01-05", "session_ids", "nothing is known of 2026-01-05")
    ]


def test_a_step_that_succeeds_at_the_second_attempt_is_done(
    connections: Connections, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.failures._FIRST_DELAY_S", 0)
    errors = [UnavailableError("nobody answers")]
    good = step_that_fails_on(None)

    def step(connections: Connections, day: date) -> StepReport:
        if errors:
            raise errors.pop()
        return good(connections, day)

    assert run(step, connections, instance, **{STEP_RETRIES: "1"}).success
    assert set(materialized(instance)) == {"2026-01-05", "2026-01-06", "2026-01-07"}


def test_a_day_is_locked_while_its_step_runs_and_free_afterwards(
    connections: Connections, instance: dg.DagsterInstance
) -> None:
    def locked(day: date) -> bool:
        try:
            with connections.catalog.store.lock(f"call_date={day}", wait_s=0):
                return False
        except UnavailableError:
            return True

    seen = []

    def step(connections: Connections, day: date) -> StepReport:
        seen.append(locked(day))
        raise ArchiveError("enough seen")

    run(step, connections, instance)
    assert seen == [True, True, True]
    assert not any(locked(date(2026, 1, day)) for day in (5, 6, 7))
