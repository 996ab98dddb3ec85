"""One walk through the folders of an SFTP server: every file below one of them, and the places that could not be looked into.

How folders are opened and read is in `sftp_folders`; what is done when a session is lost is in `sftp`.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing

from callarchive.domain.evidence import Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap, Listing
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.landing.sftp.folders import Opened, SftpFolders
from callarchive.storage.landing.sftp.messages import Attributes, Entry, SessionLostError
from callarchive.storage.landing.sftp.session import SftpSession

_DEPTH_MAX = 32
_ENTRIES_MAX = 5_000_000
"""More than a landing holds in years; a listing without end would otherwise fill the memory."""
_GAPS_MAX = 100
"""More than so many places that cannot be listed are one gap: a listing may consist of them."""
_LINKS_MAX = 1000
_TOO_LONG = "listing the landing took longer than transfer.deadline_s"
NO_KIND = "the server does not say whether it is a file or a folder"
_TOO_MANY = f"more than {_ENTRIES_MAX} entries were listed; is this the landing?"

_log = logging.getLogger(__name__)


class SftpWalk:
    """One walk through folders, level by level, and what it found."""

    def __init__(
        self, folders: SftpFolders, session: SftpSession, deadline: float, skip: Callable[[str], bool] | None
    ) -> None:
        self.found: list[LandingObject] = []
        self._folders = folders
        self._session = session
        self._deadline = deadline
        self._skip = skip
        self._gaps: list[Gap] = []
        self._gap_count = 0
        self._entry_count = 0
        self._passed_over = 0
        self._been_at: set[bytes] = set()
        self._links: list[str] = []

    def go_through(self, folder: str) -> None:
        """Find every file below the folder, or leave gaps.

        Raises:
            SessionLostError: the session is lost before the deadline. What was not read by then is a gap.
            ArchiveError: the root is refused or not there.
        """
        level = [folder]
        for _ in range(_DEPTH_MAX):
            level = self._read_level(level)
            if not level:
                break
        for name in level:
            self._leave_out(name, f"folders are nested more than {_DEPTH_MAX} deep")
        self._look_at_links()
        if self._passed_over:
            _log.warning(
                "%s: passed over %d links, odd names or special files",
                self._folders.uri_of(folder),
                self._passed_over,
            )

    def listing(self, folder: str) -> Listing:
        """Return what was found below the folder, ordered by path."""
        return Listing(sorted(self.found, key=lambda item: item.path), self._all_gaps(folder))

    def _all_gaps(self, folder: str) -> tuple[Gap, ...]:
        """Return the gaps; those beyond the first hundred as one for the whole folder."""
        further = self._gap_count - len(self._gaps)
        return (
            (*self._gaps, self._folders.gap(folder, f"{further} more places could not be listed"))
            if further
            else tuple(self._gaps)
        )

    def _read_level(self, level: Sequence[str]) -> list[str]:
        """Take in the entries of these folders. Returns the folders below them."""
        below: list[str] = []
        left = set(level)
        try:
            for opened in self._folders.in_groups(self._session, level, self._deadline):
                left -= {*opened.handles, *opened.findings}
                for name, finding in opened.findings.items():
                    if isinstance(finding, Unknown):
                        self._leave_out(name, finding.reason.removeprefix(f"{self._folders.uri_of(name)}: "))
                for name, real in opened.real_paths.items():
                    if real in self._been_at:  # another name of a folder that was read: a loop, or a link
                        self._session.close_handle(opened.handles.pop(name))
                    self._been_at.add(real)
                gaps = list[Gap]()
                try:
                    self._read_opened(opened, gaps, below, left)
                finally:
                    for gap in gaps:
                        self._leave_out(gap.folder, gap.reason)
                if self._entry_count > _ENTRIES_MAX:
                    return []
        except SessionLostError:
            is_over = time.monotonic() >= self._deadline
            for name in (*left, *below):
                self._leave_out(name, _TOO_LONG if is_over else "the connection was lost before it was listed")
            if not is_over:
                raise
            return []
        return below

    def _read_opened(self, opened: Opened, gaps: list[Gap], below: list[str], left: Collection[str]) -> None:
        with closing(self._folders.read(self._session, opened, self._deadline, gaps)) as entries:
            for folder, entry in entries:
                self._entry_count += 1
                if self._entry_count > _ENTRIES_MAX:
                    gaps += [self._folders.gap(name, _TOO_MANY) for name in (*opened.handles, *left, *below)]
                    return
                self._take(folder, entry, below)

    def _look_at_links(self) -> None:
        """Leave a gap for each link out of the landing. What others lead to is listed where it lies."""
        links, self._links = self._links, []
        try:
            for name in self._folders.leading_out(self._session, links[:_LINKS_MAX], self._deadline):
                self._leave_out(name, "a symbolic link out of the landing, which is not followed")
        except SessionLostError:
            if time.monotonic() < self._deadline:
                raise
            for name in links[:_LINKS_MAX]:
                self._leave_out(name, _TOO_LONG)
        for name in links[_LINKS_MAX:]:
            self._leave_out(name, "a symbolic link, which is not followed")

    def _take(self, folder: str, entry: Entry, below: list[str]) -> None:
        if entry.name in (b".", b".."):
            return
        path, attributes = path_of(folder, entry), entry.attributes
        if path is None:
            self._passed_over += 1
        elif attributes.is_folder():
            if self._skip is None or not self._skip(path):
                below.append(path)
        elif attributes.is_file() and attributes.size_bytes is not None:
            self.found.append(described(self._folders, path, attributes.size_bytes, attributes))
        elif attributes.is_file():
            self._leave_out(path, "the server does not tell its size")
        elif attributes.is_link():
            self._passed_over += 1
            if self._skip is None or not self._skip(path):
                self._links.append(path)
        elif attributes.has_kind():
            self._passed_over += 1
        elif self._skip is None or not self._skip(path):
            self._leave_out(path, NO_KIND)

    def _leave_out(self, folder: str, reason: str) -> None:
        self._gap_count += 1
        if len(self._gaps) < _GAPS_MAX:
            self._gaps.append(self._folders.gap(folder, reason))


def path_of(folder: str, entry: Entry) -> str | None:
    """Return the entry's path, None for one that could not be asked for."""
    if entry.name in (b".", b".."):
        return None
    try:
        name = entry.name.decode("utf-8")
        if "/" in name:
            return None
        check_path(name)
    except (UnicodeDecodeError, PlaceRefusedError):
        return None
    return f"{folder}/{name}" if folder else name


def described(folders: SftpFolders, path: str, size_bytes: int, attributes: Attributes) -> LandingObject:
    return LandingObject(path=path, uri=folders.uri_of(path), size_bytes=size_bytes, modified_at=attributes.modified_at)
