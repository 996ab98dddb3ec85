"""A step run on every day of a Dagster run: its lock, its metadata, its checks, and what is left when a day fails."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.check_results import check_results
from assets.failures import ends_batch, failure_of_days
from callarchive.connections import Connections
from callarchive.errors import ArchiveError

if TYPE_CHECKING:
    from callarchive.checks import CheckResult
    from callarchive.steps import StepReport

Step = Callable[[Connections, date], "StepReport"]


def run_days(context: dg.AssetExecutionContext, connections: Connections, step: Step) -> dg.MaterializeResult:
    """The step has run on every day of this run, and each day is materialized with its own metadata.

    Raises:
        dg.Failure: a day could not be done. Days that could are materialized all the same; after an error that would
            repeat itself (an outage, a refusal, a full disk) the days behind it are not tried.
    """
    batch = _Batch()
    try:
        _work_through(context, connections, step, batch)
    except BaseException:
        _keep_what_is_done(context, batch)
        raise
    if batch.failed:
        _keep_what_is_done(context, batch)
        raise failure_of_days(batch.failed, day_count=len(context.partition_keys), done_count=len(batch.done))
    checks = check_results(batch.verdicts)
    if len(batch.done) == 1:
        (summary,) = batch.done.values()
        return dg.MaterializeResult(metadata=summary, check_results=checks)
    for key, summary in batch.done.items():
        context.add_asset_metadata(summary, partition_key=key)
    return dg.MaterializeResult(check_results=checks)


@dataclass
class _Batch:
    """How far the days of a run have come, by partition key."""

    done: dict[str, dict[str, dg.MetadataValue]] = field(default_factory=dict)
    failed: dict[str, ArchiveError] = field(default_factory=dict)
    verdicts: list["CheckResult"] = field(default_factory=list)


def _work_through(context: dg.AssetExecutionContext, connections: Connections, step: Step, batch: _Batch) -> None:
    from assets.summaries import summarize
    from callarchive.checks import run_checks

    settings = connections.settings
    for key in context.partition_keys:
        day = date.fromisoformat(key)
        try:
            with connections.day_lock(day):
                report = step(connections, day)
                summary = summarize(connections.catalog, report)
                verdicts = run_checks(
                    connections.catalog, day, limits=settings.checks, transfer=settings.transfer, table=report.table
                )
        except ArchiveError as err:
            batch.failed[key] = err
            if ends_batch(err):
                return
            context.log.warning("%s: %s", key, err)
        else:
            batch.done[key] = summary
            batch.verdicts += verdicts


def _keep_what_is_done(context: dg.AssetExecutionContext, batch: _Batch) -> None:
    """Of a step that fails or is terminated Dagster materializes nothing by itself."""
    for key, summary in batch.done.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=summary))
