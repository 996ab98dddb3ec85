import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.settings import Settings, load_settings
from callarchive.simulator.generation import uuid_at
from pipelines.code_location import code_location

CONFIG = """
timezone = "Asia/Singapore"
start_date = 2026-01-01

[archive]
url = "archive"

[catalog]
url = "catalog"

[dagster]
sensors = "{sensors}"

[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "NOT_SET" }}
landing = "s3://acme-recordings"

[[accounts.session_sources]]
kind = "files"
path = "ids/{{day}}.txt"
"""


def written(folder: Path, sensors: str = "on") -> Settings:
    (folder / "callarchive.toml").write_text(CONFIG.format(sensors=sensors))
    return load_settings(folder / "callarchive.toml")


def tick(settings: Settings, name: str, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    definitions = code_location(settings)
    sensor = definitions.resolve_sensor_def(name)
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=definitions.get_repository_def())
    return sensor.evaluate_tick(context)


def days_of(result: Any) -> list[str]:
    return [request.partition_key for request in result.run_requests or ()]


def drop(settings: Settings, *calls: datetime, session: str | None = None) -> None:
    import random

    inbox = Inbox.open(settings.inbox.url)
    for number, at in enumerate(calls):
        session_id = session or uuid_at(at, random.Random(number))
        payload = {"sessionId": session_id, "recordingId": str(uuid.uuid1()), "status": "UPLOAD_COMPLETED"}
        body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": payload}).encode()
        inbox.add([("acme", read_event(body, subaccount_id="acme", mask=lambda _: None))])
    inbox.close()


def test_sensors_are_off_until_the_configuration_switches_them_on(tmp_path: Path) -> None:
    names = ("archive_on_event", "retry_open_days", "archive_on_id_file")
    off, on = code_location(written(tmp_path, "off")), code_location(written(tmp_path, "on"))
    assert {off.resolve_sensor_def(name).default_status for name in names} == {dg.DefaultSensorStatus.STOPPED}
    assert {on.resolve_sensor_def(name).default_status for name in names} == {dg.DefaultSensorStatus.RUNNING}
    assert on.resolve_sensor_def("alert_on_failure").default_status == dg.DefaultSensorStatus.STOPPED


def test_an_event_of_today_starts_today_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = written(tmp_path)
    now = datetime.now(UTC)
    drop(settings, now, now)
    first = tick(settings, "archive_on_event", instance)
    assert days_of(first) == [now.astimezone(settings.zone).date().isoformat()]
    again = tick(settings, "archive_on_event", instance, first.cursor)
    assert not days_of(again)
    # The tick whose cursor was lost asks with the key that Dagster knows already.
    repeated = tick(settings, "archive_on_event", instance)
    assert [r.run_key for r in repeated.run_requests] == [r.run_key for r in first.run_requests]


