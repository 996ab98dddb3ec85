"""The sensor that checks whether the latest due day is archived: without a run, no run's check reports that it is not."""

from datetime import UTC, datetime

import dagster as dg

from assets.newest_day import evaluate
from callarchive.settings import Settings

_EVERY_S = 300


def newest_day_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return a sensor that starts no runs. It reports the check when its result has changed: at least once a day."""

    @dg.sensor(
        name="watch_newest_day",
        target=None,
        minimum_interval_seconds=_EVERY_S,
        description="Check that the latest due day is archived; shown as a check of reconciliation. Starts no runs. "
        'Off unless dagster.sensors = "on", or turned on here.',
        default_status=dg.DefaultSensorStatus.RUNNING
        if settings.dagster.sensors == "on"
        else dg.DefaultSensorStatus.STOPPED,
    )
    def watch_newest_day(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = evaluate(context.instance, settings, now=datetime.now(UTC))
        verdict = f"{found.passed}: {found.description}"
        return dg.SensorResult(
            asset_events=[] if verdict == context.cursor else [found],
            skip_reason=dg.SkipReason(f"{found.description}; this sensor reports that and starts no run"),
            cursor=verdict,
        )

    return watch_newest_day
