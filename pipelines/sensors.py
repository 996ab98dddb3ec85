"""The sensors: they archive days again on new events, while days are not final, and on new id files, and alert on failures.

`callarchive.planning.run_requests` and `callarchive.planning.reopening` decide which days and when. This module has Dagster's
part: cursors and run requests. A tick that fails reports why, and the next one retries.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from callarchive.domain.errors import ArchiveError
from callarchive.domain.plurals import many
from callarchive.settings import Settings
from pipelines.day_runs import busy_days, days_of, run_request
from pipelines.retention import JOB as RETENTION

if TYPE_CHECKING:
    from callarchive.planning.run_requests import EventMemory

_EVENTS_EVERY_S = 20
_LATE_EVERY_S = 30
_FILES_EVERY_S = 20
_FIRST_LATE_PAUSE = timedelta(minutes=10)
_CHANGES_AT_ONCE = 20_000
_NAMED = 5
"""How many days a skipped tick names."""


def sensors(settings: Settings, job: Any) -> list[dg.SensorDefinition]:
    """Return all sensors, for runs of the job. They are on if `dagster.sensors` is "on"."""
    on = settings.dagster.sensors == "on"
    status = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
    return [
        _sensor(archive_on_event, settings, job, status, _EVENTS_EVERY_S),
        _sensor(retry_open_days, settings, job, status, _LATE_EVERY_S),
        _sensor(archive_on_id_file, settings, job, status, _FILES_EVERY_S),
        _failure_sensor(settings),
    ]


def _failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that sends alerts. It is on if alerts are configured, whatever `dagster.sensors` is."""
    wanted = settings.alerts.webhook is not None or settings.alerts.smtp is not None

    @dg.run_failure_sensor(
        name="alert_on_failure",
        description="Send an alert for each failed run, to the channels of [alerts]. Off unless it has one.",
        default_status=dg.DefaultSensorStatus.RUNNING if wanted else dg.DefaultSensorStatus.STOPPED,
    )
    def alert_on_failure(context: dg.RunFailureSensorContext) -> None:
        from callarchive.domain.days import utc_now
        from callarchive.monitoring.alert_rules import alert_on_failure
        from callarchive.monitoring.alerts import Alerts
        from callarchive.storage.stores.opening import open_store

        run = context.dagster_run
        days = " to ".join(dict.fromkeys(days_of(run.tags) or ()))
        store = open_store(settings.catalog.url, settings.catalog.s3)
        alerts = Alerts(settings.alerts, store=store, clock=utc_now)
        reason = "\n".join(_reasons(context)) or context.failure_event.message or "no reason is known"
        if run.job_name == RETENTION:
            alert_on_failure(
                alerts, RETENTION, reason, title="retention could not be applied: not all that is due is gone"
            )
        else:
            alert_on_failure(alerts, days or f"run {run.run_id[:8]}", reason)

    return alert_on_failure


def _reasons(context: dg.RunFailureSensorContext) -> Iterable[str]:
    """Yield the message of each failed step, without its stack, which may quote anything."""
    for event in context.get_step_failure_events():
        failure = event.step_failure_data.user_failure_data
        yield f"{event.step_key}: {failure.description if failure is not None else 'an unexpected error: see the run'}"


Tick = Callable[[dg.SensorEvaluationContext, Settings], dg.SensorResult | dg.SkipReason]


def _sensor(
    tick: Tick, settings: Settings, job: Any, status: dg.DefaultSensorStatus, every_s: int
) -> dg.SensorDefinition:
    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            return tick(context, settings)
        except ArchiveError as err:  # the cursor stays unchanged
            return dg.SkipReason(f"failed: {err}; the next tick, in {every_s} s, tries again")

    is_off = status is dg.DefaultSensorStatus.STOPPED
    return dg.SensorDefinition(
        name=tick.__name__,
        description=f'{tick.__doc__} Off unless dagster.sensors = "on", or turned on here.' if is_off else tick.__doc__,
        evaluation_fn=evaluate,
        job=job,
        minimum_interval_seconds=every_s,
        default_status=status,
    )


