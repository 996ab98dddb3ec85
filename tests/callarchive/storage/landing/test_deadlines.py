"""Deadlines for calls without one, and time limits of listings."""

import threading
import time

import pytest

from callarchive.storage.landing.deadlines import Patience, ended_by


def test_work_that_ends_in_time_returns_its_result_or_raises_its_error() -> None:
    assert ended_by(time.monotonic() + 10, lambda: 3, name="w") == 3
    with pytest.raises(KeyError, match="mine"):
        ended_by(time.monotonic() + 10, lambda: dict[str, int]()["mine"], name="w")


def test_work_that_does_not_end_is_abandoned() -> None:
    over, began = threading.Event(), time.monotonic()
    with pytest.raises(TimeoutError):
        ended_by(began + 0.1, lambda: over.wait(20), name="w")
    assert time.monotonic() - began < 10
    over.set()
    done: list[int] = []
    with pytest.raises(TimeoutError):
        ended_by(began, lambda: done.append(1), name="w")
    assert done == [], "it is over already, and nothing was begun"


def test_each_listing_that_uses_up_its_time_leaves_the_next_a_quarter() -> None:
    patience, spans = Patience(900), []
    for _ in range(5):
        spans.append(round(patience.ends_at() - time.monotonic()))
        patience.done(time.monotonic())
    assert spans == [900, 225, 56, 14, 10]
    patience.done(time.monotonic() + 5)
    assert round(patience.ends_at() - time.monotonic()) == 10
    brief = Patience(2)
    brief.done(time.monotonic())
    assert round(brief.ends_at() - time.monotonic()) == 2
