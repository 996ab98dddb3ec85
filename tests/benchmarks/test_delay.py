"""The delay relay loses, reorders and withholds no bytes, and adds the requested latency."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.servers import delay

_WAIT_S = 20


@contextmanager
def remote_server(serve: Callable[[socket.socket], None], round_trip_ms: float) -> Iterator[int]:
    """Yield the port of a relay to a server that handles every connection with `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with delay(listening.getsockname()[1], round_trip_ms) as relay:
            yield relay.port
        listening.shutdown(socket.SHUT_RDWR)


def echo(connection: socket.socket) -> None:
    with suppress(OSError), connection:  # the other end may close it
        while data := connection.recv(65536):
            connection.sendall(data)


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


@pytest.mark.parametrize("round_trip_ms", [0, 5])
def test_bytes_of_many_connections_arrive_whole_and_in_order(round_trip_ms: float) -> None:
    sent = [random.Random(number).randbytes(300_000) for number in range(8)]
    with remote_server(echo, round_trip_ms) as port:
        connections = [socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) for _ in sent]
        senders = [threading.Thread(target=c.sendall, args=(data,)) for c, data in zip(connections, sent, strict=True)]
        for sender in senders:
            sender.start()
        assert [received(connection, 300_000) for connection in connections] == sent
        for sender, connection in zip(senders, connections, strict=True):
            sender.join()
            connection.close()


def test_responses_take_a_round_trip_and_the_first_one_also_a_handshake() -> None:
    with (
        remote_server(echo, round_trip_ms=40) as port,
        socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as connection,
    ):
        took_s = []
        for _ in range(3):
            begun_at = time.monotonic()
            connection.sendall(b"x")
            received(connection, 1)
            took_s.append(time.monotonic() - begun_at)

    assert took_s[0] > 0.075  # the clocks of the two processes tick in steps of a millisecond
    assert min(took_s) > 0.038


def test_a_close_reaches_the_other_end_after_all_bytes() -> None:
    def send_and_close(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"y" * 200_000)

    with (
        remote_server(send_and_close, round_trip_ms=5) as port,
        socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as connection,
    ):
        assert received(connection, 200_001) == b"y" * 200_000


def test_other_connections_survive_one_that_is_closed_with_bytes_in_flight() -> None:
    with remote_server(echo, round_trip_ms=20) as port:
        broken = socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S)
        broken.sendall(b"x" * 500_000)
        broken.close()
        with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as connection:
            connection.sendall(b"still there")
            assert received(connection, 11) == b"still there"


def test_a_connection_is_closed_if_no_server_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with delay(port, 5) as relay, socket.create_connection(("127.0.0.1", relay.port), timeout=_WAIT_S) as connection:
        assert connection.recv(1) == b""
