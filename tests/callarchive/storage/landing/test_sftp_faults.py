"""The landing against servers that break off, fall silent, lie or go away."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from callarchive.domain.errors import ObjectNotFoundError, TransferError, UnavailableError
from callarchive.storage.landing.sftp.landing import SftpLanding

OpenLanding = Callable[..., SftpLanding]

SIZE = 600_000


def read(landing: SftpLanding, path: str) -> bytes:
    with landing.open(path) as download:
        return b"".join(download)


@pytest.fixture
def content(faulty: Any) -> bytes:
    """What is in file.mp3 on the server that misbehaves."""
    data = os.urandom(SIZE)
    (faulty.files / "file.mp3").write_bytes(data)
    return data


def test_short_replies_are_put_together(faulty: Any, content: bytes, open_landing: OpenLanding) -> None:
    landing = open_landing(faulty)
    for reply_max in (32_768, 5_000):
        faulty.reply_max = reply_max
        assert read(landing, "file.mp3") == content


@pytest.mark.parametrize("ends_at", [0, 1, 300_000, SIZE - 1])
def test_early_end_is_an_error(faulty: Any, content: bytes, open_landing: OpenLanding, ends_at: int) -> None:
    faulty.ends_at = ends_at
    landing = open_landing(faulty)
    with pytest.raises(TransferError, match=rf"ended before byte \d+; the server promised {SIZE} bytes"):
        read(landing, "file.mp3")
    faulty.ends_at = None
    assert read(landing, "file.mp3") == content


@pytest.mark.parametrize(
    ("lie", "said"), [(1, "ended before"), (10_000_000_000, "ended before"), (-1, "goes on after")]
)
def test_wrong_size_is_an_error(faulty: Any, content: bytes, open_landing: OpenLanding, lie: int, said: str) -> None:
    faulty.size_lie = lie
    with pytest.raises(TransferError, match=said):
        read(open_landing(faulty), "file.mp3")


def test_file_reported_empty_that_is_not_is_an_error(faulty: Any, content: bytes, open_landing: OpenLanding) -> None:
    faulty.size_lie = -SIZE
    with pytest.raises(TransferError, match="goes on after byte 0,"):
        read(open_landing(faulty), "file.mp3")


@pytest.mark.parametrize("stalls_at", [0, 261_120])
def test_silence_ends_the_download(faulty: Any, content: bytes, open_landing: OpenLanding, stalls_at: int) -> None:
    faulty.stalls_at = stalls_at
    landing = open_landing(faulty, stall_timeout_s=0.2)
    with pytest.raises(TransferError, match=r"file\.mp3: nothing came for 0\.2 s"):
        read(landing, "file.mp3")
    faulty.stalls_at = None
    assert read(landing, "file.mp3") == content


def test_drip_is_cut_off_at_the_deadline(faulty: Any, content: bytes, open_landing: OpenLanding) -> None:
    faulty.drips_at = 0
    landing = open_landing(faulty, stall_timeout_s=0.4, deadline_s=1)
    with pytest.raises(TransferError, match="took longer than it may"):
        read(landing, "file.mp3")


def test_connection_that_dies_in_mid_file_is_an_error_and_the_next_call_reconnects(
    faulty: Any, content: bytes, open_landing: OpenLanding
) -> None:
    faulty.dies_at = 400_000
    landing = open_landing(faulty)
    with pytest.raises(TransferError, match=r"file\.mp3") as broken:
        read(landing, "file.mp3")
    assert broken.value.retryable
    faulty.dies_at = None
    assert read(landing, "file.mp3") == content
    assert len(faulty.transports) == 2


def test_cut_idle_connection_is_replaced_without_an_error(
    faulty: Any, content: bytes, open_landing: OpenLanding
) -> None:
    landing = open_landing(faulty)
    for work in (lambda: landing.list(""), lambda: read(landing, "file.mp3"), landing.check):
        work()
        faulty.hang_up()
    assert read(landing, "file.mp3") == content


def test_all_files_arrive_from_a_server_that_hangs_up_after_every_third(faulty: Any, open_landing: OpenLanding) -> None:
    wanted = {f"{number}.mp3": os.urandom(50_000) for number in range(20)}
    for name, data in wanted.items():
        (faulty.files / name).write_bytes(data)
    faulty.hangs_up_after = 3
    landing = open_landing(faulty, concurrency=2)

    def patiently(name: str) -> bytes:
        for _ in range(10):
            try:
                return read(landing, name)
            except TransferError:
                continue
        raise AssertionError(f"{name} was never read")

    with ThreadPoolExecutor(2) as threads:
        assert dict(zip(wanted, threads.map(patiently, wanted), strict=True)) == wanted
    assert len(faulty.transports) >= 3


def test_server_that_stays_away_is_unavailable(asyncssh_server: Any, open_landing: OpenLanding) -> None:
    server = asyncssh_server()
    (server.files / "file.mp3").write_bytes(b"x")
    landing = open_landing(server)
    assert read(landing, "file.mp3") == b"x"
    server.stop()
    for work in (lambda: landing.list(""), lambda: read(landing, "file.mp3"), lambda: landing.stat_many(["file.mp3"])):
        with pytest.raises(UnavailableError, match="cannot be reached"):
            work()


@pytest.mark.needs("sshd")
def test_openssh_killed_under_many_downloads_ends_all_of_them(openssh: Any, open_landing: OpenLanding) -> None:
    server = openssh()
    (server.files / "file.mp3").write_bytes(os.urandom(20_000_000))
    landing = open_landing(server, concurrency=12)
    begun = threading.Barrier(13)

    def one(_: int) -> Exception | None:
        try:
            with landing.open("file.mp3") as download:
                chunks = iter(download)
                next(chunks)
                begun.wait(10)
                for _chunk in chunks:
                    time.sleep(0.001)
        except (TransferError, UnavailableError) as err:
            return err
        return None

    with ThreadPoolExecutor(12) as threads:
        outcomes = threads.map(one, range(12))
        begun.wait(10)
        server.stop()
        assert {type(outcome).__mro__[1] for outcome in outcomes} <= {TransferError}
    with pytest.raises(UnavailableError):
        landing.check()


def test_closing_ends_a_download_that_waits(faulty: Any, content: bytes, open_landing: OpenLanding) -> None:
    faulty.stalls_at = 0
    landing = open_landing(faulty, stall_timeout_s=60, deadline_s=60)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(read, landing, "file.mp3")
        while not any(path.endswith("file.mp3") for path in faulty.asked):
            time.sleep(0.01)
        landing.close()
        # Closed between two messages of the download, the pool refuses the next one: the same end, by another name.
        with pytest.raises((TransferError, UnavailableError)):
            waiting.result(5)


def test_closing_wakes_threads_that_wait_for_a_session(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.subsystem_hangs = True
    landing = open_landing(faulty, timeout_s=60, deadline_s=60)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(landing.check) for _ in range(2)]
        while not faulty.log_ins:
            time.sleep(0.01)
        landing.close()
        for one in waiting:
            with pytest.raises(UnavailableError):
                one.result(5)


def test_ten_threads_share_a_server_that_allows_two_sessions(
    faulty: Any, content: bytes, open_landing: OpenLanding
) -> None:
    faulty.sessions_max = 2
    landing = open_landing(faulty, concurrency=10)
    with ThreadPoolExecutor(10) as threads:
        got = list(threads.map(lambda _: hashlib.sha256(read(landing, "file.mp3")).digest(), range(30)))
    assert set(got) == {hashlib.sha256(content).digest()}


def test_server_that_opens_no_session_is_unavailable(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.sessions_max = 0
    with pytest.raises(UnavailableError, match="refuses to open a session"):
        open_landing(faulty).check()


def test_session_that_never_starts_times_out(faulty: Any, open_landing: OpenLanding) -> None:
    faulty.subsystem_hangs = True
    with pytest.raises(UnavailableError, match="did not start its sftp subsystem"):
        open_landing(faulty, timeout_s=0.3).check()


@pytest.fixture
def mute() -> Iterator[Callable[[bytes], int]]:
    """Starts listeners that send some bytes, one every 20 ms, and then nothing. Returns the port."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(says: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            held = []
            while True:
                try:
                    held.append(listener.accept()[0])
                    for number in range(len(says)):
                        held[-1].send(says[number : number + 1])
                        over.wait(0.02)
                except OSError:
                    break
            for connection in held:
                connection.close()

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    over.set()
    for listener, thread in zip(listeners, threads, strict=True):
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-slow\r\n", b"x" * 500, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_server_that_never_completes_the_handshake_is_unavailable(
    mute: Callable[[bytes], int], faulty: Any, open_landing: OpenLanding, says: bytes
) -> None:
    faulty.port = mute(says)
    with pytest.raises(UnavailableError, match=r"did not (agree on an SSH connection|greet as an SSH)|is a web"):
        open_landing(faulty, timeout_s=0.2).check()


def test_host_that_has_no_address_is_unavailable(faulty: Any, open_landing: OpenLanding) -> None:
    landing = open_landing(faulty)
    object.__setattr__(landing._server, "host", "no-such-host.invalid")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        landing.check()


def test_missing_file_leaves_the_session_in_use(faulty: Any, content: bytes, open_landing: OpenLanding) -> None:
    landing = open_landing(faulty)
    for _ in range(20):
        with pytest.raises(ObjectNotFoundError), landing.open("none.mp3"):
            pass
    assert read(landing, "file.mp3") == content
    assert len(faulty.transports) == 1


def test_bytes_can_be_read_once(faulty: Any, content: bytes, open_landing: OpenLanding) -> None:
    with open_landing(faulty).open("file.mp3") as download:
        assert b"".join(download) == content
        with pytest.raises(TransferError, match="open it again"):
            list(download)
