"""Work in threads is bounded, stops as a whole, and leaves no thread behind."""

import threading
from collections.abc import Iterator
from threading import Event

import pytest

from callarchive.runtime.worker_pool import NoProgress, StoppedError, in_threads

NAME = "workers-test"
PATIENCE_S = 10.0


class InterruptError(BaseException):
    """Like KeyboardInterrupt, not an `Exception`."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Check that the threads have ended after a block."""
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(NAME)] == []


def waiting(_: int, stop: Event) -> int:
    """Work until stopped."""
    assert stop.wait(PATIENCE_S), "nobody said stop"
    raise StoppedError


def test_every_item_gives_one_result() -> None:
    with in_threads(lambda n, _: n * n, range(1000), concurrency=7, name=NAME) as results:
        assert sorted(results) == [n * n for n in range(1000)]


def test_no_items_give_no_results() -> None:
    with in_threads(lambda n, _: n, [], concurrency=3, name=NAME) as results:
        assert list(results) == []


def test_as_many_as_allowed_run_at_once_and_no_more() -> None:
    running = peak = 0
    lock = threading.Lock()
    together = threading.Barrier(4)

    def work(n: int, _: Event) -> int:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        together.wait(PATIENCE_S)  # passes only when four are here
        with lock:
            running -= 1
        return n

    with in_threads(work, range(40), concurrency=4, name=NAME) as results:
        assert len(list(results)) == 40
    assert peak == 4


def test_items_are_not_taken_far_ahead_of_their_results() -> None:
    taken = settled = furthest = 0

    def items() -> Iterator[int]:
        nonlocal taken, furthest
        for n in range(500):
            taken += 1
            furthest = max(furthest, taken - settled)
            yield n

    with in_threads(lambda n, _: n, items(), concurrency=5, name=NAME) as results:
        for _ in results:
            settled += 1
    assert settled == 500
    assert furthest == 10


def test_results_are_in_the_order_of_completion() -> None:
    slow_may_end = Event()

    def work(n: int, _: Event) -> int:
        if n == 0:
            assert slow_may_end.wait(PATIENCE_S)
        return n

    with in_threads(work, range(5), concurrency=2, name=NAME) as results:
        first_four = [next(results) for _ in range(4)]
        assert sorted(first_four) == [1, 2, 3, 4]
        slow_may_end.set()
        assert list(results) == [0]


def test_an_error_of_one_worker_stops_the_others_and_is_raised() -> None:
    begun: list[int] = []

    def work(n: int, stop: Event) -> int:
        begun.append(n)
        if n == 2:
            raise RuntimeError("the third")
        return waiting(n, stop)

    with (
        pytest.raises(RuntimeError, match="the third"),
        in_threads(work, range(1000), concurrency=3, name=NAME) as results,
    ):
        list(results)
    assert len(begun) <= 6, "what waited was not begun"


@pytest.mark.parametrize("error", [RuntimeError, InterruptError, KeyboardInterrupt, GeneratorExit])
def test_an_error_of_the_consumer_stops_the_workers_and_is_raised(error: type[BaseException]) -> None:
    def work(n: int, stop: Event) -> int:
        return n if n == 0 else waiting(n, stop)

    def consume() -> None:
        with in_threads(work, range(1000), concurrency=3, name=NAME) as results:
            assert next(results) == 0
            raise error

    with pytest.raises(error):
        consume()


def test_leaving_the_block_early_stops_the_workers() -> None:
    begun, stopped = Event(), Event()

    def work(n: int, stop: Event) -> int:
        if n == 0:
            assert begun.wait(PATIENCE_S)
            return n
        begun.set()
        try:
            return waiting(n, stop)
        except StoppedError:
            stopped.set()
            raise

    with in_threads(work, range(1000), concurrency=3, name=NAME) as results:
        for result in results:
            assert result == 0
            break
    assert stopped.is_set()


def test_an_error_of_the_items_stops_the_workers_and_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError), in_threads(waiting, items(), concurrency=3, name=NAME) as results:
        list(results)


def test_a_block_that_takes_no_result_runs_nothing() -> None:
    begun: list[int] = []
    with in_threads(lambda n, _: begun.append(n), range(10), concurrency=2, name=NAME):
        pass
    assert begun == []


def test_stopped_error_is_not_an_exception_that_a_retry_swallows() -> None:
    assert not issubclass(StoppedError, Exception)


def test_no_progress_returns_none() -> None:
    progress = NoProgress()
    progress.begin("stage", 3)
    progress.advance()
