"""The simulated 8x8 API: routes, keys, state, and the faults that requests meet.

Bodies are in `responses` and `exports`, the data in `world`, the HTTP server in `wire`.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from callarchive.simulator import responses
from callarchive.simulator.exports import BadWindowError, ExportJobs
from callarchive.simulator.faults import Faults
from callarchive.simulator.responses import InvalidBodyError, PushConfig, Webhook
from callarchive.simulator.wire import HttpServer, Reply
from callarchive.simulator.world import Session, World

_SUBACCOUNT_PATH = re.compile(r"/api/v1/subaccounts/(?P<subaccount>[^/]+)/(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Request:
    """A received request, without headers and so without its key."""

    method: str
    path: str
    at: datetime
    monotonic_s: float


class SimulatedApi:
    """8x8's Voice API for the accounts of a world, served within a `with` block.

    `keys` are the bearer keys of the subaccounts; port 0 is a free one. The clock decides which recordings are ready and which
    links have expired. An export job is unfinished for `export_polls` requests.
    """

    def __init__(
        self,
        world: World,
        *,
        keys: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        export_polls: int = 2,
        export_rows_per_file: int = 1000,
    ) -> None:
        self.faults = Faults()
        self._keys = dict(keys)
        self._host = host
        self._port = port
        self._clock = clock
        self._exports = ExportJobs(polls=export_polls, rows_per_file=export_rows_per_file)
        self._lock = Lock()
        self._requests: list[Request] = []
        self._push_configs: dict[str, PushConfig] = {}
        self._webhooks: dict[tuple[str, str], Webhook] = {}
        self._server: HttpServer | None = None
        self._thread: Thread | None = None
        self.replace_world(world)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start serving requests."""
        self._server = HttpServer((self._host, self._port), self.answer)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="simulated-api")
        self._thread.start()
        return self

    def close(self) -> None:
        """Close the port and all connections. May be called twice."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            server.hang_up()
            self._thread.join()
            server.server_close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the simulated API is not running: use it in a `with`")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The value for `api_url`."""
        return f"http://{self._host}:{self.port}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests so far, in order of arrival."""
        with self._lock:
            return tuple(self._requests)

    def push_config(self, subaccount_id: str) -> PushConfig | None:
        """Return the account's push configuration, including the password."""
        with self._lock:
            return self._push_configs.get(subaccount_id)

    def webhooks(self, subaccount_id: str) -> list[Webhook]:
        """Return the account's webhooks, including the auth headers, ordered by type."""
        with self._lock:
            return [hook for (account, _), hook in sorted(self._webhooks.items()) if account == subaccount_id]

    def replace_world(self, world: World) -> None:
        """Serve this world from now on. Export jobs, push configurations and webhooks are kept."""
        sessions = {(session.subaccount_id, session.session_id): session for session in world.sessions}
        with self._lock:
            self._world, self._sessions = world, sessions

    def answer(self, method: str, target: str, *, authorization: str | None, body: bytes) -> Reply:
        """Return the reply to a request, after logging it, and applying faults, keys and routes in this order."""
        path = urlsplit(target).path
        with self._lock:
            self._requests.append(Request(method, path, self._clock(), time.monotonic()))
        found = _SUBACCOUNT_PATH.fullmatch(path)
        subaccount_id = unquote(found["subaccount"]) if found else ""
        parts = found["rest"].split("/") if found else []
        tags = {method, subaccount_id, *(part.removeprefix("recording-") for part in parts)}
        fault = self.faults.take(tags)
        if fault is not None and fault.status is not None:
            return Reply(fault.status, fault.body or b"", fault.headers, fault)
        reply = self._refused(authorization, subaccount_id) or self._routed(method, subaccount_id, parts, body, tags)
        data = reply.body
        if fault is not None and fault.rows is not None and reply.status == 200:
            data = b"".join(data.splitlines(keepends=True)[: fault.rows + 1])
        return Reply(reply.status, data, reply.headers, fault)

    def _refused(self, authorization: str | None, subaccount_id: str) -> Reply | None:
        scheme, _, key = (authorization or "").partition(" ")
        owner = next((account for account, own in self._keys.items() if own == key.strip()), None)
        if scheme.lower() != "bearer" or owner is None:
            return Reply.of(401, responses.refusal("1401", "API key not found or invalid", now=self._clock()))
        if owner != subaccount_id:
            return Reply.of(403, responses.refusal("1403", "Resource not accessible", now=self._clock()))
        return None

    def _routed(self, method: str, account: str, parts: list[str], body: bytes, tags: set[str]) -> Reply:
        now = self._clock()
        try:
            match (method, *parts):
                case ("GET", "recordings", session_id):
                    session = self._session(account, unquote(session_id))
                    return Reply.of(*responses.recordings_response(session, now=now))
                case (_, "recording-push-config"):
                    return self._push_config_reply(method, account, body)
                case (_, "webhooks", *rest):
                    return self._webhooks_reply(method, account, rest, body)
                case ("POST", "messages", "exports"):
                    fault = self.faults.take(tags, starts_job=True)
                    outcome = fault.job if fault is not None else None
                    return Reply.of(202, {"jobId": self._exports.start(account, _json(body), outcome=outcome)})
                case ("GET", "messages", "exports", job_id):
                    link_base = f"{self.url}/api/v1/subaccounts/{account}/messages/download/"
                    status = self._exports.status(account, job_id, world=self._world, link_base=link_base, now=now)
                    return Reply.of(404, responses.unknown_job(now=now)) if status is None else Reply.of(200, status)
                case ("DELETE", "messages", "exports", job_id):
                    known = self._exports.cancel(account, job_id)
                    return Reply(204) if known else Reply.of(404, responses.unknown_job(now=now))
                case ("GET", "messages", "download", token):
                    data = self._exports.file(account, token, now=now)
                    if data is not None:
                        return Reply(200, data, {"Content-Type": "text/csv; charset=utf-8"})
                    return Reply.of(404, responses.refusal("1404", "The file is not available", now=now))
        except (InvalidBodyError, BadWindowError) as err:
            return Reply.of(422, responses.refusal("1001", str(err), now=now))
        return Reply.of(404, responses.refusal("1404", "Resource not found", now=now))

    def _session(self, account: str, session_id: str) -> Session | None:
        with self._lock:
            return self._sessions.get((account, session_id.lower()))

    def _push_config_reply(self, method: str, account: str, body: bytes) -> Reply:
        with self._lock:
            config = self._push_configs.get(account)
            if method == "GET" and config is not None:
                return Reply.of(200, responses.push_config_response(account, config))
            if method == "POST":
                self._push_configs[account] = responses.read_push_config(_json(body))
                return Reply.of(200, responses.push_config_response(account, self._push_configs[account]))
            if method == "DELETE" and config is not None:
                del self._push_configs[account]
                return Reply.of(200, responses.push_config_response(account, config, deleted=True))
        return Reply.of(404, responses.refusal("1404", "Recording push config not found", now=self._clock()))

    def _webhooks_reply(self, method: str, account: str, rest: list[str], body: bytes) -> Reply:
        if method == "GET" and not rest:
            return Reply.of(200, responses.webhooks_response(account, self.webhooks(account)))
        if method == "POST" and not rest:
            webhook = responses.read_webhook(_json(body))
            with self._lock:
                self._webhooks[account, webhook.type] = webhook
            return Reply.of(200, responses.webhooks_response(account, self.webhooks(account)))
        if method == "DELETE" and len(rest) == 1:
            with self._lock:
                removed = self._webhooks.pop((account, rest[0]), None)
            if removed is not None:
                body_ = {"subAccountId": account, **responses.webhook_response(removed)}
                return Reply.of(200, {**body_, "statusCode": 0, "statusMessage": "deleted"})
        return Reply.of(404, responses.refusal("1404", "Webhook not found", now=self._clock()))


def _json(body: bytes) -> Any:
    """Return the value of a JSON body, `None` if it is empty. Raise InvalidBodyError if it is invalid."""
    try:
        return json.loads(body) if body.strip() else None
    except (ValueError, RecursionError) as err:
        raise InvalidBodyError("Invalid JSON request body") from err
