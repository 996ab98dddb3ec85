"""The servers of the benchmarks, as separate processes on loopback, and their CPU time.

`simulators` implements S3 and the 8x8 API; `delay` adds latency to a server.
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
from benchmarks.simulators import BUCKET, PREFIX

ROOT = Path(__file__).parent.parent
"""The working directory of `python -m benchmarks...`."""

_START_S = 30.0


@dataclass(frozen=True)
class Server:
    """A listening server.

    Attributes:
        process: the server process; its children are counted with it.
    """

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the CPU seconds so far, including those of running and ended children."""
        spent = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:4])
        return spent


@dataclass(frozen=True)
class S3Place:
    """A bucket that contains a corpus."""

    server: Server
    port: int

    def via(self, port: int) -> "S3Place":
        """Return the bucket as seen through another port."""
        return replace(self, port=port)

    @property
    def settings(self) -> str:
        """The landing's settings in the account's section of a configuration."""
        return f"""\
landing = "s3://{BUCKET}/{PREFIX}"
[accounts.s3]
endpoint_url = "http://127.0.0.1:{self.port}"
region = "ap-southeast-1"
"""


@dataclass(frozen=True)
class SftpPlace:
    """A folder on an SFTP server that contains a corpus. `home` contains the keys and the folder `files`."""

    server: Server
    port: int
    home: Path

    def via(self, port: int) -> "SftpPlace":
        """Return the folder as seen through another port, and add the server's key for that port to `known_hosts`."""
        host_key = (self.home / "host.pub").read_text(encoding="ascii")
        with self.known_hosts.open("a", encoding="utf-8") as file:
            file.write(f"[127.0.0.1]:{port} {host_key}\n")
        return replace(self, port=port)

    @property
    def settings(self) -> str:
        """The landing's settings in the account's section of a configuration."""
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
        """Lists the server's key for each of its ports."""
        return self.home / "known_hosts"


Place = S3Place | SftpPlace


@contextmanager
def simulator(kind: str, corpus: Corpus) -> Iterator[Server]:
    """Run the simulator of that kind (`s3` or `api`)."""
    with _listening("benchmarks.simulators", kind, corpus.home, len(corpus.samples)) as server:
        yield server


@contextmanager
def delay(port: int, round_trip_ms: float) -> Iterator[Server]:
    """Run a relay to the port that adds this round-trip time."""
    with _listening("benchmarks.delay", round_trip_ms, port) as server:
        yield server


@contextmanager
def s3_place(corpus: Corpus) -> Iterator[S3Place]:
    """Serve the corpus from a bucket."""
    with simulator("s3", corpus) as server:
        yield S3Place(server, server.port)


def sshd() -> str | None:
    """Return the path of OpenSSH's server, None if it is not installed."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextmanager
def sftp_place(corpus: Corpus, home: Path) -> Iterator[SftpPlace]:
    """Serve the corpus from OpenSSH's sshd with its default limits. Keys and files are stored in `home`."""
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
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation directory; it does not start without it
    process = psutil.Popen([program, "-D", "-f", str(home / "sshd_config"), "-E", str(home / "log")])
    try:
        _wait_for_port(port)
        yield SftpPlace(Server(port, process), port, home).via(port)
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
    """Write a new private key to the file and return the public key in OpenSSH format."""
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int) -> None:
    give_up_at = time.monotonic() + _START_S
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.02)
