"""Silent connections make room for those that send events, from any address."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from callarchive.events.receiver.connections import Connections

ACCOUNT, OPEN = "acme_sg", "open.to%26all"
AUTH = "Bearer s3cret-of-the-receiver"
Start = Callable[..., Any]
Make = Callable[..., dict[str, Any]]
FEW = "max_connections = 40\nmax_in_flight = 20\nmax_waiting_per_address = 10"


@pytest.fixture
def crowd() -> Iterator[Callable[..., list[socket.socket]]]:
    """Yield `crowd(port, count, source="127.0.0.1", sent=b"")`, which opens connections that send only that."""
    with contextlib.ExitStack() as stack:

        def gather(port: int, count: int, *, source: str = "127.0.0.1", sent: bytes = b"") -> list[socket.socket]:
            opened = []
            for _ in range(count):
                raw = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
                stack.enter_context(raw)
                raw.sendall(sent)
                opened.append(raw)
            return opened

        yield gather


def post(port: int, event: dict[str, Any], *, source: str, headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        sent = {"Authorization": AUTH, **(headers or {})}
        connection.request("POST", f"/webhooks/{ACCOUNT}", json.dumps(event), sent)
        return connection.getresponse().status
    finally:
        connection.close()


def alive(connections: list[socket.socket]) -> int:
    """Return how many of them the server has not closed."""
    count = 0
    for raw in connections:
        raw.setblocking(False)
        try:
            raw.recv(1)
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


@pytest.mark.parametrize(
    ("sent", "source"),
    [
        (b"", "127.0.0.2"),
        (b"POST /", "127.0.0.1"),
        (f"POST /webhooks/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode(), "127.0.0.2"),
    ],
    ids=["nothing", "half a line from where the events come from", "half a body"],
)
def test_over_a_thousand_silent_connections_block_no_event(
    start_receiver: Start, events: Make, crowd: Any, sent: bytes, source: str
) -> None:
    running = start_receiver(receiver="headers_deadline_s = 60\nbody_deadline_s = 60")
    crowd(running.port, 1100, sent=sent)
    assert [post(running.port, events(), source=source) for _ in range(30)] == [200] * 30


def test_an_address_over_its_limit_loses_its_own_oldest_connections(
    start_receiver: Start, events: Make, crowd: Any
) -> None:
    running = start_receiver(receiver=f"headers_deadline_s = 60\n{FEW}")
    others = crowd(running.port, 5, source="127.0.0.2")
    first = crowd(running.port, 10)
    time.sleep(0.6)
    second = crowd(running.port, 8)
    assert post(running.port, events(), source="127.0.0.2") == 200
    assert (alive(others), alive(first), alive(second)) == (5, 2, 8)


def test_the_oldest_silent_connections_of_a_proxy_are_dropped_over_the_total_limit(
    start_receiver: Start, events: Make, crowd: Any
) -> None:
    running = start_receiver(receiver=f'headers_deadline_s = 60\ntrusted_proxies = ["127.0.0.1"]\n{FEW}')
    first = crowd(running.port, 20)
    time.sleep(0.6)
    second = crowd(running.port, 20)  # of a proxy, which has no limit of its own
    assert (alive(first), alive(second)) == (20, 20)
    headers = {"X-Forwarded-For": "203.0.113.7"}
    for _ in range(3):
        assert post(running.port, events(), source="127.0.0.1", headers=headers) == 200
    assert alive(first) in (17, 18, 19)  # as many as were needed
    assert alive(second) == 20


class Plug:
    """A connection that knows whether it was dropped."""

    gone = False

    def drop(self) -> None:
        self.gone = True


def test_a_connection_being_served_is_never_dropped_and_waits_again_after_its_response() -> None:
    now = [0.0]
    connections = Connections(most=3, most_waiting_each=99, clock=lambda: now[0])
    plugs = [Plug() for _ in range(5)]
    for plug in plugs[:3]:
        connections.opened(plug, "192.0.2.1")
    connections.is_served(plugs[0])
    now[0] = 10
    connections.opened(plugs[3], "192.0.2.1")
    assert [plug.gone for plug in plugs] == [False, True, False, False, False]
    connections.closed(plugs[2])
    connections.waits(plugs[0])
    now[0] = 20
    connections.closed(plugs[3])
    connections.opened(plugs[2], "192.0.2.1")
    connections.opened(plugs[3], "192.0.2.1")
    connections.opened(plugs[4], "192.0.2.1")
    assert [plug.gone for plug in plugs] == [True, True, False, False, False]


def test_an_ipv6_network_is_one_sender_and_a_mapped_address_is_its_own() -> None:
    now = [0.0]
    proxies = [ip_network("2001:db8:1::/48"), ip_network("192.0.2.0/24")]
    connections = Connections(most=99, most_waiting_each=1, shared=proxies, clock=lambda: now[0])

    def second_goes(one: str | None, other: str | None) -> bool:
        first, second = Plug(), Plug()
        connections.opened(first, one)
        now[0] += 1
        connections.opened(second, other)
        connections.closed(first)
        connections.closed(second)
        return first.gone

    assert second_goes("2001:db8:2::1", "2001:db8:2::2")
    assert not second_goes("2001:db8:2::1", "2001:db8:3::1")
    assert second_goes("::ffff:198.51.100.1", "198.51.100.1")
    assert not second_goes("2001:db8:1::1", "2001:db8:1::1")
    assert not second_goes("::ffff:192.0.2.1", "192.0.2.1")
    assert not second_goes(None, None)
