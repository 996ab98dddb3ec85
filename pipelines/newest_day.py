"""The sensor that looks whether the newest due day is archived: while nothing runs, no run's check says that it is not."""

from datetime import UTC, datetime

import dagster as dg

from assets.newest_day import evaluate
from callarchive.settings import Settings

_EVERY_S = 300


def newest_day_sensor(settings: Settings) -> dg.SensorDefinition:
    """A sensor that starts nothing. It reports the check when its verdict has changed: at least once a day."""

    @dg.sensor(
        name="newest_day",
        target=None,
        minimum_interval_seconds=_EVERY_S,
        description="Whether the newest day that is due is archived; shown as a check of reconciliation. Starts nothing.",
        default_status=dg.DefaultSensorStatus.RUNNING
        if settings.dagster.sensors == "on"
        else dg.DefaultSensorStatus.STOPPED,
    )
    def newest_day(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = evaluate(context.instance, settings, now=datetime.now(UTC))
        verdict = f"{found.passed}: {found.description}"
        return dg.SensorResult(
            asset_events=[] if verdict == context.cursor else [found],
            skip_reason=dg.SkipReason(found.description or ""),
            cursor=verdict,
        )

    return newest_day
