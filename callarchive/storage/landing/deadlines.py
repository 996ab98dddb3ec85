"""An end, by the clock, for calls of libraries that know none: a peer that sends a byte now and then holds them for ever."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

_SHORTEST_S = 10.0


class Patience:
    """How long a listing may take: a quarter of it after each that used up its time.

    So a server that drips holds a run for little more than one deadline, however many folders it is asked for.

    Args:
        longest_s: for the first, seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._left_s = longest_s
        self._shortest_s = min(longest_s, _SHORTEST_S)

    def ends_at(self) -> float:
        """Return when a listing that begins now must be over, by `time.monotonic`."""
        return time.monotonic() + self._left_s

    def done(self, ends_at: float) -> None:
        """Take note that a listing is over that might have gone on until `ends_at`."""
        if time.monotonic() >= ends_at:
            self._left_s = max(self._left_s / 4, self._shortest_s)


def ended_by(ends_at: float, work: Callable[[], T], *, name: str) -> T:
    """Return what `work` returns, or raise what it raises.

    Args:
        ends_at: by `time.monotonic`.
        name: of the thread that does the work. It is not waited for beyond `ends_at`, nor when the process ends.

    Raises:
        TimeoutError: it is not done by then. Nothing was begun if that is over already.
    """
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    done: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as err:
            done.put((None, err))

    Thread(target=run, name=name, daemon=True).start()
    try:
        result, error = done.get(timeout=left_s)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value] # there is one where there is no error
