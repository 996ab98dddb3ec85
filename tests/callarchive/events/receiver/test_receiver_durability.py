"""Acknowledged events are stored exactly once, whatever happens to the receiver."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.events.inbox.inbox import Inbox

KILLS = 20
ACCOUNT = "acme_sg"
Start = Callable[..., Any]


def kept(url: str) -> Counter[str]:
    """Count the events of each recording in the inbox, and assert that queries return sessions and recordings once."""
    inbox = Inbox.open(url)
    found: Counter[str] = Counter()
    after = 0
    while changes := inbox.changes(after):
        after = changes[-1].number
        start = datetime.now(UTC) - timedelta(days=1)
        sessions = [session.session_id for session in inbox.sessions(ACCOUNT, start, start + timedelta(days=2))]
        assert len(sessions) == len(set(sessions))
        events = Counter(change.session_id for change in changes)
        assert events.keys() <= set(sessions)
        recordings = inbox.recordings(ACCOUNT, events.keys())
        # The clients' sessions have one recording each.
        assert sorted(recording.session_id for recording in recordings) == sorted(events)
        for recording in recordings:
            found[recording.recording_id] += events[recording.session_id]
    inbox.close()
    return found


def kill_repeatedly(start: Start, load: Any, *, seed: int) -> list[str]:
    """Kill the receiver at random moments under load and restart it; return the acknowledged recording ids."""
    moments = random.Random(seed)
    running = start()
    with load(lambda: running.port) as clients:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.02, 0.4))
            running.process.kill()
            running.process.wait()
            running = start()
        time.sleep(0.3)
    acknowledged: list[str] = clients.acknowledged
    running.process.kill()
    running.process.wait()
    return acknowledged


def test_a_killed_receiver_loses_no_acknowledged_event(start_receiver: Start, load: Any, tmp_path: Path) -> None:
    acknowledged = kill_repeatedly(start_receiver, load, seed=1)
    assert len(acknowledged) > 200
    found = kept(f"sqlite:///{tmp_path}/inbox.sqlite3")
    assert not set(acknowledged) - set(found)
    assert set(found.values()) == {1}


@pytest.mark.needs("initdb")
def test_a_killed_receiver_loses_no_acknowledged_event_on_postgresql(
    start_receiver: Start, load: Any, postgresql: Any
) -> None:
    url = f"postgresql+psycopg://{postgresql.user}@127.0.0.1:{postgresql.port}/{postgresql.user}"

    def start() -> Any:
        return start_receiver(inbox=url, environment={"PGPASSWORD": postgresql.password})

    acknowledged = kill_repeatedly(start, load, seed=2)
    assert len(acknowledged) > 200
    found = kept(postgresql.url)
    assert not set(acknowledged) - set(found)
    assert set(found.values()) == {1}


def test_sigterm_under_load_stops_cleanly_and_loses_nothing(start_receiver: Start, load: Any, tmp_path: Path) -> None:
    running = start_receiver()
    with load(lambda: running.port, per_second=1000, clients=16) as clients:
        time.sleep(1)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0, running.log.read_text()
    found = kept(f"sqlite:///{tmp_path}/inbox.sqlite3")
    assert clients.acknowledged
    assert not set(clients.acknowledged) - set(found)
    assert "Traceback" not in running.log.read_text()
