"""What a listing leaves out: whether an entry is a file or a folder, and its size.

Some servers send permissions without the kind of file, no permissions at all, or names alone. Many entries share a round trip.
"""

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.storage.landing.sftp.folders import UNLISTED, SftpFolders
from callarchive.storage.landing.sftp.messages import (
    DATA,
    END_OF_FILE,
    HANDLE,
    LSTAT,
    NAME,
    NO_SUCH_FILE,
    OPEN,
    OPEN_TO_READ,
    OPENDIR,
    PERMISSION_DENIED,
    READDIR,
    REFUSALS,
    STAT,
    Attributes,
    Reply,
    SessionLostError,
    read_request,
    string,
)
from callarchive.storage.landing.sftp.session import SftpSession

NO_KIND = "the server does not report whether it is a file or a folder, and opens it as both or as neither"

_STATS_AT_ONCE = 256
_OPENED_AT_ONCE = 32
"""Each costs up to two handles, which servers limit."""


def learn(
    folders: SftpFolders, session: SftpSession, known: Mapping[str, Attributes], deadline: float
) -> dict[str, Evidence[Attributes]]:
    """Return the attributes of each path, with its kind; `Unknown` if the server does not reveal the kind.

    A path whose kind neither LSTAT nor STAT reports is opened: OPENDIR succeeds for a folder, OPEN for a file.

    Args:
        known: what a listing reports of each path.

    Raises:
        PlaceRefusedError: a path is not allowed.
    """
    root = folders.root(session, deadline)
    places = {path: string(folders.place(path, root)) for path in known}
    found: dict[str, Evidence[Attributes]] = {}
    for some in _groups(list(places), _STATS_AT_ONCE):
        replies = session.exchange([(LSTAT, places[path]) for path in some], deadline=deadline)
        for path, reply in zip(some, replies, strict=True):
            found[path] = _stated(folders.uri_of(path), reply, known[path], folders.unstated)
    unclear = {
        path: finding.value
        for path, finding in found.items()
        if isinstance(finding, Present) and not finding.value.has_kind()
    }
    at_once = min(_OPENED_AT_ONCE, max(1, (session.handles_max or 2 * _OPENED_AT_ONCE) // 2))
    for some in _groups(list(unclear), at_once):
        requests = [
            request
            for place in map(places.__getitem__, some)
            for request in ((STAT, place), (OPENDIR, place), (OPEN, place + OPEN_TO_READ))
        ]
        replies = session.exchange(requests, deadline=deadline)
        tried = {path: replies[3 * number : 3 * number + 3] for number, path in enumerate(some)}
        try:
            reads = _first_reads(session, tried, deadline)
            for path, (stated, as_folder, as_file) in tried.items():
                uri = folders.uri_of(path)
                found[path] = _kind(uri, unclear[path], stated, as_folder, as_file, reads.get(path))
        finally:
            for reply in replies:
                if reply.kind == HANDLE:
                    session.close_handle(reply.handle(""))
    for path, finding in found.items():
        if isinstance(finding, Unknown) and folders.is_unlisted(session, path, deadline):
            found[path] = Absent(UNLISTED)
    return found


def _stated(uri: str, reply: Reply, known: Attributes, unknown: Collection[int]) -> Evidence[Attributes]:
    if reply.status == NO_SUCH_FILE:
        return Absent("the server says that there is no such file")
    try:
        return Present(reply.stated(uri, unknown=unknown).completed_by(known))
    except SessionLostError:
        raise
    except ArchiveError as err:
        return Unknown(str(err))


def _first_reads(
    session: SftpSession, tried: Mapping[str, Sequence[Reply]], deadline: float
) -> dict[str, tuple[Reply, Reply]]:
    """Return the first READ and READDIR of each path that was opened both as a file and as a folder.

    OpenSSH opens a folder as a file, asyncssh anything as a folder; both fail when it is read.
    """
    both = [path for path, (_, *opened) in tried.items() if all(reply.kind == HANDLE for reply in opened)]
    if not both:
        return {}
    handles = [(tried[path][2].handle(path), tried[path][1].handle(path)) for path in both]
    requests = [one for file, folder in handles for one in (read_request(file, 0, 1), (READDIR, string(folder)))]
    replies = session.exchange(requests, deadline=deadline)
    return dict(zip(both, zip(replies[::2], replies[1::2], strict=True), strict=True))


def _kind(
    uri: str,
    known: Attributes,
    stated: Reply,
    as_folder: Reply,
    as_file: Reply,
    reads: tuple[Reply, Reply] | None,
) -> Evidence[Attributes]:
    reported = _stated(uri, stated, known, REFUSALS)
    if isinstance(reported, Present) and reported.value.has_kind():
        return reported
    best = reported.value if isinstance(reported, Present) else known
    is_folder, is_file = as_folder.kind == HANDLE, as_file.kind == HANDLE
    if reads is not None:
        read, listed = reads
        is_file = read.kind == DATA or (read.status == END_OF_FILE and listed.kind != NAME)
        is_folder = listed.kind == NAME or (listed.status == END_OF_FILE and read.kind != DATA)
    if is_folder != is_file:
        return Present(replace(best, mode=stat.S_IFDIR if is_folder else stat.S_IFREG))
    if as_folder.status == as_file.status == NO_SUCH_FILE:
        return Absent("the server does not find it")
    if as_folder.status == as_file.status == PERMISSION_DENIED:
        return Unknown(str(as_file.refusal(uri)))
    return Unknown(f"{uri}: {NO_KIND}")


def _groups(paths: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(paths), size):
        yield paths[at : at + size]
