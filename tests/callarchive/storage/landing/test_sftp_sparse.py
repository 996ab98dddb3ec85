"""Servers that leave out the kind of file, the size, or everything but names, and those that send a folder in one reply."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import paramiko
import pytest
from paramiko.sftp import (
    CMD_DATA,
    CMD_HANDLE,
    CMD_NAME,
    SFTP_EOF,
    SFTP_FAILURE,
    SFTP_NO_SUCH_FILE,
    SFTP_PERMISSION_DENIED,
)

from callarchive.domain.errors import (
    AccessDeniedError,
    AnswerError,
    NotLookedIntoError,
    ObjectNotFoundError,
    TransferError,
    UnavailableError,
)
from callarchive.domain.evidence import Absent, Present, Unknown
from callarchive.domain.landing_objects import SourceEvidence
from callarchive.storage.landing.date_folders import DateFolders
from callarchive.storage.landing.object_finder import ObjectFinder
from callarchive.storage.landing.sftp.landing import SftpLanding
from callarchive.storage.landing.sftp.messages import FSTAT, LSTAT, OPEN, OPENDIR, READ, REALPATH, STAT, UNSUPPORTED
from callarchive.storage.landing.sftp.session import SftpSession

OpenLanding = Callable[..., SftpLanding]
PATHS = ["2026-11-01/s1/a.mp3", "2026-11-01/s1/empty.mp3", "2026-11-02/b.mp3"]
Server: Any = paramiko.SFTPServer  # its stubs lack the methods that are overridden here
Change = Callable[[asyncssh.SFTPAttrs], None]


class Sparse(asyncssh.SFTPServer):
    """Changes the attributes in listings, and those of single files. Listings have no long names."""

    listed: ClassVar[Change]
    single: ClassVar[Change]

    def _changed(self, attrs: Any, change: Change) -> asyncssh.SFTPAttrs:
        attrs = attrs if isinstance(attrs, asyncssh.SFTPAttrs) else asyncssh.SFTPAttrs.from_local(attrs)
        change(attrs)
        return attrs

    def stat(self, path: bytes) -> Any:
        return self._changed(super().stat(path), type(self).single)

    def lstat(self, path: bytes) -> Any:
        return self._changed(super().lstat(path), type(self).single)

    def fstat(self, file_obj: object) -> Any:
        return self._changed(super().fstat(file_obj), type(self).single)

    def format_longname(self, name: asyncssh.SFTPName) -> None:
        """Leave it empty."""

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for entry in super().scandir(path):
            yield asyncssh.SFTPName(entry.filename, "", self._changed(entry.attrs, type(self).listed))


def no_type(attrs: asyncssh.SFTPAttrs) -> None:
    attrs.permissions = None if attrs.permissions is None else stat.S_IMODE(attrs.permissions)


def no_mode(attrs: asyncssh.SFTPAttrs) -> None:
    attrs.permissions = None


def no_size(attrs: asyncssh.SFTPAttrs) -> None:
    attrs.size = None


def nothing(attrs: asyncssh.SFTPAttrs) -> None:
    for name in ("permissions", "size", "uid", "gid", "owner", "group", "atime", "mtime"):
        setattr(attrs, name, None)


def everything(attrs: asyncssh.SFTPAttrs) -> None:
    pass


def sparse(listed: Change, single: Change, base: type[Sparse] = Sparse) -> type[Sparse]:
    return type("Leaves", (base,), {"listed": staticmethod(listed), "single": staticmethod(single)})


def fill(files: Path) -> dict[str, bytes]:
    contents = dict(zip(PATHS, (os.urandom(600_000), b"", os.urandom(1)), strict=True))
    for path, data in contents.items():
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_bytes(data)
    (files / "empty").mkdir()
    return contents


@pytest.mark.parametrize("listed", [no_type, no_mode, no_size, nothing])
@pytest.mark.parametrize("single", [everything, no_type, no_mode, no_size, nothing])
def test_files_are_found_and_read_whatever_attributes_are_missing(
    asyncssh_server: Any, open_landing: OpenLanding, listed: Change, single: Change
) -> None:
    server = asyncssh_server(behaviour=sparse(listed, single))
    contents = fill(server.files)
    landing = open_landing(server)
    landing.check()
    listing = landing.list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (PATHS, ())
    for path, data in contents.items():
        with landing.open(path) as download:
            assert b"".join(download) == data
        assert download.object.size_bytes == len(data)
        vouched = single not in (no_size, nothing)
        assert download.object.evidence is (SourceEvidence.SSH if vouched else SourceEvidence.REREAD)
    found = landing.stat_many([*PATHS, "2026-11-01", "none"])
    assert {path for path, finding in found.items() if isinstance(finding, Present)} == {*PATHS}
    assert isinstance(found["2026-11-01"], Absent)
    assert set(landing.existing_folders(["2026-11-01", "none"])) == {"2026-11-01", "none"}
    assert isinstance(landing.sample(), Present)


def test_kinds_of_many_entries_share_round_trips(
    asyncssh_server: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = asyncssh_server(behaviour=sparse(nothing, no_type))
    names = [f"2026-11-01/{number:04}.mp3" for number in range(1000)]
    (server.files / "2026-11-01").mkdir()
    for name in names:
        (server.files / name).touch()
    round_trips = count()
    exchange = SftpSession.exchange

    def counted(session: SftpSession, requests: Any, **more: Any) -> Any:
        next(round_trips)
        return exchange(session, requests, **more)

    monkeypatch.setattr(SftpSession, "exchange", counted)
    listing = open_landing(server).list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (names, ())
    assert next(round_trips) < 100


class StatOnly(Server):
    """Knows no LSTAT and no FSTAT, and its listings are names alone."""

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        if kind in (LSTAT, FSTAT):
            self._send_status(number, UNSUPPORTED)
        else:
            super()._process(kind, number, message)

    def _read_folder(self, number: int, folder: Any) -> None:
        names = [item.filename for item in folder._get_next_files()]
        if not names:
            self._send_status(number, SFTP_EOF)
            return
        fields = [field for name in names for field in (name, "", paramiko.SFTPAttributes())]
        self._response(number, CMD_NAME, len(names), *fields)


def test_server_that_knows_neither_lstat_nor_fstat_is_read(faulty: Any, open_landing: OpenLanding) -> None:
    contents = fill(faulty.files)
    faulty.protocol = StatOnly
    landing = open_landing(faulty)
    listing = landing.list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (PATHS, ())
    with landing.open(PATHS[0]) as download:
        assert b"".join(download) == contents[PATHS[0]]
    assert isinstance(landing.stat_many([PATHS[0]])[PATHS[0]], Present)


class Without(StatOnly):
    """Serves neither STAT, LSTAT nor FSTAT, or no REALPATH: it does not know them, or was configured to deny them."""

    absent: ClassVar[tuple[int, ...]]
    code: ClassVar[int]

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        if kind in self.absent:
            self._send_status(number, self.code)
        else:
            Server._process(self, kind, number, message)


@pytest.mark.parametrize("absent", [(REALPATH,), (STAT, LSTAT, FSTAT), (LSTAT,), (REALPATH, STAT, LSTAT, FSTAT)])
@pytest.mark.parametrize("code", [SFTP_FAILURE, SFTP_PERMISSION_DENIED, 5, UNSUPPORTED])
@pytest.mark.parametrize("path", ["", "/"])
def test_server_without_realpath_or_attributes_is_read(
    faulty: Any, open_landing: OpenLanding, absent: tuple[int, ...], code: int, path: str
) -> None:
    contents = fill(faulty.files)
    faulty.protocol = type("Lacks", (Without,), {"absent": absent, "code": code})
    landing = open_landing(faulty, path=path)
    landing.check()
    listing = landing.list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (PATHS, ())
    with landing.open(PATHS[0]) as download:
        assert b"".join(download) == contents[PATHS[0]]
    found = landing.stat_many([PATHS[0], "none/a.mp3"])
    assert [type(finding) for finding in found.values()] == [Present, Absent]
    existing = landing.existing_folders(["2026-11-01", "none"])
    assert [type(finding) for finding in existing.values()] == [Present, Absent]
    with pytest.raises(ObjectNotFoundError):
        landing.open("2026-11-01/s1/none.mp3").__enter__()


@pytest.mark.parametrize("code", [SFTP_FAILURE, UNSUPPORTED])
def test_root_that_the_server_does_not_open_is_refused_with_the_next_step(
    faulty: Any, open_landing: OpenLanding, code: int
) -> None:
    faulty.protocol = type("Lacks", (Without,), {"absent": (STAT, OPENDIR), "code": code})
    with pytest.raises(UnavailableError, match=rf"SFTP status {code}\); check accounts.landing"):
        open_landing(faulty).check()


class Lazy(StatOnly):
    """Opens a folder that does not exist, and fails when it is read."""

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        place = paramiko.Message(message.asbytes()[4:]).get_binary() if kind == OPENDIR else b""
        if place.endswith(b"/absent"):
            self._response(number, CMD_HANDLE, b"none")
        else:
            super()._process(kind, number, message)


def test_absent_folder_is_absent_where_the_server_does_not_know_lstat(faulty: Any, open_landing: OpenLanding) -> None:
    fill(faulty.files)
    faulty.protocol = Lazy
    found = open_landing(faulty).existing_folders(["2026-11-01", "absent"])
    assert [type(finding) for finding in found.values()] == [Present, Absent]


class FailsForAbsent(Server):
    """Reports a failure without a reason for what does not exist."""

    def _send_status(self, number: int, code: int, desc: str | None = None) -> None:
        super()._send_status(number, SFTP_FAILURE if code == SFTP_NO_SUCH_FILE else code, desc)


def test_recording_is_found_elsewhere_where_the_server_only_fails_for_what_is_absent(
    faulty: Any, open_landing: OpenLanding
) -> None:
    session_id, recording_id = "2dd4fc24-ea0e-11f0-b5ec-9ddb57bd399a", "347219a5-ea0e-11f0-9dbe-5557d842c2e4"
    path = f"{session_id}/{recording_id}_2026-01-05T08:11:58.041Z.mp3"
    (faulty.files / "2026-01-06" / session_id).mkdir(parents=True)
    (faulty.files / "2026-01-06" / path).write_bytes(b"mp3")
    faulty.protocol = FailsForAbsent
    landing = open_landing(faulty)
    finder = ObjectFinder(landing, DateFolders(landing, clock=lambda: datetime.now(UTC)), root="", day=date(2026, 1, 5))
    with finder.open(session_id=session_id, recording_id=recording_id, place=f"https://x.example/{path}") as it:
        assert it.object.path == f"2026-01-06/{path}"
    absent = recording_id.replace("3472", "3473")
    for place in (None, f"https://x.example/{path}".replace(recording_id, absent)):
        with pytest.raises(ObjectNotFoundError, match=f"no object for recording {absent}"):
            finder.open(session_id=session_id, recording_id=absent, place=place)


class FailsForUnlisted(FailsForAbsent):
    """Does not list one of the folders either."""

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        place = paramiko.Message(message.asbytes()[4:]).get_binary() if kind == OPENDIR else b""
        if place.endswith(b"/2026-11-01"):
            self._send_status(number, SFTP_FAILURE)
        else:
            super()._process(kind, number, message)


def test_only_what_a_complete_listing_lacks_is_absent_where_the_server_fails_for_it(
    faulty: Any, open_landing: OpenLanding
) -> None:
    fill(faulty.files)
    faulty.protocol = FailsForAbsent
    paths = ["none/a.mp3", "2026-11-01/s1/none.mp3", "2026-11-01/s1/a.mp3"]
    assert [type(finding) for finding in open_landing(faulty).stat_many(paths).values()] == [Absent, Absent, Present]
    faulty.protocol = FailsForUnlisted
    landing = open_landing(faulty)
    folders = landing.existing_folders(["2026-11-01", "2026-11-03", "2026-11-02"])
    kinds = {name: type(finding) for name, finding in folders.items()}
    assert kinds == {"2026-11-01": Unknown, "2026-11-02": Present, "2026-11-03": Absent}
    paths = ["2026-11-01/none.mp3", "2026-11-02/none.mp3", "2026-11-01/s1/none.mp3"]
    assert [type(finding) for finding in landing.stat_many(paths).values()] == [Unknown, Absent, Absent]
    with pytest.raises(NotLookedIntoError, match="SFTP status 4"):
        landing.open("2026-11-01/none.mp3").__enter__()


class EmptyWithoutRights(Server):
    """Lists a folder without rights as empty, as rclone does, and denies permission for what is in it."""

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        named = kind in (OPEN, OPENDIR, LSTAT, STAT)
        place = paramiko.Message(message.asbytes()[4:]).get_binary() if named else b""
        if b"/2026-11-01/" in place:
            self._send_status(number, SFTP_PERMISSION_DENIED)
            return
        if kind == OPENDIR and place.endswith(b"/2026-11-01"):
            message = paramiko.Message()
            message.add_string(place.replace(b"2026-11-01", b"empty"))
            message.rewind()
        super()._process(kind, number, message)


def test_an_empty_listing_is_no_evidence_where_permission_is_denied(faulty: Any, open_landing: OpenLanding) -> None:
    fill(faulty.files)
    faulty.protocol = EmptyWithoutRights
    landing = open_landing(faulty)
    path = "2026-11-01/s1/a.mp3"
    assert [type(finding) for finding in landing.stat_many([path]).values()] == [Unknown]
    with pytest.raises(AccessDeniedError, match="denies permission"):
        landing.open(path).__enter__()


class Slashed(Sparse):
    """Ends the names of folders in a slash, or lists absolute paths."""

    absolute: ClassVar[bool]

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for entry in super().scandir(path):
            name: Any = entry.filename
            is_folder = name not in (b".", b"..") and stat.S_ISDIR(entry.attrs.permissions or 0)
            if type(self).absolute:
                entry.filename = path.rstrip(b"/") + b"/" + name
            elif is_folder:
                entry.filename = name + b"/"
            yield entry


@pytest.mark.parametrize("absolute", [False, True])
def test_names_with_slashes_are_listed(asyncssh_server: Any, open_landing: OpenLanding, absolute: bool) -> None:
    behaviour = sparse(everything, everything, type("Either", (Slashed,), {"absolute": absolute}))
    server = asyncssh_server(behaviour=behaviour)
    fill(server.files)
    assert [item.path for item in open_landing(server).list("").objects] == PATHS


class SizeLess(Server):
    """Reports no size, and does not know FSTAT."""

    def _response(self, number: int, kind: int, *arguments: Any) -> None:
        for item in arguments:
            if isinstance(item, paramiko.SFTPAttributes):
                item._flags &= ~item.FLAG_SIZE  # type: ignore[attr-defined]
                item.st_size = None
        super()._response(number, kind, *arguments)


class EndsInNothing(Server):
    """Sends no bytes at the end of a file, in place of the status."""

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        self.reads = kind == READ
        super()._process(kind, number, message)

    def _send_status(self, number: int, code: int, desc: str | None = None) -> None:
        if self.reads and code == SFTP_EOF:
            self._response(number, CMD_DATA, b"")
        else:
            super()._send_status(number, code, desc)


class SizeLessEndsInNothing(EndsInNothing, SizeLess):
    pass


@pytest.mark.parametrize("protocol", [EndsInNothing, SizeLessEndsInNothing])
@pytest.mark.parametrize("size_bytes", [0, 700_000])
def test_file_ends_where_the_server_sends_no_bytes(
    faulty: Any, open_landing: OpenLanding, protocol: Any, size_bytes: int
) -> None:
    data = os.urandom(size_bytes)
    (faulty.files / "a.mp3").write_bytes(data)
    faulty.protocol = protocol
    with open_landing(faulty).open("a.mp3") as download:
        assert b"".join(download) == data


class Undecided(Sparse):
    """Opens anything as a file and as a folder, and both are empty."""

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        if path == b"/":
            yield asyncssh.SFTPName("2026-11-01", "", asyncssh.SFTPAttrs())

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        return super().open(path + b"/empty", pflags, attrs)


def test_server_that_does_not_distinguish_files_from_folders_is_an_error(
    asyncssh_server: Any, open_landing: OpenLanding
) -> None:
    server = asyncssh_server(behaviour=sparse(nothing, nothing, Undecided))
    (server.files / "2026-11-01").mkdir()
    (server.files / "2026-11-01/empty").touch()
    landing = open_landing(server)
    with pytest.raises(AnswerError, match="does not distinguish files from folders") as refused:
        landing.sample()
    assert landing.uri in str(refused.value)
    listing = landing.list("")
    assert [(gap.folder, "whether it is a file or a folder" in gap.reason) for gap in listing.gaps] == [
        ("2026-11-01", True)
    ]


class Growing(Sparse):
    """Grows a file each time that it is opened for reading to its end."""

    numbers = count()

    def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        data: Any = super().read(file_obj, offset, size)
        return bytes(data[:-1] + bytes([next(self.numbers) % 251])) if data else b""


def test_file_without_a_size_that_differs_the_second_time_is_not_kept(
    asyncssh_server: Any, open_landing: OpenLanding
) -> None:
    server = asyncssh_server(behaviour=sparse(no_size, no_size, Growing))
    fill(server.files)
    with (
        pytest.raises(TransferError, match="reading it twice gave different bytes"),
        open_landing(server).open(PATHS[0]) as it,
    ):
        for _ in it:
            pass
    assert it.object.size_bytes is None


@pytest.mark.parametrize("size_bytes", [0, 1, 261_120, 261_121, 3_000_000])
@pytest.mark.parametrize("reply_max", [None, 1000, 40_000])
def test_file_without_a_size_is_read_to_its_end(
    faulty: Any, open_landing: OpenLanding, size_bytes: int, reply_max: int | None
) -> None:
    data = os.urandom(size_bytes if reply_max != 1000 else size_bytes // 20)
    (faulty.files / "a.mp3").write_bytes(data)
    faulty.reply_max, faulty.protocol = reply_max, SizeLess
    with open_landing(faulty).open("a.mp3") as download:
        assert hashlib.sha256(b"".join(download)).digest() == hashlib.sha256(data).digest()
    assert (download.object.size_bytes, download.object.evidence) == (len(data), SourceEvidence.REREAD)


class AtOnce(Server):
    """Sends a whole folder in one reply, as Erlang's server does; `padding` makes each entry larger."""

    padding: ClassVar[int] = 0

    def _read_folder(self, number: int, folder: Any) -> None:
        entries = folder._get_next_files() if not folder.__dict__.get("sent") else []
        while more := folder._get_next_files():
            entries += more
        folder.sent = True
        if not entries:
            self._send_status(number, SFTP_EOF)
            return
        listed: list[Any] = []
        for attributes in entries:
            listed += [attributes.filename, str(attributes) + " " * self.padding, attributes]
        self._response(number, CMD_NAME, len(entries), *listed)


