"""How an error of callarchive ends a Dagster step or run. The only module that creates a `dg.Failure`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from callarchive.domain.errors import ArchiveError, ConfigurationError, RefusedError, StoreError, UnavailableError

STEP_RETRIES = "callarchive/step_retries"
"""A run's tag: how many times each of its steps is retried. With Dagster's own `RetryPolicy` a terminated run would wait for
its next attempt as well, and start it minutes after it was marked as canceled.
"""
_FIRST_DELAY_S = 120
_AGAIN = "run the failed days again"


def failure(error: ArchiveError, *, again: str = _AGAIN) -> dg.Failure:
    """Return the error as Dagster shows it: its own message, retried only if the same call may succeed later.

    Raise it `from None`: Dagster writes the chain of causes into its database, and library errors quote whole URLs.
    """
    return dg.Failure(
        f"{error}\nNext step: {next_step(error, again=again)}",
        metadata={"error": type(error).__name__, "next_step": next_step(error, again=again)},
        allow_retries=error.retryable,
    )


def next_step(error: ArchiveError, *, again: str = _AGAIN) -> str:
    """Return what to do after the error, in one sentence."""
    match error:
        case ConfigurationError():
            return f"correct the configuration (`callarchive doctor` checks it), then {again}."
        case RefusedError():
            return f"correct the key, permission or host key (`callarchive doctor` tries each), then {again}."
        case StoreError():
            return f"make the archive or catalog writable (space, permissions), then {again}."
    if error.retryable:
        return f"{again} later; if that fails too, `callarchive doctor` finds out why."
    return f"correct what the message names, then {again}."


def failure_of_days(failed: Mapping[str, ArchiveError], *, step: str, day_count: int, done_count: int) -> dg.Failure:
    """Return one failure for all failed days of a batch, retried if that may help every one.

    Args:
        failed: the errors by partition key.
        step: the name of the failed step.
        day_count: the number of days in the batch.
        done_count: the number of days that succeeded. The others were not tried, or not to the end.
    """
    lines = [f"{key}: {error}" for key, error in failed.items()]
    if day_count > 1:
        untried = day_count - done_count - len(failed)
        lines.insert(0, f"{len(failed)} of {day_count} days failed, {untried} were not tried.")
    if done_count:
        cut_short = any(ends_batch(error) for error in failed.values())
        kept = "This step keeps" if cut_short else "All steps of the run are done for"
        lines.append(f"{kept} the other {done_count}.")
    steps = dict.fromkeys(map(next_step, failed.values()))
    lines += [f"Next step: {text}" for text in steps]
    places = [
        {"day": key, "step": step, "cause": str(error), "next_step": next_step(error), "retryable": error.retryable}
        for key, error in failed.items()
    ]
    return dg.Failure(
        "\n".join(lines),
        metadata={
            "errors": dg.MetadataValue.json({key: type(error).__name__ for key, error in failed.items()}),
            "failed_days": dg.MetadataValue.json(places),
        },
        allow_retries=all(error.retryable for error in failed.values()),
    )


def retried(context: dg.AssetExecutionContext, failed: dg.Failure) -> dg.Failure | dg.RetryRequested:
    """Return what a failed step raises, `from` the failure: a request for another attempt, if that may help.

    A run with the tag `STEP_RETRIES` has that many, the first after 2 minutes, each next after twice the time.
    """
    retries = int(context.run.tags.get(STEP_RETRIES, "0"))
    # After the last attempt the failure itself: Dagster copies it into the run's last event, RUN_FAILURE.
    if not failed.allow_retries or context.retry_number >= retries:
        return failed
    return dg.RetryRequested(max_retries=retries, seconds_to_wait=_FIRST_DELAY_S * 2**context.retry_number)


def ends_batch(error: ArchiveError) -> bool:
    """Return whether the other days of a batch would fail the same way: an outage, a refusal, a full disk."""
    return isinstance(error, ConfigurationError | RefusedError | UnavailableError | StoreError)


@contextmanager
def errors_as_failures(*, again: str = _AGAIN) -> Iterator[None]:
    """Raise an ArchiveError of the block as a `dg.Failure`. `again` is how to repeat it."""
    try:
        yield
    except ArchiveError as err:
        raise failure(err, again=again) from None
