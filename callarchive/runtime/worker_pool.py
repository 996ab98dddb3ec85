"""Work on many items at once in threads: bounded, in the order of completion, stopped as a whole when one says stop."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Condition, Event, Thread
from typing import Generic, Protocol, TypeVar

from callarchive.runtime.adaptive_limit import Adaptive

Item = TypeVar("Item")
Result = TypeVar("Result")


_LOOK_AGAIN_S = 0.1
"""A thread that waits for room asks so often whether there is some: nobody tells it when a limit grows."""


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
    work: Callable[[Item, Event], Result], items: Iterable[Item], *, concurrency: int | Adaptive, name: str
) -> Iterator[Iterator[Result]]:
    """An iterator over the results of `work(item, stop)`, as they are ready.

    At most twice `concurrency` items are taken from `items` ahead of their results, one at a time, by the threads. When
    the block is left early, by an error of a worker, of the consumer or by Ctrl-C, `stop` is set, what waits is dropped, and
    what runs is waited for: a worker looks at `stop` between chunks and raises StoppedError.

    Args:
        concurrency: how many at once; adaptive, it is told of every result and may change at any time.
    """
    crew = _Crew(work, iter(items), concurrency, name)
    try:
        yield crew.results()
    finally:
        crew.dismiss()  # also when the consumer has had enough and leaves without an error


class _Crew(Generic[Item, Result]):
    """Threads that fetch their items from one iterator themselves: handing each over would cost a thread switch."""

    def __init__(
        self,
        work: Callable[[Item, Event], Result],
        items: Iterator[Item],
        concurrency: int | Adaptive,
        name: str,
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
        # A result, or an error, or neither: there are no more items.
        self._outcomes: SimpleQueue[tuple[list[Result], BaseException | None]] = SimpleQueue()

    def results(self) -> Iterator[Result]:
        """The results, each as soon as it is there. The threads start when the first one is asked for."""
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

    def dismiss(self) -> None:
        """No thread is left."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _limit(self) -> int:
        return self._ceiling if self._adaptive is None else self._adaptive.limit

    def _add_thread(self) -> None:
        """One more thread runs if there may be one; each begins by adding another. The lock is held."""
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
            except BaseException as err:
                outcome = ([], err)
            self._outcomes.put(outcome)
            if self._adaptive is not None:
                self._adaptive.finished()
            with self._changed:
                self._at_work -= 1

    def _take(self) -> list[Item]:
        """The next item, or none: there are no more, or the threads are to end."""
        with self._changed:
            while self._may_not_begin():
                self._changed.wait(timeout=_LOOK_AGAIN_S)
            if self._stop.is_set() or self._exhausted:
                return []
            try:
                item = next(self._items)
            except BaseException as err:
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
