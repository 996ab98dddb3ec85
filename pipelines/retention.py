"""The job `retention`, which removes what is past its time, and its schedule, which is off until somebody turns it on.

It is no asset: materializing everything must not remove anything. `callarchive.removal.retention` decides what goes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import errors_as_failures
from assets.past_time import evaluation
from callarchive.archiving.connections import Connections
from callarchive.domain.errors import ArchiveError
from callarchive.domain.plurals import many
from callarchive.settings import Settings

if TYPE_CHECKING:
    from callarchive.custody.holds import Hold

JOB = "retention"
_BY = "Dagster's job retention"
_LISTED = 200
_NOT_SET = "no retention is set: set retention.keep_days, or keep_days of an account"


@dg.op(description="Remove days past their retention, unless held.")
def remove_days_past_their_time(context: dg.OpExecutionContext, connections: dg.ResourceParam[Connections]) -> None:
    """Do what `callarchive retention apply` does, and report the check `nothing_kept_past_its_time`."""
    from callarchive.monitoring.past_time import kept_past_time
    from callarchive.removal.erasing import Done
    from callarchive.removal.obstacles import HeldError
    from callarchive.removal.retention import apply
    from callarchive.runtime.users import current_user

    records: list[dg.TableRecord] = []
    recordings = files = 0
    retained: ArchiveError | None = None
    with errors_as_failures(again="run the job again: it continues"):
        for day, result in apply(connections, by=_BY, user=current_user()):
            count = 0
            if isinstance(result, Done):
                count, files = len(result.erasure.recording_ids), files + result.file_count
                holds = (one for found in result.held.values() for one in found)
                held = (
                    f"{many(len(result.held), 'session', 'sessions')}, by {_names(holds)}" if result.held else "nothing"
                )
            elif isinstance(result, HeldError):
                held = f"all of it, by {_names(result.holds)}"
            elif result is not None:
                held, retained = "all of it, by Object Lock", result
            else:
                held = "nothing"
            removed = many(count, "recording", "recordings")
            context.log.info("%s, %s: %s removed; held: %s", day.call_date, day.subaccount_id, removed, held)
            recordings += count
            row: dict[str, str | int] = {"day": str(day.call_date), "account": day.subaccount_id, "recordings": count}
            records.append(dg.TableRecord({**row, "held": held}))
        found = kept_past_time(connections)
        context.log_event(evaluation(found))  # type: ignore[arg-type]  # Dagster accepts it, as in an asset
        if retained is not None:
            raise retained
    metadata = {"days": len(records), "recordings": recordings, "files": files, "result": found.summary}
    table = {"removed": dg.MetadataValue.table(records[:_LISTED])} if records else {}
    context.add_output_metadata({**metadata, **table})


def _names(holds: "Iterable[Hold]") -> str:
    return ", ".join(sorted({one.hold_id for one in holds}))


@dg.job(
    name=JOB,
    description="Remove recordings that are past their retention (keep_days), with their rows, except what is held. "
    "It cannot be undone; `callarchive retention plan` shows what it would remove.",
)
def retention() -> None:
    """Remove what is past its time."""
    remove_days_past_their_time()


def nightly_retention(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule of the job: an hour after the nightly run."""

    @dg.schedule(
        name="nightly_retention",
        job=retention,
        cron_schedule=f"0 {(settings.dagster.schedule_hour + 1) % 24} * * *",
        execution_timezone=settings.timezone,
        description="Remove recordings that are past their retention (keep_days), except what is held. "
        "Off by default; callarchive retention plan shows what it would remove.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def night() -> dg.RunRequest | dg.SkipReason:
        is_set = any(settings.keep_days(account) is not None for account in settings.accounts)
        return dg.RunRequest() if is_set else dg.SkipReason(_NOT_SET)

    return night
