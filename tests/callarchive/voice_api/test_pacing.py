"""The rate cap as a sequence of slots."""

import threading

from callarchive.voice_api.pacing import Pacer


def test_slots_are_evenly_spaced_across_all_threads():
    waits = []
    pacer = Pacer(50, sleep=waits.append)
    threads = [threading.Thread(target=pacer.wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # No thread really slept, so slot n is about n/50 s ahead: seven waited, the last for 0.14 s less the time elapsed.
    assert len(waits) == 7
    assert 0.02 * 7 - 0.05 < max(waits) <= 0.02 * 7


def test_no_burst_follows_an_idle_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("callarchive.voice_api.pacing.time.monotonic", lambda: now[0])
    waits = []
    pacer = Pacer(10, sleep=waits.append)
    pacer.wait()
    now[0] += 60
    for _ in range(3):
        pacer.wait()
    assert [round(wait, 6) for wait in waits] == [0.1, 0.2]
