"""Requests about files and folders below the root of an SFTP landing, over the caller's session.

Paths are checked before they are sent; symbolic links are ignored in listings and refused when requested.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from callarchive.domain.errors import (
    AccessDeniedError,
    AnswerError,
    NotLookedIntoError,
    ObjectNotFoundError,
    StoreError,
)
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.landing.sftp.folders import UNLISTED, SftpFolders
from callarchive.storage.landing.sftp.kinds import NO_KIND, learn
from callarchive.storage.landing.sftp.messages import (
    ATTRS,
    END_OF_FILE,
    FAILURE,
    FSTAT,
    HANDLE,
    LSTAT,
    NO_SUCH_FILE,
    OK,
    OPEN,
    OPEN_TO_READ,
    READDIR,
    REALPATH,
    REMOVE,
    Attributes,
    Reply,
    string,
)
from callarchive.storage.landing.sftp.open_files import OpenRefusedError
from callarchive.storage.landing.sftp.session import SftpSession
from callarchive.storage.landing.sftp.walk import described, is_unclear, path_of

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
            ObjectNotFoundError: it does not exist or is no regular file.
            AccessDeniedError: the server refuses it, or it is a symbolic link or behind one out of the root.
            NotLookedIntoError: the server fails to describe and to open it: some answer so for what does not exist.
            OpenRefusedError: it exists, and the server failed to open it.
            PlaceRefusedError: the path is not allowed: see `places.check_path`.
        """
        uri = self.uri_of(path)
        root = self.folders.root(session, deadline)
        place = string(self.folders.place(path, root))
        stated, real, opened = session.exchange(
            [(LSTAT, place), (REALPATH, place), (OPEN, place + OPEN_TO_READ)], deadline=deadline
        )
        said = {stated.status, opened.status}
        if not said & {None, NO_SUCH_FILE} and self.folders.is_unlisted(session, path, deadline):
            raise ObjectNotFoundError(f"{uri}: {UNLISTED}")
        if said == {FAILURE}:
            raise NotLookedIntoError(str(stated.refusal(uri)))
        try:
            described = self._file(path, uri, stated, real, root)
        except BaseException:
            if opened.kind == HANDLE:
                session.close_handle(opened.handle(uri))
            raise
        if opened.status == FAILURE:
            raise OpenRefusedError(str(opened.refusal(uri)))
        handle = opened.handle(uri)
        if described.size_bytes is None:
            (open_file,) = session.exchange([(FSTAT, string(handle))], deadline=deadline)
            if open_file.kind == ATTRS:
                described = replace(described, size_bytes=open_file.attributes(uri).size_bytes)
        return handle, described

    def sample(self, session: SftpSession, deadline: float) -> Evidence[LandingObject]:
        """Return the first file in the root or the first folders below it.

        Raises:
            AnswerError: the server does not distinguish files from folders.
        """
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
            unclear: dict[str, Attributes] = {}
            with closing(self.folders.read(session, opened, deadline, gaps)) as entries:
                for folder, entry in entries:
                    path = path_of(folder, entry)
                    if path is None:
                        continue
                    if entry.attributes.is_file() and entry.attributes.size_bytes is not None:
                        return Present(described(self.folders, path, entry.attributes))
                    if entry.attributes.is_folder() and len(below) < _SAMPLE_FOLDERS:
                        below.append(path)
                    elif is_unclear(entry.attributes) and len(unclear) < _SAMPLE_FOLDERS:
                        unclear[path] = entry.attributes
                    elif entry.attributes.is_link():
                        gaps.append(self.folders.gap(path, "a symbolic link, which is not followed"))
            for path, finding in learn(self.folders, session, unclear, deadline).items():
                if isinstance(finding, Unknown):
                    gaps.append(self.folders.gap(path, finding.reason.removeprefix(f"{self.uri_of(path)}: ")))
                elif isinstance(finding, Present) and finding.value.is_file():
                    return Present(described(self.folders, path, finding.value))
                elif isinstance(finding, Present) and finding.value.is_folder():
                    below.append(path)
            left = below + left
        if gaps and all(gap.reason == NO_KIND for gap in gaps):
            raise AnswerError(
                f"{self.uri_of('')}: this server does not distinguish files from folders: {gaps[0]}; "
                "have its owner make it report the kind of file (the permissions' type bits), or use another server"
            )
        if gaps:
            return Unknown(str(gaps[0]))
        return Unknown("the first folders hold no file") if left else Absent("no folder of it holds a file")

    def stat_all(
        self, session: SftpSession, paths: Sequence[str], deadline: float
    ) -> dict[str, Evidence[LandingObject]]:
        """Return the server's description of each path; anything but a regular file is absent."""
        root = self.folders.root(session, deadline)
        findings: dict[str, Evidence[LandingObject]] = {}
        known: dict[str, Attributes] = {}
        for path in paths:
            try:
                self.folders.place(path, root)
            except PlaceRefusedError as err:
                findings[path] = Absent(str(err))
            else:
                known[path] = Attributes()
        for path, finding in learn(self.folders, session, known, deadline).items():
            findings[path] = self._as_object(path, finding)
        return findings

    def remove(self, session: SftpSession, path: str, deadline: float) -> None:
        """Remove the file, and check that it is gone. It need not exist.

        Raises:
            AccessDeniedError: the server refuses it, or it is a symbolic link or behind one out of the root.
            StoreError: it is still there.
            NotLookedIntoError: the server shows it in one reply and not in the next.
            TransferError: the server failed.
            PlaceRefusedError: the path is not allowed: see `places.check_path`.
        """
        uri = self.uri_of(path)
        root = self.folders.root(session, deadline)
        place = string(self.folders.place(check_path(path), root))
        if isinstance(self.stat_all(session, [path], deadline)[path], Absent):
            return
        stated, real = session.exchange([(LSTAT, place), (REALPATH, place)], deadline=deadline)
        try:
            self._file(path, uri, stated, real, root)
        except ObjectNotFoundError as err:
            raise NotLookedIntoError(str(err)) from err
        (removed,) = session.exchange([(REMOVE, place)], deadline=deadline)
        left = self.stat_all(session, [path], deadline)[path]
        if isinstance(left, Absent):
            return
        if removed.status != OK:
            raise removed.refusal(uri, to="delete it")
        reason = left.reason if isinstance(left, Unknown) else "it still shows it"
        raise StoreError(f"{uri}: the server answered that it removed the file, but {reason}")

    def _as_object(self, path: str, finding: Evidence[Attributes]) -> Evidence[LandingObject]:
        if not isinstance(finding, Present):
            return finding
        if finding.value.is_link():
            return Unknown(f"{self.uri_of(path)} is a symbolic link, which is not followed")
        if not finding.value.is_file():
            return Absent("it is no regular file")
        return Present(described(self.folders, path, finding.value))

    def _file(self, path: str, uri: str, stated: Reply, real: Reply, root: bytes) -> LandingObject:
        attributes = stated.stated(uri, unknown=self.folders.unstated)
        if attributes.is_link():
            raise AccessDeniedError(
                f"{uri} is a symbolic link, which is not followed: have the server's owner store the file itself there"
            )
        # If the kind is unknown, it is enough that the server opened it as a file.
        if attributes.has_kind() and not attributes.is_file():
            raise ObjectNotFoundError(f"{uri} is no regular file")
        if not self.folders.is_within(real, uri, root):
            raise AccessDeniedError(f"{uri} leads out of the landing by a symbolic link, which is not followed")
        return described(self.folders, path, attributes)
