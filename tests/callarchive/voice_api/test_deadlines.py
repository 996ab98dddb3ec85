"""Deadlines without a network. Dripping servers are in `test_client`."""

import socket

from callarchive.voice_api.deadlines import Watchdog


def test_the_watchdog_aborts_only_the_reader_after_its_deadline():
    watchdog = Watchdog()
    near, far = socket.socketpair()
    other_near, other_far = socket.socketpair()
    near.settimeout(10)
    try:
        with watchdog.watching(60) as patient, watchdog.watching(0.05) as watch:
            patient.socket, watch.socket = other_near, near
            assert near.recv(1) == b""
            assert watch.timed_out
            assert not patient.timed_out
            other_far.sendall(b"x")
            assert other_near.recv(1) == b"x"
    finally:
        for end in (near, far, other_near, other_far):
            end.close()
        watchdog.close()
        watchdog.close()
