"""The archive: verified recordings under their final names, versions beside them, and non-audio bytes in quarantine.

Only complete, hashed, scanned and durable files get a name that ends in `.mp3`. Names are write-once.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from threading import Event
from typing import Self

from callarchive.domain.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveDeniedError,
    ArchiveError,
    ArchiveUnavailableError,
    NotAudioError,
    TransferError,
    UnavailableError,
)
from callarchive.domain.identifiers import path_segment
from callarchive.domain.models import KeptFile
from callarchive.mp3 import Mp3Walk
from callarchive.runtime.worker_pool import StoppedError
from callarchive.storage.landing import Download
from callarchive.storage.stores import Staging, Store

log = logging.getLogger(__name__)

QUARANTINE = "_quarantine"
_LARGE_BYTES = 32 << 20
_BATCH_BYTES = 1 << 20
_BATCHES_BEHIND = 4


@dataclass(frozen=True, slots=True)
class Rejection:
    """A complete object that is not audio, and is kept in quarantine."""

    reason: str
    quarantine_uri: str


class RecordingArchive:
    """An archive: `{subaccount}/call_date=YYYY-MM-DD/{session_id}/{recording_id}.mp3` below a store's root."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self.store = store
        self._clock = clock

    @property
    def root_uri(self) -> str:
        """What the URIs of all files begin with."""
        return self.store.uri("_")[:-1]

    def day_folder(self, subaccount_id: str, day: date) -> str:
        """Return the folder of the account's files of the day."""
        return f"{path_segment(subaccount_id)}/call_date={day}"

    def account_folders(self) -> list[str]:
        """Return the folders of all accounts with files, including accounts removed from the configuration."""
        # Quarantine, ledger and locks; and the folder that ext4 makes in the root of a file system, for root alone.
        return [name for name in self.store.folders("") if not name.startswith("_") and name != "lost+found"]

    def sizes(self, subaccount_id: str, day: date, paths: Iterable[str]) -> dict[str, int]:
        """Return the size in bytes of each of these files of the account's day that exists."""
        return self.store.sizes(self.day_folder(subaccount_id, day), paths)

    def sweep(self, subaccount_id: str, day: date) -> None:
        """Remove the temporary files of the account's day, and log those that cannot be removed.

        Call it only while holding the day's lock. A local archive reads the folders of the day's sessions (6 ms for 1,000).
        """
        try:
            self.store.sweep(self.day_folder(subaccount_id, day))
        except ArchiveError as err:
            log.warning("temporary files of %s were not removed: %s", day, err)

    def keep(
        self, download: Download, *, subaccount_id: str, day: date, session_id: str, recording_id: str, stop: Event
    ) -> KeptFile | Rejection:
        """Store the object in the archive, or in quarantine if it is not audio.

        The bytes are read once: hashed, scanned and written as they arrive. If the name is taken, the existing file is kept
        if it has the same bytes; otherwise the object becomes a version, `{recording_id}.{16 hex digits of the hash}.mp3`.

        Raises TransferError if size or hash differ from the landing's: nothing is stored.
        """
        folder = f"{self.day_folder(subaccount_id, day)}/{session_id}"
        with _archive_errors():
            opening = self.store.stage(folder)
        with opening as staging:
            size_bytes, digest, walk = _receive(download, staging, stop)
            try:
                audio = walk.finish()
            except NotAudioError as err:
                path = f"{QUARANTINE}/{folder}/{recording_id}.{digest[:16]}.bin"
                with _archive_errors():
                    _commit_once(staging, path)
                return Rejection(reason=str(err), quarantine_uri=self.store.uri(path))
            with _archive_errors():
                path = self._commit_version(staging, f"{folder}/{recording_id}", digest)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %d bytes, %.1f s, sha256 %s", self.store.uri(path), size_bytes, audio.duration_s, digest)
        return KeptFile(archive_path=path, size_bytes=size_bytes, sha256=digest, audio=audio, archived_at=self._clock())

    def sha256_of(self, path: str) -> str:
        """Read an archived file and return its SHA-256, hex. Raises ObjectNotFoundError, StoreError."""
        digest = hashlib.sha256()
        for chunk in self.store.open(path):
            digest.update(chunk)
        return digest.hexdigest()

    def _commit_version(self, staging: Staging, stem: str, digest: str) -> str:
        first, version = f"{stem}.mp3", f"{stem}.{digest[:16]}.mp3"
        try:
            staging.commit(first)
            return first
        except AlreadyExistsError:
            if self.sha256_of(first) == digest:
                return first
        _commit_once(staging, version)
        if self.sha256_of(version) != digest:
            why = "does not match the hash in its name: move it away and archive the day again"
            raise AlreadyExistsError(f"{self.store.uri(version)} {why}")
        return version


def _commit_once(staging: Staging, path: str) -> None:
    """Commit under a name with the bytes' hash: if it is taken, an earlier run was killed after writing it."""
    with suppress(AlreadyExistsError):
        staging.commit(path)


def first_version_of(path: str) -> str:
    """Return the path of a recording's first version, from that of any version."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}.mp3"


def _receive(download: Download, staging: Staging, stop: Event) -> tuple[int, str, Mp3Walk]:
    """Stage the object's bytes, verify them, and return their size, SHA-256 and walk."""
    sha256, walk = hashlib.sha256(), Mp3Walk()
    # SFTP servers have no ETag to compare with.
    md5 = None if download.object.etag is None else hashlib.md5(usedforsecurity=False)
    size_bytes = 0

    def add_to_hashes(chunk: bytes) -> None:
        sha256.update(chunk)
        if md5 is not None:
            md5.update(chunk)

    # Threads help as far as the interpreter lock is released. For small files they cost more than they save.
    is_large = (download.object.size_bytes or 0) >= _LARGE_BYTES
    with ExitStack() as threads:
        use: list[Callable[[bytes], None]] = [add_to_hashes, walk.feed]
        if is_large:
            use = [threads.enter_context(_Beside(work)).add for work in use]
        for chunk in download:
            if stop.is_set():
                raise StoppedError
            for add in use:
                add(chunk)
            staging.write(chunk)
            size_bytes += len(chunk)
    expected_bytes = download.object.size_bytes
    if size_bytes != expected_bytes:
        raise TransferError(f"{download.object.uri}: received {size_bytes} bytes, expected {expected_bytes}")
    if md5 is not None:
        download.verify_md5(md5.hexdigest())
    return size_bytes, sha256.hexdigest(), walk


class _Beside:
    """Calls a function with each chunk, in order, in a thread of its own that is a few megabytes behind.

    A context manager: leaving it waits for the thread. Its errors are raised by `add`, or when the block ends.
    """

    def __init__(self, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, "beside")
        self._chunks: list[bytes] = []
        self._size = 0
        self._calls: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._thread:
            if kind is None:
                self._pass_on()
                while self._calls:
                    self._calls.popleft().result()

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size >= _BATCH_BYTES:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the thread work on the chunks; few calls wake it rarely."""
        chunks, self._chunks, self._size = self._chunks, [], 0
        if len(self._calls) == _BATCHES_BEHIND:
            self._calls.popleft().result()
        self._calls.append(self._thread.submit(self._work_on, chunks))

    def _work_on(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._work(chunk)


@contextmanager
def _archive_errors() -> Iterator[None]:
    """Distinguish errors of the archive, which affect every recording, from those of a landing."""
    try:
        yield
    except AccessDeniedError as err:
        raise ArchiveDeniedError(str(err)) from err
    except UnavailableError as err:
        raise ArchiveUnavailableError(str(err)) from err
