"""Commits events in batches: a commit waits for the disk, and events that arrive meanwhile share the next one."""

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
_LOG_EVERY_S = 30.0
Waiting = tuple[str, ReadEvent, "Future[None]"]


class Writer:
    """A thread that commits waiting events, at most `room`. `add` may be called from any thread."""

    def __init__(self, inbox: Inbox, metrics: Metrics, *, room: int) -> None:
        self._inbox = inbox
        self._metrics = metrics
        self._queue: queue.Queue[Waiting | None] = queue.Queue(room)
        self._logged_at = -_LOG_EVERY_S
        self._failing = False
        self._committed_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="inbox-writer", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Return whether the last commit failed."""
        return self._failing

    @property
    def idle_s(self) -> float:
        """Return the seconds since the last successful commit."""
        return time.monotonic() - self._committed_at

    def probe(self) -> None:
        """Test with a commit that changes nothing whether the inbox accepts events. Raises like `Inbox.add`."""
        try:
            self._inbox.probe_write()
        except BaseException:
            self._failing = True
            raise
        self._succeeded()

    def _succeeded(self) -> None:
        self._failing = False
        self._committed_at = time.monotonic()

    def add(self, subaccount_id: str, event: ReadEvent) -> "Future[None]":
        """Return a future that is done once the event is durable, and fails like `add`. Raises UnavailableError if full."""
        done: Future[None] = Future()
        try:
            self._queue.put_nowait((subaccount_id, event, done))
        except queue.Full:
            raise UnavailableError("too many events are waiting for the inbox") from None
        return done

    def close(self) -> None:
        """Commit what is waiting, and end the thread."""
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
        """Return the waiting events, at least one unless closing; and whether the writer is closing."""
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
        except BaseException as err:  # noqa: BLE001 - it is raised in the thread that waits
            if isinstance(err, StoreError) and len(batch) > 1:
                # One event that the database rejects must not block the others in its batch.
                half = len(batch) // 2
                self._commit(batch[:half])
                self._commit(batch[half:])
                return
            self._failing = True
            self._metrics.commit_failed()
            self._log(err)
            failure = (
                err if isinstance(err, ArchiveError) else UnavailableError(f"the inbox failed: {type(err).__name__}")
            )
            for _, _, done in batch:
                if done.set_running_or_notify_cancel():
                    done.set_exception(failure)
            return
        self._succeeded()
        self._metrics.committed(count=len(batch), new=new, seconds=time.monotonic() - begun_at)
        for _, _, done in batch:
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def _log(self, err: BaseException) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.error("cannot store events: %s", err if isinstance(err, ArchiveError) else type(err).__name__)
