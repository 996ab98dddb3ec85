"""S3 servers on loopback. To add one: a function that runs it, and a line in `S3_SERVERS`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import botocore

from tests.servers.running import Place, Server, free_ports, program, running

BUCKET = "acme-recordings"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIASERVERSTEST", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}


@dataclass(frozen=True)
class BucketFiles:
    """Objects of a bucket, written with boto3."""

    client: Any
    bucket: str

    def put(self, path: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=path, Body=data)

    def remove(self, path: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=path)

    def refuse(self, path: str) -> None:
        raise NotImplementedError(path)


@contextmanager
def bucket_at(endpoint_url: str) -> Iterator[Place]:
    """Create the bucket and yield it as a landing."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )
    try:
        client.create_bucket(Bucket=BUCKET)
        section = {"endpoint_url": endpoint_url, "region": "us-east-1"}
        yield Place(f"s3://{BUCKET}", section, BucketFiles(client, BUCKET), KEYS)
    finally:
        client.close()


@contextmanager
def moto(folder: Path) -> Iterator[Place]:
    (port,) = free_ports(1)
    command = [program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port=port, log=folder / "log"), bucket_at(f"http://127.0.0.1:{port}") as place:
        yield place


S3_SERVERS = (Server("moto", lambda: version("moto"), moto, ("moto_server",)),)
