"""Deadlines for library calls without one: a peer that sends a byte now and then could hold them for ever."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

_SHORTEST_S = 10.0


class Patience:
    """The time limit of a listing, which drops to a quarter after each that used it up.

    So a slow server holds a run for little more than one deadline, however many folders are listed.

    Args:
        longest_s: the first limit, seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._left_s = longest_s
        self._shortest_s = min(longest_s, _SHORTEST_S)

    def ends_at(self) -> float:
        """Return when a listing that begins now must end, by `time.monotonic`."""
        return time.monotonic() + self._left_s

    def done(self, ends_at: float) -> None:
        """Lower the limit if a listing lasted until `ends_at`."""
        if time.monotonic() >= ends_at:
            self._left_s = max(self._left_s / 4, self._shortest_s)


def ended_by(ends_at: float, work: Callable[[], T], *, name: str) -> T:
    """Run `work` in a thread and return its result.

    Args:
        ends_at: by `time.monotonic`.
        name: of the thread, which is abandoned after `ends_at`.

    Raises:
        TimeoutError: it did not finish by then; if that is past already, it did not start.
    """
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    done: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as err:  # noqa: BLE001 - it is raised in the thread that waits
            done.put((None, err))

    Thread(target=run, name=name, daemon=True).start()
    try:
        result, error = done.get(timeout=left_s)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value] # there is one where there is no error
