"""How an error of callarchive ends a Dagster step or run. The only module that makes a `dg.Failure`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from callarchive.domain.errors import ArchiveError, ConfigurationError, RefusedError, StoreError, UnavailableError

STEP_RETRIES = "callarchive/step_retries"
"""A run's tag: so many times each of its steps is tried again. Dagster's own `RetryPolicy` would have a run that is terminated
wait for its next attempt as well, and go on with it minutes after it was marked as canceled.
"""
_FIRST_DELAY_S = 120


def failure(error: ArchiveError) -> dg.Failure:
    """The error as Dagster shows it: its own message, retried only where the same call may succeed later.

    Raise it `from None`: Dagster writes the chain of causes into its database, and library errors quote whole URLs.
    """
    return dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=error.retryable)


def failure_of_days(failed: Mapping[str, ArchiveError], *, day_count: int, done_count: int) -> dg.Failure:
    """One failure for all days of a batch that could not be done, by partition key. Retried if that can help every one.

    Args:
        day_count: how many days the batch has.
        done_count: how many of them went well. The rest was not tried, or not to the end.
    """
    lines = [f"{key}: {error}" for key, error in failed.items()]
    if day_count > 1:
        untried = day_count - done_count - len(failed)
        lines.insert(0, f"{len(failed)} of {day_count} days could not be done, {untried} were not tried.")
    if done_count:
        cut_short = any(ends_batch(error) for error in failed.values())
        kept = "This step keeps" if cut_short else "All steps of the run are done for"
        lines.append(f"{kept} the other {done_count}.")
    return dg.Failure(
        "\n".join(lines),
        metadata={"errors": dg.MetadataValue.json({key: type(error).__name__ for key, error in failed.items()})},
        allow_retries=all(error.retryable for error in failed.values()),
    )


def tried_again(context: dg.AssetExecutionContext, failed: dg.Failure) -> dg.Failure | dg.RetryRequested:
    """What a step that failed raises, `from` the failure: a request for another attempt, if that may help.

    A run with the tag `STEP_RETRIES` has so many more, the first after 2 minutes, each next after twice the time.
    """
    retries = int(context.run.tags.get(STEP_RETRIES, "0"))
    if not failed.allow_retries or not retries:
        return failed
    return dg.RetryRequested(max_retries=retries, seconds_to_wait=_FIRST_DELAY_S * 2**context.retry_number)


def ends_batch(error: ArchiveError) -> bool:
    """Whether the other days of a batch would fail the same way: nobody answers, nobody lets us in, the disk is full."""
    return isinstance(error, ConfigurationError | RefusedError | UnavailableError | StoreError)


@contextmanager
def errors_as_failures() -> Iterator[None]:
    """Inside the block an ArchiveError becomes a `dg.Failure`."""
    try:
        yield
    except ArchiveError as err:
        raise failure(err) from None
