"""SFTP servers on loopback: OpenSSH's, asyncssh's, and one that can misbehave. Each has new keys."""

import asyncio
import contextlib
import getpass
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import asyncssh
import paramiko
import psutil
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED, OPEN_SUCCEEDED
from paramiko.server import InteractiveQuery
from paramiko.sftp import SFTP_EOF, SFTP_PERMISSION_DENIED

from callarchive.settings import AccountSettings, TransferSettings
from callarchive.storage.landing.sftp.landing import SftpLanding

PASSWORD = "correct horse battery staple"
USER = "pushuser"


@dataclass
class Endpoint:
    """A server that listens: where, with which files, and how to log in to it.

    Attributes:
        path: where its clients find `files`.
        log: what OpenSSH writes of itself; every log-in is a line in it.
        stop: kills it, with all of its connections.
    """

    port: int
    files: Path
    known_hosts: Path
    path: str = ""
    user: str = USER
    private_key: Path | None = None
    log: Path = Path(os.devnull)
    stop: Callable[[], None] = lambda: None


OpenLanding = Callable[..., SftpLanding]


@pytest.fixture
def open_landing(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenLanding]:
    """Makes landings with short patience, and closes them."""
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    opened: list[SftpLanding] = []

    def open_one(
        server: Endpoint,
        *,
        path: str | None = None,
        user: str | None = None,
        concurrency: int = 4,
        timeout_s: float = 5,
        stall_timeout_s: float = 5,
        deadline_s: float = 20,
        outage_s: float = 10,
        **sftp: Any,
    ) -> SftpLanding:
        log_in: dict[str, Any] = {"password": {"env": "SFTP_PASSWORD"}}
        if server.private_key is not None:
            log_in = {"private_key": server.private_key}
        if "private_key" in sftp:
            log_in = {}
        sftp_settings = {"known_hosts": server.known_hosts, "timeout_s": timeout_s, **log_in, **sftp}
        account = AccountSettings.model_validate(
            {
                "subaccount_id": "acme_sg",
                "api_key": {"env": "ACME_SG_API_KEY"},
                "landing": f"sftp://{user or server.user}@127.0.0.1:{server.port}{server.path if path is None else path}",
                "sftp": sftp_settings,
                "session_sources": [{"kind": "log_export"}],
            }
        )
        transfer = TransferSettings(stall_timeout_s=stall_timeout_s, deadline_s=deadline_s)
        landing = SftpLanding(account, transfer, concurrency=concurrency, backoff_s=0.02, outage_s=outage_s)
        opened.append(landing)
        return landing

    yield open_one
    for landing in opened:
        landing.close()


