"""Bytes on their way into a folder of this machine: a temporary name, then a durable final one, or none.

Every file is synced by itself, not in groups: threads that sync at the same moment share a commit of the file system's
journal anyway. Where folders and names are checked, and what else a store does, is in `local`.
"""

import contextlib
import errno
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from callarchive.errors import AlreadyExistsError, StoreError
from callarchive.landing.places import check_path
from callarchive.stores.block_writer import BlockWriter
from callarchive.stores.naming import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from callarchive.stores.local import LocalStore

log = logging.getLogger(__name__)

_FILE_MODE = 0o640
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What link(2) says on file systems that have no hard links (vfat, some FUSE and SMB mounts)."""
_TRIES = 3


class OpenFolder:
    """A folder of a store and the one above it, held open. Every method raises OSError.

    Attributes:
        descriptor: of the folder, for the `dir_fd` of calls.
    """

    def __init__(self, parent: int, name: str) -> None:
        """Takes over the descriptor `parent`; an empty name stands for that folder itself."""
        self._parent = parent
        try:
            self.descriptor = os.open(name or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except BaseException:
            os.close(parent)
            raise

    def sync(self) -> None:
        """The folder's entries are durable, and so is its own: it may be new."""
        sync_descriptor(self.descriptor)
        sync_descriptor(self._parent)

    def close(self) -> None:
        """Lets go of both."""
        os.close(self.descriptor)
        os.close(self._parent)


class LocalStaging:
    """Bytes in a temporary file. After a failed write or fsync it takes no more and commits nothing.

    The kernel may drop a page that it could not write and report success at the next fsync: so a file whose fsync has
    failed once can never be trusted again.

    Args:
        buffer: see BlockWriter; null writes through the page cache, for what is read again soon.
    """

    def __init__(self, store: "LocalStore", folder: str, *, buffer: memoryview | None) -> None:
        self._store = store
        self._folder = folder
        self._broken = False
        self._finished = False
        self._descriptor = -1
        self._temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self._named = False
        self._open_temporary(0 if buffer is None else os.O_DIRECT)
        self._writer = None if buffer is None else BlockWriter(self._descriptor, buffer)

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes. What is wrong with the disk may show only in a later write or in the commit."""
        self._refuse_if_broken()
        try:
            if self._writer is not None:
                self._writer.write(chunk)
                return
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as err:
            self._broken = True
            raise self._store.error(err, "writing below", self._folder) from err

    def commit(self, path: str) -> None:
        """Makes the bytes durable under `path`, whole, for the first time."""
        with self._target(path) as (folder, name):
            self._sync_bytes(path)
            try:
                self._give_name(folder, name)
            except FileExistsError as err:
                # An earlier run may have been killed before it made the name durable; whoever trusts it now needs it so.
                with contextlib.suppress(OSError):
                    folder.sync()
                raise AlreadyExistsError(f"{self._store.uri(path)} is there already") from err
            except OSError as err:
                raise self._store.error(err, "committing", path) from err
            self._broken = True
            self._remove_temporary()
            try:
                folder.sync()
            except OSError as err:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder.descriptor)
                raise self._store.error(err, "committing", path) from err

    def commit_over(self, path: str) -> None:
        """Makes the bytes durable under `path`, in place of what was there."""
        with self._target(path) as (folder, name):
            self._sync_bytes(path)
            try:
                os.replace(self._temporary, name, src_dir_fd=self._home.descriptor, dst_dir_fd=folder.descriptor)
                self._named = False
                self._broken = True
                folder.sync()
            except OSError as err:
                raise self._store.error(err, "replacing", path) from err

    def discard(self) -> None:
        """The temporary name is gone and nothing is held open."""
        self._remove_temporary()
        self._home.close()

    def _open_temporary(self, direct: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        for attempt in range(_TRIES):
            self._home = self._store.open_folder(self._folder)
            try:
                try:
                    self._descriptor = os.open(
                        self._temporary, flags | direct, _FILE_MODE, dir_fd=self._home.descriptor
                    )
                except OSError as err:
                    if err.errno != errno.EINVAL or not direct:
                        raise
                    # tmpfs and others have no direct writes; some make the file all the same.
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._temporary, dir_fd=self._home.descriptor)
                    self._descriptor = os.open(self._temporary, flags, _FILE_MODE, dir_fd=self._home.descriptor)
                self._named = True
                return
            except OSError as err:
                self._home.close()
                # FileNotFoundError: somebody's delete took the folder that was empty just then.
                if not isinstance(err, FileNotFoundError) or attempt == _TRIES - 1:
                    raise self._store.error(err, "writing below", self._folder) from err

    @contextlib.contextmanager
    def _target(self, path: str) -> Iterator[tuple[OpenFolder, str]]:
        """The folder that the path lies in, open, and the name in it."""
        self._refuse_if_broken()
        folder, _, name = check_path(path).rpartition("/")
        if folder == self._folder:
            yield self._home, name
            return
        opened = self._store.open_folder(folder)
        try:
            yield opened, name
        finally:
            opened.close()

    def _sync_bytes(self, path: str) -> None:
        self._broken = True
        try:
            if self._writer is not None and not self._finished:
                self._writer.finish()
                self._finished = True
            os.fsync(self._descriptor)
        except OSError as err:
            raise self._store.error(err, "writing", path) from err
        self._broken = False

    def _give_name(self, folder: OpenFolder, name: str) -> None:
        """The bytes have their final name as well. Raises FileExistsError when it is taken."""
        places: dict[str, int] = {"src_dir_fd": self._home.descriptor, "dst_dir_fd": folder.descriptor}
        try:
            os.link(self._temporary, name, **places, follow_symlinks=False)
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            # rename(2) overwrites, so whoever looks and renames must be alone in the store while at it.
            with self._store.lock("commit", wait_s=60):
                with contextlib.suppress(FileNotFoundError):
                    os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from err
                os.rename(self._temporary, name, **places)  # noqa: PTH104
                self._named = False

    def _remove_temporary(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._named:
            try:
                os.unlink(self._temporary, dir_fd=self._home.descriptor)
            except FileNotFoundError:
                pass
            except OSError as err:  # a later sweep will take it
                log.warning("%s/%s/%s could not be removed: %s", self._store.url, self._folder, self._temporary, err)
            self._named = False

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise StoreError(f"{self._store.url}: these bytes were committed already, or could not be written")


def sync_folder(folder: Path) -> None:
    """The folder's entries are durable, as far as the file system offers that for folders. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(folder: int) -> None:
    """Like `sync_folder`, of a folder that is open."""
    try:
        os.fsync(folder)
    except OSError as err:
        if err.errno != errno.EINVAL:  # what network and FUSE file systems without that answer
            raise
