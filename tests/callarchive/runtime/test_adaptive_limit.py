"""The limit follows the throughput, within its ceiling, and falls when the server throttles."""

import threading
from threading import Event

import pytest

from callarchive.runtime.adaptive_limit import Adaptive
from callarchive.runtime.worker_pool import in_threads


class Server:
    """A landing with a given throughput at each concurrency, and its clock."""

    def __init__(self, *, each_s: float, at_most_per_s: float) -> None:
        self.now = 100.0
        self._each_s = each_s
        self._at_most_per_s = at_most_per_s

    def serve(self, adaptive: Adaptive, seconds: float) -> None:
        ends_at = self.now + seconds
        while self.now < ends_at:
            self.now += 1 / min(adaptive.limit / self._each_s, self._at_most_per_s)
            adaptive.finished()


def adaptive_for(server: Server, ceiling: int = 64) -> Adaptive:
    return Adaptive(ceiling, clock=lambda: server.now)


def test_it_starts_low_and_grows_to_the_ceiling_while_throughput_rises() -> None:
    far = Server(each_s=0.04, at_most_per_s=1e9)
    adaptive = adaptive_for(far)
    assert adaptive.limit == 8
    far.serve(adaptive, 2)
    assert adaptive.limit == 64


def test_it_grows_after_the_first_transfer_of_each_thread() -> None:
    far = Server(each_s=0.3, at_most_per_s=1e9)
    adaptive = adaptive_for(far)
    far.serve(adaptive, 0.35)
    assert adaptive.limit == 32


@pytest.mark.parametrize(("each_s", "steps"), [(0.15, [8, 32, 64]), (0.02, [8, 16, 32, 64])], ids=["far", "near"])
def test_it_grows_in_larger_steps_where_a_transfer_takes_long(each_s: float, steps: list[int]) -> None:
    server = Server(each_s=each_s, at_most_per_s=1e9)
    adaptive = adaptive_for(server)
    limits = [adaptive.limit]
    for _ in range(100):
        server.serve(adaptive, 0.05)
        if adaptive.limit != limits[-1]:
            limits.append(adaptive.limit)
    assert limits == steps


def test_it_does_not_grow_while_the_process_uses_a_whole_core() -> None:
    near, busy = Server(each_s=0.02, at_most_per_s=1e9), True
    adaptive = Adaptive(64, clock=lambda: near.now, cpu_clock=lambda: near.now * (1.2 if busy else 0.5))
    near.serve(adaptive, 5)
    assert adaptive.limit == 8
    busy = False
    near.serve(adaptive, 5)
    assert adaptive.limit == 64


def test_it_does_not_grow_where_throughput_does_not() -> None:
    near = Server(each_s=0.001, at_most_per_s=800)
    adaptive = adaptive_for(near)
    limits = set()
    for _ in range(200):
        near.serve(adaptive, 0.1)
        limits.add(adaptive.limit)
    assert limits == {8, 16}, "a step is tried now and then and taken back"
    assert adaptive.limit in (8, 16)


@pytest.mark.parametrize("ceiling", [1, 5])
def test_it_never_exceeds_its_ceiling(ceiling: int) -> None:
    far = Server(each_s=1.0, at_most_per_s=1e9)
    adaptive = adaptive_for(far, ceiling)
    assert adaptive.limit == ceiling
    far.serve(adaptive, 100)
    assert adaptive.limit == ceiling


def test_it_is_halved_once_for_a_burst_of_throttling_and_grows_again_later() -> None:
    far = Server(each_s=0.04, at_most_per_s=1e9)
    adaptive = adaptive_for(far)
    far.serve(adaptive, 2)
    for _ in range(32):
        adaptive.on_throttled()
    assert adaptive.limit == 32
    far.serve(adaptive, 2)
    assert adaptive.limit == 32, "it waits a while"
    far.serve(adaptive, 10)
    assert adaptive.limit == 64


def test_continued_throttling_lowers_it_to_one() -> None:
    far = Server(each_s=0.04, at_most_per_s=1e9)
    adaptive = adaptive_for(far)
    for _ in range(10):
        far.now += 2
        adaptive.on_throttled()
    assert adaptive.limit == 1


def test_threads_follow_the_limit_down() -> None:
    """Eight run when the server throttles; of the items begun afterwards at most four run at once."""
    adaptive = Adaptive(8)
    all_here = threading.Barrier(8)
    lock = threading.Lock()
    running = peak_afterwards = begun = 0
    throttled = Event()

    def work(number: int, _: Event) -> int:
        nonlocal running, peak_afterwards, begun
        with lock:
            begun += 1
            early = begun <= 8
            running += not early
            peak_afterwards = max(peak_afterwards, running)
        if early:
            all_here.wait(10)
            adaptive.on_throttled()
            throttled.set()
        else:
            assert throttled.wait(10)
        with lock:
            running -= not early
        return number

    with in_threads(work, range(200), concurrency=adaptive, name="adaptive-test") as results:
        assert sorted(results) == list(range(200))
    assert 1 <= peak_afterwards <= 4
