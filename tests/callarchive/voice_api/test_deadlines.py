"""Deadlines without a network. Dripping servers are in voice_api/test_voice.py."""

import socket
import time

import pytest

from callarchive.voice_api.deadlines import Deadline, Watchdog


def test_a_sleep_that_does_not_sleep_counts_all_the_same():
    asked = []
    deadline = Deadline(100, sleep=asked.append)
    deadline.sleep(60)
    assert 39 < deadline.remaining_s <= 40
    deadline.sleep(60)
    assert deadline.passed
    assert asked[0] == 60
    assert 39 < asked[1] <= 40


def test_a_real_sleep_counts_once():
    deadline = Deadline(100)
    begun = time.monotonic()
    deadline.sleep(0.05)
    used_s = 100 - deadline.remaining_s
    assert used_s == pytest.approx(time.monotonic() - begun, abs=0.02)


def test_a_part_of_a_deadline_ends_no_later_and_time_of_ours_is_given_back():
    deadline = Deadline(10)
    assert deadline.at_most(60).remaining_s <= 10
    assert deadline.at_most(3).remaining_s <= 3
    deadline.extend(5)
    assert 14 < deadline.remaining_s <= 15


def test_the_watchdog_wakes_a_reader_and_only_the_one_whose_time_is_up():
    watchdog = Watchdog()
    near, far = socket.socketpair()
    other_near, other_far = socket.socketpair()
    near.settimeout(10)
    try:
        with watchdog.watching(60) as patient, watchdog.watching(0.05) as watch:
            patient.socket, watch.socket = other_near, near
            assert near.recv(1) == b""
            assert watch.barked
            assert not patient.barked
            other_far.sendall(b"x")
            assert other_near.recv(1) == b"x"
    finally:
        for end in (near, far, other_near, other_far):
            end.close()
        watchdog.close()
        watchdog.close()
