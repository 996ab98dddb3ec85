"""Downloads that share a session do not affect each other."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from paramiko.sftp import SFTP_FAILURE

from callarchive.domain.errors import TransferError
from callarchive.storage.landing.sftp.landing import SftpLanding
from callarchive.storage.landing.sftp.messages import OPENDIR, READ

OpenLanding = Callable[..., SftpLanding]
Server: Any = paramiko.SFTPServer  # its stubs lack the methods that are overridden here


def read(landing: SftpLanding, path: str) -> bytes:
    with landing.open(path) as download:
        return b"".join(download)


def write(folder: Path, *names: str, size_bytes: int) -> dict[str, bytes]:
    contents = {name: os.urandom(size_bytes) for name in names}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return contents


@pytest.fixture(autouse=True)
def one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.storage.landing.sftp.session_pool.CALLERS_PER_SESSION", 1000)


class Shuffling(Server):
    """Answers the reads of all files only when a last one is asked, of a single byte, and the latest first."""

    held: list[tuple[int, bytes]]

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        if kind != READ:
            super()._process(kind, number, message)
            return
        self.held = [(number, message.get_remainder()), *getattr(self, "held", [])]
        if message.get_remainder().endswith(b"\0\0\0\1"):
            for held, body in self.held:
                super()._process(READ, held, paramiko.Message(body))
            self.held = []


class Ignoring(Server):
    """Never answers a read of stuck.mp3, and everything else at once."""

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        handle = paramiko.Message(message.get_remainder()).get_binary() if kind == READ else None
        if handle is None or not self.file_table[handle].readfile.name.endswith("stuck.mp3"):
            super()._process(kind, number, message)


class Narrow(asyncssh.SFTPServer):
    """Has no more than three files open, and never opens locked.mp3."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.open_count = 0

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if self.open_count >= 3 or path.endswith(b"locked.mp3"):
            raise OSError(errno.EMFILE, "too many open files")
        self.open_count += 1
        return super().open(path, pflags, attrs)

    def close(self, file_obj: Any) -> None:
        self.open_count -= 1
        super().close(file_obj)


class FewFolders(Server):
    """Has no more than five folders open, and never opens the one named locked."""

    most = 0

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        refused = len(self.folder_table) >= 5 or message.get_remainder().endswith(b"locked")
        if kind == OPENDIR and refused:
            self._send_status(number, SFTP_FAILURE)
            return
        super()._process(kind, number, message)
        FewFolders.most = max(FewFolders.most, len(self.folder_table))


