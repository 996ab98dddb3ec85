"""Waiting: pauses between attempts, deadlines, and repeating a call. Callers decide which errors are worth another attempt."""

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses between attempts, each longer than the one before by the factor `growth`.

    Each is shortened at random by up to the share `jitter`, so that threads that failed together do not return together.
    """

    first_s: float
    longest_s: float = math.inf
    growth: float = 2.0
    jitter: float = 0.0

    def pause_s(self, failures: int) -> float:
        """Return the pause after this many failures in a row, at least 1."""
        pause_s = min(self.longest_s, self.first_s * self.growth ** min(failures - 1, 100))
        return pause_s * (1 - self.jitter * random.random())  # noqa: S311 - spreads attempts, guards nothing

    def pauses(self) -> Iterator[float]:
        """Yield the pauses, without end."""
        return (self.pause_s(failures) for failures in count(1))


class Deadline:
    """A time limit for one call. Not thread-safe.

    Seconds passed to the injected `sleep` count as elapsed even if it returns at once, so tests need not wait.
    """

    def __init__(self, seconds: float, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self.seconds = seconds
        self._sleep = sleep
        self._ends_at = time.monotonic() + seconds

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s == 0

    def at_most(self, seconds: float) -> "Deadline":
        """Return a deadline of its own that ends no later than this one."""
        return Deadline(min(seconds, self.remaining_s), sleep=self._sleep)

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or for what is left if that is less."""
        wait_s = min(seconds, self.remaining_s)
        begun_at = time.monotonic()
        self._sleep(wait_s)
        self._ends_at -= max(0.0, wait_s - (time.monotonic() - begun_at))

    def extend(self, seconds: float) -> None:
        """Move the end by time spent for reasons of our own, such as the rate cap."""
        self._ends_at += seconds


def retry(
    work: Callable[[], T],
    *,
    retryable: Callable[[Exception], bool],
    backoff: Backoff,
    attempts: int | None = None,
    deadline: Deadline | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Return the result of `work()`, called again after retryable errors; no call begins after the deadline."""
    for failures in count(1):
        try:
            return work()
        except Exception as err:
            if failures == attempts or (deadline is not None and deadline.passed) or not retryable(err):
                raise
        (sleep if deadline is None else deadline.sleep)(backoff.pause_s(failures))
    raise AssertionError("count() does not end")
