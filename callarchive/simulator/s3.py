"""The S3 server that 8x8 pushes to: moto on loopback. Paths are relative to an account's landing root."""

import select
import subprocess
import sys
from collections.abc import Collection
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from callarchive.domain.errors import UnavailableError
from callarchive.simulator.landings import free_port, object_bytes, push_due, require
from callarchive.simulator.world import AccountPlan, Recording, World

REGION = "ap-southeast-1"
ACCESS_KEY_ID = "simulated-access-key"
SECRET_ACCESS_KEY = "simulated-secret-key"

_START_S = 60.0


class SimulatedS3:
    """An S3 server in its own process, within a `with` block. It starts empty; port 0 is a free one; any key is valid."""

    access_key_id = ACCESS_KEY_ID
    secret_access_key = SECRET_ACCESS_KEY
    region = REGION

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._buckets: set[str] = set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start serving requests. Raise UnavailableError if the port is taken or the server did not start."""
        require("moto", "flask", "flask_cors")
        # moto waits forever for a server that could not bind.
        if self._wanted_port and free_port(self._wanted_port) != self._wanted_port:
            raise UnavailableError(f"the simulated S3 cannot use port {self._wanted_port}: another program uses it")
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "callarchive.simulator.moto_process", self._host, str(self._wanted_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C must not stop it before we do
        )
        line = b""
        if process.stdout is not None and select.select([process.stdout], [], [], _START_S)[0]:
            line = process.stdout.readline()
        if not line.strip().isdigit():
            self.close()
            raise UnavailableError("the simulated S3 did not start: see moto's message above")
        self._port = int(line)
        return self

    def close(self) -> None:
        """Stop the server, which loses its objects. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if "client" in self.__dict__:
            self.client.close()
            del self.client
        self._buckets.clear()
        self._stop(process)

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.communicate()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._process is None:
            raise RuntimeError("the simulated S3 is not running: use it in a `with`")
        return self._port

    @property
    def endpoint_url(self) -> str:
        """The value for `[accounts.s3] endpoint_url`."""
        return f"http://{self._host}:{self.port}"

    @cached_property
    def client(self) -> Any:
        """A boto3 client for this server."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}),
        )

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket if it does not exist."""
        if bucket not in self._buckets:
            self.client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            self._buckets.add(bucket)

    def put(self, account: AccountPlan, path: str, data: bytes) -> None:
        """Write the object at `path` below the account's prefix, replacing any other."""
        self.create_bucket(account.bucket)
        self.client.put_object(Bucket=account.bucket, Key=_key(account, path), Body=data)

    def delete(self, account: AccountPlan, path: str) -> None:
        """Delete the object at `path`, if any."""
        self.client.delete_object(Bucket=account.bucket, Key=_key(account, path))

    def paths(self, account: AccountPlan) -> list[str]:
        """Return all paths below the account's prefix, sorted."""
        self.create_bucket(account.bucket)
        root = _key(account, "")
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=account.bucket, Prefix=root)
        return sorted(item["Key"].removeprefix(root) for page in pages for item in page.get("Contents", ()))

    def fill(self, world: World, *, now: datetime, exclude: Collection[str] = ()) -> list[str]:
        """Write the recordings of S3 accounts that are ready, except those with these ids, and return their ids."""
        for account in world.accounts:
            if account.landing == "s3":
                self.create_bucket(account.bucket)
        return push_due(world, "s3", self._push, now=now, exclude=exclude, threads=4)

    def _push(self, account: AccountPlan, recording: Recording) -> None:
        self.put(account, recording.path, object_bytes(recording))


def _key(account: AccountPlan, path: str) -> str:
    return f"{account.prefix}/{path}" if account.prefix else path