def test_events_of_days_that_are_no_partition_and_of_no_day_are_passed_over(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = written(tmp_path)
    drop(settings, datetime(2025, 6, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1, hours=23))
    drop(settings, datetime.now(UTC), session="9b2c2f0e-4c1c-4f0e-9d9e-1f2e3d4c5b6a")
    result = tick(settings, "archive_on_event", instance)
    assert days_of(result) == []
    assert json.loads(result.cursor)["seen"] == 3
    assert result.skip_message == "3 new events, none of a day from 2026-01-01 to today: nothing to archive"
    quiet = tick(settings, "archive_on_event", instance, result.cursor)
    assert quiet.skip_message == "no new event in the inbox since number 3; the next tick, in 20 s, reads on"


def test_a_busy_morning_makes_few_requests_and_a_small_cursor(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = written(tmp_path)
    now = datetime.now(UTC)
    drop(settings, *[now - timedelta(seconds=number) for number in range(300)])
    result = tick(settings, "archive_on_event", instance)
    assert 1 <= len(days_of(result)) <= 2
    assert len(result.cursor) < 500


@pytest.mark.parametrize("content", [None, b"no database at all" * 100])
def test_without_a_readable_inbox_a_tick_says_so_and_keeps_its_cursor(
    tmp_path: Path, instance: dg.DagsterInstance, content: bytes | None
) -> None:
    settings = written(tmp_path)
    if content is not None:
        (tmp_path / "inbox.sqlite3").write_bytes(content)
    result = tick(settings, "archive_on_event", instance, '{"seen":5}')
    assert days_of(result) == []
    ends = "tries again" if content else "`callarchive webhooks serve` creates it"
    assert str(result.skip_message).endswith(ends)
    assert result.cursor in (None, '{"seen":5}')


def test_a_damaged_cursor_starts_over(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = written(tmp_path)
    drop(settings, datetime.now(UTC))
    assert len(days_of(tick(settings, "archive_on_event", instance, "not json"))) == 1


def backfill_of(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED])
def test_a_day_whose_run_is_under_way_waits(
    tmp_path: Path, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    settings = written(tmp_path)
    now = datetime.now(UTC)
    day = now.astimezone(settings.zone).date().isoformat()
    drop(settings, now)
    tags = {"dagster/partition": day}
    run = dg.DagsterRun(job_name="archive_day", tags=tags, status=status)
    instance.add_run(run)
    for others in ({}, backfill_of("2026-01-01", day), {"dagster/partition": "2026-01-02"}):
        instance.add_run(dg.DagsterRun(job_name="archive_day", tags=others, status=status))
    instance.add_run(dg.DagsterRun(job_name="archive_day", tags=tags, status=dg.DagsterRunStatus.SUCCESS))
    held = tick(settings, "archive_on_event", instance)
    assert days_of(held) == []
    assert held.skip_message == f"1 day with new events ({day}): archived after a run in progress"
    instance.delete_run(run.run_id)
    assert days_of(tick(settings, "archive_on_event", instance, held.cursor)) == [day]


def test_a_dropped_id_file_starts_its_day(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = written(tmp_path)
    (tmp_path / "ids").mkdir()
    empty = tick(settings, "archive_on_id_file", instance)
    day = (datetime.now(settings.zone) - timedelta(days=1)).date().isoformat()
    (tmp_path / "ids" / f"{day}.txt").write_text("e35e3d0e-065a-11ec-b119-676cb2bc33ef\n")
    (tmp_path / "ids" / "2019-01-01.txt").write_text("x\n")
    waiting = tick(settings, "archive_on_id_file", instance, empty.cursor)
    asked = tick(settings, "archive_on_id_file", instance, waiting.cursor)
    assert days_of(waiting) + days_of(asked) == [day]
    unchanged = tick(settings, "archive_on_id_file", instance, asked.cursor)
    assert days_of(unchanged) == []
    assert str(unchanged.skip_message).startswith("1 id file of ")
    assert str(unchanged.skip_message).endswith(": none is new or changed, which would start a run of its day")


def test_a_late_day_that_a_backfill_will_come_to_is_not_asked_for(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = written(tmp_path)
    day = (datetime.now(settings.zone) - timedelta(days=2)).date()
    catalog = Catalog.open(settings.catalog.url)
    session = {"subaccount_id": "acme", "session_id": str(uuid.uuid4()), "sources": ["files"]}
    for table in (schemas.SESSION_IDS, schemas.SESSIONS):
        catalog.replace_partition(table, day, [session])
    run = dg.DagsterRun(
        job_name="archive_day",
        tags=backfill_of("2026-01-01", day.isoformat()),
        status=dg.DagsterRunStatus.STARTED,
    )
    instance.add_run(run)
    held = tick(settings, "retry_open_days", instance)
    assert days_of(held) == []
    assert held.skip_message == (
        f"1 day is not final; the next run is of {day}, after the run of it that is in progress, or a pause after one"
        " that failed"
    )
    instance.delete_run(run.run_id)
    assert days_of(tick(settings, "retry_open_days", instance, held.cursor)) == [day.isoformat()]


def test_a_catalog_without_days_has_no_late_ones(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = tick(written(tmp_path), "retry_open_days", instance)
    assert days_of(result) == []
    assert result.skip_message == "all archived days are final: no session to look up again"


def test_the_newest_day_is_reported_when_its_verdict_changes_and_not_at_every_look(tmp_path: Path) -> None:
    settings = written(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(settings, "watch_newest_day", instance)
        (evaluation,) = first.asset_events
        assert not evaluation.passed
        assert evaluation.check_name == "newest_day_archived"
        again = tick(settings, "watch_newest_day", instance, first.cursor)
        assert again.asset_events == []
        day = evaluation.metadata["day"].value
        instance.report_runless_asset_event(dg.AssetMaterialization("reconciliation", partition=day))
        (evaluation,) = tick(settings, "watch_newest_day", instance, again.cursor).asset_events
        assert evaluation.passed
