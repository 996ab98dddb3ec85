"""The receiver's routes. 200 means that the event is durable; every refusal closes its connection."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from callarchive.domain.errors import ArchiveError
from callarchive.domain.phone_numbers import PhoneNumberMask
from callarchive.events.inbox.events import EventRefusedError, read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.receiver.admission import (
    ForgedAddressError,
    Network,
    client_address,
    is_allowed,
    networks,
    same_header,
)
from callarchive.events.receiver.metrics import CONTENT_TYPE, Metrics
from callarchive.events.receiver.writer import Writer
from callarchive.settings import ReceiverSettings

log = logging.getLogger(__name__)

_HEALTH_DEADLINE_S = 5.0
_PROBE_AFTER_S = 30.0  # how long after the last commit `/healthz` tries one: a disk may fill up while no event arrives
_ROOM_WITHIN_S = 1.0  # how long requests whose connections were dropped may take to end
_LOG_EVERY_S = 10.0


@dataclass(frozen=True)
class Sender:
    """An account whose events are accepted with this `Authorization` header; `None` if none is required."""

    subaccount_id: str
    auth_header: bytes | None
    mask: PhoneNumberMask

    def __repr__(self) -> str:
        return f"Sender({self.subaccount_id!r})"


class _RefusedError(Exception):
    """A refused request: HTTP status, a word for the metrics, and a message for the sender."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


class Receiver:
    """An HTTP application that adds these accounts' events to the inbox. `make_room` drops incomplete requests."""

    def __init__(
        self,
        senders: Mapping[str, Sender],
        settings: ReceiverSettings,
        *,
        inbox: Inbox,
        writer: Writer,
        metrics: Metrics,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self._senders = senders
        self._settings = settings
        self._inbox = inbox
        self._writer = writer
        self._metrics = metrics
        self._allowed: tuple[Network, ...] = networks(settings.allow_from)
        self._trusted: tuple[Network, ...] = networks(settings.trusted_proxies)
        self._in_flight = 0
        self._make_room = make_room
        self._probe: asyncio.Future[None] | None = None
        self._logged_at: dict[str, float] = {}

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/webhooks/{subaccount_id}", self._receive, methods=["POST"]),
                # `webhooks list` ignores a trailing slash in the URL, and a redirect would lose the event.
                Route("/webhooks/{subaccount_id}/", self._receive, methods=["POST"]),
                Route("/healthz", self._health, methods=["GET"]),
                Route("/metrics", self._show_metrics, methods=["GET"]),
            ]
        )

    async def _receive(self, request: Request) -> Response:
        try:
            await self._accept(request)
        except _RefusedError as refusal:
            self._metrics.refused(refusal.reason)
            self._log(refusal)
            headers = {"Connection": "close"}
            if refusal.retry_after_s is not None:
                headers["Retry-After"] = str(refusal.retry_after_s)
            return Response(refusal.message + "\n", refusal.status, headers, "text/plain")
        return Response(status_code=200)

    async def _accept(self, request: Request) -> None:
        sender = self._sender(request)
        length = request.headers.get("content-length", "")
        if length and (not length.isdecimal() or int(length[:20]) > self._settings.max_body_bytes):
            raise self._too_large()
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise _RefusedError(415, "encoding", "Content-Encoding is not supported")
        if self._in_flight >= self._settings.max_in_flight and not await self._has_room():
            raise _RefusedError(503, "busy", "too many requests at once", retry_after_s=1)
        self._in_flight += 1
        try:
            body = await self._body(request)
            try:
                event = read_event(body, subaccount_id=sender.subaccount_id, mask=sender.mask)
            except EventRefusedError as err:
                raise _RefusedError(400, "payload", str(err)) from None
            try:
                await asyncio.wrap_future(self._writer.add(sender.subaccount_id, event))
            except ArchiveError:
                raise _RefusedError(503, "inbox", "the inbox is unavailable", retry_after_s=5) from None
        finally:
            self._in_flight -= 1
        self._metrics.received(sender.subaccount_id, event.event.kind, self._inbox.now())

    def _sender(self, request: Request) -> Sender:
        """Return the account if the client may send its events. Reads nothing of the body."""
        sender = self._senders.get(request.path_params["subaccount_id"])
        if sender is None:
            raise _RefusedError(404, "account", "unknown account")
        peer = request.client.host if request.client is not None else "127.0.0.1"  # a Unix socket is local
        try:
            address = client_address(peer, request.headers.getlist("x-forwarded-for"), trusted=self._trusted)
            allowed = is_allowed(address, self._allowed)
        except ForgedAddressError:
            allowed = False
        if not allowed:
            raise _RefusedError(403, "address", "this address may not send events")
        if sender.auth_header is not None:
            sent = [value.encode("latin-1") for value in request.headers.getlist("authorization")]
            if not same_header(sent, sender.auth_header):
                raise _RefusedError(401, "header", "invalid Authorization header")
        return sender

    async def _body(self, request: Request) -> bytes:
        received = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_deadline_s):
                async for chunk in request.stream():
                    received += chunk
                    if len(received) > self._settings.max_body_bytes:
                        raise self._too_large()
        except TimeoutError:
            raise _RefusedError(408, "slow", "timeout while reading the body") from None
        except ClientDisconnect:
            raise _RefusedError(400, "gone", "the body is incomplete") from None
        return bytes(received)

    async def _has_room(self) -> bool:
        """Return whether there is room for a request, after dropping incomplete requests of addresses with too many."""
        if self._make_room():
            give_up_at = time.monotonic() + _ROOM_WITHIN_S
            while self._in_flight >= self._settings.max_in_flight and time.monotonic() < give_up_at:  # noqa: ASYNC110 - a counter, no event
                await asyncio.sleep(0.005)
        return self._in_flight < self._settings.max_in_flight

    def _too_large(self) -> _RefusedError:
        return _RefusedError(413, "size", f"the body is longer than {self._settings.max_body_bytes} bytes")

    async def _health(self, _: Request) -> Response:
        """Respond with 200 if the inbox can be read and its last commit, of an event or a probe, succeeded."""
        message = "the inbox does not respond\n"
        try:
            async with asyncio.timeout(_HEALTH_DEADLINE_S):
                await asyncio.to_thread(self._inbox.latest_number)
                if self._writer.failing or self._writer.idle_s > _PROBE_AFTER_S:
                    # Probe, as no event may show the recovery: a proxy sends none to an unhealthy receiver.
                    message = "the inbox rejects events\n"
                    await self._wait_for_probe()
        except (ArchiveError, TimeoutError):
            return Response(message, 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    async def _wait_for_probe(self) -> None:
        """Wait for the one running probe, or start it. Raises like `Writer.probe`."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(asyncio.to_thread(self._writer.probe))
            self._probe.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._probe)

    async def _show_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    def _log(self, refusal: _RefusedError) -> None:
        """Log one line per kind of refusal and interval: a flood must not fill the log."""
        now = time.monotonic()
        if now - self._logged_at.get(refusal.reason, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._logged_at[refusal.reason] = now
            log.warning("refused, HTTP %d: %s", refusal.status, refusal.message)
