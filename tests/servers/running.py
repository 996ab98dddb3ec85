"""What the contract needs of a server: how to start it, how to write into its landing, and what a landing's account says.

The servers themselves are in `sftp_servers` and `s3_servers`: one function each.
"""

import contextlib
import functools
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from callarchive.settings import AccountSettings, TransferSettings
from callarchive.storage.landing import Landing
from callarchive.storage.landing.s3.landing import S3Landing
from callarchive.storage.landing.sftp.landing import SftpLanding

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / ".servers"
PROGRAMS = Path(__file__).parent / "programs"
_SEARCH_PATH = os.pathsep.join(
    [
        str(Path(sys.executable).parent),
        str(INSTALLED / "bin"),
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        "/usr/local/sbin",
        "/usr/libexec",
    ]
)


class Files(Protocol):
    """Write access to what a server serves. Paths are relative to the server's landing."""

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file, and create its folders."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def refuse(self, path: str) -> None:
        """Let the server refuse the file or folder to callarchive's user. Only where `Server.refuses` says so."""


class LocalFiles:
    """A local folder that a server serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, path: str, data: bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def refuse(self, path: str) -> None:
        """Take all rights away; `unprivileged` processes of root are bound by them too."""
        (self.folder / path).chmod(0)


@dataclass(frozen=True)
class Below:
    """A folder of `Files`."""

    files: Files
    folder: str

    def put(self, path: str, data: bytes) -> None:
        self.files.put(f"{self.folder}/{path}", data)

    def remove(self, path: str) -> None:
        self.files.remove(f"{self.folder}/{path}")

    def refuse(self, path: str) -> None:
        self.files.refuse(f"{self.folder}/{path}")


@dataclass(frozen=True)
class Place:
    """A landing on a running server.

    Attributes:
        landing: its URL.
        section: `accounts.sftp` or `accounts.s3`.
        environment: variables that the section names, or AWS credentials.
        wrong_credentials: the same two with credentials that the server does not know; none if it lets everybody in.
        folder: on the server, with a slash before each part; empty for its root.
    """

    landing: str
    section: Mapping[str, Any]
    files: Files
    environment: Mapping[str, str] = field(default_factory=dict)
    wrong_credentials: "tuple[Mapping[str, Any], Mapping[str, str]] | None" = None

    @property
    def kind(self) -> str:
        """`sftp` or `s3`."""
        return self.landing.partition(":")[0]

    def below(self, folder: str) -> "Place":
        """Return the landing in a folder of this one."""
        return replace(self, landing=f"{self.landing}/{folder}", files=Below(self.files, folder))

    def account(self) -> dict[str, Any]:
        """Return the account's settings, without its session sources."""
        return {
            "subaccount_id": "acme_sg",
            "api_key": {"env": "ACME_SG_API_KEY"},
            "landing": self.landing,
            self.kind: dict(self.section),
        }

    def open(self, *, concurrency: int = 4) -> Landing:
        """Return callarchive's landing, with short patience. The environment must be set."""
        account = AccountSettings.model_validate({**self.account(), "session_sources": [{"kind": "log_export"}]})
        transfer = TransferSettings(stall_timeout_s=10, deadline_s=30)
        if self.kind == "s3":
            return S3Landing(account, transfer, concurrency=concurrency)
        return SftpLanding(account, transfer, concurrency=concurrency, backoff_s=0.02, outage_s=0.5)


@dataclass(frozen=True)
class Server:
    """A kind of server.

    Attributes:
        name: for the table.
        version: returns the installed version.
        run: starts it in an empty folder of its own; yields an empty landing; stops it.
        needs: programs, or files below `.servers/`.
        refuses: what it refuses after `Files.refuse`: a "file"; a "folder", when it is listed; a "path" in that folder.
        conditional_writes: whether archive and catalog may be there; None for a server that can only be a landing.
        pinned: whether its version is pinned in this folder; Debian's differ between machines.
        remark: for the table.
    """

    name: str
    version: Callable[[], str]
    run: Callable[[Path], AbstractContextManager[Place]]
    needs: Sequence[str] = ()
    refuses: Collection[str] = ()
    pinned: bool = True
    remark: str = ""
    conditional_writes: bool | None = None

    def absent(self) -> list[str]:
        """Return which of its needs are not installed."""
        return [need for need in self.needs if find(need) is None]


def find(need: str) -> str | None:
    """Return the path of a program or of a file below `.servers/`."""
    file = INSTALLED / need
    return str(file) if "/" in need and file.exists() else shutil.which(need, path=_SEARCH_PATH)


def program(name: str) -> str:
    """Return the path of an installed program."""
    path = find(name)
    assert path is not None, name
    return path


@functools.cache
def version_of(*command: str, pattern: str = r"(\d+(\.\d+)+\w*)") -> str:
    """Return the version that a command prints."""
    process = subprocess.run(
        [program(command[0]), *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    found = re.search(pattern, process.stdout)
    assert found is not None, process.stdout
    return found[1]


def python_version_of(package: str) -> str:
    """Return the version of a Python package in `.servers/`."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return version_of(str(INSTALLED / "bin" / "python"), "-c", code)


def node_version_of(package: str) -> str:
    """Return the version of an npm package in `.servers/`."""
    text = (INSTALLED / "node_modules" / package / "package.json").read_text(encoding="utf-8")
    return str(json.loads(text)["version"])


def unprivileged(*command: object) -> list[str]:
    """Return the command, without root's right to read files that deny it, so that permissions mean the same for root."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        return [program("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *words]
    return words


def free_ports(count: int) -> list[int]:
    """Return free ports below those that the kernel gives to clients: no connection can take one before the server does."""
    client_ports = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(10_000, client_ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)


@contextmanager
def running(
    command: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str] | None = None, wait_s: float = 20
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends; enter it when it listens on the port.

    The process gets an environment without proxies and settings of ours.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CALLARCHIVE_", "PYTHON", "PYTEST"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**clean, **(environment or {})},
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, port, log, wait_s)
        yield process
    finally:
        # The whole group: some servers have a child for each connection.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int, log: Path, wait_s: float) -> None:
    ends_at = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        said = f"{process.args!r}: {log.read_text(errors='replace')[-2000:]}"
        assert process.poll() is None, said
        assert time.monotonic() < ends_at, said
        time.sleep(0.05)