def test_files_are_complete_with_replies_in_any_order(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.protocol = Shuffling
    contents = write(faulty.files, *(f"{number}.mp3" for number in range(12)), size_bytes=1_500_000)
    landing = open_landing(faulty, concurrency=6)
    with ThreadPoolExecutor(6) as threads:
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents


def test_stalled_file_fails_alone(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.protocol = Ignoring
    contents = write(faulty.files, "stuck.mp3", "good.mp3", size_bytes=12_000_000)
    landing = open_landing(faulty, stall_timeout_s=0.4)
    with ThreadPoolExecutor(1) as threads, landing.open("good.mp3") as good:
        chunks = iter(good)
        got = [next(chunks)]
        stuck = threads.submit(read, landing, "stuck.mp3")
        with pytest.raises(TransferError, match=r"stuck\.mp3: nothing came for 0\.4 s"):
            stuck.result(5)
        got += chunks
    assert b"".join(got) == contents["good.mp3"]
    assert read(landing, "good.mp3") == contents["good.mp3"]


def test_slow_consumer_delays_no_other(server: Any, open_landing: OpenLanding) -> None:
    contents = write(server.files, "slow.mp3", "quick.mp3", size_bytes=12_000_000)
    landing = open_landing(server)
    with landing.open("slow.mp3") as slow:
        chunks = iter(slow)
        got = [next(chunks)]
        for _ in range(3):
            assert read(landing, "quick.mp3") == contents["quick.mp3"]
        got += chunks
    assert b"".join(got) == contents["slow.mp3"]


def test_file_queued_behind_others_is_not_stalled(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.read_takes_s = 0.1
    contents = write(faulty.files, *(f"{number}.mp3" for number in range(8)), size_bytes=600_000)
    landing = open_landing(faulty, concurrency=8, stall_timeout_s=0.6)
    landing.check()
    with ThreadPoolExecutor(8) as threads:
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents


def test_all_files_arrive_from_a_server_that_opens_few_at_once(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    server = asyncssh_server(behaviour=Narrow)
    contents = write(server.files, *(f"{number}.mp3" for number in range(60)), size_bytes=50_000)
    landing = open_landing(server, concurrency=16)
    with ThreadPoolExecutor(16) as threads:
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents


def test_server_that_opens_few_folders_at_once_is_listed_whole(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.protocol = FewFolders
    names = [f"2026-11-01/{number:03}/{number}.mp3" for number in range(150)]
    for name in names:
        (faulty.files / name).parent.mkdir(parents=True)
        (faulty.files / name).write_bytes(b"x")
    landing = open_landing(faulty)
    assert [item.path for item in landing.list("").objects] == names
    assert FewFolders.most == 5
    assert [item.path for item in landing.list("").objects] == names, "no folder was left open"


def test_folder_that_is_never_opened_is_a_gap_and_the_rest_goes_on(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.protocol = FewFolders
    names = [f"2026-11-01/{number:03}/{number}.mp3" for number in range(20)]
    for name in names:
        (faulty.files / name).parent.mkdir(parents=True)
        (faulty.files / name).write_bytes(b"x")
    (faulty.files / "2026-11-01/locked").mkdir()
    listing = open_landing(faulty).list("")
    assert [item.path for item in listing.objects] == names
    assert [gap.folder for gap in listing.gaps] == ["2026-11-01/locked"]
    assert "status 4" in listing.gaps[0].reason


def test_file_that_is_never_opened_is_an_error_and_the_rest_goes_on(
    asyncssh_server: Any, open_landing: OpenLanding
) -> None:
    server = asyncssh_server(behaviour=Narrow)
    contents = write(server.files, "locked.mp3", *(f"{number}.mp3" for number in range(20)), size_bytes=50_000)
    del contents["locked.mp3"]
    landing = open_landing(server, concurrency=4)
    with ThreadPoolExecutor(4) as threads:
        locked = threads.submit(read, landing, "locked.mp3")
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents
        with pytest.raises(TransferError, match=r"locked\.mp3"):
            locked.result(5)


def test_connection_that_breaks_fails_all_of_its_downloads_and_the_next_have_a_new_one(
    faulty: Any, open_landing: OpenLanding
) -> None:
    contents = write(faulty.files, *(f"{number}.mp3" for number in range(6)), size_bytes=5_000_000)
    landing = open_landing(faulty, concurrency=6)
    begun = threading.Barrier(7)

    def cut(path: str) -> BaseException | None:
        try:
            with landing.open(path) as download:
                chunks = iter(download)
                next(chunks)
                begun.wait(10)
                begun.wait(10)
                for _ in chunks:
                    pass
        except TransferError as err:
            return err
        return None

    with ThreadPoolExecutor(6) as threads:
        outcomes = threads.map(cut, contents)
        begun.wait(10)
        faulty.hang_up()
        begun.wait(10)
        assert all(outcome is not None and str(outcome).count(".mp3") == 1 for outcome in outcomes)
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents
    assert len(faulty.transports) == 2


def test_session_is_one_for_all_threads(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.sessions_max = 1
    contents = write(faulty.files, *(f"{number}.mp3" for number in range(30)), size_bytes=50_000)
    landing = open_landing(faulty, concurrency=10)
    with ThreadPoolExecutor(10) as threads:
        sums = list(threads.map(lambda path: hashlib.sha256(read(landing, path)).digest(), contents))
    assert sums == [hashlib.sha256(data).digest() for data in contents.values()]
    assert len(faulty.transports) == 1
