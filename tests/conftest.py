"""Fixtures for all tests: a world on simulators, a PostgreSQL server.

The marker `needs` lists programs that a test runs; see `pytest_runtest_setup`.
"""

import hashlib
import json
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any, Self

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
from callarchive.simulator.s3 import SimulatedS3

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


class Command:
    """A running `callarchive` that is no child of this process, with the methods of `Popen`."""

    def __init__(self, state: IO[bytes]) -> None:
        self._state = state
        self.pid = int(state.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._state], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("callarchive", timeout or 0)
            self.returncode = int(self._state.readline())
            self._state.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Commands:
    """Runs `callarchive` in processes that begin with everything imported: see `forked_commands.py`. Thread-safe."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = str(Path(__file__).with_name("forked_commands.py"))
        self._fixed = _interpreters(os.environ)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, program, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )

    def run(self, *words: str, environment: dict[str, str], timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; SIGKILL ends it when its time is over."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(*words, environment=environment, out=out, err=err)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(words, process.wait(), out.read().decode(), err.read().decode())

    def start(
        self, *words: str, environment: dict[str, str], out: IO[bytes], err: IO[bytes], folder: Path | None = None
    ) -> "Command | subprocess.Popen[bytes]":
        if _interpreters(environment) != self._fixed:  # read at the start of a process
            command = [sys.executable, "-c", "from callarchive.cli import main; main()", *words]
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder
            )
        state, theirs = os.pipe()
        request = json.dumps([words, environment, str(folder or Path.cwd())]).encode()
        socket.send_fds(self._requests, [request], [out.fileno(), err.fileno(), theirs])
        os.close(theirs)
        return Command(os.fdopen(state, "rb", buffering=0))

    def close(self) -> None:
        self._requests.close()
        self._process.wait()


def _interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python itself reads."""
    return {k: v for k, v in environment.items() if k.startswith(("PYTHON", "LC_", "LANG", "TZ", "COV_"))}


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    running = Commands()
    yield running
    running.close()


@dataclass
class Trial:
    """A small world on running simulators, with a configuration that points to them, and methods to archive it.

    Attributes:
        days: the days with sessions, oldest first.
    """

    simulator: Simulator
    days: list[date]
    commands: Commands

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
        """Run `callarchive` in a separate process with this configuration. SIGKILL ends it when its time is over."""
        return self.commands.run(*words, environment=self.process_environment(), timeout_s=timeout_s)

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
        """Return the path and SHA-256 of every file in the archive except locks and the ledger."""
        root = self.config.parent / "archive"
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.relative_to(root).parts[0] not in ("_locks", "_ledger")
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


@pytest.fixture(scope="session")
def reused_s3() -> Iterator[type[SimulatedS3]]:
    """A simulated S3 whose process is emptied and used by the next one: to start moto takes 0.6 s of processor time."""
    idle: list[tuple[subprocess.Popen[bytes], int]] = []

    class ReusedS3(SimulatedS3):
        def start(self) -> Self:
            if self._wanted_port or not idle:
                return super().start()
            self._process, self._port = idle.pop()
            return self

        def _stop(self, process: subprocess.Popen[bytes]) -> None:
            if self._wanted_port or process.poll() is not None:
                super()._stop(process)
                return
            emptying = urllib.request.Request(f"http://127.0.0.1:{self._port}/moto-api/reset", method="POST")
            urllib.request.urlopen(emptying, timeout=60).close()
            idle.append((process, self._port))

    yield ReusedS3
    for process, _ in idle:
        process.kill()
        process.communicate()


@contextmanager
def _trials(
    folder: Path, monkeypatch: pytest.MonkeyPatch, s3: type[SimulatedS3], commands: Commands
) -> Iterator[Callable[..., Trial]]:
    """Start a `Trial` in the folder: `start(sessions_per_day=8, days=1)`; other keywords are passed to `Simulator.start`."""
    monkeypatch.setattr("callarchive.simulator.running.SimulatedS3", s3)
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
            simulator = running.enter_context(Simulator.start(folder / "trial", world=world, **more))
            for name in [name for name in os.environ if name.startswith(("CALLARCHIVE_", "AWS_"))]:
                monkeypatch.delenv(name)
            for name, value in simulator.environment.items():
                monkeypatch.setenv(name, value)
            return Trial(simulator, sorted({session.started_at.date() for session in world.sessions}), commands)

        yield start


@pytest.fixture
def start_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reused_s3: type[SimulatedS3], commands: Commands
) -> Iterator[Callable[..., Trial]]:
    """Start a `Trial`: `start_trial(sessions_per_day=8, days=1)`; other keywords are passed to `Simulator.start`."""
    with _trials(tmp_path, monkeypatch, reused_s3, commands) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_trial(
    tmp_path_factory: pytest.TempPathFactory, reused_s3: type[SimulatedS3], commands: Commands
) -> Iterator[Callable[..., Trial]]:
    """Start a `Trial` for all tests of a module, as `start_trial` does for one."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as monkeypatch, _trials(folder, monkeypatch, reused_s3, commands) as start:
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

    @contextmanager
    def recoded(self, encoding: str) -> Iterator[str]:
        """Create a database of another encoding, yield its URL, and drop it on exit."""
        name = f"{self.user}_recoded"
        admin = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(admin, autocommit=True) as connection:
            options = f"encoding '{encoding}' template template0 locale 'C'"
            connection.execute(f"create database {name} owner {self.user} {options}")
            yield f"{self.url.rpartition('/')[0]}/{name}"
            connection.execute(f"drop database {name} with (force)")


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