def test_folder_in_one_reply_of_several_mebibytes_is_listed(faulty: Any, open_landing: OpenLanding) -> None:
    names = [f"2026-11-0{day}/{number}.mp3" for day in (1, 2, 3) for number in range(10)]
    for name in names:
        (faulty.files / name).parent.mkdir(exist_ok=True)
        (faulty.files / name).touch()
    faulty.protocol = type("Padded", (AtOnce,), {"padding": 200_000})
    listing = open_landing(faulty).list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (names, ())


def test_listing_beyond_the_bound_is_named(
    faulty: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callarchive.storage.landing.sftp.packet_reader.LISTINGS_MAX", 1_500_000)
    for number in range(10):
        (faulty.files / f"{number}.mp3").touch()
    faulty.protocol = type("Padded", (AtOnce,), {"padding": 200_000})
    with pytest.raises(UnavailableError, match=r"whole listing in one reply of 1 MiB.*keep fewer files in one folder"):
        open_landing(faulty).list("")


def test_several_large_listings_are_read_one_by_one_once_they_are_known(
    faulty: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callarchive.storage.landing.sftp.packet_reader.LISTINGS_MAX", 3_000_000)
    monkeypatch.setattr("callarchive.storage.landing.sftp.folders._UNREAD_BYTES", 3_000_000)
    names = [f"2026-11-0{day}/{number}.mp3" for day in range(1, 9) for number in range(10)]
    for name in names:
        (faulty.files / name).parent.mkdir(exist_ok=True)
        (faulty.files / name).touch()
    faulty.protocol = type("Padded", (AtOnce,), {"padding": 200_000})
    listing = open_landing(faulty).list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (names, ())
