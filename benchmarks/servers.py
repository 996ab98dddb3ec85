"""The servers that a benchmark talks to, as processes of their own on loopback, and the CPU time that they use up.

What the stand-ins answer is in `stand_ins`, how a delay is put before a server in `delay`.
"""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from benchmarks.corpus import Corpus
from benchmarks.stand_ins import BUCKET, PREFIX

ROOT = Path(__file__).parent.parent
"""Where `python -m benchmarks...` is started."""

_START_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server that listens.

    Attributes:
        process: its own; those that it starts count with it.
    """

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """CPU seconds so far, those of its children included, also of the ones that have ended."""
        spent = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:4])
        return spent


@dataclass(frozen=True)
class S3Place:
    """A bucket that holds a corpus."""

    server: Server
    port: int

    def at(self, port: int) -> "S3Place":
        """The same, reached through another port."""
        return replace(self, port=port)

    @property
    def settings(self) -> str:
        """What stands of it in the account's part of a configuration."""
        return f"""\
landing = "s3://{BUCKET}/{PREFIX}"
[accounts.s3]
endpoint_url = "http://127.0.0.1:{self.port}"
region = "ap-southeast-1"
"""


@dataclass(frozen=True)
class SftpPlace:
    """A folder on an SFTP server that holds a corpus; `home` has the keys, and the folder under the name of `files`."""

    server: Server
    port: int
    home: Path

    def at(self, port: int) -> "SftpPlace":
        """The same, reached through another port, at which the server's key is known from now on."""
        host_key = (self.home / "host.pub").read_text(encoding="ascii")
        with self.known_hosts.open("a", encoding="utf-8") as file:
            file.write(f"[127.0.0.1]:{port} {host_key}\n")
        return replace(self, port=port)

    @property
    def settings(self) -> str:
        """What stands of it in the account's part of a configuration."""
        return f"""\
landing = "sftp://{getpass.getuser()}@127.0.0.1:{self.port}{self.folder}"
[accounts.sftp]
private_key = "{self.private_key}"
known_hosts = "{self.known_hosts}"
"""

    @property
    def folder(self) -> Path:
        return self.home / "files"

    @property
    def private_key(self) -> Path:
        return self.home / "user"

    @property
    def known_hosts(self) -> Path:
        """Names the server's key at each port under which it can be reached."""
        return self.home / "known_hosts"


Place = S3Place | SftpPlace


@contextmanager
def stand_in(kind: str, corpus: Corpus) -> Iterator[Server]:
    """The stand-in of that kind (`s3` or `api`), until the block is left."""
    with _listening("benchmarks.stand_ins", kind, corpus.home, len(corpus.samples)) as server:
        yield server


@contextmanager
def delay(port: int, round_trip_ms: float) -> Iterator[Server]:
    """Something that listens, that far away from the server at the port, until the block is left."""
    with _listening("benchmarks.delay", round_trip_ms, port) as server:
        yield server


@contextmanager
def s3_place(corpus: Corpus) -> Iterator[S3Place]:
    """The corpus in a bucket, until the block is left."""
    with stand_in("s3", corpus) as server:
        yield S3Place(server, server.port)


def sshd() -> str | None:
    """OpenSSH's server, null where it is not installed."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextmanager
def sftp_place(corpus: Corpus, home: Path) -> Iterator[SftpPlace]:
    """The corpus behind OpenSSH's sshd with its own limits, until the block is left. Keys and files are put in `home`."""
    program = sshd()
    assert program is not None
    shutil.rmtree(home, ignore_errors=True)
    corpus.link_into(home / "files")
    host_key, user_key = _make_key(home / "host"), _make_key(home / "user")
    port = _free_port()
    (home / "host.pub").write_text(host_key, encoding="ascii")
    (home / "authorized_keys").write_text(f"{user_key}\n", encoding="ascii")
    (home / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized_keys\nPidFile none\n"
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n",
        encoding="utf-8",
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it gives up root's rights; it does not start without
    process = psutil.Popen([program, "-D", "-f", str(home / "sshd_config"), "-E", str(home / "log")])
    try:
        _await(port)
        yield SftpPlace(Server(port, process), port, home).at(port)
    finally:
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(10)


@contextmanager
def _listening(module: str, *words: object) -> Iterator[Server]:
    command = [sys.executable, "-m", module, *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), psutil.Process(process.pid))
        finally:
            process.stdin.close()


def _make_key(path: Path) -> str:
    """A new private key is in the file; its public half as OpenSSH writes it."""
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int) -> None:
    give_up_at = time.monotonic() + _START_S
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.02)
