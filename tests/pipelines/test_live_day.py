"""A day lived through: the simulator calls, uploads late or never, and sends events badly; the real receiver, Dagster's real
daemon and its runs do the rest. Hours are seconds here: the configuration's times are scaled, no clock is.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.events import recording_uploaded, session_summary
from callarchive.simulator.generation import file_name, uuid_at
from callarchive.simulator.landings import free_port
from callarchive.simulator.responses import Webhook
from callarchive.simulator.running import Simulator
from callarchive.simulator.world import AccountPlan, Answer, FileState, Leg, PhoneNumber, Recording, Session, World
from tools.running_dagster import DAEMON, environment_with, run_workers

ACCOUNT = "live_s3"
AUTH = "Bearer live"
SESSIONS = 42
LATE_S = 30
GRACE_S = 40
GIVEN_UP_S = 75
PATIENCE_S = 330

INSTANCE = """
telemetry: {enabled: false}
run_monitoring: {enabled: true, poll_interval_seconds: 5, free_slots_after_run_end_seconds: 5}
run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}
run_queue: {dequeue_interval_seconds: 1}
"""

OUTCOMES: tuple[tuple[str, FileState, float | None, str], ...] = (
    ("UPLOAD_COMPLETED", FileState.WHOLE, 1, "archived"),
    ("UPLOAD_COMPLETED", FileState.WHOLE, LATE_S, "archived"),
    ("CALLBACK_COMPLETED", FileState.WHOLE, 2, "archived"),
    ("UPLOAD_FAILED", FileState.ABSENT, 3, "not_uploaded"),
    ("UPLOAD_COMPLETED", FileState.ABSENT, 1, "missing"),
    ("PROCESSING", FileState.ABSENT, None, "missing"),
)
"""Status, file, seconds after the call, and what must come of it; one more kind of session has no recording."""


def live_world(begun_at: datetime) -> World:
    """Sessions that began in the last minute, or begin in the next half."""
    rng = random.Random(4)
    numbers = PhoneNumber("12025550123", "1")
    sessions = []
    for number in range(SESSIONS):
        at = begun_at + timedelta(milliseconds=rng.randrange(-60_000, 30_000))
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        ended_at = at + timedelta(seconds=5)
        session_id = uuid_at(at, rng)
        leg = Leg(
            call_id=uuid_at(at, rng),
            direction="inbound",
            source=numbers,
            destination=numbers,
            initiated_at=at,
            connected_at=at,
            disconnected_at=ended_at,
            duration_s=5,
            status="COMPLETED",
        )
        recordings: tuple[Recording, ...] = ()
        kind = number % (len(OUTCOMES) + 1)
        if kind < len(OUTCOMES):
            status, file, ready_s, _ = OUTCOMES[kind]
            recording_id = uuid_at(at, rng)
            name = file_name(recording_id, at)
            recordings = (
                Recording(
                    subaccount_id=ACCOUNT,
                    session_id=session_id,
                    recording_id=recording_id,
                    started_at=at,
                    duration_s=4.0,
                    status=status,
                    file=file,
                    path=f"{at.date()}/{session_id}/{name}" if number % 2 else f"{session_id}/{name}",
                    external_file_url=f"https://recordings.example/{session_id}/{name.replace(':', '%3A')}",
                    shape="lame_cbr_8k_mono",
                    audio_seed=number,
                    ready_at=None if ready_s is None else ended_at + timedelta(seconds=ready_s),
                ),
            )
            if ready_s is None:
                recordings = (replace(recordings[0], ready_at=begun_at + timedelta(days=1)),)
        answer = Answer.RECORDINGS if recordings else Answer.EMPTY_LIST
        # Every fifth session is in no export before an event names it, and some never: then only the event does.
        sessions.append(
            Session(
                ACCOUNT, session_id, at, ended_at, "COMPLETED", (leg,), recordings, answer, exported=number % 5 != 0
            )
        )
    return World(accounts=(AccountPlan(ACCOUNT, "s3", "live-recordings/pushed"),), sessions=tuple(sessions))


def expected_states(world: World) -> dict[str, str]:
    """What must become of every recording, worked out from the world alone."""
    return {
        session.recordings[0].recording_id: OUTCOMES[number % (len(OUTCOMES) + 1)][3]
        for number, session in enumerate(world.sessions)
        if session.recordings
    }


@contextmanager
def process(words: Sequence[str], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of its own group, whose whole group is gone afterwards."""
    with log.open("ab") as out:
        running = subprocess.Popen(words, env=environment, stdout=out, stderr=out, process_group=0)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                running.wait(15)
            for child in psutil.process_iter(["pid"]):
                try:
                    if os.getpgid(child.pid) == running.pid:
                        child.kill()
                except (ProcessLookupError, psutil.Error):
                    continue
            running.wait()


def configure(simulator: Simulator, port: int) -> None:
    """The scaled times, an inbox source, and the receiver's header."""
    hour, day = 3600, 24 * 3600
    head, marker, accounts = simulator.config.read_text().partition("[[accounts]]")
    scaled = f"""
[transfer]
missing_after_hours = {GRACE_S / hour}

[reopen]
first_minutes = 0.1
growth = 0.2
max_age_days = {GIVEN_UP_S / day}

[dagster]
sensors = "on"
event_pause_max_minutes = 0.2

"""
    accounts = accounts.replace(
        "[[accounts.session_sources]]",
        f'[accounts.webhooks]\nurl = "http://127.0.0.1:{port}/webhooks/{ACCOUNT}"\nauth_header = {{ env = "LIVE_AUTH" }}\n\n'
        '[[accounts.session_sources]]\nkind = "inbox"\n\n[[accounts.session_sources]]',
        1,
    )
    simulator.config.write_text(head + scaled + marker + accounts)


