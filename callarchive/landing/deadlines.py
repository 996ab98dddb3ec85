"""An end, by the clock, for calls of libraries that know none: a peer that sends a byte now and then holds them for ever."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


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
