"""Runs the receiver until SIGTERM or Ctrl-C; requests in flight are finished and committed before the process ends."""

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

from callarchive.domain.errors import ArchiveError, ConfigurationError, StoreError, UnavailableError
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
_LOG_EVERY_S = 10.0
_RETRY_CLEANING_S = 60.0
_OTHER_FILES = 128  # descriptors other than connections: the inbox, logs, libraries
_SPARE_CONNECTIONS = 64
"""How far above our own limit uvicorn responds with 503: a dropped connection exists for a moment longer."""


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Accept events of all accounts at `http://host:port/webhooks/{subaccount_id}` until the process is stopped.

    Port 0 is a free one, which is logged.

    Raises:
        ConfigurationError: a header's or a key's secret is not set, or inbox.url is invalid.
        ArchiveError: the address is in use.
        UnavailableError, StoreError: the inbox cannot be opened.
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
            connections = Connections(
                most=_most_connections(settings),
                most_waiting_each=settings.receiver.max_waiting_per_address,
                shared=networks(settings.receiver.trusted_proxies),
            )
            receiver = Receiver(
                senders, settings.receiver, inbox=inbox, writer=writer, metrics=metrics, make_room=connections.make_room
            )
            shown = f"[{host}]" if ":" in host else host
            log.warning("listening on http://%s:%d/webhooks/{subaccount_id}", shown, listening.getsockname()[1])
            logging.getLogger("uvicorn.error").addFilter(_RateLimit())
            _Server(_configuration(receiver, settings, connections)).run(sockets=[listening])
        finally:
            stopping.set()
            writer.close()
            cleaning.join()
            listening.close()
    finally:
        inbox.close()


def _clean(inbox: Inbox, stopping: threading.Event) -> None:
    """Clean events that an older version stored, while new ones are accepted, and retry until that succeeds."""
    while not stopping.is_set():
        try:
            inbox.clean(stop=stopping)
        except (UnavailableError, StoreError) as err:
            log.warning("could not clean events of an older version, retrying: %s", err)
            stopping.wait(_RETRY_CLEANING_S)
        else:
            return


def _sender(account: AccountSettings) -> Sender:
    header = account.webhooks.auth_header if account.webhooks is not None else None
    if header is None:
        log.warning(
            "%s: accepts events from anyone who can reach this address: accounts.webhooks.auth_header is not set",
            account.subaccount_id,
        )
        return Sender(account.subaccount_id, None, phone_number_mask(account))
    try:
        expected = header.reveal().encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"account {account.subaccount_id}: accounts.webhooks.auth_header has characters that are invalid in a header"
        ) from None
    return Sender(account.subaccount_id, expected, phone_number_mask(account))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as err:
        reason = (getattr(err, "strerror", None) or type(err).__name__).partition(" (while")[0]
        raise ArchiveError(
            f"cannot listen on {host}, port {port}: {reason}. Choose a free --port, and as --host an address of this machine"
        ) from err


def _most_connections(settings: Settings) -> int:
    """Return how many connections may be open: the configured number, or what the limit on open files allows."""
    wanted = max(settings.receiver.max_connections, settings.receiver.max_in_flight)
    files = wanted + _SPARE_CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        most = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < files:
            log.warning("only %d files may be open (ulimit -n), fewer than receiver.max_connections needs", most)
            return max(1, most - _SPARE_CONNECTIONS - _OTHER_FILES)
    return wanted


def _configuration(receiver: Receiver, settings: Settings, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        receiver.app(),
        http=_protocol(settings.receiver.headers_deadline_s, connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `admission` decides which proxies are trusted
        server_header=False,
        h11_max_incomplete_event_size=_LONGEST_HEADERS_BYTES,
        limit_concurrency=connections.most + _SPARE_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
    )


class _RateLimit(logging.Filter):
    """Passes each of a library's messages once in ten seconds: clients that do not speak HTTP must not fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if record.levelno > logging.WARNING or now - self._logged_at.get(record.msg, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._logged_at[record.msg] = now
            return True
        return False


class _Server(uvicorn.Server):
    """A server that stops at the first signal, and does not raise it again: a requested stop is not a failure."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.should_exit = True


def _protocol(deadline_s: float, connections: Connections) -> type[H11Protocol]:
    """Return a class with our arguments: uvicorn creates one object per connection, and passes it none."""
    return type("BoundedProtocol", (_BoundedProtocol,), {"headers_deadline_s": deadline_s, "others": connections})


class _BoundedProtocol(H11Protocol):
    """uvicorn's HTTP with a deadline for a request's headers and a limit on connections.

    The deadline begins with the connection or, later on, with the headers' first byte.
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
            self.others.is_served(self)  # the next request was received already

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.others.closed(self)
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._late = self.loop.call_later(self.headers_deadline_s, self.drop)

    def _disarm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def drop(self) -> None:
        """Close the connection at once, without a response."""
        self._disarm()
        if not self.transport.is_closing():
            self.transport.abort()
