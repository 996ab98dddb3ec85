"""Bytes on their way into a local store: written under a temporary name, synced, then linked to the final name."""

import contextlib
import errno
import logging
import os
import secrets
from typing import Self

from callarchive.domain.errors import AlreadyExistsError, StoreError
from callarchive.storage.landing.places import check_path
from callarchive.storage.stores.local_promises import NO_LINKS
from callarchive.storage.stores.local_root import HeldFolder, LocalRoot
from callarchive.storage.stores.naming import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

log = logging.getLogger(__name__)

_FILE_MODE = 0o640
_WRITE_BACK_BYTES = 32 << 20
"""After as many bytes the system begins to write them to the disk, so that the fsync of a large file waits for few."""
_TRIES = 3


class LocalStaging:
    """Bytes in a temporary file. After a failed write or fsync it accepts no more bytes and no commit.

    The kernel may drop a page that it could not write and report success at the next fsync, so a file whose fsync failed
    once can never be trusted.
    """

    def __init__(self, root: LocalRoot, folder: str) -> None:
        self._root = root
        self._folder = folder
        self._usable = True
        self._size = self._written_back = 0
        self._temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self._home, self.descriptor = self._create()
        self._named = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._remove_temporary()
        del self._home

    def write(self, chunk: bytes) -> None:
        """Append a chunk. A disk error may show only in a later write or in the commit."""
        self._require_usable()
        self._usable = False
        with self._root.translating("writing below", self._folder):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        self._usable = True
        self._size += len(chunk)
        waiting = self._size - self._written_back
        if waiting >= _WRITE_BACK_BYTES:
            with contextlib.suppress(AttributeError, OSError):  # not all systems have it; errors show in the fsync
                os.posix_fadvise(self.descriptor, self._written_back, waiting, os.POSIX_FADV_DONTNEED)
            self._written_back = self._size

    def commit(self, path: str) -> None:
        """Make the bytes durable as a new object at `path`."""
        folder, name = self._target(path)
        with self._root.translating("committing", path):
            self._root.require_names(folder)
            self._sync()
            try:
                self._link(folder, name)
            except FileExistsError as err:
                # A killed run may have created the name and not synced it; from now on it is relied upon.
                folder.sync()
                raise AlreadyExistsError(f"{self._root.uri(path)} already exists") from err
            self._usable = False
            self._remove_temporary()
            try:
                folder.sync()
            except OSError as err:
                # The name stays: another process may rely on it by now, as the next append to the ledger does.
                error = self._root.error(err, "committing", path)
                raise StoreError(f"{error}: the name is there, but may not survive a crash: run again") from err

    def commit_over(self, path: str) -> None:
        """Make the bytes durable at `path`, in place of an existing object."""
        folder, name = self._target(path)
        with self._root.translating("replacing", path):
            self._sync()
            os.replace(self._temporary, name, src_dir_fd=self._home.descriptor, dst_dir_fd=folder.descriptor)
            self._named = self._usable = False
            folder.sync()

    def _create(self) -> tuple[HeldFolder, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with self._root.translating("writing below", self._folder):
            for attempt in range(_TRIES):
                try:
                    home = self._root.open(self._folder)
                    return home, os.open(self._temporary, flags, _FILE_MODE, dir_fd=home.descriptor)
                except FileNotFoundError:  # another process deleted the folder while it was empty
                    if attempt == _TRIES - 1:
                        raise
        raise AssertionError

    def _target(self, path: str) -> tuple[HeldFolder, str]:
        """Return the folder of the path, open, and the name in it."""
        self._require_usable()
        folder, _, name = check_path(path).rpartition("/")
        return (self._home if folder == self._folder else self._root.open(folder)), name

    def _sync(self) -> None:
        self._usable = False
        os.fsync(self.descriptor)
        self._usable = True

    def _link(self, folder: HeldFolder, name: str) -> None:
        """Give the file its final name. Raises FileExistsError if the name is taken."""
        places: dict[str, int] = {"src_dir_fd": self._home.descriptor, "dst_dir_fd": folder.descriptor}
        try:
            os.link(self._temporary, name, **places, follow_symlinks=False)
        except OSError as err:
            if err.errno not in NO_LINKS:
                raise
            # rename(2) overwrites, so checking and renaming needs a lock on the store.
            with self._root.lock("commit", wait_s=60):
                with contextlib.suppress(FileNotFoundError):
                    os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from err
                os.rename(self._temporary, name, **places)  # noqa: PTH104
                self._named = False

    def _remove_temporary(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        if self._named:
            self._named = False
            try:
                os.unlink(self._temporary, dir_fd=self._home.descriptor)
            except FileNotFoundError:
                pass
            except OSError as err:  # a later sweep removes it
                log.warning("%s/%s/%s could not be removed: %s", self._root.url, self._folder, self._temporary, err)

    def _require_usable(self) -> None:
        if not self._usable:
            raise StoreError(f"{self._root.url}: these bytes are already committed, or could not be written")