def rows(simulator: Simulator, table: schemas.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Catalog.open(simulator.directory / "catalog").arrow(table).to_pylist()
    return found


@dataclass(frozen=True)
class Event:
    """A webhook event of 8x8: VSS once a session has ended, VRU once a recording was uploaded."""

    type: str
    session_id: str
    due_at: datetime
    body: dict[str, Any]


def events_of(world: World) -> Iterator[Event]:
    for session in world.sessions:
        yield Event("VSS", session.session_id, session.ended_at, session_summary(session))
        for recording in session.recordings:
            if recording.status in ("UPLOAD_COMPLETED", "CALLBACK_COMPLETED", "CALLBACK_FAILED", "completed"):
                due_at = recording.ready_at or session.ended_at
                yield Event("VRU", session.session_id, due_at, recording_uploaded(recording))


class Postman:
    """Sends events as unreliably as 8x8: shuffled, three in ten twice, three in ten not at all, and never retried."""

    def __init__(self, api: SimulatedApi, world: World) -> None:
        self._api, self._rng = api, random.Random(2)
        self._left = list(events_of(world))
        self.delivered: list[Event] = []
        self.dropped: list[Event] = []

    def deliver(self) -> None:
        """Send the events that became due."""
        now = datetime.now(UTC)
        due = [event for event in self._left if event.due_at <= now]
        self._left = [event for event in self._left if event.due_at > now]
        self._rng.shuffle(due)
        for event in due:
            if self._rng.random() < 0.3:
                self.dropped.append(event)
                continue
            for _ in range(2 if self._rng.random() < 0.3 else 1):
                if self._send(event):
                    self.delivered.append(event)

    def _send(self, event: Event) -> bool:
        (hook,) = (hook for hook in self._api.webhooks(ACCOUNT) if hook.type == event.type)
        headers = {"Authorization": hook.http_auth_header}
        try:
            return requests.post(hook.url, json=event.body, headers=headers, timeout=30).status_code == 200
        except requests.RequestException:
            return False


def known_by_someone(world: World, delivered: list[Event]) -> set[str]:
    """Sessions that the export names, or that have an event: the others cannot be known."""
    return {event.session_id for event in delivered} | {s.session_id for s in world.sessions if s.exported}


@pytest.mark.live
def test_a_live_day_ends_as_it_should_whatever_is_lost_late_or_killed(tmp_path: Path) -> None:
    begun_at = datetime.now(UTC)
    world, port = live_world(begun_at), free_port(0)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    with Simulator.start(tmp_path / "simulator", world=world) as simulator:
        configure(simulator, port)
        for kind in ("VRU", "VSS"):
            url = f"http://127.0.0.1:{port}/webhooks/{ACCOUNT}"
            simulator.api._webhooks[ACCOUNT, kind] = Webhook(kind, url, http_auth_header=AUTH)
        environment = {
            **environment_with(simulator.environment, config=simulator.config, home=home),
            "LIVE_AUTH": AUTH,
        }
        receive = [
            sys.executable,
            "-c",
            "from callarchive.cli import main; main()",
            "webhooks",
            "serve",
            "--port",
            str(port),
        ]
        postman = Postman(simulator.api, world)
        log = tmp_path / "log"
        killed_run = False
        with process(DAEMON, environment, log) as ordering:
            with process(receive, environment, log) as receiver:
                while time.time() < begun_at.timestamp() + 45:
                    simulator.deliver()
                    postman.deliver()
                    time.sleep(1)
                receiver.kill()
                receiver.wait()
            with process(receive, environment, log):
                deadline = time.monotonic() + PATIENCE_S
                while True:
                    simulator.deliver()
                    postman.deliver()
                    killed_run = killed_run or kill_a_run(ordering)
                    wrong = differences(simulator, world, postman)
                    if not wrong and killed_run:
                        break
                    assert time.monotonic() < deadline, f"run killed: {killed_run}; {wrong}; the log is {log}"
                    time.sleep(1)
        found = rows(simulator, schemas.RECORDINGS)
        assert all(len(row["versions"]) <= 1 for row in found)
        kept = sorted((simulator.directory / "archive").rglob("*.mp3"))
        assert len(kept) == sum(row["archive_status"] == "archived" for row in found)
        assert postman.dropped
        by_drop = {event.session_id for event in postman.dropped} & known_by_someone(world, postman.delivered)
        assert by_drop <= {row["session_id"] for row in rows(simulator, schemas.SESSIONS)}


def kill_a_run(daemon: "subprocess.Popen[bytes]") -> bool:
    """The process of a run has been killed, if there is one now."""
    for worker in run_workers(daemon)[:1]:
        with suppress(psutil.Error):
            worker.kill()
            return True
    return False


def differences(simulator: Simulator, world: World, postman: Postman) -> dict[str, Any]:
    """What is not yet as it must be in the end."""
    sessions = {row["session_id"]: row for row in rows(simulator, schemas.SESSIONS)}
    known = known_by_someone(world, postman.delivered)
    states = {row["recording_id"]: row["archive_status"] for row in rows(simulator, schemas.RECORDINGS)}
    wanted = {
        s.recordings[0].recording_id: expected_states(world)[s.recordings[0].recording_id]
        for s in world.sessions
        if s.recordings and s.session_id in known
    }
    wrong: dict[str, Any] = {}
    if sessions.keys() != known:
        wrong["sessions"] = sorted(known ^ sessions.keys())
    odd = {id_: (states.get(id_), state) for id_, state in wanted.items() if states.get(id_) != state}
    if odd or states.keys() != wanted.keys():
        wrong["recordings"] = json.dumps(odd)
    return wrong
