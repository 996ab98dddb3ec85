"""A PostgreSQL server of the tests' own."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[int]:
    """The port of a private server on loopback, as an unprivileged user, for nobody knows how long."""
    [*_, folder] = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "").parent]
    data = Path(tempfile.mkdtemp(prefix="callarchive-postgresql-"))
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # initdb refuses to be root
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program: str, *words: str) -> None:
        subprocess.run([folder / program, "-D", data / "db", *words], check=True, cwd=data, capture_output=True, **user)  # type: ignore[call-overload]

    try:
        call("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale")
        (data / "db" / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k '' -c fsync=off -c timezone=Asia/Singapore"
        call("pg_ctl", "-w", "-l", str(data / "log"), "-o", options, "start")
        try:
            yield port
        finally:
            call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def postgresql(postgresql_server: int) -> Iterator[Postgresql]:
    """An empty database, whose time zone is not UTC."""
    name, password = f"t{secrets.token_hex(6)}", secrets.token_hex(8)
    admin = f"host=127.0.0.1 port={postgresql_server} user=postgres dbname=postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"create role {name} login password '{password}'")
        connection.execute(f"create database {name} owner {name}")
    yield Postgresql(postgresql_server, name, password)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
        connection.execute(f"drop role {name}")
