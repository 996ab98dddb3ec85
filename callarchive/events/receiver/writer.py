"""Events on their way into the inbox: those that come while a commit is under way share the next one.

A commit waits for the disk, so one for each event would bound the receiver to some hundred events a second.
"""

import logging
import queue
import threading
import time
from concurrent.futures import Future

from callarchive.domain.errors import ArchiveError, StoreError, UnavailableError
from callarchive.events.inbox.events import ReadEvent
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.receiver.metrics import Metrics

log = logging.getLogger(__name__)

_AT_ONCE = 200
_SAID_EVERY_S = 30.0

Waiting = tuple[str, ReadEvent, "Future[None]"]


class Writer:
    """One thread that commits what waits. `add` may be called from any thread.

    Args:
        room: so many events may wait; more are refused at once.
    """

    def __init__(self, inbox: Inbox, metrics: Metrics, *, room: int) -> None:
        self._inbox = inbox
        self._metrics = metrics
        self._queue: queue.Queue[Waiting | None] = queue.Queue(room)
        self._said_at = -_SAID_EVERY_S
        self._failing = False
        self._taken_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="inbox-writer", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Whether the last commit did not succeed."""
        return self._failing

    @property
    def idle_s(self) -> float:
        """Seconds since the last commit that succeeded."""
        return time.monotonic() - self._taken_at

    def probe(self) -> None:
        """Commit what changes nothing, to learn whether the inbox takes events. Raises as `Inbox.add`."""
        try:
            self._inbox.probe_write()
        except BaseException:
            self._failing = True
            raise
        self._taken()

    def _taken(self) -> None:
        self._failing = False
        self._taken_at = time.monotonic()

    def add(self, subaccount_id: str, event: ReadEvent) -> "Future[None]":
        """A future that is done when the event is durable, and fails as `Inbox.add` does when it cannot be.

        Raises:
            UnavailableError: too many wait already.
        """
        done: Future[None] = Future()
        try:
            self._queue.put_nowait((subaccount_id, event, done))
        except queue.Full:
            raise UnavailableError("too many events wait for the inbox") from None
        return done

    def close(self) -> None:
        """What waits has been committed, or has failed, and the thread has ended."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        ending = False
        while not ending:
            batch, ending = self._next()
            if batch:
                self._commit(batch)
            self._metrics.waiting(self._queue.qsize())

    def _next(self) -> tuple[list[Waiting], bool]:
        """What waits, at least one event unless it is the end; and whether it is the end."""
        item = self._queue.get()
        batch: list[Waiting] = []
        while item is not None:
            batch.append(item)
            if len(batch) == _AT_ONCE:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[Waiting]) -> None:
        begun_at = time.monotonic()
        try:
            new = self._inbox.add([(account, event) for account, event, _ in batch])
        except BaseException as err:
            if isinstance(err, StoreError) and len(batch) > 1:
                # One that the database does not take must not keep those out that happen to wait with it, each time it comes.
                half = len(batch) // 2
                self._commit(batch[:half])
                self._commit(batch[half:])
                return
            self._failing = True
            self._metrics.commit_failed()
            self._say(err)
            failure = (
                err if isinstance(err, ArchiveError) else UnavailableError(f"the inbox failed: {type(err).__name__}")
            )
            for _, _, done in batch:
                if done.set_running_or_notify_cancel():
                    done.set_exception(failure)
            return
        self._taken()
        self._metrics.committed(count=len(batch), new=new, seconds=time.monotonic() - begun_at)
        for _, _, done in batch:
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def _say(self, err: BaseException) -> None:
        if time.monotonic() - self._said_at >= _SAID_EVERY_S:
            self._said_at = time.monotonic()
            log.error("events are not taken: %s", err if isinstance(err, ArchiveError) else type(err).__name__)
