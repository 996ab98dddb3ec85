"""The check `nothing_kept_past_its_time`: what retention no longer allows is gone, unless it is held."""

from typing import TYPE_CHECKING

import dagster as dg

from assets.catalog import recordings
from callarchive.archiving.connections import Connections

if TYPE_CHECKING:
    from callarchive.monitoring.past_time import KeptPastTime

NAME = "nothing_kept_past_its_time"
MEANING = (
    "The archive has no day that is past its retention (keep_days) and not held. A warning: it does not concern the days"
    " of the run."
)
_LISTED = 50


# On the table whose files retention removes.
@dg.asset_check(asset=recordings, name=NAME, description=MEANING)
def nothing_kept_past_its_time(connections: dg.ResourceParam[Connections]) -> dg.AssetCheckResult:
    """Return whether nothing is kept past its time, once for all days of the run."""
    from callarchive.monitoring.alert_rules import alert_on_past_time
    from callarchive.monitoring.past_time import kept_past_time

    found = kept_past_time(connections)
    alert_on_past_time(connections, found)
    result = evaluation(found)
    return dg.AssetCheckResult(
        passed=result.passed, severity=result.severity, description=result.description, metadata=result.metadata
    )


def evaluation(found: "KeptPastTime") -> dg.AssetCheckEvaluation:
    """Return the check's result as an event."""
    records = [
        dg.TableRecord({"day": str(one.call_date), "account": one.subaccount_id, "keep_days": one.keep_days})
        for one in found.days[:_LISTED]
    ]
    return dg.AssetCheckEvaluation(
        asset_key=recordings.key,
        check_name=NAME,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=found.summary,
        metadata={"days": len(found.days), **({"oldest": dg.MetadataValue.table(records)} if records else {})},
    )
