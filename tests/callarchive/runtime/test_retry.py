"""Pauses, deadlines and retries, on recorded sleeps."""

import time
from itertools import islice

import pytest

from callarchive.runtime.retry import Backoff, Deadline, retry


class Flaky:
    """Fails with the given errors, one a call, then returns its number of calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def is_os_error(err: Exception) -> bool:
    return isinstance(err, OSError)


def test_pauses_grow_up_to_the_longest():
    assert list(islice(Backoff(first_s=0.5, longest_s=3).pauses(), 5)) == [0.5, 1, 2, 3, 3]
    assert list(islice(Backoff(first_s=1, growth=1).pauses(), 3)) == [1, 1, 1]
    assert Backoff(first_s=1, longest_s=60).pause_s(10_000) == 60


def test_jitter_shortens_a_pause_and_never_lengthens_it():
    backoff = Backoff(first_s=4, jitter=0.5)
    pauses = [backoff.pause_s(1) for _ in range(200)]
    assert all(2 <= pause <= 4 for pause in pauses)
    assert len(set(pauses)) > 100


def test_retryable_errors_are_retried_with_growing_pauses():
    pauses = []
    work = Flaky(OSError(), OSError())
    assert retry(work, retryable=is_os_error, backoff=Backoff(first_s=1), attempts=3, sleep=pauses.append) == 3
    assert pauses == [1, 2]


def test_the_last_error_is_raised_when_the_attempts_are_used_up():
    pauses = []
    work = Flaky(OSError("first"), OSError("second"), OSError("third"))
    with pytest.raises(OSError, match="second"):
        retry(work, retryable=is_os_error, backoff=Backoff(first_s=1), attempts=2, sleep=pauses.append)
    assert pauses == [1]


def test_other_errors_are_raised_at_once():
    work = Flaky(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        retry(work, retryable=is_os_error, backoff=Backoff(first_s=1), attempts=3)
    assert work.calls == 1


def test_no_attempt_begins_after_the_deadline_and_the_last_pause_is_cut_to_it():
    pauses = []
    work = Flaky(*[OSError(str(number)) for number in range(9)])
    deadline = Deadline(10, sleep=pauses.append)
    with pytest.raises(OSError, match="3"):
        retry(work, retryable=is_os_error, backoff=Backoff(first_s=2), deadline=deadline)
    assert pauses == pytest.approx([2, 4, 4], abs=0.1)


def test_a_sleep_that_returns_at_once_counts_as_elapsed():
    asked = []
    deadline = Deadline(100, sleep=asked.append)
    deadline.sleep(60)
    assert 39 < deadline.remaining_s <= 40
    deadline.sleep(60)
    assert deadline.passed
    assert asked[0] == 60
    assert 39 < asked[1] <= 40


def test_a_real_sleep_counts_once():
    deadline = Deadline(100)
    begun = time.monotonic()
    deadline.sleep(0.05)
    used_s = 100 - deadline.remaining_s
    assert used_s == pytest.approx(time.monotonic() - begun, abs=0.02)


def test_a_part_of_a_deadline_ends_no_later_and_can_be_extended():
    deadline = Deadline(10)
    assert deadline.at_most(60).remaining_s <= 10
    assert deadline.at_most(3).remaining_s <= 3
    deadline.extend(5)
    assert 14 < deadline.remaining_s <= 15
