"""A store in a folder of this machine: durable with fsync(2), write-once with link(2), not readable by others."""

import contextlib
import io
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.stores import StoredObject
from callarchive.storage.stores.local_root import LocalRoot
from callarchive.storage.stores.local_staging import LocalStaging
from callarchive.storage.stores.naming import LOCKS, is_temporary
from callarchive.storage.stores.syncing import sync_folder

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1024 * 1024


class LocalStore:
    """The store at `file:///absolute/path`. The folder is created at the first write."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = LocalRoot(url)

    def uri(self, path: str) -> str:
        """Return the object's file:// URL, unquoted."""
        return self._root.uri(path)

    def stage(self, folder: str) -> LocalStaging:
        """Stage bytes in a temporary file in `folder`, which is created if needed."""
        return LocalStaging(self._root, folder)

    def replace(self, path: str, data: bytes) -> None:
        """Make `data` the object at `path`, durably."""
        with self.replacing(path) as file:
            file.write(data)

    @contextmanager
    def replacing(self, path: str) -> Iterator[BinaryIO]:
        """Replace the object with what is written into the file."""
        folder = check_path(path).rpartition("/")[0]
        with LocalStaging(self._root, folder) as staging:
            with self._root.translating("writing", path), open(staging.descriptor, "wb", closefd=False) as file:
                yield file
            staging.commit_over(path)

    def create(self, path: str, data: bytes) -> None:
        """Make `data` a new object at `path`."""
        with self.stage(check_path(path).rpartition("/")[0]) as staging:
            staging.write(data)
            staging.commit(path)

    def read(self, path: str) -> bytes:
        """Return the whole object."""
        with self._opened(path) as file:
            return file.readall()

    def open(self, path: str) -> Iterator[bytes]:
        """Return the object in chunks. The file is closed when the iterator ends or is dropped."""
        chunks = self._chunks(path)
        next(chunks)  # runs to the first yield: the file is open, or the error is raised here
        return chunks

    def list(self, folder: str) -> list[StoredObject]:
        """Return every object below `folder`, ordered by path."""
        found = []
        for entry in self._files(folder):
            if is_temporary(entry.name):
                continue
            with self._root.translating("listing", folder), contextlib.suppress(FileNotFoundError):
                size_bytes = entry.stat(follow_symlinks=False).st_size
                found.append(StoredObject(self._path_of(entry), size_bytes))
        return sorted(found, key=lambda item: item.path)

    def sizes(self, folder: str, paths: Iterable[str]) -> dict[str, int]:  # noqa: ARG002 - a stat each is faster than a listing
        """Return the sizes of those of the objects that exist."""
        found = {}
        for path in paths:
            with self._root.translating("reading", path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = os.stat(f"{self._root.path}/{check_path(path)}", follow_symlinks=False)  # noqa: PTH116
                if stat.S_ISREG(status.st_mode):
                    found[path] = status.st_size
        return found

    def stat(self, path: str) -> Evidence[StoredObject]:
        """Return the result of lstat."""
        try:
            status = self._root.place(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return Absent("the file system has no such file")
        except PlaceRefusedError as err:
            return Unknown(str(err))
        except OSError as err:
            return Unknown(str(self._root.error(err, "reading", path)))
        if not stat.S_ISREG(status.st_mode):
            return Unknown(f"{self.uri(path)} is not a regular file")
        return Present(StoredObject(path, status.st_size))

    def irregular(self, folder: str) -> tuple[str, ...]:
        """Return the links and special files on the way to `folder` and below it."""
        parts = check_path(folder).split("/") if folder else []
        for count in range(1, len(parts) + 1):
            above = "/".join(parts[:count])
            if (self._root.path / above).is_symlink():
                return (above,)
        entries = self._files(folder, with_linked_folders=True)
        return tuple(sorted(self._path_of(entry) for entry in entries if not entry.is_file(follow_symlinks=False)))

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders directly below `folder`."""
        return tuple(name for name, is_folder in self._names(folder) if is_folder)

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of files, links and special files directly below `folder`."""
        return tuple(name for name, is_folder in self._names(folder) if not is_folder and not is_temporary(name))

    def delete(self, path: str) -> None:
        """Delete the object and the folders that this leaves empty, durably."""
        target = self._root.place(path)
        with self._root.translating("deleting", path):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                target.unlink()
            self._remove_empty_folders(target.parent)

    def erase(self, path: str, *, bypass_governance: bool = False) -> None:  # noqa: ARG002 - files have no retention
        """Delete the object: a folder keeps no older versions of it."""
        self.delete(path)

    def erase_old_versions(self, path: str, *, bypass_governance: bool = False) -> None:  # noqa: ARG002
        """Do nothing."""
        check_path(path)

    def erase_folder(self, folder: str, *, bypass_governance: bool = False) -> None:  # noqa: ARG002
        """Delete everything below the folder, without following links, and the folders that this leaves empty, durably."""
        target = self._root.place(folder)
        with self._root.translating("deleting", folder):
            if target.is_symlink():
                raise PlaceRefusedError(f"{self.uri(folder)} is a symbolic link: remove it by hand")
            if target.is_dir():
                shutil.rmtree(target)
            self._remove_empty_folders(target.parent)

    def supports_legal_hold(self) -> bool:
        """Return false: a folder has no Object Lock."""
        return False

    def set_legal_hold(self, path: str, *, on: bool) -> None:  # noqa: ARG002
        """Raise StoreError."""
        raise StoreError(f"{self.uri(path)}: files have no legal hold")

    def sweep(self, folder: str, *, older_than_s: float = 0.0) -> int:
        """Remove temporary files below `folder` and return how many. Those that cannot be removed are logged."""
        count = 0
        for entry in self._files(folder):
            if is_temporary(entry.name):
                try:
                    if older_than_s and time.time() - entry.stat(follow_symlinks=False).st_mtime < older_than_s:
                        continue
                    Path(entry.path).unlink()
                    count += 1
                except FileNotFoundError:
                    continue
                except OSError as err:
                    log.warning("%s", self._root.error(err, "removing", self._path_of(entry)))
        return count

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[None]:
        """Hold the lock against other processes and other threads of this one."""
        return self._root.lock(name, wait_s=wait_s)

    def prove(self, *, locks: bool) -> None:
        """Test now that the file system keeps write-once names and, with `locks`, locks."""
        self._root.prove(locks=locks)

    def prove_object_options(self) -> str | None:
        """Return None: `archive.objects` applies to buckets."""
        return None

    def default_retention(self) -> str | None:
        """Return None."""
        return None

    def _remove_empty_folders(self, folder: Path) -> None:
        """Remove the folder and those above it that are empty, and make that and the removals in them durable."""
        while folder != self._root.path:
            try:
                folder.rmdir()
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError:  # not empty
                break
            folder = folder.parent
        if folder.exists():
            sync_folder(folder)

    def _chunks(self, path: str) -> Iterator[bytes]:
        with self._opened(path) as file:
            yield b""
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    @contextmanager
    def _opened(self, path: str) -> Iterator[io.FileIO]:
        place = self._root.place(path)
        try:
            with io.FileIO(place) as file:
                yield file
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
            raise ObjectNotFoundError(f"{self.uri(path)}: there is no such file") from err
        except OSError as err:
            raise self._root.error(err, "reading", path) from err

    def _names(self, folder: str) -> tuple[tuple[str, bool], ...]:
        place = self._root.place(folder) if folder else self._root.path
        with (
            self._root.translating("listing", folder),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(place) as entries,
        ):
            return tuple(sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries))
        return ()

    def _path_of(self, entry: "os.DirEntry[str]") -> str:
        return entry.path[len(str(self._root.path)) + 1 :]

    def _files(self, folder: str, *, with_linked_folders: bool = False) -> "Iterator[os.DirEntry[str]]":
        """Yield every file below `folder` except locks; linked folders are skipped, or yielded `with_linked_folders`.

        os.walk takes twice as long for a day of recordings, each in its own folder.
        """
        locks = str(self._root.path / LOCKS)
        left = [str(self._root.place(folder) if folder else self._root.path)]
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
                raise self._root.error(err, "listing", folder) from err


def _leads_to_folder(link: "os.DirEntry[str]") -> bool:
    try:
        return link.is_dir()
    except OSError:  # a circle of links
        return False
