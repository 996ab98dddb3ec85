"""Every conclusion, tested with every fault that proves nothing: the result must be "not known".

The places are those of the table in docs/explanation/guarantees.md. The faults: an HTML page with status 200, an empty body, a
body that is cut short, no answer in time, and a refusal.
"""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import boto3
import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.cli.day_results import DaySummary
from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Outcome
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.world import AccountPlan, FileState

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
BUCKET = "acme-recordings"
HTML = "<!doctype html><html><body>Please sign in</body></html>"
ID = "00000000-0000-4000-8000-000000000000"
ORPHAN = f"calls/{ID}/{ID}_2026-01-05T10:00:00.000Z.mp3"
FAULTS = ("html", "empty", "cut", pytest.param("timeout", marks=pytest.mark.live), "refusal")
QUICK = """
[lookups]
timeout_s = 0.3
deadline_s = 1
export_deadline_s = 1

[transfer]
attempts = 1
stall_timeout_s = 0.5
deadline_s = 2
"""


class Proxy:
    """A proxy before an S3 server. While `fault` is set, it applies to every response to a read from the landing."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.fault: str | None = None
        self.url = ""

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                path = unquote(self.path)
                spoiled = self.command in ("GET", "HEAD") and path.startswith(f"/{BUCKET}")
                status, headers, body = proxy.forward(self)
                fault = proxy.fault if spoiled else None
                announced = len(body)
                if fault == "html":
                    status, headers, body = 200, {"Content-Type": "text/html"}, HTML.encode()
                    announced = len(body)
                elif fault == "empty":
                    status, headers, body, announced = 200, {}, b"", 0
                elif fault == "cut":
                    body, announced = body[: len(body) // 2], len(body)
                    self.close_connection = True
                elif fault == "timeout":
                    time.sleep(1.5)
                    self.close_connection = True
                    return
                elif fault == "refusal":
                    status, headers = 403, {"Content-Type": "application/xml"}
                    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                    announced = len(body)
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                size = headers.get("Content-Length", "0") if self.command == "HEAD" else str(announced)
                self.send_header("Content-Length", size)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def forward(self, handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        """Return the response of the real server."""
        length = int(handler.headers.get("Content-Length") or 0)
        request = urllib.request.Request(
            self.endpoint_url + handler.path,
            data=handler.rfile.read(length) if length else None,
            method=handler.command,
            headers={k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection")},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as err:
            with err:
                return err.code, dict(err.headers), err.read()


@pytest.fixture
def trial(start_trial: Start) -> Iterator[tuple[Any, Proxy]]:
    """One account with a bucket behind the proxy, and an object in it that no recording names."""
    trial = start_trial(sessions_per_day=6, accounts=(AccountPlan("acme", "s3", f"{BUCKET}/calls"),))
    trial.configure(QUICK)
    endpoint = trial.simulator.s3.endpoint_url
    with Proxy(endpoint).running() as proxy:
        trial.config.write_text(trial.config.read_text().replace(endpoint, proxy.url))
        environment = trial.simulator.environment
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        client.put_object(Bucket=BUCKET, Key=ORPHAN, Body=b"no recording names this")
        client.close()
        yield trial, proxy


def archived(trial: Any) -> DaySummary | ArchiveError:
    """Archive the day, and return the summary or the error."""
    try:
        (summary,) = trial.archive()
    except ArchiveError as err:
        return err
    return summary


def check_of(result: DaySummary | ArchiveError, name: str) -> Outcome | None:
    if isinstance(result, ArchiveError):
        return None
    return next(check.outcome for check in result.checks if check.name == name)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_landing_makes_nothing_missing_and_resolves_nothing(trial: tuple[Any, Proxy], fault: str) -> None:
    world, proxy = trial
    proxy.fault = fault
    result = archived(world)
    states = {row["archive_status"] for row in world.tables()["recordings"]}
    assert not states & {"missing", "archived"}
    failed = isinstance(result, ArchiveError) or result.failures
    assert failed or check_of(result, "recordings_archived") is Outcome.FAILED

    proxy.fault = None
    healed = archived(world)
    assert isinstance(healed, DaySummary)
    assert not healed.failures
    kept = {row["recording_id"] for row in world.tables()["recordings"] if row["archive_status"] == "archived"}
    assert kept == {r.recording_id for r in world.simulator.world.recordings if r.file is FileState.WHOLE}
    orphans = [row for row in world.tables()["reconciliation"] if row["kind"] == "orphan_object"]
    assert [row["state"] for row in orphans] == ["open"]

    proxy.fault = fault
    again = archived(world)
    state_of = {row["recording_id"]: row["archive_status"] for row in world.tables()["recordings"]}
    assert {id_ for id_, state in state_of.items() if state == "archived"} == kept
    assert "missing" not in state_of.values()
    assert [row for row in world.tables()["reconciliation"] if row["kind"] == "orphan_object"] == orphans
    assert check_of(again, "landing_objects_known") is not Outcome.PASSED


LOOKUPS = {
    "html": Fault.answer(200, body=HTML),
    "empty": Fault.answer(200, body=b""),
    "cut": Fault.short_body(),
    "timeout": Fault.stall(),
    "refusal": Fault.answer(404, body=HTML),  # 401 and 403 end the account: see the next test
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_invalid_response_makes_no_session_final(trial: tuple[Any, Proxy], fault: str) -> None:
    world, _ = trial
    session = next(r for r in world.simulator.world.recordings if r.file is FileState.WHOLE).session_id
    world.simulator.api.faults.add(LOOKUPS[fault], match=session, times=FOREVER)
    (summary,) = world.archive()
    assert not summary.failures
    assert {row["session_id"]: row["lookup_status"] for row in world.tables()["sessions"]}[session] == "error"
    world.simulator.api.faults.clear()
    world.archive()
    assert {row["session_id"]: row["lookup_status"] for row in world.tables()["sessions"]}[session] == "ok"


EXPORTS = {
    "html": Fault.answer(200, body=HTML),
    "empty": Fault.answer(200, body=b""),
    "cut": Fault.no_length(),
    "timeout": Fault.stall(),
    "refusal": Fault.answer(403, body={}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_invalid_export_does_not_change_the_day(trial: tuple[Any, Proxy], fault: str) -> None:
    world, _ = trial
    world.archive()
    before = world.tables()
    steps = Catalog.open(world.config.parent / "catalog")
    sessions = steps.rows(schemas.SESSION_IDS, DAY)
    world.simulator.api.faults.add(EXPORTS[fault], match="download", times=FOREVER)
    assert isinstance(archived(world), ArchiveError)
    assert world.tables() == before
    assert steps.rows(schemas.SESSION_IDS, DAY) == sessions
