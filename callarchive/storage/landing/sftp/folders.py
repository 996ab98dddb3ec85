"""Open and read folders of an SFTP server, many at a time over the caller's session.

Links out of the root are not followed: the server resolves the real path of every folder in the same round trip. (A server
whose REALPATH does not resolve links, or that has none, is trusted.) A failure of one folder does not affect others.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from callarchive.domain.errors import ArchiveError, ConfigurationError, ObjectNotFoundError, TransferError
from callarchive.domain.evidence import Absent, Unknown
from callarchive.storage.landing import Gap
from callarchive.storage.landing.places import PlaceRefusedError, check_path
from callarchive.storage.landing.sftp.messages import (
    END_OF_FILE,
    FAILURE,
    HANDLE,
    LSTAT,
    NO_SUCH_FILE,
    OPENDIR,
    READDIR,
    REALPATH,
    REFUSALS,
    STAT,
    STATUS,
    UNSUPPORTED,
    Entry,
    Reply,
    SessionLostError,
    string,
)
from callarchive.storage.landing.sftp.session import Caller, SftpSession

_FOLDERS_AT_ONCE = 128
"""The most open folders. A server with a lower limit refuses the others without a reason."""
_PROBES = 3
_UNREAD_BYTES = 32 << 20
"""The most bytes of replies to READDIRs that are due at once: some servers send a whole folder in one reply."""
_OF_SESSION_OR_DAY = re.compile(rb"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|\d{4}(-\d\d(-\d\d)?)?|\d\d")
"""Names of folders that hold recordings. A link of that name whose target the server does not show may hide some."""
_LISTED_FOR_S = 60.0
_LISTED_MAX = 64
"""How long, and for how many folders, the listings are kept that show what does not exist."""
UNLISTED = "the listing of its folder does not contain it"
_REPEATS_MAX = 8
"""The most READDIRs in a row without a new entry. Two are always in flight."""


@dataclass
class Opened:
    """The result of opening folders.

    Attributes:
        handles: of open folders.
        real_paths: of open folders, as the server names them.
        findings: why other folders are not open.
        refused: folders that failed without a reason: there may have been too many.
    """

    handles: dict[str, bytes] = field(default_factory=dict)
    real_paths: dict[str, bytes] = field(default_factory=dict)
    findings: dict[str, Absent | Unknown] = field(default_factory=dict)
    refused: dict[str, Unknown] = field(default_factory=dict)


class SftpFolders:
    """The folders below the root. Thread-safe; each call uses its caller's session.

    Every method with a session raises SessionLostError, and AccessDeniedError, TransferError or ConfigurationError when the
    root itself is refused or does not exist.

    Args:
        uri: the root's URL, percent-encoded.
        root: the root's path: absolute, or relative to the folder after log-in.

    Attributes:
        unstated: the statuses by which the server says that it does not serve LSTAT. Known once the root is.
    """

    def __init__(self, uri: str, root: bytes) -> None:
        self.uri = uri
        self.unstated = frozenset((UNSUPPORTED,))
        self._asked_root = root
        self._real_root: bytes | None = None
        self._resolves = True  # it serves REALPATH
        self._listing = threading.RLock()
        self._listed: dict[str, tuple[float, frozenset[str] | None]] = {}
        self._largest_reply = _UNREAD_BYTES // _FOLDERS_AT_ONCE

    def uri_of(self, path: str) -> str:
        """Return the full URL of a file or folder."""
        return f"{self.uri}/{quote(path, errors='replace')}" if path else self.uri

    def gap(self, folder: str, reason: str) -> Gap:
        """Return a gap for the folder."""
        return Gap(folder, self.uri_of(folder), reason)

    def root(self, session: SftpSession, deadline: float) -> bytes:
        """Return the landing's real path on the server, with links resolved. Requested once.

        The root is opened three times in the same round trip: a server that mixes up open files shows it before any is read.
        """
        if self._real_root is None:
            place = string(self._asked_root)
            probes = min(_PROBES, session.handles_max or _PROBES)
            requests = [(REALPATH, place), (STAT, place), (LSTAT, place), *[(OPENDIR, place)] * probes]
            real, stated, unfollowed, *opened = session.exchange(requests, deadline=deadline)
            handles = [reply.handle(self.uri) for reply in opened if reply.kind == HANDLE]
            for handle in handles:
                session.close_handle(handle)
            hint = "check accounts.landing: its path is absolute on the server"
            # What opens is there: then a refusal says which requests the server does not serve.
            unserved = REFUSALS if handles else frozenset[int]()
            try:
                attributes = stated.stated(self.uri, unknown=unserved)
                names = [Entry(self._asked_root, attributes)] if real.status in unserved else real.entries(self.uri)
            except ObjectNotFoundError as err:
                raise ConfigurationError(f"{self.uri} is not there; {hint}") from err
            except TransferError as err:
                if isinstance(err, SessionLostError):
                    raise
                raise TransferError(f"{err}; {hint}") from err
            if attributes.has_kind() and not attributes.is_folder():
                raise ConfigurationError(f"{self.uri} is no folder; {hint}")
            self._resolves = real.status not in unserved
            if self._resolves and (len(names) != 1 or not names[0].name.startswith(b"/")):
                raise SessionLostError("the server does not report the landing's real path")
            if unfollowed.status in unserved:
                self.unstated |= {unfollowed.status}
            self._real_root = names[0].name.rstrip(b"/")
        return self._real_root or b"/"

    def place(self, path: str, root: bytes) -> bytes:
        """Return the path on the server; an empty one is the root. Raises PlaceRefusedError."""
        if not path:
            return root
        try:
            name = check_path(path).encode("utf-8")
        except UnicodeEncodeError as err:
            raise PlaceRefusedError(f"refused as a path: {ascii(path)[:80]}") from err
        return root.rstrip(b"/") + b"/" + name

    def is_within(self, real: Reply, uri: str, root: bytes) -> bool:
        """Return whether the path in a reply to REALPATH is in the root. Raises as `Reply.entries`."""
        return not self._resolves or all(
            name.name == root or name.name.startswith(root.rstrip(b"/") + b"/") for name in real.entries(uri)
        )

    def unlisted_links(self, session: SftpSession, paths: Sequence[str], deadline: float) -> dict[str, str]:
        """Return the symbolic links whose targets are not listed under the same name, each with the reason.

        These lead out of the root, to an mp3 of another name, or the server does not report their target.
        """
        root = self.root(session, deadline)
        found: dict[str, str] = {}
        for at in range(0, len(paths), _FOLDERS_AT_ONCE):
            some = paths[at : at + _FOLDERS_AT_ONCE]
            places = [self.place(path, root) for path in some]
            replies = session.exchange([(REALPATH, string(place)) for place in places], deadline=deadline)
            for path, place, reply in zip(some, places, replies, strict=True):
                name = place.rpartition(b"/")[2]
                is_mp3 = name[-4:].lower() == b".mp3"
                is_named = is_mp3 or _OF_SESSION_OR_DAY.fullmatch(name) is not None
                try:
                    if not self.is_within(reply, self.uri_of(path), root):
                        found[path] = "a symbolic link out of the landing, which is not followed"
                        continue
                    real = reply.entries("")[0].name
                    if is_mp3 and (real == place or not real.endswith(b"/" + name)):
                        found[path] = "a symbolic link to a file of another name, which is not followed"
                except SessionLostError:
                    raise
                except ArchiveError as err:  # to nothing, or to what the server does not show
                    if is_named or not isinstance(err, ObjectNotFoundError):
                        found[path] = "a symbolic link, which is not followed"
        return found

    def in_groups(self, session: SftpSession, folders: Sequence[str], deadline: float) -> Iterator[Opened]:
        """Open the folders in groups as large as the server allows. The caller closes the handles of each group.

        Each folder is in `handles` or `findings` of one group.
        """
        most = min(_FOLDERS_AT_ONCE, session.handles_max or _FOLDERS_AT_ONCE)
        left, at_once = deque(folders), most
        while left:
            group = [left.popleft() for _ in range(min(at_once, len(left)))]
            opened = self.open_all(session, group, deadline)
            if len(group) == 1 and opened.refused:  # alone, so the limit is not the reason
                opened.findings |= opened.refused
                opened.refused = {}
            left.extend(opened.refused)
            if opened.handles or opened.findings:
                yield opened
            fewer, more = max(1, len(opened.handles) or len(group) // 2), min(2 * at_once, most)
            at_once = fewer if opened.refused else more

    def open_all(self, session: SftpSession, folders: Sequence[str], deadline: float) -> Opened:
        """Open the folders that exist, are not links, and are in the root."""
        root = self.root(session, deadline)
        places = [string(self.place(folder, root)) for folder in folders]
        replies = session.exchange(
            [(kind, place) for place in places for kind in (LSTAT, REALPATH, OPENDIR)], deadline=deadline
        )
        unstated = [number for number in range(len(folders)) if replies[3 * number].status in self.unstated]
        requests = [(STAT, places[number]) for number in unstated]
        for number, reply in zip(unstated, session.exchange(requests, deadline=deadline), strict=True):
            replies[3 * number] = reply
        outcome = Opened()
        for number, folder in enumerate(folders):
            stated, real, opened = replies[3 * number : 3 * number + 3]
            uri = self.uri_of(folder)
            try:
                finding = self._why_not(uri, stated, real, opened, root)
                if finding is None:
                    outcome.handles[folder] = opened.handle(uri)
                    name = real.entries(uri)[0].name if self._resolves else self.place(folder, root)
                    outcome.real_paths[folder] = name
                    continue
                if opened.kind == HANDLE:
                    session.close_handle(opened.handle(uri))
                if not folder:
                    raise _root_error(uri, opened, finding)
            except (SessionLostError, ArchiveError):
                rest = [reply.handle(uri) for reply in replies[3 * number + 2 :: 3] if reply.kind == HANDLE]
                for handle in (*outcome.handles.values(), *rest):
                    session.close_handle(handle)
                raise
            if opened.status == FAILURE and isinstance(finding, Unknown):
                outcome.refused[folder] = finding
            else:
                outcome.findings[folder] = finding
        for folder in [*outcome.refused, *outcome.findings]:
            stated = replies[3 * folders.index(folder)]
            is_unknown = folder in outcome.refused or isinstance(outcome.findings[folder], Unknown)
            if is_unknown and stated.kind == STATUS and self.is_unlisted(session, folder, deadline):
                outcome.refused.pop(folder, None)
                outcome.findings[folder] = Absent(UNLISTED)
        vanished = [folder for folder, finding in outcome.findings.items() if finding is _MAY_BE_GONE]
        if vanished:
            outcome.findings |= self._look_again(session, vanished, deadline)
        return outcome

    def is_unlisted(self, session: SftpSession, path: str, deadline: float) -> bool:
        """Return whether a complete listing lacks the path or a folder above it, so that it does not exist.

        For what does not exist some servers fail without a reason, and others deny permission.
        """
        *above, _ = parts = path.split("/")
        with self._listing:
            for depth in range(len(above) + 1):
                names = self._names(session, "/".join(parts[:depth]), deadline)
                if names is not None and parts[depth].casefold() not in names:
                    return True
        return False

    def _names(self, session: SftpSession, folder: str, deadline: float) -> frozenset[str] | None:
        """Return the folder's names without case, of at most a minute ago; `None` if it is empty or not all can be listed."""
        now = time.monotonic()
        listed_at, names = self._listed.get(folder, (now - 2 * _LISTED_FOR_S, None))
        if now - listed_at < _LISTED_FOR_S:
            return names
        gaps: list[Gap] = []
        try:
            opened = self.open_all(session, [folder], deadline)
            listed = [entry.name for _, entry in self.read(session, opened, deadline, gaps)]
        except SessionLostError:
            raise
        except ArchiveError:
            names = None
        else:
            short = (name.decode("utf-8", "replace").rstrip("/").rpartition("/")[2] for name in listed)
            found = frozenset(map(str.casefold, short))
            # Some servers list a folder without rights as empty.
            names = found if opened.handles and not gaps and found - {".", ".."} else None
        if len(self._listed) >= _LISTED_MAX:
            self._listed.clear()
        self._listed[folder] = now, names
        return names

    def read(
        self, session: SftpSession, opened: Opened, deadline: float, gaps: list[Gap]
    ) -> Generator[tuple[str, Entry], None, None]:
        """Yield each entry of the open folders once, with its folder, and close them at the end.

        Args:
            gaps: gets one for each incomplete folder, also when SessionLostError is raised.
        """
        unread = dict(opened.handles)
        names: dict[str, set[bytes]] = {folder: set() for folder in unread}
        repeats = dict.fromkeys(unread, 0)
        ended: dict[str, int] = {}  # the number of the request
        try:
            while unread:
                some = list(unread)[: max(1, _UNREAD_BYTES // self._largest_reply)]
                # Two at a time: the second gets the end of a short folder in the same round trip.
                asked = [folder for folder in some for _ in range(2)]
                failures: dict[str, tuple[int, str]] = {}
                with Caller(session, deadline=deadline) as caller:
                    numbers = caller.request(*((READDIR, string(unread[folder])) for folder in asked))
                    folder_of = dict(zip(numbers, asked, strict=True))
                    for _ in numbers:
                        reply = caller.reply()
                        self._largest_reply = max(self._largest_reply, len(reply.body))
                        folder = folder_of[reply.request]
                        if reply.status == END_OF_FILE:
                            ended[folder] = reply.request
                            continue
                        try:
                            entries = reply.entries(self.uri_of(folder))
                        except SessionLostError:
                            raise
                        except ArchiveError as err:
                            failures.setdefault(folder, (reply.request, _reason(err)))
                            continue
                        seen = names[folder]
                        fresh = {entry.name: entry for entry in entries if entry.name not in seen}
                        repeats[folder] = 0 if fresh else repeats[folder] + 1
                        if repeats[folder] == _REPEATS_MAX:
                            failures[folder] = reply.request, "the server lists the same entries again and again"
                        seen.update(fresh)
                        for entry in fresh.values():
                            yield folder, entry
                for folder, (number, reason) in failures.items():
                    # After the end some servers report a failure, and after a failure others report the end.
                    if number < ended.get(folder, number + 1):
                        gaps.append(self.gap(folder, reason))
                for folder in (ended.keys() | failures.keys()) & unread.keys():
                    del unread[folder], names[folder]
        except SessionLostError as err:
            gaps += [self.gap(folder, f"its listing did not end: {err}") for folder in unread if folder not in ended]
            if time.monotonic() < deadline:
                raise
        finally:
            for handle in opened.handles.values():
                session.close_handle(handle)

    def _why_not(self, uri: str, stated: Reply, real: Reply, opened: Reply, root: bytes) -> Absent | Unknown | None:
        """Return why the folder cannot be read; `None` if it is open and in the root. Raises SessionLostError."""
        if stated.status == NO_SUCH_FILE:
            return Absent("the server says that there is no such file")
        try:
            attributes = stated.stated(uri, unknown=self.unstated)
            if uri != self.uri and attributes.is_link():
                return Unknown(f"{uri} is a symbolic link, which is not followed")
            if uri != self.uri and attributes.has_kind() and not attributes.is_folder():
                return Absent("it is no folder")
            if opened.status == NO_SUCH_FILE:
                return _MAY_BE_GONE
            if not self.is_within(real, uri, root):
                return Unknown(f"{uri} leads out of the landing by a symbolic link, which is not followed")
            opened.handle(uri)
        except SessionLostError:
            raise
        except ArchiveError as err:
            return Unknown(str(err))
        return None

    def _look_again(self, session: SftpSession, folders: Sequence[str], deadline: float) -> dict[str, Absent | Unknown]:
        """Return whether folders still exist that were listed, but not found when opened."""
        root = self.root(session, deadline)
        replies = session.exchange([(LSTAT, string(self.place(folder, root))) for folder in folders], deadline=deadline)
        return {
            folder: Absent("the server says that it is gone")
            if reply.status == NO_SUCH_FILE
            else Unknown(f"{self.uri_of(folder)}: the server shows it and does not open it")
            for folder, reply in zip(folders, replies, strict=True)
        }


_MAY_BE_GONE = Unknown("it was not found when opened")


def _root_error(uri: str, opened: Reply, finding: Absent | Unknown) -> ArchiveError:
    error = opened.refusal(uri) if opened.kind != HANDLE else None
    if isinstance(finding, Absent) or isinstance(error, ObjectNotFoundError):
        return ConfigurationError(f"{uri} is not there any more; check accounts.landing")
    return error or TransferError(finding.reason)


def _reason(err: ArchiveError) -> str:
    """Return the error's message without the place at its beginning."""
    return str(err).partition(": ")[2] or str(err)
