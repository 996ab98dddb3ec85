"""A store in a folder of this machine. Durable by fsync of the file and of its folder, write-once by link(2).

Recordings are personal data: files are made with mode 0640 and folders with 0750, less what the umask takes away, so
nobody outside the group reads them. Names that begin with a dot and end in `.part` are ours, unfinished. Locks
are files below `_locks/`: see `file_lock`.
"""

import contextlib
import errno
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callarchive.errors import AccessDeniedError, AlreadyExistsError, ObjectNotFoundError, StoreError
from callarchive.landing.places import PlaceRefusedError, check_path
from callarchive.stores import StoredObject
from callarchive.stores.file_lock import take_lock
from callarchive.stores.naming import LOCKS, TEMPORARY_PREFIX, TEMPORARY_SUFFIX, is_temporary

log = logging.getLogger(__name__)

_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_CHUNK_BYTES = 1024 * 1024
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What link(2) says on file systems that have no hard links (vfat, some FUSE and SMB mounts)."""


class LocalStore:
    """The store at `file:///absolute/path`. The folder is made at the first write."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(url.removeprefix("file://"))

    def __repr__(self) -> str:
        return f"LocalStore({self.url})"

    def uri(self, path: str) -> str:
        """The object's place as a file:// URL, characters as they are."""
        return f"{self.url}/{check_path(path)}"

    @contextmanager
    def stage(self, folder: str) -> Iterator["LocalStaging"]:
        """A new temporary file in `folder`, which is made with its parents. It is gone on leaving."""
        staging = LocalStaging(self, folder)
        try:
            yield staging
        finally:
            staging.discard()

    def replace(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`, durable."""
        with self.stage(_folder_of(path)) as staging:
            staging.write(data)
            staging.commit_over(path)

    def create(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`, for the first time."""
        with self.stage(_folder_of(path)) as staging:
            staging.write(data)
            staging.commit(path)

    def read(self, path: str) -> bytes:
        """The whole object."""
        return b"".join(self.open(path))

    def open(self, path: str) -> Iterator[bytes]:
        """The object in chunks. The file is open when this returns, and closed when the iterator ends or is dropped."""
        chunks = self._chunks(path)
        next(chunks)  # runs up to the first yield: the file is open, or the error is raised here
        return chunks

    def list(self, folder: str) -> list[StoredObject]:
        """Every object below `folder`, ordered by path."""
        found = []
        for directory, name in self._files(folder):
            if is_temporary(name):
                continue
            whole = os.path.join(directory, name)  # noqa: PTH118 - a Path for each of a million names takes seconds
            try:
                size_bytes = os.stat(whole, follow_symlinks=False).st_size  # noqa: PTH116
            except FileNotFoundError:  # deleted since the folder was read
                continue
            except OSError as err:
                raise self.error(err, "listing", folder) from err
            found.append(StoredObject(whole[len(str(self._root)) + 1 :], size_bytes))
        return sorted(found, key=lambda item: item.path)

    def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly below `folder`."""
        try:
            with os.scandir(self.place(folder) if folder else self._root) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as err:
            raise self.error(err, "listing", folder) from err

    def delete(self, path: str) -> None:
        """There is no object at `path`, durably; folders that this leaves empty are gone too."""
        target = self.place(path)
        try:
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            folder = target.parent
            while folder != self._root:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    pass
                except OSError:  # not empty
                    break
                folder = folder.parent
            if folder.exists():
                sync_folder(folder)
        except OSError as err:
            raise self.error(err, "deleting", path) from err

    def sweep(self, folder: str) -> int:
        """Temporary files below `folder` are gone. Returns how many there were."""
        count = 0
        for directory, name in self._files(folder):
            if is_temporary(name):
                try:
                    Path(directory, name).unlink()
                    count += 1
                except FileNotFoundError:
                    continue
                except OSError as err:
                    raise self.error(err, "sweeping", folder) from err
        return count

    @contextmanager
    def lock(self, name: str, *, wait_s: float) -> Iterator[None]:
        """Holds the lock against other processes and other threads of this one."""
        place = self.place(f"{LOCKS}/{name}.lock")
        try:
            self.make_folder(place.parent)
            descriptor = take_lock(place, shown=f"the lock {name} of {self.url}", wait_s=wait_s)
        except OSError as err:
            raise self.error(err, "locking", name) from err
        try:
            yield
        finally:
            os.close(descriptor)

    def place(self, path: str) -> Path:
        """Where an object is or will be, which is below the root even if a folder on the way is a symbolic link.

        Raises:
            PlaceRefusedError: the path climbs, or a symbolic link leads out of the root.
        """
        check_path(path)
        target = self._root / path
        if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(self._root)):
            raise PlaceRefusedError(f"{self.url}: a symbolic link leads {path} out of the store")
        return target

    def make_folder(self, folder: Path) -> None:
        """The folder is there, durably, with its parents."""
        try:
            folder.mkdir(_FOLDER_MODE)
        except FileExistsError:
            return
        except FileNotFoundError:
            self.make_folder(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(_FOLDER_MODE)
        sync_folder(folder.parent)

    def _chunks(self, path: str) -> Iterator[bytes]:
        try:
            with open(self.place(path), "rb", buffering=0) as file:  # noqa: PTH123
                yield b""
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
            raise ObjectNotFoundError(f"{self.uri(path)}: there is no such file") from err
        except OSError as err:
            raise self.error(err, "reading", path) from err

    def _files(self, folder: str) -> Iterator[tuple[str, str]]:
        """Folder and name of every file below `folder`, but for the locks; none where there is no such folder."""

        def fail(err: OSError) -> None:
            if not isinstance(err, (FileNotFoundError, NotADirectoryError)):
                raise self.error(err, "listing", folder) from err

        start = self.place(folder) if folder else self._root
        for directory, folders, names in os.walk(start, onerror=fail):
            if directory == str(self._root) and LOCKS in folders:
                folders.remove(LOCKS)
            for name in names:
                yield directory, name

    def error(self, err: OSError, doing: str, path: str) -> StoreError | AccessDeniedError:
        what = f"{self.url}: {doing} {path} failed: {os.strerror(err.errno) if err.errno else err}"
        if isinstance(err, PermissionError):
            return AccessDeniedError(f"{what}: this user needs access to that folder")
        return StoreError(what)


class LocalStaging:
    """Bytes in a temporary file. After a failed write or fsync it takes no more and commits nothing.

    The kernel may drop a page that it could not write and report success at the next fsync: so a file whose fsync has
    failed once can never be trusted again.
    """

    def __init__(self, store: LocalStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._broken = False
        self._descriptor = -1
        self._open_temporary()

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._refuse_if_broken()
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as err:
            self._broken = True
            raise self._store.error(err, "writing below", self._folder) from err

    def commit(self, path: str) -> None:
        """Makes the bytes durable under `path`, whole, for the first time."""
        target = self._durable(path)
        try:
            self._name(target)
        except FileExistsError as err:
            # An earlier run may have been killed before it made the name durable; whoever trusts it now needs it so.
            with contextlib.suppress(OSError):
                sync_folder(target.parent)
            raise AlreadyExistsError(f"{self._store.uri(path)} is there already") from err
        except OSError as err:
            raise self._store.error(err, "committing", path) from err
        self._broken = True
        self._settle(target, path)

    def commit_over(self, path: str) -> None:
        """Makes the bytes durable under `path`, in place of what was there."""
        target = self._durable(path)
        try:
            self._temporary.replace(target)
            self._broken = True
            sync_folder(target.parent)
        except OSError as err:
            raise self._store.error(err, "replacing", path) from err

    def discard(self) -> None:
        """The temporary name is gone. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        try:
            self._temporary.unlink()
        except FileNotFoundError:
            pass
        except OSError as err:  # a later sweep will take it
            log.warning("%s could not be removed: %s", self._temporary, err)

    def _open_temporary(self) -> None:
        name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self._temporary = self._store.place(f"{self._folder}/{name}" if self._folder else name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        for attempt in range(3):
            try:
                self._store.make_folder(self._temporary.parent)
                self._descriptor = os.open(self._temporary, flags, _FILE_MODE)
                return
            except FileNotFoundError as err:  # somebody's delete took the folder that was empty just then
                if attempt == 2:
                    raise self._store.error(err, "writing below", self._folder) from err
            except OSError as err:
                raise self._store.error(err, "writing below", self._folder) from err

    def _durable(self, path: str) -> Path:
        self._refuse_if_broken()
        target = self._store.place(path)
        try:
            self._store.make_folder(target.parent)
            self._broken = True
            os.fsync(self._descriptor)
            self._broken = False
        except OSError as err:
            raise self._store.error(err, "writing", path) from err
        return target

    def _name(self, target: Path) -> None:
        """The bytes have their final name as well. Raises FileExistsError when it is taken."""
        try:
            os.link(self._temporary, target, follow_symlinks=False)
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            # rename(2) overwrites, so whoever looks and renames must be alone in the store while at it.
            with self._store.lock("commit", wait_s=60):
                if os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from err
                self._temporary.rename(target)

    def _settle(self, target: Path, path: str) -> None:
        """The final name is durable and the only one; if it cannot be made durable, it is taken back."""
        self.discard()
        try:
            sync_folder(target.parent)
        except OSError as err:
            with contextlib.suppress(OSError):
                target.unlink()
            raise self._store.error(err, "committing", path) from err

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise StoreError(f"{self._store.url}: these bytes were committed already, or could not be written")


def sync_folder(folder: Path) -> None:
    """The folder's entries are durable, as far as the file system offers that for folders. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as err:
        if err.errno != errno.EINVAL:  # what network and FUSE file systems without that answer
            raise
    finally:
        os.close(descriptor)


def _folder_of(path: str) -> str:
    return check_path(path).rpartition("/")[0]
