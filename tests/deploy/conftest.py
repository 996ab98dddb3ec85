"""Several machines on this one: Redis, PostgreSQL, and processes that have nothing but the shipped `dagster.yaml` in common."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml

from callarchive.simulator.landings import free_port

PROGRAMS = Path(sys.executable).parent
SHIPPED = Path(__file__).parents[2] / "deploy" / "celery" / "dagster.yaml"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A private Redis on loopback, with a password."""
    port, password = free_port(0), secrets.token_hex(8)
    folder = tmp_path / "redis"
    folder.mkdir()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", password, "--dir", str(folder), "--save", ""]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(["redis-server", *words], stdout=log)
        url = f"redis://:{password}@127.0.0.1:{port}"
        try:
            with redis.Redis.from_url(url) as client:
                for _ in range(100):
                    with suppress(redis.ConnectionError):
                        client.ping()
                        break
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait()


@dataclass
class Cluster:
    """Machines, each with a DAGSTER_HOME of its own and one process that runs in a process group of its own.

    Attributes:
        environment: of every process on every machine.
    """

    folder: Path
    environment: dict[str, str]
    instance_config: dict[str, Any]
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def home(self, machine: str) -> Path:
        """The machine's DAGSTER_HOME, with the instance configuration that all of them share."""
        home = self.folder / machine
        if not home.exists():
            home.mkdir(parents=True)
            (home / "dagster.yaml").write_text(yaml.safe_dump(self.instance_config))
        return home

    def start(self, machine: str, program: str, *words: str) -> None:
        """The program runs on the machine, until the test ends or `kill`. What it prints is in `log` there."""
        with (self.home(machine) / "log").open("ab") as log:
            self._running[machine] = subprocess.Popen(
                [PROGRAMS / program, *words],
                env={**self.environment, "DAGSTER_HOME": str(self.home(machine))},
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def start_worker(self, machine: str) -> None:
        """A worker runs on the machine, as its systemd unit starts it."""
        words = ("--app", "pipelines.celery_worker", "worker", "--concurrency", "1", "--hostname", f"{machine}@%h")
        self.start(machine, "celery", *words, "--loglevel", "INFO")

    def start_daemon(self, machine: str) -> None:
        self.start(machine, "dagster-daemon", "run", "-m", "pipelines.definitions")

    def machine_of(self, process_id: int) -> str | None:
        """The machine that a process runs on."""
        with suppress(ProcessLookupError):
            group = os.getpgid(process_id)
            return next((name for name, leader in self._running.items() if leader.pid == group), None)
        return None

    def kill(self, machine: str) -> None:
        """Every process of the machine is gone at once, as when it loses power."""
        leader = self._running.pop(machine)
        for process in psutil.process_iter(["pid"]):
            with suppress(ProcessLookupError):
                if os.getpgid(process.pid) == leader.pid:
                    os.kill(process.pid, signal.SIGKILL)
        leader.wait()

    def order(self, machine: str, job: str, day: date) -> None:
        """A run of the job on that day is in the queue."""
        of_day = json.dumps({"dagster/partition": str(day)})
        subprocess.run(
            [PROGRAMS / "dagster", "job", "launch", "-m", "pipelines.definitions", "-j", job, "--tags", of_day],
            env={**self.environment, "DAGSTER_HOME": str(self.home(machine))},
            capture_output=True,
            timeout=120,
            check=True,
        )

    def ask(self, machine: str, graphql: str) -> Any:
        """What Dagster answers to the query, as the UI sends it."""
        answer = self.home(machine) / "answer.json"
        subprocess.run(
            [PROGRAMS / "dagster-graphql", "-m", "pipelines.definitions", "-o", answer, "-t", graphql],
            env={**self.environment, "DAGSTER_HOME": str(self.home(machine))},
            capture_output=True,
            timeout=120,
            check=True,
        )
        return json.loads(answer.read_text())["data"]

    def close(self) -> None:
        for machine in list(self._running):
            self.kill(machine)


@pytest.fixture
def start_cluster(postgresql: Any, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts a `Cluster` of no machines yet: `start_cluster(environment, hasten)`.

    `hasten` is handed the shipped instance configuration and may shorten its times.
    """
    with ExitStack() as running:

        def start(environment: dict[str, str], hasten: Callable[[dict[str, Any]], None]) -> Cluster:
            config = yaml.safe_load(SHIPPED.read_text())
            postgresql.run(f"alter role {postgresql.user} set timezone to 'UTC'")  # Dagster's time stamps have none
            hasten(config)
            own = {
                "DAGSTER_POSTGRES_URL": postgresql.url.replace("postgresql+psycopg:", "postgresql:"),
                "DAGSTER_CELERY_BROKER_URL": f"{redis_url}/0",
                "DAGSTER_CELERY_BACKEND_URL": f"{redis_url}/1",
            }
            cluster = Cluster(tmp_path / "machines", {**environment, **own}, config)
            running.callback(cluster.close)
            return cluster

        yield start
