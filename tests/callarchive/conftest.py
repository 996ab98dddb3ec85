"""A PostgreSQL server of the tests' own."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest


@dataclass(frozen=True)
class Postgresql:
    """A running server, and a login that owns a database of its own there."""

    port: int
    user: str
    password: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.user}"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """The statements are done; returns the rows of the last one."""
        conninfo = f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={self.user}"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@dataclass
class PostgresqlServer:
    """A private server on loopback. `user` is whom its programs run as, as `subprocess.run` takes it."""

    programs: Path
    data: Path
    port: int
    user: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k '' -c fsync=off -c timezone=Asia/Singapore"
        self.call("pg_ctl", "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop_at_once(self) -> None:
        """As when its machine loses power, but for what the operating system had already taken."""
        self.call("pg_ctl", "-m", "immediate", "stop")

    def call(self, program: str, *words: str) -> None:
        command = [self.programs / program, "-D", self.data / "db", *words]
        subprocess.run(command, check=True, cwd=self.data, capture_output=True, **self.user)

    @contextmanager
    def database(self) -> Iterator[Postgresql]:
        """An empty database, whose time zone is not UTC, gone afterwards."""
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
    """A new server, run by an unprivileged user, for nobody knows how long."""
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
    """One for all tests; who stops it needs one of its own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def own_postgresql_server() -> Iterator[PostgresqlServer]:
    """One that a test may stop and start."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> Iterator[Postgresql]:
    with postgresql_server.database() as database:
        yield database
