"""Two accounts at a simulated API that validates every exchange about their setup; an archive to report and to listen to."""

import hashlib
import json
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.cli import run as run_command
from callarchive.settings import S3Settings
from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.wire import Reply
from callarchive.simulator.world import World
from callarchive.storage.stores.opening import open_store

TEXT = {"type": "string"}
STATUS = {"subAccountId": TEXT, "statusCode": {"type": "integer"}, "statusMessage": TEXT}
PUSH_BODY = {
    "type": "object",
    "required": ["protocol", "host", "port", "username", "password", "path"],
    "additionalProperties": False,
    "properties": {
        "protocol": {"enum": ["S3", "SFTP"]},
        "host": TEXT,
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "username": TEXT,
        "password": TEXT,
        "path": TEXT,
    },
}
PUSH_RESPONSE = {
    "type": "object",
    "required": ["subAccountId", "protocol", "host", "port", "username", "passwordSet", "path"],
    "additionalProperties": False,
    "properties": {
        **STATUS,
        "delete": {"type": "boolean"},
        "protocol": TEXT,
        "host": TEXT,
        "port": {"type": "integer"},
        "username": TEXT,
        "passwordSet": {"type": "boolean"},
        "path": TEXT,
    },
}
WEBHOOK_BODY = {
    "type": "object",
    "required": ["type", "url"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["VCS", "VCA", "VSS", "VRU", "VNU"]},
        "url": TEXT,
        "httpAuthHeader": {"type": ["string", "null"]},
        "enabled": {"type": ["boolean", "null"]},
    },
}
WEBHOOK = {
    "type": {"enum": ["VCS", "VCA", "VSS", "VRU", "VNU"]},
    "url": TEXT,
    "enabled": {"type": "boolean"},
    "httpAuthHeaderAvailable": {"type": "boolean"},
}
WEBHOOKS_RESPONSE = {
    "type": "object",
    "required": ["subAccountId", "count", "webhooks"],
    "additionalProperties": False,
    "properties": {
        **STATUS,
        "count": {"type": "integer"},
        "webhooks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": list(WEBHOOK),
                "additionalProperties": False,
                "properties": WEBHOOK,
            },
        },
    },
}
WEBHOOK_REMOVED = {
    "type": "object",
    "required": ["subAccountId", *WEBHOOK],
    "additionalProperties": False,
    "properties": {**STATUS, **WEBHOOK},
}
REFUSAL = {
    "type": "object",
    "required": ["errorId", "statusCode", "statusMessage", "timestamp"],
    "additionalProperties": False,
    "properties": {"errorId": TEXT, "statusCode": TEXT, "statusMessage": TEXT, "timestamp": TEXT},
}


