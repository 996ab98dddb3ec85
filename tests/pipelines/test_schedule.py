import logging
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import dagster as dg
import dagster._daemon  # its scheduler cannot be imported first
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.external import RemoteSchedule
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._utils.schedules import schedule_execution_time_iterator
from dateutil import tz

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.settings import Settings, load_settings
from pipelines import ui
from pipelines.code_location import code_location

CONFIG = """
timezone = "{timezone}"
start_date = {start_date}
archive.url = "archive"
catalog.url = "catalog"

[dagster]
schedule_hour = {hour}
look_back_days = {look_back_days}
catch_up_days = {catch_up_days}

[[accounts]]
subaccount_id = "acme"
api_key = {{ env = "A_KEY_THAT_IS_NOT_SET" }}
landing = "s3://acme-recordings"
session_sources = [{{ kind = "log_export" }}]
"""

pytestmark = [  # Dagster's own
    pytest.mark.filterwarnings("ignore:Function `JobDefinition.run_request_for_partition`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning"),
]


def written(
    folder: Path,
    *,
    timezone: str = "UTC",
    hour: int = 4,
    look_back_days: int = 0,
    catch_up_days: int = 0,
    start_date: str = "2026-01-01",
) -> Settings:
    file = folder / "callarchive.toml"
    file.write_text(
        CONFIG.format(
            timezone=timezone,
            hour=hour,
            look_back_days=look_back_days,
            catch_up_days=catch_up_days,
            start_date=start_date,
        )
    )
    return load_settings(file)


def nights(settings: Settings, first: datetime, last: datetime) -> Iterator[datetime]:
    """When Dagster's scheduler runs the schedule, as it works that out itself."""
    schedule = code_location(settings).resolve_schedule_def("nightly")
    assert isinstance(schedule.cron_schedule, str)
    ticks = schedule_execution_time_iterator(first.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return takewhile(lambda at: at < last, ticks)


class Nights:
    """The schedule `nightly`, asked at any time."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance | None = None) -> None:
        definitions = code_location(settings)
        self._instance = instance
        self._schedule = definitions.resolve_schedule_def("nightly")
        self._repository = definitions.get_repository_def()

    def ask(self, at: datetime) -> list[str]:
        context = dg.build_schedule_context(
            instance=self._instance, scheduled_execution_time=at, repository_def=self._repository
        )
        requests = self._schedule.evaluate_tick(context).run_requests or ()
        return [str(request.partition_key) for request in requests]


@pytest.mark.parametrize(
    ("timezone", "hour"),
    [
        ("Europe/Berlin", 2),  # the hour that is left out in spring and comes twice in autumn
        ("America/Santiago", 0),  # midnight itself is left out
        ("America/Santiago", 23),  # comes twice: the day before is 25 hours long and ends with this hour
        ("Australia/Lord_Howe", 2),  # clocks move by half an hour
        ("Asia/Singapore", 4),
    ],
)
def test_every_night_of_a_year_asks_for_just_the_day_before(tmp_path: Path, timezone: str, hour: int) -> None:
    settings = written(tmp_path, timezone=timezone, hour=hour, start_date="2023-01-01")
    schedule = Nights(settings)
    # Both changes of clocks, every month's end, the year's, and 29 February.
    ticks = list(nights(settings, datetime(2023, 2, 25, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC)))
    asked = [schedule.ask(at) for at in ticks]
    first, last = date(2023, 2, 24), date(2024, 3, 2)
    days = [date.fromordinal(n).isoformat() for n in range(first.toordinal(), last.toordinal() + 1)]
    assert "2024-02-29" in days
    # Between the same two instants lie as many nights in each zone, and west of UTC they are a day late.
    late = asked[0] == [days[0]]
    assert [day for [day] in asked] == days[:-1] if late else days[1:]
    clock = tz.gettz(timezone)
    for at, [day] in zip(ticks, asked, strict=True):
        local = datetime.fromtimestamp(at.timestamp(), clock)
        assert local.date() - timedelta(days=1) == date.fromisoformat(day)
        # Where the hour does not exist that night it is the first moment after it.
        assert local.hour == hour or (local.hour, local.minute) in ((hour + 1, 0), (hour, 30))


def test_the_schedule_is_off_until_somebody_switches_it_on(tmp_path: Path) -> None:
    schedule = code_location(written(tmp_path, timezone="Europe/Berlin")).resolve_schedule_def("nightly")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.execution_timezone == "Europe/Berlin"


def test_before_the_first_day_is_over_a_night_asks_for_nothing_and_says_why(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = written(tmp_path)
    definitions = code_location(settings)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 1, 1, 4, tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    )
    result = definitions.resolve_schedule_def("nightly").evaluate_tick(context)
    assert not result.run_requests
    assert result.skip_message == "the day before is earlier than start_date, 2026-01-01"


def test_a_night_that_cannot_look_back_asks_for_the_day_before_all_the_same(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = written(tmp_path, catch_up_days=5)
    catalog = Catalog.open(settings.catalog.url)
    for table in schemas.PUBLIC_TABLES:
        catalog.replace_partition(table, date(2026, 6, 10), [])
    catalog.store.replace(schemas.LOOKUPS.partition_path(date(2026, 6, 10)), b"no Parquet file")
    assert Nights(settings, instance).ask(datetime(2026, 6, 15, 4, tzinfo=UTC)) == ["2026-06-14"]


def test_a_day_that_a_backfill_will_come_to_is_not_caught_up(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = written(tmp_path, catch_up_days=3)
    tags = {
        "dagster/asset_partition_range_start": "2026-06-01",
        "dagster/asset_partition_range_end": "2026-06-12",
    }
    instance.add_run(dg.DagsterRun(job_name="archive_day", tags=tags, status=dg.DagsterRunStatus.NOT_STARTED))
    schedule = Nights(settings, instance)
    assert schedule.ask(datetime(2026, 6, 15, 4, tzinfo=UTC)) == ["2026-06-14", "2026-06-13"]
    # The day before is asked for also while a run of it is under way: that one may have begun before the day was over.
    assert schedule.ask(datetime(2026, 6, 13, 4, tzinfo=UTC)) == ["2026-06-12"]


class Scheduler:
    """Dagster's own scheduler on a real instance with the shipped configuration. Its runs stay in the queue."""

    def __init__(self, workspace: WorkspaceProcessContext, *, switched_on_at: datetime) -> None:
        self._workspace = workspace
        self.instance = workspace.instance
        [entry] = workspace.create_request_context().get_code_location_entries().values()
        assert entry.code_location is not None, entry.load_error
        [repository] = entry.code_location.get_repositories().values()
        schedule: RemoteSchedule = repository.get_schedule("nightly")
        self.instance.add_instigator_state(
            InstigatorState(
                schedule.get_remote_origin(),
                InstigatorType.SCHEDULE,
                InstigatorStatus.RUNNING,
                ScheduleInstigatorData(schedule.cron_schedule, switched_on_at.timestamp()),
            )
        )

    def look(self, at: datetime) -> None:
        """What the daemon does once a minute has been done, at that time."""
        for error in self.steps(at):
            assert error is None, error

    def steps(self, at: datetime) -> Generator[Any, None, None]:
        """The same, a step at a time."""
        log = logging.getLogger("nights")
        return launch_scheduled_runs(self._workspace, log, iteration_times={}, end_datetime_utc=at)

    def asked(self) -> list[str]:
        """The days of all runs there are, oldest run first."""
        return [run.tags["dagster/partition"] for run in reversed(self.instance.get_runs())]

    def finish(self, catalog: Catalog) -> None:
        """The runs in the queue have archived their days."""
        for run in self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
            day = date.fromisoformat(run.tags["dagster/partition"])
            for table in schemas.PUBLIC_TABLES:
                catalog.replace_partition(table, day, [])
            self.instance.report_run_canceled(run)


@dataclass
class InThisProcess(WorkspaceLoadTarget):
    """No code server of its own: one takes up to a minute to end."""

    location: InProcessCodeLocationOrigin

    def create_origins(self) -> list[InProcessCodeLocationOrigin]:
        return [self.location]


@contextmanager
def scheduler(settings: Settings, home: Path, *, switched_on_at: datetime) -> Iterator[Scheduler]:
    home.mkdir()
    shutil.copy(Path(ui.__file__).with_name("dagster.yaml"), home)
    assert settings.path is not None
    definitions = settings.path.with_name("nightly_location.py")
    definitions.write_text(
        "from pathlib import Path\n"
        "from callarchive.settings import load_settings\n"
        "from pipelines.code_location import code_location\n"
        f"definitions = code_location(load_settings(Path({str(settings.path)!r})))\n"
    )
    location = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, python_file=str(definitions))
    )
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        WorkspaceProcessContext(instance, InThisProcess(location)) as workspace,
    ):
        yield Scheduler(workspace, switched_on_at=switched_on_at)


