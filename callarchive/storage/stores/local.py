"""A store in a folder of this machine. Durable by syncs of files and folders, alone or together, write-once by link(2).

Recordings are personal data: files are made with mode 0640 and folders with 0750, less what the umask takes away, so
nobody outside the group reads them. Names that begin with a dot and end in `.part` are ours, unfinished. Locks
are files below `_locks/`: see `file_lock`.
"""

import contextlib
import io
import logging
import mmap
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, cast

from callarchive.domain.errors import AccessDeniedError, ObjectNotFoundError, StoreError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.stores import StoredObject
from callarchive.storage.stores.file_lock import file_lock
from callarchive.storage.stores.group_commit import GroupCommit
from callarchive.storage.stores.local_promises import try_locks, try_names
from callarchive.storage.stores.local_staging import HeldFolder, LocalStaging, OpenFolder, StagingFile
from callarchive.storage.stores.naming import LOCKS, is_temporary
from callarchive.storage.stores.syncing import can_sync_file_system, sync_file_system, sync_folder

log = logging.getLogger(__name__)

_FOLDER_MODE = 0o750
_CHUNK_BYTES = 1024 * 1024
_BUFFER_BYTES = 256 * 1024
"""Most recordings are shorter: one write each."""
_LARGE_BUFFER_BYTES = 1024 * 1024
_LARGE_BYTES = 4 * 1024 * 1024
"""What replaces an object of this size goes past the page cache: 175 MB are durable in half the time."""


