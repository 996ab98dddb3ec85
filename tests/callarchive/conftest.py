"""An S3 server of the tests' own, and one store of each kind."""

import http.client
import http.server
import itertools
import logging
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

from callarchive.settings import S3Settings
from callarchive.storage.stores import Store
from callarchive.storage.stores.local import LocalStore
from callarchive.storage.stores.s3 import S3Store

BUCKET = "the-bucket"
_numbers = itertools.count()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(scope="session")
def boto(s3_endpoint: str) -> Iterator[Any]:
    """A client of its own, to see what is really there."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="AKIAOTHER",
        aws_secret_access_key="other",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture
def s3_settings(s3_endpoint: str, aws_environment: None) -> S3Settings:
    return S3Settings(endpoint_url=s3_endpoint, region="us-east-1")


@pytest.fixture
def s3_store(boto: Any, s3_settings: S3Settings) -> S3Store:
    return S3Store(f"s3://{BUCKET}/some/prefix-{next(_numbers)}", s3_settings, lease_s=30.0)


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStore:
    return LocalStore(f"file://{tmp_path}/root")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def tz_age(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder for PYTHONTZPATH in which one zone has another's rules: `tz_age("Africa/Casablanca", "Etc/GMT+10")`."""

    def make(zone: str, rules_of: str, *, version: str | None = None) -> Path:
        folder = tmp_path / f"tz-{rules_of.replace('/', '-')}"
        (folder / zone).parent.mkdir(parents=True, exist_ok=True)
        (folder / zone).write_bytes(files("tzdata").joinpath("zoneinfo", *rules_of.split("/")).read_bytes())
        if version:
            (folder / "tzdata.zi").write_text(f"# version {version}\n# and so on\n", encoding="ascii")
        return folder

    return make


@pytest.fixture
def use_tz_data() -> Iterator[Callable[[Path | None], None]]:
    """Lets zoneinfo read a folder before the package, as PYTHONTZPATH does in a new process; None ends that."""

    def use(folder: Path | None) -> None:
        zoneinfo.reset_tzpath(to=() if folder is None else (str(folder),))
        zoneinfo.ZoneInfo.clear_cache()

    before = zoneinfo.TZPATH
    yield use
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()


@pytest.fixture(scope="session")
def seaweedfs_endpoint() -> Iterator[str]:
    """A SeaweedFS server of the tests' own: it keeps conditional writes, and decides them one at a time."""
    data = Path(tempfile.mkdtemp(prefix="callarchive-seaweedfs-"))
    ports = _listening_ports(8)
    names = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    options = {
        **dict(zip(names, ports, strict=True)),
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.iam": "false",
        "iam": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 400,
        "master.telemetry": "false",
    }
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program is not None
    command = [program, "server", "-s3"]
    # Credentials in its environment would become its administrator, and the requests here are not signed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (data / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *(f"-{name}={value}" for name, value in options.items())],
            stdout=log,
            stderr=log,
            cwd=data,
            env=environment,
        )
    endpoint = f"http://127.0.0.1:{ports[0]}"
    try:
        _wait_for_bucket(endpoint, server, data / "log")
        yield endpoint
    finally:
        server.kill()  # asked politely it takes half a minute, and its data are not needed
        server.wait()
        shutil.rmtree(data, ignore_errors=True)
        for port in ports:  # it makes these whatever TMPDIR says, and leaves them behind
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _listening_ports(count: int) -> list[int]:
    """Return free ports below those that the kernel gives to clients: no connection can take one before the server does."""
    client_ports = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, client_ports)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in found:
                found.append(port)
    return found


def _wait_for_bucket(endpoint: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the server has taken a first object: its gateway answers before its volumes are there."""
    ends_at = time.monotonic() + 60
    while True:
        try:
            for path in ("/ready-bucket", "/ready-bucket/x"):
                put = urllib.request.Request(endpoint + path, data=b"", method="PUT")
                urllib.request.urlopen(put, timeout=10).close()
            return
        except OSError as err:
            if isinstance(err, urllib.error.HTTPError):
                err.close()
                if err.code == 409:
                    continue
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < ends_at, log.read_text()[-2000:]
            time.sleep(0.1)


@pytest.fixture
def seaweedfs_bucket(seaweedfs_endpoint: str, aws_environment: None) -> Iterator[tuple[Any, str]]:
    """A client of SeaweedFS, and an empty bucket there."""
    client = boto3.client("s3", endpoint_url=seaweedfs_endpoint, region_name="us-east-1")
    bucket = f"bucket-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    yield client, bucket
    client.close()


@dataclass
class Exchange:
    """A request on its way to a real S3 server, then the server's answer on its way back.

    Attributes:
        status: 0 until the server has answered; a test that sets it earlier keeps the request from the server.
    """

    method: str
    path: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def drop(self, *names: str) -> None:
        """The server, or the client, does not see these headers."""
        for headers in (self.request_headers, self.headers):
            for name in [name for name in headers if name.lower() in names]:
                del headers[name]

    @property
    def condition(self) -> str:
        """`if-none-match`, `if-match` or nothing."""
        named = {name.lower() for name in self.request_headers} & {"if-none-match", "if-match"}
        return "".join(named)


Meddle = Callable[[Exchange], None]


@pytest.fixture
def meddling_server() -> Iterator[Callable[..., str]]:
    """Starts a server that hands requests on to a real one: `meddling_server(endpoint, asked=..., answered=...)`.

    Both are called with the `Exchange`, before and after the real server answered. Returns the address.
    """
    with ExitStack() as running:

        def start(endpoint: str, *, asked: Meddle = lambda _: None, answered: Meddle = lambda _: None) -> str:
            return running.enter_context(_between(endpoint, asked, answered))

        yield start


@contextmanager
def _between(endpoint: str, asked: Meddle, answered: Meddle) -> Iterator[str]:
    real = urlsplit(endpoint)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            exchange = Exchange(self.command, self.path, dict(self.headers), body)
            asked(exchange)
            if not exchange.status:
                connection = http.client.HTTPConnection(str(real.hostname), real.port)
                connection.request(exchange.method, exchange.path, exchange.request_body, exchange.request_headers)
                response = connection.getresponse()
                exchange.status, exchange.body = response.status, response.read()
                exchange.headers = dict(response.getheaders())
                connection.close()
            answered(exchange)
            length = len(exchange.body)
            if self.command == "HEAD":
                length = int({k.lower(): v for k, v in exchange.headers.items()}.get("content-length", 0))
            exchange.drop("connection", "transfer-encoding", "content-length")
            self.send_response_only(exchange.status)
            for name, value in exchange.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(exchange.body)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
