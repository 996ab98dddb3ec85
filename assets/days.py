"""A step run on every day of a Dagster run: its lock, metadata and checks, and what remains when a day fails."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.check_results import check_evaluations, check_results
from assets.failures import ends_batch, failure_of_days, retried
from assets.progress import LoggedProgress
from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.domain.errors import AccountFailure, AccountsFailedError, ArchiveError

if TYPE_CHECKING:
    from callarchive.archiving.steps.reports import StepReport
    from callarchive.monitoring.checks import CheckResult

Step = Callable[[Connections, date], "StepReport"]
Summary = dict[str, dg.MetadataValue]


def run_days(context: dg.AssetExecutionContext, connections: Connections, step: Step) -> dg.MaterializeResult[Any]:
    """Run the step on every day of this run, and materialize each day with its own metadata.

    Raises:
        dg.Failure: a day failed, or an account on it. The other days are materialized, and the later steps run on them; on a
            day with a failed account they run for the other accounts. After an error that would repeat (an outage, a refusal, a
            full disk) no further day and no further step is tried.
    """
    batch = _Batch()
    try:
        _run_on_days(context, connections, step, batch)
    except BaseException:
        _materialize_done(context, batch)
        raise
    if batch.failed:
        _materialize_done(context, batch)
        _report_past_time(context, connections)
        if batch.done and not batch.cut_short:
            _run_later_steps(context, connections, batch)
        done = batch.done.keys() - batch.failed.keys()
        failed = failure_of_days(
            batch.failed,
            step=context.asset_key.to_user_string(),
            day_count=len(context.partition_keys),
            done_count=len(done),
        )
        raise retried(context, failed) from failed
    checks = check_results(batch.verdicts)
    if len(batch.done) == 1:
        (summary,) = batch.done.values()
        return dg.MaterializeResult(metadata=summary, check_results=checks)
    for key, summary in batch.done.items():
        context.add_asset_metadata(summary, partition_key=key)
    return dg.MaterializeResult(check_results=checks)


@dataclass
class _Batch:
    """The progress of a run's days, by partition key.

    Attributes:
        partial: days of `done` on which an account failed; they are in `failed` too.
        cut_short: whether the last error of `failed` would repeat on every other day.
    """

    done: dict[str, Summary] = field(default_factory=dict)
    failed: dict[str, ArchiveError] = field(default_factory=dict)
    verdicts: list["CheckResult"] = field(default_factory=list)
    partial: set[str] = field(default_factory=set)
    cut_short: bool = False

    def add(self, key: str, day: "_DoneDay") -> None:
        self.done[key] = day.summary
        self.verdicts += day.verdicts
        if day.failures:
            self.partial.add(key)
            self.failed[key] = AccountsFailedError(day.failures)

    def fail(self, key: str, error: ArchiveError) -> None:
        self.failed[key] = error
        self.cut_short = ends_batch(error)


def _run_on_days(context: dg.AssetExecutionContext, connections: Connections, step: Step, batch: _Batch) -> None:
    for key in context.partition_keys:
        day = date.fromisoformat(key)
        try:
            with connections.day_lock(day):
                done = _run_on_day(context, connections, day, step, pictures=key == context.partition_keys[-1])
            done = replace(done, summary=done.summary | _ledger_head(connections))
        except ArchiveError as err:
            batch.fail(key, err)
            if batch.cut_short:
                return
            context.log.warning("%s: %s", key, err)
        else:
            batch.add(key, done)


def _ledger_head(connections: Connections) -> Summary:
    """Return what the UI shows of the ledger: its size and the hash of its tree after the step."""
    head = connections.ledger.checkpoint()
    if head is None:
        return {}
    digits = head.root.hex()
    groups = " ".join(digits[at : at + 16] for at in range(0, len(digits), 16))  # Dagster does not wrap within words
    return {"ledger": dg.MetadataValue.text(f"{head.size:,} entries, {groups}")}


@dataclass(frozen=True)
class _DoneDay:
    """The result of a step on a day: what the UI shows of it, the results of its checks, the accounts that failed."""

    summary: Summary
    verdicts: list["CheckResult"]
    failures: tuple[AccountFailure, ...]


def _run_on_day(
    context: dg.AssetExecutionContext, connections: Connections, day: date, step: Step, *, pictures: bool
) -> _DoneDay:
    from assets.summaries import summarize
    from callarchive.monitoring.alert_rules import alert_on_day
    from callarchive.monitoring.at_risk import at_risk
    from callarchive.monitoring.evaluation import run_checks

    settings = connections.settings
    report = step(connections, day)
    context.log.info(report.line)
    is_recordings = report.table is schemas.RECORDINGS
    risks = at_risk(connections.catalog, settings, now=connections.clock(), days=[day]) if is_recordings else None
    summary = summarize(connections.catalog, report, risks=risks, pictures=pictures)
    verdicts = run_checks(connections.catalog, day, settings, table=report.table)
    alert_on_day(connections, day, verdicts, table=report.table)
    return _DoneDay(summary, verdicts, report.failures)


def _materialize_done(context: dg.AssetExecutionContext, batch: _Batch) -> None:
    """Materialize the days that are done: Dagster itself materializes nothing of a step that fails or is terminated.

    A day on which an account failed is written, but not materialized, here and in the later steps: it must be run again.
    """
    for key, summary in batch.done.items():
        if key in batch.partial:
            continue
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=summary))


def _run_later_steps(context: dg.AssetExecutionContext, connections: Connections, batch: _Batch) -> None:
    """Run the run's later steps on the days that are done: after a step that fails Dagster runs none, on no day.

    Dagster itself reruns a later step that does not depend on this one; it then has nothing to change.
    """
    steps = _later_steps(context)
    if steps:
        context.log.info("%s continue without the failed days: %s", ", ".join(steps), ", ".join(batch.done))
    verdicts = list(batch.verdicts)
    for key in batch.done:
        day = date.fromisoformat(key)
        try:
            with connections.day_lock(day):
                for name, step in steps.items():
                    done = _run_on_day(context, connections, day, step, pictures=key == context.partition_keys[-1])
                    if not done.failures:
                        context.log_event(dg.AssetMaterialization(name, partition=key, metadata=done.summary))
                    verdicts += done.verdicts
                    _stop_if_blocked(done.verdicts)
                    if done.failures:
                        batch.failed[key] = AccountsFailedError(done.failures)
        except ArchiveError as err:
            batch.fail(key, err)
            if batch.cut_short:
                break
            context.log.warning("%s: %s", key, err)
    for evaluation in check_evaluations(verdicts):
        context.log_event(evaluation)


def _report_past_time(context: dg.AssetExecutionContext, connections: Connections) -> None:
    """Report the check that Dagster will not evaluate in this run, or it would show as failed without a reason."""
    from assets.past_time import evaluation
    from callarchive.monitoring.past_time import kept_past_time

    context.log_event(evaluation(kept_past_time(connections)))


def _stop_if_blocked(verdicts: Iterable["CheckResult"]) -> None:
    """Raise ArchiveError where Dagster would not continue with the next step: the tables of the day are wrong."""
    for verdict in verdicts:
        if verdict.check.blocking and verdict.failed:
            raise ArchiveError(f"the check {verdict.name} failed: {verdict.summary}")


def day_steps(context: dg.AssetExecutionContext) -> dict[str, Step]:
    """Return the steps of a day by asset name, in order; they report their progress to the run's log."""
    from callarchive.archiving.steps.day_steps import DAY_STEPS

    progress = LoggedProgress(context.log)
    return {step.table.name: partial(step.run, progress=progress) for step in DAY_STEPS}


def _later_steps(context: dg.AssetExecutionContext) -> dict[str, Step]:
    """Return the steps of this run that come after the current one."""
    steps = day_steps(context)
    names = list(steps)
    later = names[names.index(context.asset_key.to_user_string()) + 1 :]
    in_run = {node.name for node in context.job_def.nodes_in_topological_order}
    return {name: steps[name] for name in later if name in in_run}
