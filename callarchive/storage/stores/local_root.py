"""The root of a local store: where paths lead, folders that are created durably and held open, and locks.

Locks are files below `_locks/`: see `file_lock`. What is written into the folders is in `local_staging`.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from callarchive.domain.errors import AccessDeniedError, StoreError
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.stores.file_lock import file_lock
from callarchive.storage.stores.local_promises import try_locks, try_names
from callarchive.storage.stores.naming import LOCKS
from callarchive.storage.stores.syncing import sync_descriptor, sync_folder

_FOLDER_MODE = 0o750
_TRIES = 3


class HeldFolder:
    """A folder that stays open as long as this object is referenced; not a link if `above` is given. Raises OSError."""

    __slots__ = ("_above", "descriptor")

    def __init__(self, place: str, *, above: "HeldFolder | None" = None) -> None:
        self._above = above
        self.descriptor = -1
        flags = os.O_RDONLY | os.O_DIRECTORY
        if above is None:
            self.descriptor = os.open(place, flags)
        else:
            self.descriptor = os.open(place, flags | os.O_NOFOLLOW, dir_fd=above.descriptor)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def sync(self) -> None:
        """Make the folder's entries durable, and those of the folder above, because it may be new. Raises OSError."""
        sync_descriptor(self.descriptor)
        if self._above is not None:
            self._above.sync()


class LocalRoot:
    """The folder at `file:///absolute/path`. Created at the first write. Thread-safe."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = Path(url.removeprefix("file://"))
        self._making = Lock()
        self._durable: set[str] = set()
        self._parent: tuple[str, HeldFolder] | None = None
        self._with_names: set[int] = set()
        self._with_locks: set[int] = set()

    def uri(self, path: str) -> str:
        """Return the file:// URL of a path, unquoted."""
        return f"{self.url}/{check_path(path)}"

    def place(self, path: str) -> Path:
        """Return where an object is or will be: below the root, even if a folder on the way is a symbolic link.

        Raises PlaceRefusedError if the path is unsafe, or a symbolic link leads out of the root.
        """
        check_path(path)
        target = self.path / path
        if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(self.path)):
            raise self._leads_out(path)
        return target

    def open(self, folder: str) -> HeldFolder:
        """Open the folder (empty: the root), and create it if needed. Once synced, it is durable with all its parents.

        Raises PlaceRefusedError if a symbolic link is on the way; StoreError, AccessDeniedError.
        """
        parent, _, name = check_path(folder).rpartition("/") if folder else ("", "", "")
        for attempt in range(_TRIES):
            try:
                above = self._open_parent(parent, again=attempt > 0)
                if name:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, _FOLDER_MODE, dir_fd=above.descriptor)
                return HeldFolder(name or ".", above=above)
            except FileNotFoundError:  # another process deleted it while it was empty
                continue
            except OSError as err:
                if (self.path / folder).is_symlink():
                    raise self._leads_out(folder) from err
                raise self.error(err, "writing below", folder) from err
        raise StoreError(f"{self.url}: writing below {folder} failed: another process keeps deleting it")

    def require_names(self, folder: HeldFolder) -> None:
        """Test once per file system that it keeps write-once names. Raises ConfigurationError, OSError."""
        device = os.fstat(folder.descriptor).st_dev
        if device not in self._with_names:
            try_names(folder.descriptor, url=self.url)
            self._with_names.add(device)

    @contextmanager
    def lock(self, name: str, *, wait_s: float) -> Iterator[None]:
        """Hold the lock against other processes and other threads of this one."""
        place = self.place(f"{LOCKS}/{name}.lock")
        with contextlib.ExitStack() as held:
            with self.translating("locking", name):
                self._make(place.parent)
                folder = HeldFolder(str(place.parent))
                device = os.fstat(folder.descriptor).st_dev
                if device not in self._with_locks:
                    try_locks(folder.descriptor, url=self.url)
                    self._with_locks.add(device)
                held.enter_context(file_lock(place, name=f"the lock {name} of {self.url}", wait_s=wait_s))
            yield

    def prove(self, *, locks: bool) -> None:
        """Test now that the file system of the root keeps write-once names and, with `locks`, locks."""
        folder = self.open("")
        with self.translating("writing below", ""):
            try_names(folder.descriptor, url=self.url)
            if locks:
                try_locks(folder.descriptor, url=self.url)

    @contextmanager
    def translating(self, doing: str, path: str) -> Iterator[None]:
        """Raise every OSError of the block as an error of the store."""
        try:
            yield
        except OSError as err:
            raise self.error(err, doing, path) from err

    def error(self, err: OSError, doing: str, path: str) -> StoreError | AccessDeniedError:
        """Return the error of the store for an OSError."""
        what = f"{self.url}: {doing} {path or 'it'} failed: {os.strerror(err.errno) if err.errno else err}"
        if isinstance(err, PermissionError):
            return AccessDeniedError(f"{what}: this user needs access to that folder")
        return StoreError(what)

    def _leads_out(self, path: str) -> PlaceRefusedError:
        return PlaceRefusedError(f"{self.url}: a symbolic link leads {path} out of the store")

    def _open_parent(self, parent: str, *, again: bool) -> HeldFolder:
        """Open the folder, durable with its parents. The last one stays open: it contains all sessions of a day."""
        kept = self._parent
        if kept is not None and kept[0] == parent and not again:
            return kept[1]
        if again or parent not in self._durable:
            with self._making:
                place = self.place(f"{parent}/_" if parent else "_").parent
                self._make(place)
                sync_folder(place.parent)  # another process may have created it and not synced it yet
                self._durable.add(parent)
        held = HeldFolder(os.path.join(self.path, parent))  # noqa: PTH118
        self._parent = parent, held
        return held

    def _make(self, folder: Path) -> None:
        """Create the folder durably, with its parents. Raises OSError."""
        try:
            folder.mkdir(_FOLDER_MODE)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(_FOLDER_MODE)
        sync_folder(folder.parent)
