"""Work on many items at once in threads: bounded, in the order of completion, stopped as a whole when one says stop."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from threading import Event
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedError(BaseException):
    """Raised in a worker that was asked to stop. Not an Exception, so that no retry and no state can swallow it."""


class Progress(Protocol):
    """Who is told how far a stage has come."""

    def begin(self, stage: str, total: int) -> None:
        """A stage begins; `total` items lie ahead of it."""

    def advance(self, count: int = 1) -> None:
        """That many more items are done."""


class NoProgress:
    """Tells nobody."""

    def begin(self, stage: str, total: int) -> None:
        """Nothing."""

    def advance(self, count: int = 1) -> None:
        """Nothing."""


@contextmanager
def in_threads(
    work: Callable[[Item, Event], Result], items: Iterable[Item], *, concurrency: int, name: str
) -> Iterator[Iterator[Result]]:
    """An iterator over the results of `work(item, stop)`, as they are ready.

    At most twice `concurrency` items are taken from `items` ahead of their results. When the block is left early, by
    an error of a worker, of the consumer or by Ctrl-C, `stop` is set, what waits is dropped, and what runs is waited for:
    a worker looks at `stop` between chunks and raises StoppedError.
    """
    stop = Event()
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=name)
    try:
        yield _results(pool, work, iter(items), stop, ahead=2 * concurrency)
    finally:
        stop.set()  # also when the consumer has had enough and leaves without an error
        pool.shutdown(wait=True, cancel_futures=True)


def _results(
    pool: ThreadPoolExecutor, work: Callable[[Item, Event], Result], items: Iterator[Item], stop: Event, *, ahead: int
) -> Iterator[Result]:
    running: set[Future[Result]] = set()
    while True:
        running.update(pool.submit(work, item, stop) for item in islice(items, ahead - len(running)))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()
