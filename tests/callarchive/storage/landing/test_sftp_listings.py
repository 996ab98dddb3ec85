"""Listings of SFTP servers that refuse a folder, never end, loop, drip, or omit attributes."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import paramiko
import pytest
from paramiko.sftp import CMD_NAME, SFTP_EOF, SFTP_FAILURE, SFTP_NO_SUCH_FILE, SFTP_PERMISSION_DENIED

from callarchive.domain.errors import AccessDeniedError
from callarchive.domain.evidence import Absent, Present, Unknown
from callarchive.storage.landing.sftp.landing import SftpLanding
from callarchive.storage.landing.sftp.messages import LSTAT, OPENDIR, READDIR

OpenLanding = Callable[..., SftpLanding]
Server: Any = paramiko.SFTPServer  # its stubs lack the methods that are overridden here
HONEST = [f"2026-11-0{day}/session/{number}.mp3" for day in (1, 3) for number in range(3)]
LYING = "2026-11-02"


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"mp3")


class Lying(Server):
    """Answers requests about the folder LYING by `lie(self, number)`, if that returns true, and is honest otherwise."""

    about: ClassVar[int] = READDIR
    lie: ClassVar[Callable[["Lying", int], bool]]
    lie_count: ClassVar[int] = 0

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        body = message.get_remainder()
        handles = set(self.folder_table)
        named = paramiko.Message(body).get_binary()
        if kind == OPENDIR:
            is_it = named.endswith(LYING.encode())
        else:
            is_it = named in self.__dict__.setdefault("lying", set()) or named.endswith(LYING.encode())
        if kind == type(self).about and is_it:
            type(self).lie_count += 1
            if type(self).lie(self, number):
                return
        super()._process(kind, number, message)
        if kind == OPENDIR and is_it:
            self.__dict__.setdefault("lying", set()).update(set(self.folder_table) - handles)

    def names(self, number: int, *names: str, mode: int | None = 0o100644) -> bool:
        listed: list[Any] = []
        for name in names:
            attributes = paramiko.SFTPAttributes()
            attributes.st_size, attributes.st_mode = 3, mode
            listed += [name, "", attributes]
        self._response(number, CMD_NAME, len(names), *listed)
        return True

    def status(self, number: int, code: int) -> bool:
        self._send_status(number, code)
        return True


def lying(lie: Callable[[Lying, int], bool], *, about: int = READDIR) -> type[Lying]:
    return type("OneLie", (Lying,), {"lie": staticmethod(lie), "about": about, "lie_count": 0})


def in_time(server: Lying, number: int) -> bool:
    time.sleep(0.03)
    return server.names(number, f"{next(_numbers)}.mp3")


_numbers = itertools.count()
LYING_SERVERS: dict[str, tuple[Callable[[Lying, int], bool], int, str]] = {
    "the same entries again": (lambda server, n: server.names(n, "a.mp3", "b.mp3"), 2, "the same entries again"),
    "dots": (lambda server, n: server.names(n, ".", ".."), 0, "the same entries again"),
    "nothing": (lambda server, n: server.names(n), 0, "the same entries again"),
    "failure": (lambda server, n: server.status(n, SFTP_FAILURE), 0, "status 4"),
    "failure, then the end": (
        lambda server, n: server.status(n, SFTP_EOF if server.lie_count > 1 else SFTP_FAILURE),
        0,
        "status 4",
    ),
    "denied": (lambda server, n: server.status(n, SFTP_PERMISSION_DENIED), 0, "denies permission"),
}


@pytest.mark.parametrize("name", LYING_SERVERS)
def test_endless_or_unreadable_folder_is_a_gap(faulty: Any, open_landing: OpenLanding, name: str) -> None:
    write(faulty.files, *HONEST, f"{LYING}/hidden.mp3")
    lie, count, reason = LYING_SERVERS[name]
    faulty.protocol = lying(lie)
    listing = open_landing(faulty).list("")
    paths = [item.path for item in listing.objects]
    assert [path for path in paths if not path.startswith(LYING)] == HONEST
    assert len(paths) == len(HONEST) + count
    assert [gap.folder for gap in listing.gaps] == [LYING]
    assert reason in listing.gaps[0].reason
    assert faulty.protocol.lie_count < 30


def test_endless_new_entries_are_stopped(
    faulty: Any, open_landing: OpenLanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callarchive.storage.landing.sftp.walk._ENTRIES_MAX", 100)
    (faulty.files / LYING).mkdir()
    faulty.protocol = lying(lambda server, number: server.names(number, f"{next(_numbers)}.mp3"))
    listing = open_landing(faulty).list("")
    assert len(listing.objects) == 99
    assert [(gap.folder, "more than" in gap.reason) for gap in listing.gaps] == [(LYING, True)]


def test_a_drip_ends_at_the_deadline_with_what_came(faulty: Any, open_landing: OpenLanding) -> None:
    write(faulty.files, *HONEST, f"{LYING}/hidden.mp3")
    faulty.protocol = lying(in_time)
    began = time.monotonic()
    listing = open_landing(faulty, deadline_s=1.5).list("")
    assert time.monotonic() - began < 8
    assert listing.objects
    assert {path.folder.split("/")[0] for path in listing.gaps} >= {LYING}
    assert "did not end" in str(listing.gaps) or "deadline_s" in str(listing.gaps)


def test_a_folder_that_ends_every_session_leaves_a_gap(faulty: Any, open_landing: OpenLanding) -> None:
    write(faulty.files, *HONEST, f"{LYING}/hidden.mp3", "top.mp3")

    def hang_up(server: Lying, number: int) -> bool:
        faulty.hang_up()
        return True

    faulty.protocol = lying(hang_up)
    landing = open_landing(faulty, outage_s=0.01)
    listing = landing.list("")
    assert [item.path for item in listing.objects] == ["top.mp3"]
    assert {gap.folder.split("/")[0] for gap in listing.gaps} >= {LYING}
    faulty.protocol = paramiko.SFTPServer
    assert landing.list("").gaps == ()


@pytest.mark.parametrize("code", [SFTP_PERMISSION_DENIED, SFTP_FAILURE, SFTP_NO_SUCH_FILE])
def test_a_folder_that_is_not_opened_is_unknown_and_others_are_listed(
    faulty: Any, open_landing: OpenLanding, code: int
) -> None:
    write(faulty.files, *HONEST, f"{LYING}/hidden.mp3")
    faulty.protocol = lying(lambda server, number: server.status(number, code), about=OPENDIR)
    landing = open_landing(faulty)
    listing = landing.list("")
    assert [item.path for item in listing.objects] == HONEST
    assert [gap.folder for gap in listing.gaps] == [LYING]
    assert landing.list(LYING).gaps == listing.gaps
    found = landing.existing_folders(["2026-11-01", LYING, "2026-11-04"])
    assert found["2026-11-01"] == Present(landing.uri_of("2026-11-01"))
    unknown = found[LYING]
    assert isinstance(unknown, Unknown)
    assert landing.uri_of(LYING) in unknown.reason
    assert found["2026-11-04"] == Absent("the server says that there is no such file")
    assert isinstance(landing.sample(), Present)


def test_a_folder_that_vanishes_before_it_is_opened_is_absent(faulty: Any, open_landing: OpenLanding) -> None:
    write(faulty.files, *HONEST)
    (faulty.files / LYING).mkdir()

    def vanish(server: Lying, number: int) -> bool:
        if (faulty.files / LYING).exists():
            (faulty.files / LYING).rmdir()
        return False

    faulty.protocol = lying(vanish, about=OPENDIR)
    listing = open_landing(faulty).list("")
    assert ([item.path for item in listing.objects], listing.gaps) == (HONEST, ())


def test_a_root_that_is_refused_is_an_error(faulty: Any, open_landing: OpenLanding) -> None:
    write(faulty.files, f"{LYING}/hidden.mp3")
    faulty.protocol = lying(lambda server, number: server.status(number, SFTP_PERMISSION_DENIED), about=OPENDIR)
    landing = open_landing(faulty, path=f"/{LYING}")
    for action in (lambda: landing.list(""), landing.check, landing.sample):
        with pytest.raises(AccessDeniedError) as caught:
            action()
        assert LYING in str(caught.value)


def test_a_refused_object_does_not_affect_others(faulty: Any, open_landing: OpenLanding) -> None:
    write(faulty.files, *HONEST, LYING)
    faulty.protocol = lying(lambda server, number: server.status(number, SFTP_PERMISSION_DENIED), about=LSTAT)
    stats = open_landing(faulty).stat_many([HONEST[0], LYING, "none.mp3"])
    assert isinstance(stats[HONEST[0]], Present)
    unknown = stats[LYING]
    assert isinstance(unknown, Unknown)
    assert "denies permission" in unknown.reason
    assert isinstance(stats["none.mp3"], Absent)


class Following(asyncssh.SFTPServer):
    """Shows what links lead to in their place."""

    def lstat(self, path: bytes) -> Any:
        return self.stat(path)

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for entry in super().scandir(path):
            attributes: Any = self.stat(path + b"/" + os.fsencode(entry.filename))
            yield asyncssh.SFTPName(entry.filename, "", asyncssh.SFTPAttrs.from_local(attributes))


@pytest.mark.parametrize("to", ["..", ".", "../2026-11-01"])
@pytest.mark.parametrize("behaviour", [Following, asyncssh.SFTPServer])
def test_links_in_the_landing_cause_no_loop(
    asyncssh_server: Any, open_landing: OpenLanding, behaviour: type[asyncssh.SFTPServer], to: str
) -> None:
    server = asyncssh_server(behaviour=behaviour)
    write(server.files, *HONEST)
    (server.files / "2026-11-03/loop").symlink_to(to)
    listing = open_landing(server).list("")
    assert [item.path for item in listing.objects] == HONEST
    assert listing.gaps == ()


@pytest.mark.needs("sshd")
@pytest.mark.parametrize("folder", ["2026-11-09", "2026-11-09/0a1b2c3d-0000-1000-8000-00000000000a"])
def test_a_link_in_place_of_a_folder_hides_what_it_does_not_show(
    folder: str, openssh: Any, open_landing: OpenLanding
) -> None:
    server = openssh()
    write(server.files, *HONEST)
    link = server.files / folder
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/outside/the/root/of/this/user")
    landing = open_landing(server)
    listing = landing.list("")
    assert [item.path for item in listing.objects] == HONEST
    assert [gap.folder for gap in listing.gaps] == [folder]
    assert isinstance(landing.existing_folders([folder])[folder], Unknown)


def test_a_link_out_of_the_landing_is_a_gap(openssh: Any, open_landing: OpenLanding, tmp_path: Path) -> None:
    server = openssh()
    write(server.files, *HONEST)
    write(tmp_path / "elsewhere", "moved.mp3")
    (server.files / LYING).symlink_to(tmp_path / "elsewhere")
    (server.files / "dangling").symlink_to("nowhere")
    (server.files / "latest").symlink_to("2026-11-03")
    landing = open_landing(server)
    listing = landing.list("")
    assert [item.path for item in listing.objects] == HONEST
    assert [gap.folder for gap in listing.gaps] == [LYING]
    assert landing.list(LYING).gaps
    assert isinstance(landing.existing_folders([LYING])[LYING], Unknown)
