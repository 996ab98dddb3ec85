"""Runs the receiver until SIGTERM or Ctrl-C: what is in flight then is finished, and committed, before the process ends."""

import asyncio
import logging
import resource
import socket
import threading
import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from callarchive.domain.errors import ConfigurationError, StoreError, UnavailableError
from callarchive.domain.phone_numbers import phone_number_mask
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.receiver.admission import networks
from callarchive.events.receiver.app import Receiver, Sender
from callarchive.events.receiver.connections import Connections
from callarchive.events.receiver.metrics import Metrics
from callarchive.events.receiver.writer import Writer
from callarchive.settings import AccountSettings, Secret, Settings, unset_secrets

log = logging.getLogger(__name__)

_LONGEST_HEADERS_BYTES = 16 * 1024
_GRACE_S = 15
_BACKLOG = 512
_SAID_EVERY_S = 10.0
_CLEAN_AGAIN_S = 60.0
_OTHER_FILES = 128
"""Descriptors that are no connections: the inbox, logs, libraries."""
_OVER = 64
"""Connections above our own bound at which uvicorn answers 503: one that is cut off is still there for a moment."""


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Events of all accounts are taken at `http://host:port/webhooks/{subaccount_id}` until the process is told to stop.

    Args:
        port: 0 takes a free one, which the log names.

    Raises:
        ConfigurationError: a header's or a key's secret is not set, or inbox.url cannot be used.
        UnavailableError, StoreError: the address is taken, or the inbox cannot be opened.
    """
    secrets: list[tuple[str, Secret | None]] = []
    for account in settings.accounts:
        header = None if account.webhooks is None else account.webhooks.auth_header
        secrets.append((settings.key_of(account, "webhooks.auth_header"), header))
        secrets.append((settings.key_of(account, "phone_hash_key"), account.phone_hash_key))
    lacking = unset_secrets(secrets)
    if lacking:
        raise ConfigurationError("\n".join(lacking))
    senders = {account.subaccount_id: _sender(account) for account in settings.accounts}
    inbox = Inbox.open(settings.inbox.url)
    try:
        listening = _listen(host, port)
        metrics = Metrics()
        metrics.remember(inbox.statistics(), accounts=senders)
        writer = Writer(inbox, metrics, room=2 * settings.receiver.max_in_flight)
        stopping = threading.Event()
        cleaning = threading.Thread(target=_clean, args=(inbox, stopping), name="inbox-cleaning", daemon=True)
        cleaning.start()
        try:
            connections = _connections(settings)
            receiver = Receiver(
                senders,
                settings.receiver,
                inbox=inbox,
                writer=writer,
                metrics=metrics,
                make_room=connections.make_room,
            )
            shown = f"[{host}]" if ":" in host else host
            log.warning("listening on http://%s:%d/webhooks/{subaccount_id}", shown, listening.getsockname()[1])
            logging.getLogger("uvicorn.error").addFilter(_Sparing())
            _Server(_configuration(receiver, settings, connections)).run(sockets=[listening])
        finally:
            stopping.set()
            writer.close()
            cleaning.join()
            listening.close()
    finally:
        inbox.close()


def _clean(inbox: Inbox, stopping: threading.Event) -> None:
    """Clean what an older version kept, while events are taken, and try again until that is done."""
    while not stopping.is_set():
        try:
            inbox.clean(stop=stopping)
        except (UnavailableError, StoreError) as err:
            log.warning("events of an older version could not be cleaned yet: %s", err)
            stopping.wait(_CLEAN_AGAIN_S)
        else:
            return


def _sender(account: AccountSettings) -> Sender:
    header = account.webhooks.auth_header if account.webhooks is not None else None
    if header is None:
        log.warning(
            "%s: takes events from everyone who reaches this address: accounts.webhooks.auth_header is not set",
            account.subaccount_id,
        )
        return Sender(account.subaccount_id, None, phone_number_mask(account))
    try:
        expected = header.reveal().encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"account {account.subaccount_id}: accounts.webhooks.auth_header holds what cannot stand in a header"
        ) from None
    return Sender(account.subaccount_id, expected, phone_number_mask(account))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as err:
        reason = getattr(err, "strerror", None) or type(err).__name__
        raise UnavailableError(f"cannot listen on {host}, port {port}: {reason}") from err


def _most_connections(settings: Settings) -> int:
    """How many connections may be open: as configured, or as many as the process may have files."""
    wanted = max(settings.receiver.max_connections, settings.receiver.max_in_flight)
    files = wanted + _OVER + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        most = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < files:
            log.warning("only %d files may be open (ulimit -n): fewer than receiver.max_connections needs", most)
            return max(1, most - _OVER - _OTHER_FILES)
    return wanted


def _connections(settings: Settings) -> Connections:
    return Connections(
        most=_most_connections(settings),
        most_waiting_each=settings.receiver.max_waiting_per_address,
        shared=networks(settings.receiver.trusted_proxies),
    )


def _configuration(receiver: Receiver, settings: Settings, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        receiver.app(),
        http=_protocol(settings.receiver.headers_deadline_s, connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `admission` decides which proxies are believed
        server_header=False,
        h11_max_incomplete_event_size=_LONGEST_HEADERS_BYTES,
        limit_concurrency=connections.most + _OVER,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
    )


class _Sparing(logging.Filter):
    """Lets each of a library's messages through once in ten seconds: whoever sends what is no HTTP must not fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if record.levelno > logging.WARNING or now - self._said_at.get(record.msg, -_SAID_EVERY_S) >= _SAID_EVERY_S:
            self._said_at[record.msg] = now
            return True
        return False


class _Server(uvicorn.Server):
    """Stops at the first signal, and does not raise it again afterwards: a stop that was asked for is no failure."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.should_exit = True


def _protocol(deadline_s: float, connections: Connections) -> type[H11Protocol]:
    """uvicorn makes one for each connection, and hands nothing of ours to it."""
    return type("BoundedProtocol", (_BoundedProtocol,), {"headers_deadline_s": deadline_s, "others": connections})


class _BoundedProtocol(H11Protocol):
    """uvicorn's HTTP with a deadline for a request's headers, from the connection's or their own first byte on, and a place
    among the other connections.
    """

    headers_deadline_s: float
    others: Connections
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()
        self.others.opened(self, self.client[0] if self.client is not None else None)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()
            if not self.cycle.more_body:
                self.others.is_served(self)
        elif self._late is None:
            self._arm()

    def on_response_complete(self) -> None:
        self.others.waits(self)
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.others.is_served(self)  # the next request was here already

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.others.closed(self)
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._late = self.loop.call_later(self.headers_deadline_s, self.cut_off)

    def _disarm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def cut_off(self) -> None:
        """The connection ends at once, without an answer."""
        self._disarm()
        if not self.transport.is_closing():
            self.transport.abort()
