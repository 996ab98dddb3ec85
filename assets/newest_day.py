"""The check `newest_day_archived`: the latest due day was archived after it was over.

Dagster's own freshness considers the latest materialization of any day: a backfill, or events of today, make a table fresh
although yesterday was never archived. This check considers the day. It does not check one day's tables, so it is not among
`callarchive.monitoring.checks`.
"""

from datetime import UTC, datetime

import dagster as dg

from assets.catalog import reconciliation
from callarchive.archiving.connections import Connections
from callarchive.domain.days import day_bounds
from callarchive.planning.latest_due_day import latest_due_day
from callarchive.settings import Settings

NAME = "newest_day_archived"
MEANING = (
    "The latest day whose nightly run should have completed (12 hours after its start) was archived after it ended."
)


# On the last asset of the chain, because all others come before it.
@dg.asset_check(asset=reconciliation, name=NAME, description=MEANING)
def newest_day_archived(
    context: dg.AssetCheckExecutionContext, connections: dg.ResourceParam[Connections]
) -> dg.AssetCheckResult:
    """Return whether the day that should be archived by now is."""
    found = evaluate(context.instance, connections.settings, now=connections.clock())
    return dg.AssetCheckResult(
        passed=found.passed, severity=found.severity, description=found.description, metadata=found.metadata
    )


def evaluate(instance: dg.DagsterInstance, settings: Settings, *, now: datetime) -> dg.AssetCheckEvaluation:
    """Return the check's result, from Dagster's materializations of the day."""
    day = latest_due_day(settings, now=now)
    archived_at = None if day is None else _archived_at(instance, day.isoformat())
    passed = day is None or (archived_at is not None and archived_at >= day_bounds(day, settings.zone)[1])
    if day is None:
        description = "no day is due yet"
    elif archived_at is None:
        description = f"{day} is due but was never archived: materialize it, and check that the schedule nightly is on"
    elif passed:
        description = f"{day} was archived on {archived_at:%Y-%m-%d at %H:%M} UTC"
    else:
        description = f"{day} was archived last on {archived_at:%Y-%m-%d at %H:%M} UTC, before the day was over"
    return dg.AssetCheckEvaluation(
        asset_key=reconciliation.key,
        check_name=NAME,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata={} if day is None else {"day": str(day)},
    )


def _archived_at(instance: dg.DagsterInstance, partition: str) -> datetime | None:
    wanted = dg.AssetRecordsFilter(asset_key=reconciliation.key, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    return datetime.fromtimestamp(records[0].timestamp, UTC) if records else None
