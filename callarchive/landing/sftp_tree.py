"""The files and folders below one folder of an SFTP server, asked for over a session that the caller holds.

What leads out of the root is not read: paths are checked before they are sent, symbolic links are passed over in
listings and refused when named, and the server is asked for the real path of every folder listed and every file
opened, in the same round trip. (A server that does not resolve links in REALPATH is trusted with its own folders.)
Sessions, and what is done when one is lost, are in `sftp`.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from urllib.parse import quote

from callarchive.errors import AnswerError, ArchiveError, ConfigurationError, ObjectNotFoundError
from callarchive.landing import LandingObject
from callarchive.landing.places import PlaceRefusedError, check_path
from callarchive.landing.sftp_handles import OpenRefusedError
from callarchive.landing.sftp_messages import (
    END_OF_FILE,
    FAILURE,
    HANDLE,
    LSTAT,
    NO_SUCH_FILE,
    OPEN,
    OPEN_TO_READ,
    OPENDIR,
    READDIR,
    REALPATH,
    STAT,
    Attributes,
    Entry,
    Reply,
    SessionLostError,
    string,
)
from callarchive.landing.sftp_session import SftpSession

_FOLDERS_AT_ONCE = 128
"""Two round trips take that many. A server that lets fewer be open says so, without a reason: see `sftp_handles`."""
_STATS_AT_ONCE = 64
_DEPTH_MAX = 32
_SAMPLE_DEPTH = 8
_ENTRIES_MAX = 5_000_000
"""More than a landing holds in years; a listing without end would otherwise fill the memory."""

_log = logging.getLogger(__name__)


class SftpTree:
    """What lies below a folder. Thread-safe; each call uses its caller's session.

    Every method raises SessionLostError, AccessDeniedError, and ConfigurationError when the root itself is not there.

    Args:
        uri: the root for people, percent-encoded.
        root: the root as it is sent to the server: absolute, or relative to where log-ins arrive.
    """

    def __init__(self, uri: str, root: bytes) -> None:
        self.uri = uri
        self._asked_root = root
        self._real_root: bytes | None = None

    def uri_of(self, path: str) -> str:
        """The whole place of an object."""
        return f"{self.uri}/{quote(path, errors='replace')}" if path else self.uri

    def check(self, session: SftpSession, deadline: float) -> None:
        """Returns when the root can be listed; only the beginning of the listing is read."""
        for handle in self._open_folders(session, [""], deadline).values():
            (reply,) = session.exchange([(READDIR, string(handle))], deadline=deadline)
            session.close_handle(handle)
            if reply.status != END_OF_FILE:
                reply.entries(self.uri)

    def existing_folders(self, session: SftpSession, folders: Sequence[str], deadline: float) -> set[str]:
        """Those of the folders that are directories. All are opened at once, fewer where the server lets fewer be open."""
        try:
            handles = self._open_folders(session, folders, deadline)
        except OpenRefusedError:
            if len(folders) == 1:
                raise
            half = len(folders) // 2
            parts = (folders[:half], folders[half:])
            return {name for part in parts for name in self.existing_folders(session, part, deadline)}
        for handle in handles.values():
            session.close_handle(handle)
        return set(handles)

    def open_file(self, session: SftpSession, path: str, deadline: float) -> tuple[bytes, LandingObject]:
        """A handle to read the file from, and what the server says of it.

        Raises:
            ObjectNotFoundError: there is none, it is no regular file, or it is reached through a link out of the root.
            OpenRefusedError: it is there, and the server did not open it.
            PlaceRefusedError: it was not asked for: see `places.check_path`.
        """
        uri = self.uri_of(path)
        root = self._root(session, deadline)
        place = string(self._place(path, root))
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
    ) -> list[LandingObject]:
        """Every file below `folder`, ordered by path, save those below folders for whose path `skip` is true."""
        found: list[LandingObject] = []
        passed_over = 0
        level = [folder]
        for _ in range(_DEPTH_MAX):
            below: list[str] = []
            for entries in self._in_groups(session, level, deadline):
                for parent, entry in entries:
                    if entry.name in (b".", b".."):
                        continue
                    if len(found) + passed_over >= _ENTRIES_MAX:
                        raise AnswerError(
                            f"{self.uri_of(folder)}: more than {_ENTRIES_MAX} entries; is this the landing?"
                        )
                    name = _readable(entry.name)
                    if name is None:
                        passed_over += 1
                        continue
                    path = f"{parent}/{name}" if parent else name
                    attributes = entry.attributes
                    if attributes.is_folder():
                        if skip is None or not skip(path):
                            below.append(path)
                    elif attributes.is_file() and attributes.size_bytes is not None:
                        found.append(self._described(path, attributes.size_bytes, attributes))
                    else:
                        passed_over += 1
            level = below
            if not level:
                break
        else:
            raise AnswerError(
                f"{self.uri_of(folder)}: folders are nested more than {_DEPTH_MAX} deep; is this the landing?"
            )
        if passed_over:
            _log.warning("%s: passed over %d links, odd names or special files", self.uri_of(folder), passed_over)
        return sorted(found, key=lambda item: item.path)

    def sample(self, session: SftpSession, deadline: float) -> LandingObject | None:
        """The first file in the root, or in its first folder, and so on down; null where that ends without one."""
        folder: str | None = ""
        for _ in range(_SAMPLE_DEPTH):
            if folder is None:
                break
            below: str | None = None
            with closing(self._read_folders(session, [folder], deadline)) as entries:
                for _, entry in entries:
                    name = None if entry.name in (b".", b"..") else _readable(entry.name)
                    if name is None:
                        continue
                    path = f"{folder}/{name}" if folder else name
                    if entry.attributes.is_file() and entry.attributes.size_bytes is not None:
                        return self._described(path, entry.attributes.size_bytes, entry.attributes)
                    if entry.attributes.is_folder():
                        below = path
                        break
            folder = below
        return None

    def _in_groups(
        self, session: SftpSession, folders: Sequence[str], deadline: float
    ) -> Iterator[Iterator[tuple[str, Entry]]]:
        """The entries of the folders, some folders at a time: as many as the server lets be open."""
        at, at_once = 0, _FOLDERS_AT_ONCE
        while at < len(folders):
            group = folders[at : at + at_once]
            try:
                handles = self._open_folders(session, group, deadline)
            except OpenRefusedError:
                if len(group) == 1:
                    raise
                at_once = max(1, len(group) // 2)
                continue
            yield self._read_opened(session, handles, deadline)
            at += len(group)

    def _read_folders(
        self, session: SftpSession, folders: Sequence[str], deadline: float
    ) -> Generator[tuple[str, Entry], None, None]:
        """Each entry of each folder, together with the folder."""
        return self._read_opened(session, self._open_folders(session, folders, deadline), deadline)

    def _read_opened(
        self, session: SftpSession, handles: dict[str, bytes], deadline: float
    ) -> Generator[tuple[str, Entry], None, None]:
        """Each entry of the folders that are open, together with the folder. They are closed at the end."""
        unread = dict(handles)
        try:
            while unread:
                # Two at a time: the second asks for the end of a short folder in the same round trip.
                asked = [folder for folder in unread for _ in range(2)]
                replies = session.exchange([(READDIR, string(unread[folder])) for folder in asked], deadline=deadline)
                for folder, reply in zip(asked, replies, strict=True):
                    if reply.status == END_OF_FILE:
                        unread.pop(folder, None)
                        continue
                    for entry in reply.entries(self.uri_of(folder)):
                        yield folder, entry
        finally:
            for handle in handles.values():
                session.close_handle(handle)

    def _open_folders(self, session: SftpSession, folders: Sequence[str], deadline: float) -> dict[str, bytes]:
        """A handle for each of the folders that is there, is none of links, and lies in the root.

        Raises:
            OpenRefusedError: one is there, and the server did not open it. None is left open.
        """
        root = self._root(session, deadline)
        places = [string(self._place(folder, root)) for folder in folders]
        replies = session.exchange(
            [(kind, place) for place in places for kind in (LSTAT, REALPATH, OPENDIR)], deadline=deadline
        )
        handles: dict[str, bytes] = {}
        for number, folder in enumerate(folders):
            stated, real, opened = replies[3 * number : 3 * number + 3]
            uri = self.uri_of(folder)
            try:
                self._check_folder(uri, stated, real, root)
                if opened.status == FAILURE:
                    raise OpenRefusedError(str(opened.refusal(uri)))
                handles[folder] = opened.handle(uri)
            except ObjectNotFoundError:
                if opened.kind == HANDLE:
                    session.close_handle(opened.handle(uri))
            except ArchiveError:
                rest = [reply.handle(uri) for reply in replies[3 * number + 2 :: 3] if reply.kind == HANDLE]
                for handle in (*handles.values(), *rest):
                    session.close_handle(handle)
                raise
        return handles

    def stat_all(self, session: SftpSession, paths: Sequence[str], deadline: float) -> dict[str, LandingObject | None]:
        """What the server says of each path, null for one that is no regular file."""
        root = self._root(session, deadline)
        found: dict[str, LandingObject | None] = dict.fromkeys(paths)
        names: dict[str, bytes] = {}
        for path in paths:
            with suppress(PlaceRefusedError):
                names[path] = string(self._place(path, root))
        sendable = list(names)
        for at in range(0, len(sendable), _STATS_AT_ONCE):
            batch = sendable[at : at + _STATS_AT_ONCE]
            replies = session.exchange([(LSTAT, names[path]) for path in batch], deadline=deadline)
            for path, reply in zip(batch, replies, strict=True):
                if reply.status == NO_SUCH_FILE:
                    continue
                attributes = reply.attributes(self.uri_of(path))
                if attributes.size_bytes is not None and (attributes.mode is None or attributes.is_file()):
                    found[path] = self._described(path, attributes.size_bytes, attributes)
        return found

    def _root(self, session: SftpSession, deadline: float) -> bytes:
        """The landing's folder as the server names it, with links resolved. Asked for once."""
        if self._real_root is None:
            place = string(self._asked_root)
            real, stated = session.exchange([(REALPATH, place), (STAT, place)], deadline=deadline)
            hint = "check accounts.landing: its path is absolute on the server"
            try:
                attributes = stated.attributes(self.uri)
                names = real.entries(self.uri)
            except ObjectNotFoundError as err:
                raise ConfigurationError(f"{self.uri} is not there; {hint}") from err
            if attributes.mode is not None and not attributes.is_folder():
                raise ConfigurationError(f"{self.uri} is no folder; {hint}")
            if len(names) != 1 or not names[0].name.startswith(b"/"):
                raise SessionLostError("the server does not tell the landing's real path")
            self._real_root = names[0].name.rstrip(b"/")
        return self._real_root or b"/"

    def _place(self, path: str, root: bytes) -> bytes:
        """A path as it is sent: the empty one is the root."""
        if not path:
            return root
        try:
            name = check_path(path).encode("utf-8")
        except UnicodeEncodeError as err:
            raise PlaceRefusedError(f"refused as a path: {ascii(path)[:80]}") from err
        return root.rstrip(b"/") + b"/" + name

    def _check_within(self, real: Reply, uri: str, root: bytes) -> None:
        names = real.entries(uri)
        if not all(name.name == root or name.name.startswith(root.rstrip(b"/") + b"/") for name in names):
            raise ObjectNotFoundError(f"{uri} leads out of the landing by a symbolic link: not followed")

    def _file(self, path: str, uri: str, stated: Reply, real: Reply, root: bytes) -> LandingObject:
        attributes = stated.attributes(uri)
        # Where the server tells no mode, its having opened the name as a file must do.
        if attributes.mode is not None and not attributes.is_file():
            raise ObjectNotFoundError(f"{uri} is no regular file")
        self._check_within(real, uri, root)
        if attributes.size_bytes is None:
            raise AnswerError(f"{uri}: the server does not tell its size")
        return LandingObject(path=path, uri=uri, size_bytes=attributes.size_bytes, modified_at=attributes.modified_at)

    def _check_folder(self, uri: str, stated: Reply, real: Reply, root: bytes) -> None:
        attributes = stated.attributes(uri)
        if attributes.mode is not None and not attributes.is_folder():
            raise ObjectNotFoundError(f"{uri} is no folder")
        self._check_within(real, uri, root)

    def _described(self, path: str, size_bytes: int, attributes: Attributes) -> LandingObject:
        return LandingObject(
            path=path, uri=self.uri_of(path), size_bytes=size_bytes, modified_at=attributes.modified_at
        )


def _readable(name: bytes) -> str | None:
    """A listed name as text, null for one that could not be asked for."""
    try:
        text = name.decode("utf-8")
        return check_path(text) if "/" not in text else None
    except (UnicodeDecodeError, PlaceRefusedError):
        return None