def archive_on_event(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult | dg.SkipReason:
    """Archive a day when webhook events arrive for it: immediately, then at growing intervals while more arrive."""
    from callarchive.domain.days import day_of
    from callarchive.events.inbox.inbox import Inbox
    from callarchive.planning.run_requests import EventMemory, Requested, requests_for_events

    inbox = Inbox.open_existing(settings.inbox.url)
    if inbox is None:
        return dg.SkipReason("there is no inbox yet, so no events: `callarchive webhooks serve` creates it")
    kept = _remembered(context)
    memory = EventMemory(
        kept.get("seen", 0),
        {date.fromisoformat(day): number for day, number in kept.get("waiting", {}).items()},
        {
            date.fromisoformat(day): Requested(datetime.fromisoformat(at), timedelta(seconds=pause_s))
            for day, (at, pause_s) in kept.get("asked", {}).items()
        },
    )
    try:
        changes = inbox.changes(memory.seen, limit=_CHANGES_AT_ONCE)
    finally:
        inbox.close()
    now = datetime.now(UTC)
    today = day_of(now, settings.zone)
    news: list[tuple[int, date | None]] = []
    for change in changes:
        day = None if change.call_at is None else day_of(change.call_at, settings.zone)
        news.append((change.number, day if day is not None and settings.start_date <= day <= today else None))
    requests, memory = requests_for_events(
        memory,
        news,
        now=now,
        longest_pause=timedelta(minutes=settings.dagster.event_pause_max_minutes),
        is_busy=busy_days(context, backfills=False),
    )
    return _result(
        requests,
        {
            "seen": memory.seen,
            "waiting": {day.isoformat(): number for day, number in memory.waiting.items()},
            "asked": {
                day.isoformat(): [was.at.isoformat(), was.pause.total_seconds()]
                for day, was in memory.requested.items()
            },
        },
        otherwise=_no_request(memory, news, settings.start_date),
    )


def _no_request(memory: "EventMemory", news: Sequence[tuple[int, date | None]], first: date) -> str:
    """Return why new events, or none, start no run now."""
    if not memory.waiting:
        if news:
            return (
                f"{many(len(news), 'new event', 'new events')}, none of a day from {first} to today: nothing to archive"
            )
        return f"no new event in the inbox since number {memory.seen}; the next tick, in {_EVENTS_EVERY_S} s, reads on"
    days = ", ".join(map(str, sorted(memory.waiting)[:_NAMED]))
    ends = [was.at + was.pause for day, was in memory.requested.items() if day in memory.waiting]
    pause = f"the pause after its last run, which ends at {min(ends):%H:%M:%S} UTC, or " if ends else ""
    return (
        f"{many(len(memory.waiting), 'day', 'days')} with new events ({days}): archived after {pause}a run in progress"
    )


def retry_open_days(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult | dg.SkipReason:
    """Archive days again that are not final, at growing intervals, until they are."""
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.planning.reopening import days_to_reopen
    from callarchive.planning.run_requests import LateRequested, requests_for_late_days

    now = datetime.now(UTC)
    catalog = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
    days = days_to_reopen(catalog, settings, now=now)
    memory = {
        date.fromisoformat(day): LateRequested(datetime.fromisoformat(due_at), datetime.fromisoformat(at), count)
        for day, (due_at, at, count) in _remembered(context).items()
    }
    requests, memory = requests_for_late_days(
        memory,
        days,
        now=now,
        first_pause=_FIRST_LATE_PAUSE,
        longest_pause=timedelta(hours=settings.reopen.max_hours),
        is_busy=busy_days(context, backfills=True),
    )
    return _result(
        requests,
        {day.isoformat(): [was.due_at.isoformat(), was.at.isoformat(), was.count] for day, was in memory.items()},
        otherwise=f"{many(len(days), 'day is', 'days are')} not final; the next run is of {days[0].day}, "
        + (
            f"due at {days[0].due_at:%Y-%m-%d %H:%M} UTC"
            if days[0].due_at > now
            else "after the run of it that is in progress, or a pause after one that failed"
        )
        if days
        else "all archived days are final: no session to look up again",
    )


def archive_on_id_file(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult | dg.SkipReason:
    """Archive a day when its file of session ids appears or changes."""
    from callarchive.catalog import schemas
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.domain.days import day_of
    from callarchive.planning.run_requests import requests_for_files
    from callarchive.sources.id_files import id_files

    now = datetime.now(UTC)
    today = day_of(now, settings.zone)
    first = max(settings.start_date, today - timedelta(days=settings.reopen.max_age_days))
    files = [file for account in settings.accounts for file in id_files(account, first=first, last=today)]
    catalog = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
    kept = None if context.cursor is None else _remembered(context)
    memory = None if kept is None else {name: (state, done) for name, (state, done) in kept.items()}
    requests, memory = requests_for_files(
        memory, files, now=now, is_known=lambda day: catalog.has(schemas.SESSION_IDS, day)
    )
    where = f"{many(len(files), 'id file', 'id files')} of {first} to {today}"
    return _result(
        requests,
        dict(memory),
        otherwise=f"{where}: "
        + (
            "new or changed ones are still being written"
            if any(not done for _, done in memory.values())
            else "none is new or changed, which would start a run of its day"
        ),
    )


def _remembered(context: dg.SensorEvaluationContext) -> dict[str, Any]:
    """Return what the cursor holds, or nothing if it is damaged: run keys prevent the same request twice."""
    try:
        kept = json.loads(context.cursor or "{}")
    except ValueError:
        context.log.warning("could not parse the cursor; starting over")
        return {}
    return kept if isinstance(kept, dict) else {}


def _result(requests: Iterable[Any], memory: dict[str, Any], *, otherwise: str) -> dg.SensorResult:
    runs = [run_request(request) for request in requests]
    cursor = json.dumps(memory, separators=(",", ":"), sort_keys=True)
    return dg.SensorResult(run_requests=runs, skip_reason=None if runs else dg.SkipReason(otherwise), cursor=cursor)
