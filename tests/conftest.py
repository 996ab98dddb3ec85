"""Fixtures for all tests: a world on simulators, a PostgreSQL server.

The marker `needs` lists programs that a test runs; see `pytest_runtest_setup`.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.cli.day_results import DaySummary, archive_day
from callarchive.settings import load_settings
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import DEMO_ACCOUNTS, Simulator

# No test asserts speed: on a busy machine an example may take longer than the 200 ms that Hypothesis allows it. Examples
# are the same in every run, so that no change fails for what an earlier one did; `pytest --hypothesis-profile=search`
# looks for new ones.
hypothesis.settings.register_profile("search", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("same")

# Debian installs servers in folders that are not in the PATH of an ordinary user.
_SEARCH_PATH = os.pathsep.join(
    (
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        "/usr/local/sbin",
        *map(str, Path("/usr/lib/postgresql").glob("*/bin")),
    )
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed; with CI=true fail it, because CI installs all of them."""
    for marker in item.iter_markers("needs"):
        absent = [program for program in marker.args if shutil.which(program, path=_SEARCH_PATH) is None]
        if absent and os.environ.get("CI") == "true":
            pytest.fail(f"{', '.join(absent)} must be installed where CI=true", pytrace=False)
        if absent:
            pytest.skip(f"{', '.join(absent)} is not installed (.ci/run lists the Debian packages)")


_WHEN = {"archived_at", "looked_up_at", "first_seen_at", "resolved_at"}


@dataclass
class Trial:
    """A small world on running simulators, with a configuration that points to them, and methods to archive it.

    Attributes:
        days: the days with sessions, oldest first.
    """

    simulator: Simulator
    days: list[date]

    @property
    def config(self) -> Path:
        return self.simulator.config

    def connections(self) -> Connections:
        return Connections(load_settings(self.config), clock=self.simulator.clock)

    def archive(self, *days: date) -> list[DaySummary]:
        """Archive the days (by default all) in this process. A day that fails raises its error."""
        with self.connections() as connections:
            return [archive_day(connections, day) for day in days or self.days]

    def run(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `callarchive` in a separate process with this configuration."""
        return subprocess.run(
            [sys.executable, "-c", "from callarchive.cli import main; main()", *words],
            env=self.process_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of every public table, without the times that differ between runs."""
        catalog = Catalog.open(self.config.parent / "catalog")
        return {
            table.name: [{k: v for k, v in row.items() if k not in _WHEN} for row in catalog.arrow(table).to_pylist()]
            for table in schemas.PUBLIC_TABLES
        }

    def state_of(self, recording_id: str) -> str:
        """Return the recording's archive_status."""
        return {row["recording_id"]: row["archive_status"] for row in self.tables()["recordings"]}[recording_id]

    def files(self) -> dict[str, str]:
        """Return the path and SHA-256 of every file in the archive except locks."""
        root = self.config.parent / "archive"
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and "_locks" not in path.parts
        }

    def look_up_count(self) -> int:
        """Return the number of lookups that the API received."""
        return sum(r.method == "GET" and "/recordings/" in r.path for r in self.simulator.api.requests)

    def configure(self, section: str) -> None:
        """Insert the section before the accounts, because TOML cannot return to the top level after them."""
        head, marker, accounts = self.config.read_text().partition("[[accounts]]")
        self.config.write_text(f"{head}{section}\n{marker}{accounts}")

    def process_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_", "DAGSTER_"))}
        inherited.pop("COLUMNS", None)  # pytest-xdist sets it
        return {**inherited, **self.simulator.environment, "CALLARCHIVE_CONFIG": str(self.config)}


@pytest.fixture
def start_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Trial]]:
    """Start a `Trial`: `start_trial(sessions_per_day=8, days=1)`; other keywords are passed to `Simulator.start`."""
    with ExitStack() as running:

        def start(*, sessions_per_day: int = 8, days: int = 1, seed: int = 3, **more: Any) -> Trial:
            accounts = more.pop("accounts", DEMO_ACCOUNTS)
            first_day = date(2026, 1, 5)
            world = more.pop("world", None) or generate_world(
                seed=seed,
                accounts=accounts,
                first_day=first_day,
                last_day=first_day + timedelta(days=days - 1),
                sessions_per_day=sessions_per_day,
            )
            simulator = running.enter_context(Simulator.start(tmp_path / "trial", world=world, **more))
            for name in [name for name in os.environ if name.startswith(("CALLARCHIVE_", "AWS_"))]:
                monkeypatch.delenv(name)
            for name, value in simulator.environment.items():
                monkeypatch.setenv(name, value)
            return Trial(simulator, sorted({session.started_at.date() for session in world.sessions}))

        yield start


@dataclass(frozen=True)
class Postgresql:
    """A database on a running server, and the login that owns it."""

    port: int
    user: str
    password: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.user}"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Execute the statements and return the rows of the last one."""
        conninfo = f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={self.user}"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@dataclass
class PostgresqlServer:
    """A private server on loopback. `user` has the arguments of `subprocess.run` for the user that its programs run as."""

    programs: Path
    data: Path
    port: int
    user: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k '' -c fsync=off -c timezone=Asia/Singapore"
        self.call("pg_ctl", "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop_at_once(self) -> None:
        """Stop immediately, as in a power failure except that the operating system's buffers survive."""
        self.call("pg_ctl", "-m", "immediate", "stop")

    def call(self, program: str, *words: str) -> None:
        command: list[Path | str] = [self.programs / program, "-D", self.data / "db", *words]
        subprocess.run(command, check=True, cwd=self.data, capture_output=True, **self.user)

    @contextmanager
    def database(self) -> Iterator[Postgresql]:
        """Create an empty database whose time zone is not UTC, and drop it on exit."""
        name, password = f"t{secrets.token_hex(6)}", secrets.token_hex(8)
        admin = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"create role {name} login password '{password}'")
            connection.execute(f"create database {name} owner {name}")
        yield Postgresql(self.port, name, password)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")
            connection.execute(f"drop role {name}")


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """Run a new server as an unprivileged user."""
    [*_, folder] = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "").parent]
    data = Path(tempfile.mkdtemp(prefix="callarchive-postgresql-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # initdb refuses to be root
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    server = PostgresqlServer(folder, data, port, user)
    try:
        server.call("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale")
        (data / "db" / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        server.start()
        try:
            yield server
        finally:
            server.stop_at_once()
    finally:
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server shared by all tests. Tests that stop it use `own_postgresql_server`."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def own_postgresql_server() -> Iterator[PostgresqlServer]:
    """A server that the test may stop and start."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> Iterator[Postgresql]:
    with postgresql_server.database() as database:
        yield database
