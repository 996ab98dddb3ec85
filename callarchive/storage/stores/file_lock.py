"""Locks as flock(2) on files of this machine. The kernel frees them when their holder dies."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from callarchive.domain.errors import UnavailableError

log = logging.getLogger(__name__)


@contextmanager
def file_lock(place: Path, *, name: str, wait_s: float) -> Iterator[None]:
    """Hold the lock against other processes and other threads of this one. The file stays after release.

    Raises UnavailableError if the lock, called `name` in messages, was held elsewhere for all of `wait_s`; OSError.
    """
    from filelock import FileLock, Timeout  # 10 ms, which only commands that write need

    # thread_local=False: the lock may be released by another thread. A soft lock would outlive a killed holder.
    lock = FileLock(place, mode=0o640, thread_local=False, fallback_to_soft=False, on_acquired=_write_holder)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout as err:
            if not wait_s:
                raise UnavailableError(f"{name} is in use by process {_read_holder(place)}") from err
            log.info("waiting for %s, held by process %s", name, _read_holder(place))
            lock.acquire(timeout=wait_s)
    except Timeout as err:
        raise UnavailableError(f"{name} is held by process {_read_holder(place)}: gave up after {wait_s:g} s") from err
    try:
        yield
    finally:
        lock.release()


def _write_holder(descriptor: int) -> None:
    with suppress(OSError):  # only for messages: the kernel knows the holder
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _read_holder(place: Path) -> str:
    try:
        return place.read_text(encoding="ascii", errors="replace")[:20].strip() or "unknown"
    except OSError:
        return "unknown"
