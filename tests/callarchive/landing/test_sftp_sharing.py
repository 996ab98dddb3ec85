"""Downloads that share a session: what one of them meets is nothing to the others."""

import asyncio
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest

from callarchive.errors import TransferError
from callarchive.landing.sftp import SftpLanding

OpenLanding = Callable[..., SftpLanding]


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
    monkeypatch.setattr("callarchive.landing.sftp_pool.CALLERS_PER_SESSION", 1000)


def file_name(file: Any) -> str:
    return Path(os.fsdecode(file.name)).name


class Shuffling(asyncssh.SFTPServer):
    """Answers reads in another order than they were asked in, and the later ones first."""

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        await asyncio.sleep(0.02 / (1 + offset / 100_000))
        return bytes(super().read(file_obj, offset, size))


class Ignoring(asyncssh.SFTPServer):
    """Does not answer a read of stuck.mp3 before the test is over, and everything else at once."""

    over: ClassVar[threading.Event]
    left_open: ClassVar[set[str]]

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        self.left_open.add(Path(os.fsdecode(path)).name)
        return super().open(path, pflags, attrs)

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        while file_name(file_obj) == "stuck.mp3" and not self.over.is_set():
            await asyncio.sleep(0.01)
        return bytes(super().read(file_obj, offset, size))

    def close(self, file_obj: Any) -> None:
        self.left_open.discard(file_name(file_obj))
        super().close(file_obj)


@pytest.fixture
def ignoring() -> Iterator[type[Ignoring]]:
    """The behaviour, and at the end every file that was opened has been closed: also the one that stalled."""

    class Behaviour(Ignoring):
        over = threading.Event()
        left_open: ClassVar[set[str]] = set()

    yield Behaviour
    Behaviour.over.set()
    give_up_at = time.monotonic() + 5
    while Behaviour.left_open and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert not Behaviour.left_open


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


def test_replies_in_any_order_make_every_file_whole(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    server = asyncssh_server(behaviour=Shuffling)
    contents = write(server.files, *(f"{number}.mp3" for number in range(12)), size_bytes=1_500_000)
    landing = open_landing(server, concurrency=6)
    with ThreadPoolExecutor(6) as threads:
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents


def test_file_that_stalls_ends_alone(asyncssh_server: Any, open_landing: OpenLanding, ignoring: type[Ignoring]) -> None:
    server = asyncssh_server(behaviour=ignoring)
    contents = write(server.files, "stuck.mp3", "good.mp3", "first.mp3", size_bytes=3_000_000)
    landing = open_landing(server, stall_timeout_s=0.4)
    read(landing, "first.mp3")
    with ThreadPoolExecutor(1) as threads, landing.open("good.mp3") as good:
        chunks = iter(good)
        got = [next(chunks)]
        stuck = threads.submit(read, landing, "stuck.mp3")
        with pytest.raises(TransferError, match=r"stuck\.mp3: nothing came for 0\.4 s"):
            stuck.result(5)
        got += chunks
    assert b"".join(got) == contents["good.mp3"]
    assert read(landing, "good.mp3") == contents["good.mp3"]


def test_slow_consumer_holds_up_nobody(server: Any, open_landing: OpenLanding) -> None:
    contents = write(server.files, "slow.mp3", "quick.mp3", size_bytes=12_000_000)
    landing = open_landing(server)
    with landing.open("slow.mp3") as slow:
        chunks = iter(slow)
        got = [next(chunks)]
        for _ in range(3):
            assert read(landing, "quick.mp3") == contents["quick.mp3"]
        got += chunks
    assert b"".join(got) == contents["slow.mp3"]


def test_file_that_waits_its_turn_behind_others_is_not_stalled(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.read_takes_s = 0.1
    contents = write(faulty.files, *(f"{number}.mp3" for number in range(8)), size_bytes=600_000)
    landing = open_landing(faulty, concurrency=8, stall_timeout_s=0.6)
    landing.check()
    with ThreadPoolExecutor(8) as threads:
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents


def test_server_that_opens_few_files_at_once_gives_all(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    server = asyncssh_server(behaviour=Narrow)
    contents = write(server.files, *(f"{number}.mp3" for number in range(60)), size_bytes=50_000)
    landing = open_landing(server, concurrency=16)
    with ThreadPoolExecutor(16) as threads:
        assert dict(zip(contents, threads.map(lambda path: read(landing, path), contents), strict=True)) == contents


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
