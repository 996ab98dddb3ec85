"""Work on many items in threads: bounded, in the order of completion, stopped as a whole."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Condition, Event, Thread
from typing import Generic, Protocol, TypeVar

from callarchive.runtime.adaptive_limit import Adaptive

Item = TypeVar("Item")
Result = TypeVar("Result")


_POLL_S = 0.1  # how often a waiting thread checks an adaptive limit, which does not notify


class StoppedError(BaseException):
    """Raised in a worker that was asked to stop. Not an `Exception`, so that no handler swallows it."""


class Progress(Protocol):
    """Receives the progress of a stage."""

    def begin(self, stage: str, total: int) -> None:
        """Begin a stage of `total` items."""

    def advance(self, count: int = 1) -> None:
        """Count items as done."""


class NoProgress:
    """Ignores progress."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""


@contextmanager
def in_threads(
    work: Callable[[Item, Event], Result], items: Iterable[Item], *, concurrency: int | Adaptive, name: str
) -> Iterator[Iterator[Result]]:
    """Yield an iterator over the results of `work(item, stop)`, in the order of completion.

    The threads take at most twice `concurrency` items ahead of their results; an `Adaptive` is notified of every result and
    may change at any time. When the block is left early, by an error or Ctrl-C, `stop` is set, waiting items are dropped, and
    running ones are waited for: a worker checks `stop` between chunks and raises StoppedError.
    """
    crew = _Crew(work, iter(items), concurrency, name)
    try:
        yield crew.results()
    finally:
        crew.stop()  # also when the consumer leaves early without an error


class _Crew(Generic[Item, Result]):
    """Threads that take their items from one iterator themselves, which saves a thread switch per item."""

    def __init__(
        self, work: Callable[[Item, Event], Result], items: Iterator[Item], concurrency: int | Adaptive, name: str
    ) -> None:
        self._work = work
        self._items = items
        self._adaptive = concurrency if isinstance(concurrency, Adaptive) else None
        self._ceiling = concurrency.ceiling if isinstance(concurrency, Adaptive) else concurrency
        self._name = name
        self._stop = Event()
        self._changed = Condition()
        self._threads: list[Thread] = []
        self._at_work = 0
        self._unclaimed = 0
        self._exhausted = False
        # A result, or an error, or neither at the end of the items.
        self._outcomes: SimpleQueue[tuple[list[Result], BaseException | None]] = SimpleQueue()

    def results(self) -> Iterator[Result]:
        """Yield the results as they are ready. The threads start with the first."""
        with self._changed:
            self._add_thread()
        while True:
            with self._changed:
                if self._exhausted and not self._unclaimed:
                    return
            result, error = self._outcomes.get()
            if error is not None:
                raise error
            if result:
                with self._changed:
                    self._unclaimed -= 1
                    self._changed.notify()
                yield result[0]

    def stop(self) -> None:
        """Stop all threads and wait for them."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _limit(self) -> int:
        return self._ceiling if self._adaptive is None else self._adaptive.limit

    def _add_thread(self) -> None:
        """Start one more thread if the limit allows; each begins by adding another. The lock is held."""
        if len(self._threads) < self._limit() and not self._exhausted and not self._stop.is_set():
            thread = Thread(target=self._serve, name=f"{self._name}_{len(self._threads)}")
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while True:
            item = self._take()
            if not item:
                return
            try:
                outcome: tuple[list[Result], BaseException | None] = ([self._work(item[0], self._stop)], None)
            except BaseException as err:  # noqa: BLE001 - it is raised in the thread that waits
                outcome = ([], err)
            self._outcomes.put(outcome)
            if self._adaptive is not None:
                self._adaptive.finished()
            with self._changed:
                self._at_work -= 1

    def _take(self) -> list[Item]:
        """Return the next item in a list, which is empty at the end."""
        with self._changed:
            while self._may_not_begin():
                self._changed.wait(timeout=_POLL_S)
            if self._stop.is_set() or self._exhausted:
                return []
            try:
                item = next(self._items)
            except BaseException as err:  # noqa: BLE001 - it is raised in the thread that waits
                self._exhausted = True
                self._outcomes.put(([], None if isinstance(err, StopIteration) else err))
                self._changed.notify_all()
                return []
            self._at_work += 1
            self._unclaimed += 1
            self._add_thread()
            return [item]

    def _may_not_begin(self) -> bool:
        if self._stop.is_set() or self._exhausted:
            return False
        return self._at_work >= self._limit() or self._unclaimed >= 2 * self._ceiling
