"""The servers that a benchmark talks to, as processes of their own on loopback, and the CPU time that they use up.

What the stand-ins answer is in `stand_ins`.
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
from dataclasses import dataclass
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from benchmarks.corpus import Corpus
from benchmarks.stand_ins import BUCKET, PREFIX, SUBACCOUNT_ID

_START_S = 30.0
_KEY_VARIABLE = "BENCHMARK_API_KEY"


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
class Landing:
    """A landing that holds a corpus.

    Attributes:
        settings: what stands of it in the account's part of a configuration.
    """

    server: Server
    settings: str


@contextmanager
def stand_in(kind: str, corpus: Corpus) -> Iterator[Server]:
    """The stand-in of that kind (`s3` or `api`), until the block is left."""
    words = [sys.executable, "-m", "benchmarks.stand_ins", kind, str(corpus.folder.parent), str(len(corpus.samples))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), psutil.Process(process.pid))
        finally:
            process.stdin.close()


@contextmanager
def s3_landing(corpus: Corpus) -> Iterator[Landing]:
    """The corpus in a bucket, until the block is left."""
    with stand_in("s3", corpus) as server:
        settings = f"""\
landing = "s3://{BUCKET}/{PREFIX}"
[accounts.s3]
endpoint_url = "http://127.0.0.1:{server.port}"
region = "ap-southeast-1"
"""
        yield Landing(server, settings)


def sshd() -> str | None:
    """OpenSSH's server, null where it is not installed."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextmanager
def sftp_landing(corpus: Corpus, home: Path) -> Iterator[Landing]:
    """The corpus behind OpenSSH's sshd with its own limits, until the block is left. Keys and files are put in `home`."""
    program = sshd()
    assert program is not None
    shutil.rmtree(home, ignore_errors=True)
    corpus.link_into(home / "files")
    host_key, user_key = _make_key(home / "host"), _make_key(home / "user")
    port = _free_port()
    (home / "authorized_keys").write_text(f"{user_key}\n", encoding="ascii")
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n", encoding="ascii")
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
        settings = f"""\
landing = "sftp://{getpass.getuser()}@127.0.0.1:{port}{home / "files"}"
[accounts.sftp]
private_key = "{home / "user"}"
known_hosts = "{home / "known_hosts"}"
"""
        yield Landing(Server(port, process), settings)
    finally:
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(10)


def write_configuration(home: Path, *, api: Server, landing: Landing) -> dict[str, str]:
    """`home/callarchive.toml` archives the landing's account below `home`. Returns the environment that it needs.

    The rate cap is far above what any server here answers, so that it is not what is measured.
    """
    (home / "callarchive.toml").write_text(
        f"""\
timezone   = "UTC"
start_date = 2026-01-01

[archive]
url = "{home.as_uri()}/archive"

[catalog]
url = "{home.as_uri()}/catalog"

[[accounts]]
subaccount_id = "{SUBACCOUNT_ID}"
api_url = "http://127.0.0.1:{api.port}"
api_key = {{ env = "{_KEY_VARIABLE}" }}
requests_per_second = 5000
{landing.settings}
[[accounts.session_sources]]
kind = "files"
path = "sessions-{{day}}.csv"
""",
        encoding="utf-8",
    )
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_"))}
    return {
        **inherited,
        "CALLARCHIVE_CONFIG": str(home / "callarchive.toml"),
        _KEY_VARIABLE: "benchmark",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }


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