class ValidatingApi(SimulatedApi):
    """Records requests and responses that do not match 8x8's schemas. Planned faults are not validated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(World(accounts=(), sessions=()), **options)
        self.violations: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    def answer(self, method: str, target: str, *, authorization: str | None, body: bytes) -> Reply:
        reply = super().answer(method, target, authorization=authorization, body=body)
        route = target.split("/", 5)[-1]
        if route == "recording-push-config":
            expected, returned = PUSH_BODY, PUSH_RESPONSE
        else:
            expected, returned = WEBHOOK_BODY, WEBHOOKS_RESPONSE if route == "webhooks" else WEBHOOK_REMOVED
        if method == "POST":
            self._validate(f"{method} {route}", json.loads(body), expected)
            self.bodies.append(json.loads(body))
        elif body:
            self.violations.append(f"{method} {route} has a body")
        if reply.fault is None:
            schema = returned if reply.status == 200 else REFUSAL
            self._validate(f"HTTP {reply.status} to {method} {route}", json.loads(reply.body), schema)
        return reply

    def _validate(self, what: str, value: Any, schema: dict[str, Any]) -> None:
        found = jsonschema.Draft202012Validator(schema).iter_errors(value)
        self.violations += [f"{what}: {error.message}" for error in found]


@dataclass
class SetUp:
    """A configuration whose first account has [push] and [webhooks], and the simulated API that it points to."""

    api: ValidatingApi
    config: Path
    commands: Any
    password = "pass-word-of-push"
    header = "Bearer of-the-webhook"
    url = "https://hooks.acme.example/webhooks/acme_one"
    environment: dict[str, str] = field(default_factory=dict)
    has_ledger: bool = False

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from callarchive.cli import main; main()", *words]

    def process_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_"))}
        return {**inherited, **self.environment, "CALLARCHIVE_CONFIG": str(self.config)}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run `callarchive` in a subprocess without a terminal, and assert that its output has no secret and no traceback."""
        done: subprocess.CompletedProcess[str] = self.commands.run(*words, environment=self.process_environment())
        self.no_secret_in(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def no_secret_in(self, text: str) -> None:
        for secret in (self.password, "of-the-webhook", "key-of-one", "key-of-two"):
            assert secret not in text

    def replace(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def methods(self) -> list[str]:
        return [request.method for request in self.api.requests]


PUSH = """
[accounts.push]
protocol = "SFTP"
host = "203.0.113.7"
port = 2222
username = "pushuser"
password = { env = "PUSH_PASSWORD" }
path = "/upload/recordings/"
"""
WEBHOOKS = f"""
[accounts.webhooks]
url = "{SetUp.url}"
auth_header = {{ env = "HOOK_HEADER" }}
"""


@pytest.fixture
def set_up(tmp_path: Path, commands: Any) -> Iterator[SetUp]:
    with ValidatingApi(keys={"acme_one": "key-of-one", "acme_two": "key-of-two"}) as api:
        config = tmp_path / "callarchive.toml"
        text = 'start_date = 2026-01-01\narchive.url = "archive"\ncatalog.url = "catalog"\n'
        for number, more in (("one", PUSH + WEBHOOKS), ("two", "")):
            text += f"""
[[accounts]]
subaccount_id = "acme_{number}"
api_url = "{api.url}"
api_key = {{ env = "KEY_{number.upper()}" }}
landing = "s3://acme-recordings/{number}"
session_sources = [{{ kind = "log_export" }}]
{more}"""
        config.write_text(text)
        found = SetUp(api, config, commands)
        found.environment = {
            "KEY_ONE": "key-of-one",
            "KEY_TWO": "key-of-two",
            "PUSH_PASSWORD": found.password,
            "HOOK_HEADER": found.header,
        }
        yield found
        assert api.violations == []
        assert (tmp_path / "archive").exists() == (tmp_path / "catalog").exists() == found.has_ledger


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run `callarchive` in this process: `code, out, err = run_here("play", ID)`."""
    root, own = logging.getLogger(), logging.getLogger("callarchive")
    handlers, levels = root.handlers[:], (root.level, own.level)

    def invoke(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            run_command(list(words))
        return int(end.value.code or 0), *capfd.readouterr()

    yield invoke
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


class Recorded:
    """An archive and a catalog that a test fills with calls, each on a day at a time in UTC."""

    def __init__(self, archive_url: str, folder: Path, config: Path) -> None:
        self.archive = open_store(archive_url, S3Settings())
        self.catalog = Catalog.open(folder)
        self.config = config
        self._tables: dict[tuple[schemas.Table, date], list[dict[str, Any]]] = {}

    def call(
        self, session_id: str, at: datetime, *recordings: dict[str, Any], account: str = "acme_one", **session: Any
    ) -> None:
        """Add a call to the day's tables. A recording with `data` has that file in the archive."""
        day = at.date()
        key = {"subaccount_id": account, "session_id": session_id}
        facts = {"started_at": at, "call_duration_s": 60.0, "session_status": "COMPLETED", "lookup_status": "ok"}
        rows = {schemas.SESSIONS: [{**key, **facts, **session}], schemas.RECORDINGS: [], schemas.RECORDING_FILES: []}
        for number, given in enumerate(recordings):
            recording = dict(given)
            data = recording.pop("data", None)
            row = {
                **key,
                "recording_id": f"{'abcdef'[number]}{session_id[1:]}",
                "started_at": at,
                "channels": 1,
            } | recording
            path = None
            if data is not None:
                path = f"{account}/call_date={day}/{session_id}/{row['recording_id']}.mp3"
                self.archive.create(path, data)
                known = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "duration_s": 247.2}
                known |= {"archive_status": "archived", "archive_uri": self.archive.uri(path), "silent_channels": []}
                row = known | row
            rows[schemas.RECORDINGS].append(row)
            rows[schemas.RECORDING_FILES].append({**row, "archive_path": path})
        for table, more in rows.items():
            kept = self._tables.setdefault((table, day), [])
            kept += more
            names = set(table.schema.names)
            self.catalog.replace_partition(table, day, [{k: v for k, v in row.items() if k in names} for row in kept])

    def path(self, session_id: str, *, day: str, recording: str = "a", account: str = "acme_one") -> str:
        """Return the path of a recording's file in the archive."""
        return f"{account}/call_date={day}/{session_id}/{recording}{session_id[1:]}.mp3"


@pytest.fixture(params=["file"])
def recorded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_environment: None
) -> Recorded:
    """An empty archive, in a folder, or with the parameter `s3` in a bucket, `s3-locked` in one with Object Lock."""
    url = f"file://{tmp_path / 'archive'}"
    if request.param.startswith("s3"):
        endpoint = request.getfixturevalue("s3_endpoint")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        url = f"s3://listening-{secrets.token_hex(4)}/archive"
        has_lock = request.param == "s3-locked"
        request.getfixturevalue("boto").create_bucket(Bucket=url.split("/")[2], ObjectLockEnabledForBucket=has_lock)
    config = tmp_path / "callarchive.toml"
    config.write_text(f"""\
timezone = "Asia/Singapore"
start_date = 2026-01-01
archive.url = "{url}"
catalog.url = "catalog"

[[accounts]]
subaccount_id = "acme_one"
api_url = "http://127.0.0.1:9"
api_key = {{ env = "ACME_KEY" }}
landing = "s3://acme-recordings/one"
session_sources = [{{ kind = "log_export" }}]
""")
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(config))
    monkeypatch.setenv("ACME_KEY", "key")
    monkeypatch.chdir(tmp_path)
    return Recorded(url, tmp_path / "catalog", config)