def test_nights_that_the_daemon_was_away_are_made_up_when_it_is_back(
    tmp_path: Path,
) -> None:
    settings = written(tmp_path, timezone="Europe/Berlin", start_date="2026-10-24", catch_up_days=10)
    catalog = Catalog.open(settings.catalog.url)
    with scheduler(settings, tmp_path / "home", switched_on_at=datetime(2026, 10, 25, tzinfo=UTC)) as running:
        running.look(datetime(2026, 10, 25, 2, 59, tzinfo=UTC))
        assert running.asked() == []
        running.look(datetime(2026, 10, 25, 3, 1, tzinfo=UTC))  # 04:01 in Berlin, where clocks have just changed
        assert running.asked() == ["2026-10-24"]
        running.look(datetime(2026, 10, 25, 3, 2, tzinfo=UTC))
        running.finish(catalog)
        # Away for nine nights, and back in the afternoon.
        running.look(datetime(2026, 11, 3, 15, tzinfo=UTC))
        missed = [f"2026-10-{number}" for number in range(25, 32)] + ["2026-11-01", "2026-11-02"]
        assert running.asked() == ["2026-10-24", *reversed(missed)]
        # The next night comes while those still wait for their turn.
        running.look(datetime(2026, 11, 4, 3, 1, tzinfo=UTC))
        running.finish(catalog)
        running.look(datetime(2026, 11, 5, 3, 1, tzinfo=UTC))
        assert sorted(running.asked()) == ["2026-10-24", *missed, "2026-11-03", "2026-11-04"]


def test_a_night_that_the_daemon_dies_in_is_gone_through_again_without_doubling_a_run(
    tmp_path: Path,
) -> None:
    settings = written(tmp_path, catch_up_days=3)
    night = datetime(2026, 6, 15, 4, 0, 30, tzinfo=UTC)
    with scheduler(settings, tmp_path / "home", switched_on_at=night - timedelta(minutes=5)) as running:
        steps = running.steps(night)
        while len(running.asked()) < 2:
            next(steps)
        steps.close()  # the tick stands as started, as after a kill
        assert running.asked() == ["2026-06-14", "2026-06-13"]
        running.look(night + timedelta(minutes=1))
        running.look(night + timedelta(minutes=2))
        assert running.asked() == ["2026-06-14", "2026-06-13", "2026-06-12", "2026-06-11"]
