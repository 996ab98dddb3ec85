"""A day of recordings on a server, and the main job over it."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.cli.day_results import DaySummary, archive_day
from callarchive.settings import load_settings
from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.generation import generate_world
from callarchive.simulator.landings import object_bytes
from callarchive.simulator.world import AccountPlan, Answer, FileState, Recording, World
from tests.servers.running import Place

DAY = date(2026, 1, 5)
_SESSIONS = 12


@dataclass(frozen=True)
class Day:
    """A day whose recordings are all on the server, and a configuration for it.

    Attributes:
        expected: the SHA-256 of each recording's file, by recording id.
        stores: an `archive` and a `catalog` section; by default folders.
    """

    place: Place
    home: Path
    world: World
    expected: dict[str, str]

    @property
    def recordings(self) -> list[Recording]:
        return list(self.world.recordings)

    @property
    def archive(self) -> Path:
        return self.home / "archive"

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run `callarchive` in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "callarchive", *words],
            env={**os.environ, "CALLARCHIVE_CONFIG": str(self.home / "callarchive.toml"), **environment},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def again(self) -> tuple[DaySummary, dict[str, dict[str, Any]]]:
        """Archive the day in this process, and return its summary and its recordings by id."""
        with Connections(load_settings(self.home / "callarchive.toml")) as connections:
            summary = archive_day(connections, DAY)
            rows = connections.catalog.rows(schemas.RECORDINGS, DAY)
        return summary, {row["recording_id"]: row for row in rows}

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of each file in the archive, by its name."""
        files = [file for file in self.archive.rglob("*.mp3") if file.is_file()]
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def whole_day(kind: str, root: str) -> World:
    """Return a day without faults."""
    account = AccountPlan("acme_sg", "s3" if kind == "s3" else "sftp", root, layout="mixed")
    world = generate_world(seed=3, accounts=(account,), first_day=DAY, last_day=DAY, sessions_per_day=_SESSIONS)
    sessions = (
        replace(
            session,
            answer=Answer.RECORDINGS if session.recordings else Answer.EMPTY_LIST,
            recordings=tuple(
                replace(one, status="CALLBACK_COMPLETED", file=FileState.WHOLE, ready_at=None)
                for one in session.recordings
            ),
        )
        for session in world.sessions
    )
    return replace(world, sessions=tuple(sessions))


@contextmanager
def day_at(place: Place, home: Path, *, stores: str = "") -> Iterator[Day]:
    """Put a day's recordings on the server, simulate 8x8's API for them and write a configuration.

    Args:
        stores: the sections `archive` and `catalog`; by default folders in `home`.
    """
    world = whole_day(place.kind, place.landing.partition("//")[2])
    expected = {}
    for recording in world.recordings:
        data = object_bytes(recording)
        place.files.put(recording.path, data)
        expected[recording.recording_id] = hashlib.sha256(data).hexdigest()
    assert len(expected) >= 6
    folders = f'[archive]\nurl = "{home.as_uri()}/archive"\n[catalog]\nurl = "{home.as_uri()}/catalog"\n'
    section = "".join(f"{name} = {in_toml(value)}\n" for name, value in place.section.items())
    with SimulatedApi(world, keys={"acme_sg": os.environ["ACME_SG_API_KEY"]}, export_polls=1) as api:
        (home / "callarchive.toml").write_text(
            f"""\
start_date = {DAY}
{stores or folders}
[[accounts]]
subaccount_id = "acme_sg"
api_url = "{api.url}"
api_key = {{ env = "ACME_SG_API_KEY" }}
landing = "{place.landing}"
[accounts.{place.kind}]
{section}
[[accounts.session_sources]]
kind = "log_export"
""",
            encoding="utf-8",
        )
        yield Day(place, home, world, expected)


def in_toml(value: Any) -> str:
    """Return the value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {in_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
