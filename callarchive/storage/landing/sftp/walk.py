"""A walk through the folders of an SFTP server: all files below one of them, and gaps for what could not be listed."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing

from callarchive.domain.evidence import Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap, Listing
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.landing.sftp.folders import Opened, SftpFolders
from callarchive.storage.landing.sftp.kinds import learn
from callarchive.storage.landing.sftp.messages import Attributes, Entry, SessionLostError
from callarchive.storage.landing.sftp.session import SftpSession

_DEPTH_MAX = 32
_ENTRIES_MAX = 5_000_000
"""More than a landing has in years; an endless listing would fill the memory."""
_GAPS_MAX = 100
"""The most single gaps; the rest are one."""
_LINKS_MAX = 1000
_TOO_LONG = "listing the landing took longer than transfer.deadline_s"
_TOO_MANY = f"more than {_ENTRIES_MAX} entries were listed; is this the landing?"

_log = logging.getLogger(__name__)


class SftpWalk:
    """A walk through folders, level by level, and its result."""

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
        self._ignored = 0
        self._been_at: set[bytes] = set()
        self._links: list[str] = []
        self._unclear: dict[str, Attributes] = {}

    def go_through(self, folder: str) -> None:
        """Find all files below the folder, or add gaps.

        Raises:
            SessionLostError: the session was lost before the deadline. Unread folders are gaps.
            ArchiveError: the root is refused or does not exist.
        """
        level = [folder]
        for _ in range(_DEPTH_MAX):
            level = self._read_level(level)
            if not level:
                break
        for name in level:
            self._add_gap(name, f"folders are nested more than {_DEPTH_MAX} deep")
        self._look_at_links()
        if self._ignored:
            _log.warning(
                "%s: ignored %d links, invalid names or special files",
                self._folders.uri_of(folder),
                self._ignored,
            )

    def listing(self, folder: str) -> Listing:
        """Return the result, ordered by path."""
        return Listing(sorted(self.found, key=lambda item: item.path), self._all_gaps(folder))

    def _all_gaps(self, folder: str) -> tuple[Gap, ...]:
        """Return the gaps; those after the first hundred as one for the whole folder."""
        further = self._gap_count - len(self._gaps)
        return (
            (*self._gaps, self._folders.gap(folder, f"{further} more places could not be listed"))
            if further
            else tuple(self._gaps)
        )

    def _read_level(self, level: Sequence[str]) -> list[str]:
        """Add the entries of these folders, and return the folders below them."""
        below: list[str] = []
        left = set(level)
        try:
            for opened in self._folders.in_groups(self._session, level, self._deadline):
                left -= {*opened.handles, *opened.findings}
                for name, finding in opened.findings.items():
                    if isinstance(finding, Unknown):
                        self._add_gap(name, finding.reason.removeprefix(f"{self._folders.uri_of(name)}: "))
                for name, real in opened.real_paths.items():
                    if real in self._been_at:  # already read under another name: a loop, or a link
                        self._session.close_handle(opened.handles.pop(name))
                    self._been_at.add(real)
                gaps = list[Gap]()
                try:
                    self._read_opened(opened, gaps, below, left)
                finally:
                    for gap in gaps:
                        self._add_gap(gap.folder, gap.reason)
                self._learn_unclear(below)
                if self._entry_count > _ENTRIES_MAX:
                    return []
        except SessionLostError:
            is_over = time.monotonic() >= self._deadline
            unclear, self._unclear = self._unclear, {}
            for name in (*left, *below, *unclear):
                self._add_gap(name, _TOO_LONG if is_over else "the connection was lost before it was listed")
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
        """Add a gap for each link whose target is not listed where it is."""
        links, self._links = self._links, []
        try:
            for name, reason in self._folders.unlisted_links(self._session, links[:_LINKS_MAX], self._deadline).items():
                self._add_gap(name, reason)
        except SessionLostError:
            if time.monotonic() < self._deadline:
                raise
            for name in links[:_LINKS_MAX]:
                self._add_gap(name, _TOO_LONG)
        for name in links[_LINKS_MAX:]:
            self._add_gap(name, "a symbolic link, which is not followed")

    def _take(self, folder: str, entry: Entry, below: list[str]) -> None:
        if entry.name in (b".", b".."):
            return
        path = path_of(folder, entry)
        if path is None:
            self._ignored += 1
        elif not is_unclear(entry.attributes):
            self._sort(path, entry.attributes, below)
        elif entry.attributes.is_file() or self._skip is None or not self._skip(path):
            self._unclear[path] = entry.attributes

    def _sort(self, path: str, attributes: Attributes, below: list[str]) -> None:
        """Add a file to the result, and a folder to those below."""
        if attributes.is_file():
            self.found.append(described(self._folders, path, attributes))
            return
        wanted = self._skip is None or not self._skip(path)
        if attributes.is_folder():
            below += [path] if wanted else []
            return
        self._ignored += 1
        if attributes.is_link() and wanted:
            self._links.append(path)

    def _learn_unclear(self, below: list[str]) -> None:
        """Sort the entries whose kind or size the listing lacks."""
        for path, finding in learn(self._folders, self._session, self._unclear, self._deadline).items():
            if isinstance(finding, Present):
                self._sort(path, finding.value, below)
            elif isinstance(finding, Unknown):
                self._add_gap(path, finding.reason.removeprefix(f"{self._folders.uri_of(path)}: "))
        self._unclear = {}

    def _add_gap(self, folder: str, reason: str) -> None:
        self._gap_count += 1
        if len(self._gaps) < _GAPS_MAX:
            self._gaps.append(self._folders.gap(folder, reason))


def path_of(folder: str, entry: Entry) -> str | None:
    """Return the entry's path; `None` if it cannot be requested.

    Some servers end the names of folders in a slash, others list absolute paths.
    """
    listed = entry.name.removesuffix(b"/")
    listed = listed.rpartition(b"/")[2] if listed.startswith(b"/") else listed
    if listed in (b"", b".", b".."):
        return None
    try:
        name = listed.decode("utf-8")
        if "/" in name:
            return None
        check_path(name)
    except (UnicodeDecodeError, PlaceRefusedError):
        return None
    return f"{folder}/{name}" if folder else name


def is_unclear(attributes: Attributes) -> bool:
    """Return whether a listing lacks the entry's kind, or a file's size."""
    return not attributes.has_kind() or (attributes.is_file() and attributes.size_bytes is None)


def described(folders: SftpFolders, path: str, attributes: Attributes) -> LandingObject:
    """Return the object at the path."""
    return LandingObject(
        path=path, uri=folders.uri_of(path), size_bytes=attributes.size_bytes, modified_at=attributes.modified_at
    )
