"""The files and folders below one folder of an SFTP server, asked for over a session that the caller holds.

What leads out of the root is not read: paths are checked before they are sent, symbolic links are passed over in
listings and refused when named. How folders are opened and read is in `sftp_folders`; sessions, and what is done when one
is lost, are in `sftp`.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.errors import AnswerError, ArchiveError, ObjectNotFoundError
from callarchive.landing import Gap, LandingObject, Listing
from callarchive.landing.places import PlaceRefusedError, check_path
from callarchive.landing.sftp_folders import SftpFolders
from callarchive.landing.sftp_handles import OpenRefusedError
from callarchive.landing.sftp_messages import (
    END_OF_FILE,
    FAILURE,
    HANDLE,
    LSTAT,
    NO_SUCH_FILE,
    OPEN,
    OPEN_TO_READ,
    READDIR,
    REALPATH,
    Attributes,
    Entry,
    Reply,
    SessionLostError,
    string,
)
from callarchive.landing.sftp_session import SftpSession

_STATS_AT_ONCE = 64
_DEPTH_MAX = 32
_SAMPLE_FOLDERS = 16
_ENTRIES_MAX = 5_000_000
"""More than a landing holds in years; a listing without end would otherwise fill the memory."""
_GAPS_MAX = 100
"""More than so many places that cannot be listed are one gap: a listing may consist of them."""

_LINKS_MAX = 1000
_TOO_LONG = "listing the landing took longer than transfer.deadline_s"
_NO_KIND = "the server does not say whether it is a file or a folder"
_TOO_MANY = f"more than {_ENTRIES_MAX} entries were listed; is this the landing?"

_log = logging.getLogger(__name__)


class SftpTree:
    """What lies below a folder. Thread-safe; each call uses its caller's session.

    Every method raises SessionLostError, AccessDeniedError, and ConfigurationError when the root itself is not there.

    Args:
        uri: the root for people, percent-encoded.
        root: the root as it is sent to the server: absolute, or relative to where log-ins arrive.
    """

    def __init__(self, uri: str, root: bytes) -> None:
        self._folders = SftpFolders(uri, root)
        self.uri_of = self._folders.uri_of

    def check(self, session: SftpSession, deadline: float) -> None:
        """Returns when the root can be listed; only the beginning of the listing is read."""
        for handle in self._folders.open_all(session, [""], deadline).handles.values():
            (reply,) = session.exchange([(READDIR, string(handle))], deadline=deadline)
            session.close_handle(handle)
            if reply.status != END_OF_FILE:
                reply.entries(self.uri_of(""))

    def existing_folders(
        self, session: SftpSession, folders: Sequence[str], deadline: float
    ) -> dict[str, Evidence[str]]:
        """Return for each of the folders whether it is a directory. All are opened at once, as far as the server lets them."""
        findings: dict[str, Evidence[str]] = {}
        for opened in self._folders.in_groups(session, folders, deadline):
            for folder, handle in opened.handles.items():
                session.close_handle(handle)
                findings[folder] = Present(self.uri_of(folder))
            findings |= opened.findings
        return findings

    def open_file(self, session: SftpSession, path: str, deadline: float) -> tuple[bytes, LandingObject]:
        """A handle to read the file from, and what the server says of it.

        Raises:
            ObjectNotFoundError: there is none, it is no regular file, or it is reached through a link out of the root.
            OpenRefusedError: it is there, and the server did not open it.
            PlaceRefusedError: it was not asked for: see `places.check_path`.
        """
        uri = self.uri_of(path)
        root = self._folders.root(session, deadline)
        place = string(self._folders.place(path, root))
        stated, real, opened = session.exchange(
            [(LSTAT, place), (REALPATH, place), (OPEN, place + OPEN_TO_READ)], deadline=deadline
        )
        try:
            described = self._file(path, uri, stated, real, root)
        except BaseException:
            if opened.kind == HANDLE:
                session.close_handle(opened.handle(uri))
            raise
        if opened.status == FAILURE:
            raise OpenRefusedError(str(opened.refusal(uri)))
        return opened.handle(uri), described

    def walk(
        self, session: SftpSession, folder: str, deadline: float, *, skip: Callable[[str], bool] | None = None
    ) -> Listing:
        """Return every file below `folder`, ordered by path, save those below folders for whose path `skip` is true."""
        walk = _Walk(self._folders, session, deadline, skip)
        walk.go_through(folder)
        return Listing(sorted(walk.found, key=lambda item: item.path), walk.all_gaps(folder))

    def sample(self, session: SftpSession, deadline: float) -> Evidence[LandingObject]:
        """Return the first file in the root or the folders below it, of which some are looked into."""
        left, gaps = [""], list[Gap]()
        for _ in range(_SAMPLE_FOLDERS):
            if not left:
                break
            opened = self._folders.open_all(session, [left.pop(0)], deadline)
            gaps += [
                self._folders.gap(name, why.reason) for name, why in opened.findings.items() if isinstance(why, Unknown)
            ]
            gaps += [self._folders.gap(name, why.reason) for name, why in opened.refused.items()]
            below: list[str] = []
            with closing(self._folders.read(session, opened, deadline, gaps)) as entries:
                for folder, entry in entries:
                    path = _path_of(folder, entry)
                    if path is None:
                        continue
                    if entry.attributes.is_file() and entry.attributes.size_bytes is not None:
                        return Present(_described(self._folders, path, entry.attributes.size_bytes, entry.attributes))
                    if entry.attributes.is_folder() and len(below) < _SAMPLE_FOLDERS:
                        below.append(path)
                    elif not entry.attributes.has_kind():
                        gaps.append(self._folders.gap(path, _NO_KIND))
            left = below + left
        if gaps:
            return Unknown(str(gaps[0]))
        return Unknown("the first folders hold no file") if left else Absent("no folder of it holds a file")

    def stat_all(
        self, session: SftpSession, paths: Sequence[str], deadline: float
    ) -> dict[str, Evidence[LandingObject]]:
        """Return what the server says of each path; one that is no regular file is absent."""
        root = self._folders.root(session, deadline)
        findings: dict[str, Evidence[LandingObject]] = {}
        names: dict[str, bytes] = {}
        for path in paths:
            try:
                names[path] = string(self._folders.place(path, root))
            except PlaceRefusedError as err:
                findings[path] = Absent(str(err))
        sendable = list(names)
        for at in range(0, len(sendable), _STATS_AT_ONCE):
            batch = sendable[at : at + _STATS_AT_ONCE]
            replies = session.exchange([(LSTAT, names[path]) for path in batch], deadline=deadline)
            findings |= {path: self._stated(path, reply) for path, reply in zip(batch, replies, strict=True)}
        return findings

    def _stated(self, path: str, reply: Reply) -> Evidence[LandingObject]:
        if reply.status == NO_SUCH_FILE:
            return Absent("the server says that there is no such file")
        try:
            attributes = reply.attributes(self.uri_of(path))
        except SessionLostError:
            raise
        except ArchiveError as err:
            return Unknown(str(err))
        if attributes.has_kind() and not attributes.is_file():
            return Absent("it is no regular file")
        if attributes.size_bytes is None:
            return Unknown(f"{self.uri_of(path)}: the server does not tell its size")
        return Present(_described(self._folders, path, attributes.size_bytes, attributes))

    def _file(self, path: str, uri: str, stated: Reply, real: Reply, root: bytes) -> LandingObject:
        attributes = stated.attributes(uri)
        # Where the server tells no kind, its having opened the name as a file must do.
        if attributes.has_kind() and not attributes.is_file():
            raise ObjectNotFoundError(f"{uri} is no regular file")
        if not self._folders.is_within(real, uri, root):
            raise ObjectNotFoundError(f"{uri} leads out of the landing by a symbolic link: not followed")
        if attributes.size_bytes is None:
            raise AnswerError(f"{uri}: the server does not tell its size")
        return _described(self._folders, path, attributes.size_bytes, attributes)


class _Walk:
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
        """Find every file below the folder, or leave gaps."""
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

    def all_gaps(self, folder: str) -> tuple[Gap, ...]:
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
                with closing(self._folders.read(self._session, opened, self._deadline, gaps)) as entries:
                    for folder, entry in entries:
                        self._entry_count += 1
                        if self._entry_count > _ENTRIES_MAX:
                            gaps += [self._folders.gap(name, _TOO_MANY) for name in (*opened.handles, *left, *below)]
                            break
                        self._take(folder, entry, below)
                for gap in gaps:
                    self._leave_out(gap.folder, gap.reason)
                if self._entry_count > _ENTRIES_MAX:
                    return []
        except SessionLostError:
            if time.monotonic() < self._deadline:
                raise
            for name in (*left, *below):
                self._leave_out(name, _TOO_LONG)
            return []
        return below

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
        path, attributes = _path_of(folder, entry), entry.attributes
        if path is None:
            self._passed_over += 1
        elif attributes.is_folder():
            if self._skip is None or not self._skip(path):
                below.append(path)
        elif attributes.is_file() and attributes.size_bytes is not None:
            self.found.append(_described(self._folders, path, attributes.size_bytes, attributes))
        elif attributes.is_file():
            self._leave_out(path, "the server does not tell its size")
        elif attributes.is_link():
            self._passed_over += 1
            if self._skip is None or not self._skip(path):
                self._links.append(path)
        elif attributes.has_kind():
            self._passed_over += 1
        elif self._skip is None or not self._skip(path):
            self._leave_out(path, _NO_KIND)

    def _leave_out(self, folder: str, reason: str) -> None:
        self._gap_count += 1
        if len(self._gaps) < _GAPS_MAX:
            self._gaps.append(self._folders.gap(folder, reason))


def _path_of(folder: str, entry: Entry) -> str | None:
    """The entry's path, None for one that could not be asked for."""
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


def _described(folders: SftpFolders, path: str, size_bytes: int, attributes: Attributes) -> LandingObject:
    return LandingObject(path=path, uri=folders.uri_of(path), size_bytes=size_bytes, modified_at=attributes.modified_at)
