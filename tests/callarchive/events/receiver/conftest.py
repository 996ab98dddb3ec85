"""The real receiver in its own process, and clients that post to it."""

import http.client
import json
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

ACCOUNT = "acme_sg"
AUTH = "Bearer s3cret-of-the-receiver"
CONFIG = """
start_date = 2026-01-01

[archive]
url = "archive"

[catalog]
url = "catalog"

[inbox]
url = "{inbox}"

[receiver]
{receiver}

[[accounts]]
subaccount_id = "acme_sg"
api_key = {{ env = "NOT_NEEDED" }}
landing = "s3://acme-recordings"

[accounts.webhooks]
url = "https://hooks.acme.example/webhooks/acme_sg"
auth_header = {{ env = "RECEIVER_AUTH" }}

[[accounts.session_sources]]
kind = "inbox"

[[accounts]]
subaccount_id = "open.to&all"
api_key = {{ env = "NOT_NEEDED" }}
landing = "s3://acme-recordings"

[[accounts.session_sources]]
kind = "inbox"
"""


def uploaded(session_id: str | None = None, recording_id: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a VRU event."""
    payload = {
        "sessionId": session_id or str(uuid.uuid1()),
        "recordingId": recording_id or str(uuid.uuid1()),
        "durationSeconds": 25,
        "filePath": "recordings/2026-01-05/x.mp3",
        "status": "UPLOAD_COMPLETED",
        **more,
    }
    return {"namespace": "VOICE", "eventType": "CALL_RECORDING_STATUS", "payload": payload}


@dataclass
class HttpResponse:
    """A response: status, headers, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Running:
    """A receiver that listens on `port`."""

    process: Any  # with the methods of Popen
    port: int
    log: Path

    def post(
        self,
        body: bytes | dict[str, Any],
        *,
        path: str = f"/webhooks/{ACCOUNT}",
        headers: dict[str, str] | None = None,
        auth: str | None = AUTH,
        method: str = "POST",
        timeout_s: float = 30,
    ) -> HttpResponse:
        """Send one request on its own connection."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            sent = {**({} if auth is None else {"Authorization": auth}), **(headers or {})}
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return HttpResponse(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> HttpResponse:
        """Send a GET without headers."""
        return self.post(b"", path=path, auth=None, method="GET")


@dataclass
class Load:
    """Clients that post events, one connection each, until the block ends. They resend events that were not acknowledged,
    which may be in the inbox already, and every tenth one that was.

    `acknowledged` has the recording ids of events that got a 200, once per response.
    """

    port: Callable[[], int]
    per_second: float = 300
    clients: int = 8
    acknowledged: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._work) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        pause_s = self.clients / self.per_second
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=10)
        body, sent, again = b"", 0, False
        while not self._stop.is_set():
            if not body:
                recording_id = str(uuid.uuid1())
                body = json.dumps(uploaded(recording_id=recording_id)).encode()
            try:
                connection.request("POST", f"/webhooks/{ACCOUNT}", body, {"Authorization": AUTH})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.acknowledged.append(recording_id)
                    sent += not again
                    again = not again and sent % 10 == 0
                    body = body if again else b""
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=10)
            self._stop.wait(pause_s)
        connection.close()


Start = Callable[..., Running]


@pytest.fixture
def start_receiver(tmp_path: Path, commands: Any) -> Iterator[Start]:
    """Yield `start_receiver(inbox_url="sqlite:///inbox.sqlite3", receiver="max_body_bytes = 2000", environment={})`."""
    with ExitStack() as stack:

        def start(
            *, inbox: str = "sqlite:///inbox.sqlite3", receiver: str = "", environment: dict[str, str] | None = None
        ) -> Running:
            (tmp_path / "callarchive.toml").write_text(CONFIG.format(inbox=inbox, receiver=receiver))
            log = tmp_path / f"receiver-{time.monotonic_ns()}.log"
            inherited = {k: v for k, v in os.environ.items() if not k.startswith("CALLARCHIVE_")}
            with log.open("wb") as out:
                process = commands.start(
                    *("webhooks", "serve", "--port", "0"),
                    environment={**inherited, "RECEIVER_AUTH": AUTH, **(environment or {})},
                    folder=tmp_path,
                    out=out,
                    err=out,
                )
            stack.callback(_end, process)
            deadline = time.monotonic() + 60
            while not (found := re.search(r"listening on http://127\.0\.0\.1:(\d+)/", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            return Running(process, int(found[1]), log)

        yield start


def _end(process: Any) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def events() -> Callable[..., dict[str, Any]]:
    """Return the maker of VRU events."""
    return uploaded


@pytest.fixture
def load() -> type[Load]:
    """Return the class of clients."""
    return Load
