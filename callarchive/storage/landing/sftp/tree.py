"""Requests about files and folders below the root of an SFTP landing, over the caller's session.

Paths are checked before they are sent; symbolic links are ignored in listings and refused when requested.
"""

from collections.abc import Sequence
from contextlib import closing

from callarchive.domain.errors import AnswerError, ArchiveError, ObjectNotFoundError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap
from callarchive.storage.landing.places import PlaceRefusedError
from callarchive.storage.landing.sftp.folders import SftpFolders
from callarchive.storage.landing.sftp.messages import (
    END_OF_FILE,
    FAILURE,
    HANDLE,
    LSTAT,
    NO_SUCH_FILE,
    OPEN,
    OPEN_TO_READ,
    READDIR,
    REALPATH,
    Reply,
    SessionLostError,
    string,
)
from callarchive.storage.landing.sftp.open_files import OpenRefusedError
from callarchive.storage.landing.sftp.session import SftpSession
from callarchive.storage.landing.sftp.walk import NO_KIND, described, path_of

_STATS_AT_ONCE = 64
_SAMPLE_FOLDERS = 16


class SftpTree:
    """The files and folders below the root. Thread-safe; each call uses its caller's session.

    Every method raises SessionLostError, AccessDeniedError, and ConfigurationError if the root does not exist.

    Args:
        uri: the root's URL, percent-encoded.
        root: the root's path: absolute, or relative to the folder after log-in.
    """

    def __init__(self, uri: str, root: bytes) -> None:
        self.folders = SftpFolders(uri, root)
        self.uri_of = self.folders.uri_of

    def check(self, session: SftpSession, deadline: float) -> None:
        """Check that the root can be listed; only the beginning of the listing is read."""
        for handle in self.folders.open_all(session, [""], deadline).handles.values():
            (reply,) = session.exchange([(READDIR, string(handle))], deadline=deadline)
            session.close_handle(handle)
            if reply.status != END_OF_FILE:
                reply.entries(self.uri_of(""))

    def existing_folders(
        self, session: SftpSession, folders: Sequence[str], deadline: float
    ) -> dict[str, Evidence[str]]:
        """Return for each folder whether it exists. As many are opened at once as the server allows."""
        findings: dict[str, Evidence[str]] = {}
        for opened in self.folders.in_groups(session, folders, deadline):
            for folder, handle in opened.handles.items():
                session.close_handle(handle)
                findings[folder] = Present(self.uri_of(folder))
            findings |= opened.findings
        return findings

    def open_file(self, session: SftpSession, path: str, deadline: float) -> tuple[bytes, LandingObject]:
        """Return a handle to read the file, and its description.

        Raises:
            ObjectNotFoundError: it does not exist, is no regular file, or is behind a link out of the root.
            OpenRefusedError: it exists, and the server failed to open it.
            PlaceRefusedError: the path is not allowed: see `places.check_path`.
        """
        uri = self.uri_of(path)
        root = self.folders.root(session, deadline)
        place = string(self.folders.place(path, root))
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

    def sample(self, session: SftpSession, deadline: float) -> Evidence[LandingObject]:
        """Return the first file in the root or the first folders below it."""
        left, gaps = [""], list[Gap]()
        for _ in range(_SAMPLE_FOLDERS):
            if not left:
                break
            opened = self.folders.open_all(session, [left.pop(0)], deadline)
            gaps += [
                self.folders.gap(name, why.reason) for name, why in opened.findings.items() if isinstance(why, Unknown)
            ]
            gaps += [self.folders.gap(name, why.reason) for name, why in opened.refused.items()]
            below: list[str] = []
            with closing(self.folders.read(session, opened, deadline, gaps)) as entries:
                for folder, entry in entries:
                    path = path_of(folder, entry)
                    if path is None:
                        continue
                    if entry.attributes.is_file() and entry.attributes.size_bytes is not None:
                        return Present(described(self.folders, path, entry.attributes.size_bytes, entry.attributes))
                    if entry.attributes.is_folder() and len(below) < _SAMPLE_FOLDERS:
                        below.append(path)
                    elif not entry.attributes.has_kind():
                        gaps.append(self.folders.gap(path, NO_KIND))
            left = below + left
        if gaps:
            return Unknown(str(gaps[0]))
        return Unknown("the first folders hold no file") if left else Absent("no folder of it holds a file")

    def stat_all(
        self, session: SftpSession, paths: Sequence[str], deadline: float
    ) -> dict[str, Evidence[LandingObject]]:
        """Return the server's description of each path; anything but a regular file is absent."""
        root = self.folders.root(session, deadline)
        findings: dict[str, Evidence[LandingObject]] = {}
        names: dict[str, bytes] = {}
        for path in paths:
            try:
                names[path] = string(self.folders.place(path, root))
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
            return Unknown(f"{self.uri_of(path)}: the server does not report its size")
        return Present(described(self.folders, path, attributes.size_bytes, attributes))

    def _file(self, path: str, uri: str, stated: Reply, real: Reply, root: bytes) -> LandingObject:
        attributes = stated.attributes(uri)
        # If the kind is unknown, it is enough that the server opened it as a file.
        if attributes.has_kind() and not attributes.is_file():
            raise ObjectNotFoundError(f"{uri} is no regular file")
        if not self.folders.is_within(real, uri, root):
            raise ObjectNotFoundError(f"{uri} leads out of the landing by a symbolic link: not followed")
        if attributes.size_bytes is None:
            raise AnswerError(f"{uri}: the server does not report its size")
        return described(self.folders, path, attributes.size_bytes, attributes)
