"""Events for which `add` returned are stored exactly once, however the writer or the server is killed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callarchive.events.inbox.inbox import Inbox

KILLS = 10
WRITER = """
import json, sys, uuid
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
inbox = Inbox.open(sys.argv[1])
while True:
    batch = []
    for _ in range(7):
        payload = {"sessionId": str(uuid.uuid1()), "recordingId": str(uuid.uuid1())}
        body = json.dumps({"eventType": "CALL_RECORDING_STATUS", "payload": payload}).encode()
        batch.append(("acme_sg", read_event(body, subaccount_id="acme_sg", mask=lambda _: None)))
    inbox.add([*batch, batch[0]])
    print(*(event.identity for _, event in batch), flush=True)
"""


def start_writer(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kept(url: str) -> list[str]:
    """Return the identity of every event in the inbox."""
    inbox = Inbox.open(url)
    with inbox._engine.connect() as connection:
        found = [row[0] for row in connection.execute(sa.text("select identity from inbox_events order by number"))]
    inbox.close()
    return found


def test_a_writer_killed_at_any_moment_loses_no_reported_event(url: str) -> None:
    moments, reported = random.Random(3), []
    for _ in range(KILLS):
        with start_writer(url) as writer:
            assert writer.stdout is not None
            reported += writer.stdout.readline().split()
            time.sleep(moments.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout.read().split("\n")[:-1]:  # the last one may be cut
                reported += line.split()
    found = kept(url)
    assert len(found) == len(set(found))
    assert set(reported) <= set(found)
    assert len(found) % 7 == 0, "a batch is taken in whole or not at all"
    assert len(reported) >= 7 * KILLS


@pytest.mark.needs("initdb")
def test_a_killed_server_loses_no_reported_event(own_postgresql_server: Any) -> None:
    server = own_postgresql_server
    with server.database() as database:
        # The database may be configured for speed over durability: no events may be lost even then.
        database.run(f"alter role {database.user} set synchronous_commit = off")
        reported: list[str] = []
        with start_writer(database.url) as writer:
            assert writer.stdout is not None
            assert writer.stderr is not None
            reported += writer.stdout.readline().split()
            time.sleep(0.3)
            server.stop_at_once()
            reported += writer.stdout.read().split()
            last_words = writer.stderr.read().strip().splitlines()[-1]
        assert last_words.startswith("callarchive.domain.errors.UnavailableError: inbox.url: ")
        assert database.password not in last_words
        server.start()
        found = kept(database.url)
        assert len(found) == len(set(found))
        assert set(reported) <= set(found)
        assert len(reported) > 7


def test_six_processes_that_create_the_inbox_at_once_all_write_to_it(url: str, tmp_path: Path) -> None:
    """SQLite's switch to WAL does not wait by itself."""
    go = tmp_path / "go"
    waiting = f"import pathlib, sys\nprint('ready', flush=True)\nwhile not pathlib.Path({str(go)!r}).exists(): pass\n"
    # Imports take longest, so they are done first.
    imports, _, writing = WRITER.partition("inbox = ")
    script = imports + waiting + "inbox = " + writing.replace("while True:", "for _ in range(2):")
    writers = [
        subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    go.touch()
    reported: list[str] = []
    for writer in writers:
        out, problems = writer.communicate(timeout=120)
        assert writer.returncode == 0, problems
        reported += out.split()
    found = kept(url)
    assert sorted(reported) == sorted(found)
    assert len(found) == 6 * 2 * 7
