"""Bytes on their way into a folder of this machine: a temporary name, then a durable final one, or none.

Files that many threads write are made durable in groups where the file system offers it, see `group_commit`; else each by
itself. Where folders and names are checked, and what else a store does, is in `local`.
"""

import contextlib
import errno
import io
import logging
import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from callarchive.domain.errors import AlreadyExistsError, StoreError
from callarchive.storage.landing.places import check_path
from callarchive.storage.stores.block_writer import BlockWriter
from callarchive.storage.stores.group_commit import Commit, GroupCommit
from callarchive.storage.stores.local_promises import NO_LINKS
from callarchive.storage.stores.naming import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from callarchive.storage.stores.syncing import sync_descriptor

if TYPE_CHECKING:
    from callarchive.storage.stores.local import LocalStore

log = logging.getLogger(__name__)

_FILE_MODE = 0o640
_TRIES = 3


class HeldFolder:
    """A folder that is open as long as anybody has this. Raises OSError.

    Attributes:
        descriptor: for the `dir_fd` of calls.
    """

    __slots__ = ("descriptor",)

    def __init__(self, place: str, *, above: "HeldFolder | OpenFolder | None" = None) -> None:
        """Opens `place`; with `above`, a name in that folder, which must be no link."""
        self.descriptor = -1
        flags = os.O_RDONLY | os.O_DIRECTORY
        if above is None:
            self.descriptor = os.open(place, flags)
        else:
            self.descriptor = os.open(place, flags | os.O_NOFOLLOW, dir_fd=above.descriptor)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class OpenFolder:
    """A folder of a store and the one above it, held open.

    Attributes:
        descriptor: of the folder, for the `dir_fd` of calls.
    """

    __slots__ = ("_folder", "descriptor", "parent")

    def __init__(self, parent: HeldFolder, name: str) -> None:
        """An empty name stands for the parent itself. Raises OSError."""
        self.parent = parent
        self._folder = HeldFolder(name or ".", above=parent)
        self.descriptor = self._folder.descriptor

    @property
    def device(self) -> int:
        """Which file system it is on. Raises OSError."""
        return os.fstat(self.descriptor).st_dev

    def sync(self) -> None:
        """The folder's entries are durable, and so is its own: it may be new. Raises OSError."""
        sync_descriptor(self.descriptor)
        sync_descriptor(self.parent.descriptor)


class LocalStaging:
    """Bytes in a temporary file. After a failed write or fsync it takes no more and commits nothing.

    The kernel may drop a page that it could not write and report success at the next fsync: so a file whose fsync has
    failed once can never be trusted again.

    Args:
        buffer: see BlockWriter; null writes through the page cache, for what is read again soon.
        together: with what others stage at the same time it is made durable, where the file system offers that.
        give_back: called with the buffer when it is done with.
    """

    def __init__(
        self,
        store: "LocalStore",
        folder: str,
        *,
        buffer: memoryview | None = None,
        together: bool = False,
        give_back: Callable[[memoryview], None] | None = None,
    ) -> None:
        self._store = store
        self._buffer = buffer
        self._give_back = give_back
        self._folder = folder
        self._together = together
        self._broken = False
        self._finished = False
        self._descriptor = -1
        self._temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self._named = False
        self._open_temporary(0 if buffer is None else os.O_DIRECT)
        self._writer = None if buffer is None else BlockWriter(self._descriptor, buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

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
        folder, name = self._target(path)
        try:
            self._store.require_names(folder)
        except OSError as err:
            raise self._store.error(err, "committing", path) from err
        self._finish_bytes(path)
        try:
            group = self._store.group_of(folder) if self._together else None
            if group is None:
                self._commit_alone(folder, name)
            else:
                self._commit_with_others(group, folder, name)
        except FileExistsError as err:
            raise AlreadyExistsError(f"{self._store.uri(path)} is there already") from err
        except OSError as err:
            raise self._store.error(err, "committing", path) from err

    def commit_over(self, path: str) -> None:
        """Makes the bytes durable under `path`, in place of what was there."""
        folder, name = self._target(path)
        self._finish_bytes(path)
        try:
            self._sync_bytes()
            os.replace(self._temporary, name, src_dir_fd=self._home.descriptor, dst_dir_fd=folder.descriptor)
            self._named = False
            self._broken = True
            folder.sync()
        except OSError as err:
            raise self._store.error(err, "replacing", path) from err

    def discard(self) -> None:
        """The temporary name is gone and nothing is held open."""
        self._remove_temporary()
        del self._home
        if self._give_back is not None and self._buffer is not None:
            self._give_back(self._buffer)

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
                # FileNotFoundError: somebody's delete took the folder that was empty just then.
                if not isinstance(err, FileNotFoundError) or attempt == _TRIES - 1:
                    raise self._store.error(err, "writing below", self._folder) from err

    def _target(self, path: str) -> tuple[OpenFolder, str]:
        """The folder that the path lies in, open, and the name in it."""
        self._refuse_if_broken()
        folder, _, name = check_path(path).rpartition("/")
        return (self._home if folder == self._folder else self._store.open_folder(folder)), name

    def _commit_alone(self, folder: OpenFolder, name: str) -> None:
        self._sync_bytes()
        try:
            self._give_name(folder, name)
        except FileExistsError:
            # An earlier run may have been killed before it made the name durable; whoever trusts it now needs it so.
            with contextlib.suppress(OSError):
                folder.sync()
            raise
        self._broken = True
        self._remove_temporary()
        try:
            folder.sync()
        except OSError:
            _take_name_back(folder, name)
            raise

    def _commit_with_others(self, group: GroupCommit, folder: OpenFolder, name: str) -> None:
        def give_name() -> None:
            self._broken = False  # the bytes are durable
            self._give_name(folder, name)
            self._broken = True
            self._remove_temporary()

        self._broken = True
        try:
            group.commit(Commit(give_name=give_name, take_name_back=lambda: _take_name_back(folder, name)))
        except FileExistsError:
            with contextlib.suppress(OSError):  # as above: the name that is taken must be durable
                folder.sync()
            raise

    def _finish_bytes(self, path: str) -> None:
        """The file has all bytes, durable or not."""
        if self._writer is None or self._finished:
            return
        self._broken = True
        try:
            self._writer.finish()
        except OSError as err:
            raise self._store.error(err, "writing", path) from err
        self._finished = True
        self._broken = False

    def _sync_bytes(self) -> None:
        self._broken = True
        os.fsync(self._descriptor)
        self._broken = False

    def _give_name(self, folder: OpenFolder, name: str) -> None:
        """The bytes have their final name as well. Raises FileExistsError when it is taken."""
        places: dict[str, int] = {"src_dir_fd": self._home.descriptor, "dst_dir_fd": folder.descriptor}
        try:
            os.link(self._temporary, name, **places, follow_symlinks=False)
        except OSError as err:
            if err.errno not in NO_LINKS:
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


class StagingFile(io.RawIOBase):
    """What is written into it is staged. It does not commit."""

    def __init__(self, staging: LocalStaging) -> None:
        super().__init__()
        self._staging = staging
        self._size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Takes all of the bytes. Raises StoreError, AccessDeniedError."""
        size_bytes = memoryview(data).nbytes
        self._staging.write(data)
        self._size_bytes += size_bytes
        return size_bytes

    def tell(self) -> int:
        return self._size_bytes


def _take_name_back(folder: OpenFolder, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder.descriptor)