class LocalStore:
    """The store at `file:///absolute/path`. The folder is made at the first write."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(url.removeprefix("file://"))
        self._making = Lock()
        self._durable: set[str] = set()
        # Memory that is new costs more than what is written into it, so buffers are kept.
        self._buffers: deque[memoryview] = deque()
        self._parent: tuple[str, HeldFolder] | None = None
        self._groups: dict[int, GroupCommit | None] = {}
        self._names_kept: set[int] = set()
        self._locks_kept: set[int] = set()

    def __repr__(self) -> str:
        return f"LocalStore({self.url})"

    def uri(self, path: str) -> str:
        """The object's place as a file:// URL, characters as they are."""
        return f"{self.url}/{check_path(path)}"

    def stage(self, folder: str) -> LocalStaging:
        """A new temporary file in `folder`, which is made with its parents. It is gone on leaving."""
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = memoryview(mmap.mmap(-1, _BUFFER_BYTES))
        return LocalStaging(self, folder, buffer=buffer, together=True, give_back=self._buffers.append)

    def replace(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`, durable."""
        with self.replacing(path, about_bytes=len(data)) as file:
            file.write(data)

    @contextmanager
    def replacing(self, path: str, *, about_bytes: int) -> Iterator[BinaryIO]:
        """The same for bytes that are made as they are written."""
        folder = _folder_of(path)
        # A buffer of its own: pieces of a large one take two thirds of the time that those of a recording's would.
        buffer = memoryview(mmap.mmap(-1, _LARGE_BUFFER_BYTES)) if about_bytes >= _LARGE_BYTES else None
        with LocalStaging(self, folder, buffer=buffer) as staging:
            yield cast("BinaryIO", StagingFile(staging))
            staging.commit_over(path)

    def create(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`, for the first time."""
        with LocalStaging(self, _folder_of(path)) as staging:
            staging.write(data)
            staging.commit(path)

    def read(self, path: str) -> bytes:
        """The whole object."""
        with self._opened(path) as file:
            return file.readall()

    def open(self, path: str) -> Iterator[bytes]:
        """The object in chunks. The file is open when this returns, and closed when the iterator ends or is dropped."""
        chunks = self._chunks(path)
        next(chunks)  # runs up to the first yield: the file is open, or the error is raised here
        return chunks

    def list(self, folder: str) -> list[StoredObject]:
        """Every object below `folder`, ordered by path."""
        found = []
        start = len(str(self._root)) + 1
        for entry in self._files(folder):
            if is_temporary(entry.name):
                continue
            try:
                size_bytes = entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # deleted since the folder was read
                continue
            except OSError as err:
                raise self.error(err, "listing", folder) from err
            found.append(StoredObject(entry.path[start:], size_bytes))
        return sorted(found, key=lambda item: item.path)

    def sizes(self, folder: str, paths: Iterable[str]) -> dict[str, int]:  # noqa: ARG002 - asked for one by one
        """Sizes of those of the files that are there: a stat each is quicker than to read each one's folder."""
        found = {}
        for path in paths:
            try:
                status = os.stat(f"{self._root}/{check_path(path)}", follow_symlinks=False)  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as err:
                raise self.error(err, "reading", path) from err
            if stat.S_ISREG(status.st_mode):
                found[path] = status.st_size
        return found

    def stat(self, path: str) -> Evidence[StoredObject]:
        """Return what lstat says of the path."""
        try:
            status = self.place(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return Absent("the file system has no such file")
        except (OSError, PlaceRefusedError) as err:
            return Unknown(str(self.error(err, "reading", path)) if isinstance(err, OSError) else str(err))
        if not stat.S_ISREG(status.st_mode):
            return Unknown(f"{self.uri(path)} is no regular file")
        return Present(StoredObject(path, status.st_size))

    def irregular(self, folder: str) -> tuple[str, ...]:
        """Return the links and special files on the way to `folder` and below it."""
        parts = check_path(folder).split("/") if folder else []
        for count in range(1, len(parts) + 1):
            above = "/".join(parts[:count])
            if (self._root / above).is_symlink():
                return (above,)
        start = len(str(self._root)) + 1
        return tuple(
            sorted(
                entry.path[start:]
                for entry in self._files(folder, with_linked_folders=True)
                if not entry.is_file(follow_symlinks=False)
            )
        )

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
        """Temporary files below `folder` are gone, but for those that cannot be removed, which are logged.

        Returns how many were removed.
        """
        count = 0
        for entry in self._files(folder):
            if is_temporary(entry.name):
                try:
                    Path(entry.path).unlink()
                    count += 1
                except FileNotFoundError:
                    continue
                except OSError as err:
                    log.warning("%s", self.error(err, "removing", entry.path[len(str(self._root)) + 1 :]))
        return count

    @contextmanager
    def lock(self, name: str, *, wait_s: float) -> Iterator[None]:
        """Holds the lock against other processes and other threads of this one."""
        place = self.place(f"{LOCKS}/{name}.lock")
        with contextlib.ExitStack() as held:
            try:
                self.make_folder(place.parent)
                self._require_locks(place.parent)
                held.enter_context(file_lock(place, name=f"the lock {name} of {self.url}", wait_s=wait_s))
            except OSError as err:
                raise self.error(err, "locking", name) from err
            yield

    def prove(self, *, locks: bool) -> None:
        """Try now that the file system of the store's root keeps write-once names and, with `locks`, locks."""
        folder = self.open_folder("")
        try:
            try_names(folder.descriptor, url=self.url)
            if locks:
                try_locks(folder.descriptor, url=self.url)
        except OSError as err:
            raise self.error(err, "writing below", "") from err

    def require_names(self, folder: OpenFolder) -> None:
        """Return when the folder's file system was seen to keep write-once names; tried once. Raises OSError."""
        device = folder.device
        if device not in self._names_kept:
            try_names(folder.descriptor, url=self.url)
            self._names_kept.add(device)

    def _require_locks(self, folder: Path) -> None:
        held = HeldFolder(str(folder))
        device = os.fstat(held.descriptor).st_dev
        if device not in self._locks_kept:
            try_locks(held.descriptor, url=self.url)
            self._locks_kept.add(device)

    def place(self, path: str) -> Path:
        """Where an object is or will be, which is below the root even if a folder on the way is a symbolic link.

        Raises:
            PlaceRefusedError: the path climbs, or a symbolic link leads out of the root.
        """
        check_path(path)
        target = self._root / path
        if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(self._root)):
            raise _led_out(self.url, path)
        return target

    def open_folder(self, folder: str) -> OpenFolder:
        """The folder, made if need be; its entry in the one above is durable once it was synced, all those above are.

        Raises:
            PlaceRefusedError: a symbolic link is on the way.
            StoreError, AccessDeniedError: it cannot be made or opened.
        """
        parent, _, name = check_path(folder).rpartition("/") if folder else ("", "", "")
        for attempt in range(2):
            above = self._held_parent(parent, anew=attempt > 0)
            try:
                if name:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, _FOLDER_MODE, dir_fd=above.descriptor)
                return OpenFolder(above, name)
            except OSError as err:
                if isinstance(err, FileNotFoundError) and attempt == 0:
                    continue  # deleted since, when it was empty
                if (self._root / folder).is_symlink():
                    raise _led_out(self.url, folder) from err
                raise self.error(err, "writing below", folder) from err
        raise AssertionError

    def _held_parent(self, parent: str, *, anew: bool) -> HeldFolder:
        """The folder, durable with its parents and open. The last one is kept open: a day's sessions lie in one folder."""
        kept = self._parent
        if kept is not None and kept[0] == parent and not anew:
            return kept[1]
        for attempt in range(2):
            self._make_durably(parent, anew=anew or attempt > 0)
            try:
                held = HeldFolder(os.path.join(self._root, parent))  # noqa: PTH118
            except FileNotFoundError:
                continue  # deleted since, when it was empty
            except OSError as err:
                raise self.error(err, "writing below", parent) from err
            self._parent = parent, held
            return held
        raise StoreError(f"{self.url}: writing below {parent} failed: somebody deletes it again and again")

    def group_of(self, folder: OpenFolder) -> GroupCommit | None:
        """What makes files below the folder durable together; null where its file system is not for that.

        There is one for each file system: a disk of its own may be mounted on an account's folder. Raises OSError.
        """
        device = folder.device
        try:
            return self._groups[device]
        except KeyError:
            pass
        with self._making:
            if device not in self._groups:
                whole = HeldFolder(".", above=folder)
                together = can_sync_file_system(device)
                self._groups[device] = GroupCommit(lambda: sync_file_system(whole.descriptor)) if together else None
            return self._groups[device]

    def _make_durably(self, folder: str, *, anew: bool) -> None:
        """The folder is there, durably, with its parents."""
        if folder in self._durable and not anew:
            return
        with self._making:
            place = self.place(f"{folder}/_") if folder else self.place("_")
            try:
                self.make_folder(place.parent)
                # It may be another process's, which has not come to syncing it.
                sync_folder(place.parent.parent)
            except OSError as err:
                raise self.error(err, "writing below", folder) from err
            self._durable.add(folder)

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
        with self._opened(path) as file:
            yield b""
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    @contextmanager
    def _opened(self, path: str) -> Iterator[io.FileIO]:
        try:
            with io.FileIO(self.place(path)) as file:
                yield file
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
            raise ObjectNotFoundError(f"{self.uri(path)}: there is no such file") from err
        except OSError as err:
            raise self.error(err, "reading", path) from err

    def _files(self, folder: str, *, with_linked_folders: bool = False) -> "Iterator[os.DirEntry[str]]":
        """Every file below `folder`, but for the locks; none where there is no such folder.

        Like os.walk, which takes twice the time for a day of recordings, each in a folder of its own: folders that are
        links are passed over, or, with `with_linked_folders`, given like files.
        """
        locks = str(self._root / LOCKS)
        left = [str(self.place(folder) if folder else self._root)]
        while left:
            try:
                with os.scandir(left.pop()) as entries:
                    for entry in entries:
                        if entry.is_symlink():
                            if with_linked_folders or not _leads_to_folder(entry):
                                yield entry
                        elif not entry.is_dir():
                            yield entry
                        elif entry.path != locks:
                            left.append(entry.path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as err:
                raise self.error(err, "listing", folder) from err

    def error(self, err: OSError, doing: str, path: str) -> StoreError | AccessDeniedError:
        what = f"{self.url}: {doing} {path or 'it'} failed: {os.strerror(err.errno) if err.errno else err}"
        if isinstance(err, PermissionError):
            return AccessDeniedError(f"{what}: this user needs access to that folder")
        return StoreError(what)


def _folder_of(path: str) -> str:
    return check_path(path).rpartition("/")[0]


def _leads_to_folder(link: "os.DirEntry[str]") -> bool:
    try:
        return link.is_dir()
    except OSError:  # in a circle
        return False


def _led_out(url: str, path: str) -> PlaceRefusedError:
    return PlaceRefusedError(f"{url}: a symbolic link leads {path} out of the store")