# OpenSSH


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def openssh(tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Starts OpenSSH servers that let the current user in with a key.

    `options` are lines of sshd_config, and override those below; `subsystem` is what serves SFTP, null for nothing.
    """
    running: list[psutil.Popen] = []

    def start(*options: str, subsystem: str | None = "internal-sftp") -> Endpoint:
        home = tmp_path / f"sshd-{len(running)}"
        files = home / "files"
        files.mkdir(parents=True)
        for name in ("host", "user"):
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(home / name)
            (home / name).chmod(0o600)
        public = asyncssh.read_private_key(home / "user").export_public_key().decode()
        (home / "authorized_keys").write_text(public)
        port = _free_port()
        config = home / "sshd_config"
        config.write_text(
            "".join(f"{option}\n" for option in options)
            + f"ListenAddress 127.0.0.1:{port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized_keys\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            + (f"Subsystem sftp {subsystem}\n" if subsystem else "")
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or "sshd"
        process = psutil.Popen([program, "-D", "-f", str(config), "-E", str(home / "log")])
        running.append(process)
        _until_listening(port)
        known_hosts = home / "known_hosts"
        host = asyncssh.read_private_key(home / "host").export_public_key().decode()
        known_hosts.write_text(f"[127.0.0.1]:{port} {host}")
        return Endpoint(
            port=port,
            files=files,
            known_hosts=known_hosts,
            path=str(files),
            user=getpass.getuser(),
            private_key=home / "user",
            log=home / "log",
            stop=lambda: _kill(process),
        )

    yield start
    for process in running:
        _kill(process)


def _kill(process: psutil.Popen) -> None:
    if process.is_running():
        for child in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait(5)


def _until_listening(port: int) -> None:
    give_up_at = time.monotonic() + 5
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.02)


# asyncssh


class PasswordServer(asyncssh.SSHServer):
    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self.connections = connections

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self.connections.append(connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


@pytest.fixture
def asyncssh_server(tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Starts asyncssh servers that show `files` as their root and let USER in with PASSWORD."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    acceptors: list[asyncssh.SSHAcceptor] = []
    connections: list[asyncssh.SSHServerConnection] = []

    def run(awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), loop).result(10)

    def start(
        *,
        key_types: tuple[str, ...] = ("ssh-ed25519",),
        behaviour: type[asyncssh.SFTPServer] = asyncssh.SFTPServer,
        gate: type[PasswordServer] = PasswordServer,
    ) -> Endpoint:
        home = tmp_path / f"asyncssh-{len(acceptors)}"
        files = home / "files"
        files.mkdir(parents=True)
        keys = [asyncssh.generate_private_key(key_type) for key_type in key_types]
        acceptor = run(
            asyncssh.listen(
                "127.0.0.1",
                0,
                server_factory=lambda: gate(connections),
                server_host_keys=keys,
                sftp_factory=lambda channel: behaviour(channel, chroot=os.fsencode(files)),
            )
        )
        acceptors.append(acceptor)
        port = acceptor.get_port()
        known_hosts = home / "known_hosts"
        known_hosts.write_text("".join(f"[127.0.0.1]:{port} {key.export_public_key().decode()}" for key in keys))

        async def kill() -> None:
            acceptor.close()
            for connection in connections:
                connection.abort()
            await acceptor.wait_closed()

        return Endpoint(port=port, files=files, known_hosts=known_hosts, stop=lambda: run(kill()))

    yield start

    async def end() -> None:
        for acceptor in acceptors:
            acceptor.close()
        for connection in connections:
            connection.abort()
            await connection.wait_closed()

    run(end())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture(params=["asyncssh", pytest.param("openssh", marks=pytest.mark.needs("sshd"))])
def server(request: pytest.FixtureRequest) -> Endpoint:
    """A well-behaved server of either kind."""
    start = request.getfixturevalue("openssh" if request.param == "openssh" else "asyncssh_server")
    return start()


# A server that misbehaves


@dataclass
class Faulty(Endpoint):
    """What goes wrong at a server, and what it saw. May be changed while it runs.

    Attributes:
        size_lie: added to the sizes that it reports.
        reply_max: how many bytes it sends at most in reply to a READ.
        ends_at, stalls_at, dies_at, drips_at: the offset from which reads are answered by the end of the file, by
            nothing, by the end of the connection, or a byte at a time.
        protocol: what takes requests and sends replies.
        read_takes_s: how long each read takes, one after the other.
        denied: names that may not be opened.
        hangs_up_after: the number of files after which the connection ends, again and again.
        sessions_max: per connection.
        subsystem_hangs: a session's start is never answered.
        subsystem_refused: a session is opened, and may not be one of SFTP.
        cuts_off_log_ins: the connection ends in answer to a log-in.
        questions: asked in place of a password, by keyboard-interactive.
        asked: every path that a client named.
        log_ins: every attempt to log in, as (kind, user).
    """

    host_key: paramiko.PKey = field(default_factory=paramiko.ECDSAKey.generate)
    size_lie: int = 0
    reply_max: int | None = None
    ends_at: int | None = None
    stalls_at: int | None = None
    dies_at: int | None = None
    drips_at: int | None = None
    protocol: type[paramiko.SFTPServer] = paramiko.SFTPServer
    read_takes_s: float = 0
    denied: tuple[str, ...] = ()
    hangs_up_after: int | None = None
    sessions_max: int = 10
    subsystem_hangs: bool = False
    subsystem_refused: bool = False
    cuts_off_log_ins: bool = False
    questions: tuple[str, ...] = ()
    log_ins: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    transports: list[paramiko.Transport] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def pin(self) -> None:
        name = f"[127.0.0.1]:{self.port}"
        self.known_hosts.write_text(f"{name} {self.host_key.get_name()} {self.host_key.get_base64()}\n")

    def hang_up(self) -> None:
        for transport in self.transports:
            transport.close()


class _Gate(paramiko.ServerInterface):
    def __init__(self, faulty: Faulty, transport: paramiko.Transport) -> None:
        self.faulty = faulty
        self.transport = transport
        self.sessions = 0

    def get_allowed_auths(self, username: str) -> str:
        return "keyboard-interactive" if self.faulty.questions else "password,publickey"

    def check_auth_none(self, username: str) -> int:
        self.faulty.log_ins.append(("none", username))
        return AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.faulty.log_ins.append(("publickey", username))
        return AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.faulty.log_ins.append(("password", username))
        if self.faulty.cuts_off_log_ins:
            self.transport.close()
        right = password == PASSWORD and not self.faulty.questions
        return AUTH_SUCCESSFUL if right else AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str) -> InteractiveQuery:
        return InteractiveQuery("", "", *((question, False) for question in self.faulty.questions))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return AUTH_SUCCESSFUL if list(responses) == [PASSWORD] else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self.sessions >= self.faulty.sessions_max:
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        self.sessions += 1
        return OPEN_SUCCEEDED

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        if self.faulty.subsystem_hangs:
            self.faulty.over.wait(20)
            return False
        if self.faulty.subsystem_refused:
            return False
        return super().check_channel_subsystem_request(channel, name)


class _FaultyFiles(paramiko.SFTPServerInterface):
    def __init__(self, server: _Gate, faulty: Faulty, transport: paramiko.Transport) -> None:
        self.gate = server
        self.faulty = faulty
        self.transport = transport
        self.opened = 0

    def session_ended(self) -> None:
        self.gate.sessions -= 1

    def canonicalize(self, path: str) -> str:
        self.faulty.asked.append(path)
        return super().canonicalize(path)

    def _place(self, path: str) -> Path:
        self.faulty.asked.append(path)
        return self.faulty.files / path.lstrip("/")

    def list_folder(self, path: str) -> Any:
        return [paramiko.SFTPAttributes.from_stat(item.lstat(), item.name) for item in self._place(path).iterdir()]

    def stat(self, path: str) -> Any:
        try:
            attributes = paramiko.SFTPAttributes.from_stat(self._place(path).lstat())
        except OSError as err:
            return paramiko.SFTPServer.convert_errno(err.errno or 0)
        if self._place(path).is_file():
            attributes.st_size = (attributes.st_size or 0) + self.faulty.size_lie
        return attributes

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        self.opened += 1
        if self.faulty.hangs_up_after is not None and self.opened > self.faulty.hangs_up_after:
            self.transport.close()
        if Path(path).name in self.faulty.denied:
            return SFTP_PERMISSION_DENIED
        try:
            handle = _FaultyHandle(flags)
            handle.readfile = self._place(path).open("rb")
        except OSError as err:
            return paramiko.SFTPServer.convert_errno(err.errno or 0)
        handle.files = self
        return handle


class _FaultyHandle(paramiko.SFTPHandle):
    files: _FaultyFiles
    readfile: BinaryIO  # read by paramiko

    def read(self, offset: int, length: int) -> Any:
        faulty = self.files.faulty
        time.sleep(faulty.read_takes_s)
        if faulty.dies_at is not None and offset >= faulty.dies_at:
            self.files.transport.close()
        if faulty.stalls_at is not None and offset >= faulty.stalls_at:
            faulty.over.wait(20)
        if faulty.ends_at is not None:
            if offset >= faulty.ends_at:
                return SFTP_EOF
            length = min(length, faulty.ends_at - offset)
        if faulty.drips_at is not None and offset >= faulty.drips_at:
            faulty.over.wait(0.05)
            length = 1
        return super().read(offset, min(length, faulty.reply_max or length))


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    """A server made with paramiko, well-behaved by default."""
    home = tmp_path / "faulty"
    (home / "files").mkdir(parents=True)
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    faulty = Faulty(port=port, files=home / "files", known_hosts=home / "known_hosts")
    faulty.pin()
    logging.getLogger("tests.sftp.faulty").setLevel(logging.CRITICAL)

    def stop() -> None:
        faulty.over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        faulty.hang_up()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = paramiko.Transport(connection)
            transport.set_log_channel("tests.sftp.faulty")
            transport.add_server_key(faulty.host_key)
            transport.set_subsystem_handler("sftp", faulty.protocol, _FaultyFiles, faulty, transport)
            faulty.transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Gate(faulty, transport))

    faulty.stop = stop
    thread = threading.Thread(target=serve)
    thread.start()
    yield faulty
    stop()
    thread.join(5)
    for transport in faulty.transports:
        transport.join(5)
