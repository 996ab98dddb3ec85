"""Two accounts at a simulated API that validates every exchange about their setup against JSON schemas."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.wire import Reply
from callarchive.simulator.world import World

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
    password = "pass-word-of-push"
    header = "Bearer of-the-webhook"
    url = "https://hooks.acme.example/webhooks/acme_one"
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from callarchive.cli import main; main()", *words]

    def process_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_"))}
        return {**inherited, **self.environment, "CALLARCHIVE_CONFIG": str(self.config)}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run `callarchive` in a subprocess without a terminal, and assert that its output has no secret and no traceback."""
        done = subprocess.run(
            self.command(*words),
            env=self.process_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
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
def set_up(tmp_path: Path) -> Iterator[SetUp]:
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
        found = SetUp(api, config)
        found.environment = {
            "KEY_ONE": "key-of-one",
            "KEY_TWO": "key-of-two",
            "PUSH_PASSWORD": found.password,
            "HOOK_HEADER": found.header,
        }
        yield found
        assert api.violations == []
        assert not (tmp_path / "archive").exists()
        assert not (tmp_path / "catalog").exists()
