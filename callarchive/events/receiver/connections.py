"""Limits the receiver's open connections: silent ones are dropped in favour of those that send requests.

A connection waits from its opening, or its last response, until a whole request has been received. Waiting ones are limited per
address and in total; the oldest are dropped first. Connections whose request is being processed are never dropped.
"""

import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from callarchive.events.receiver.admission import ForgedAddressError, Network, address_in, is_within

_PATIENCE_S = 0.5
"""Younger connections are not dropped: their request may have been received and not read yet, as in a burst."""
_IPV6_PREFIX = 64  # a customer's network: one sender can use all of its addresses


class Connection(Protocol):
    """A connection that can be dropped."""

    def drop(self) -> None:
        """Close the connection at once, without a response."""


class Connections:
    """The open connections of a server, at most `most`. For use in its event loop only.

    Per address, or IPv6 network of 64 bits, `most_waiting_each` may wait; `shared` addresses (proxies) have no limit.
    """

    def __init__(
        self,
        *,
        most: int,
        most_waiting_each: int,
        shared: Sequence[Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._most_waiting_each = most_waiting_each
        self._shared = shared
        self._clock = clock
        self._addresses: dict[Connection, str] = {}
        self._waiting: dict[Connection, float] = {}  # since when, the longest waiting first
        self._waiting_at: dict[str, dict[Connection, float]] = {}

    def opened(self, connection: Connection, peer: str | None) -> None:
        """Register a new, waiting connection. If there are too many, drop those that have waited longest."""
        address = self._key_of(peer)
        while (
            address
            and len(self._waiting_at.get(address, ())) >= self._most_waiting_each
            and self._drop_oldest(self._waiting_at[address])
        ):
            pass
        while len(self._addresses) >= self.most and (
            self._drop_oldest(self._waiting) or self._drop_from_largest_crowd()
        ):
            pass
        self._addresses[connection] = address
        self.waits(connection)

    def make_room(self) -> bool:
        """Drop connections of addresses over their limit. Return whether there were any: they may have incomplete requests."""
        found = False
        for waiting in self._crowds():
            while len(waiting) > self._most_waiting_each and self._drop_oldest(waiting, patience_s=0):
                found = True
        return found

    def waits(self, connection: Connection) -> None:
        """Note that a connection received its response, and waits for its next request."""
        if connection not in self._addresses or connection in self._waiting:
            return
        now = self._clock()
        self._waiting[connection] = now
        self._waiting_at.setdefault(self._addresses[connection], {})[connection] = now

    def is_served(self, connection: Connection) -> None:
        """Note that a whole request was received and is being processed."""
        if self._waiting.pop(connection, None) is not None:
            address = self._addresses[connection]
            del self._waiting_at[address][connection]
            if not self._waiting_at[address]:
                del self._waiting_at[address]

    def closed(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self.is_served(connection)
        self._addresses.pop(connection, None)

    def _drop_oldest(self, waiting: dict[Connection, float], *, patience_s: float = _PATIENCE_S) -> bool:
        oldest, since = next(iter(waiting.items()), (None, 0.0))
        if oldest is None or self._clock() - since < patience_s:
            return False
        self.closed(oldest)
        oldest.drop()
        return True

    def _drop_from_largest_crowd(self) -> bool:
        """Drop the oldest connection of the address furthest over its limit, even a young one."""
        largest = max(self._crowds(), key=len, default={})
        return len(largest) > self._most_waiting_each and self._drop_oldest(largest, patience_s=0)

    def _crowds(self) -> list[dict[Connection, float]]:
        return [waiting for address, waiting in self._waiting_at.items() if address]

    def _key_of(self, peer: str | None) -> str:
        """Return the key shared by connections of one sender; "" if many senders share the address."""
        try:
            address = address_in((peer or "").partition("%")[0])
        except ForgedAddressError:
            return peer or ""
        if is_within(address, self._shared):
            return ""
        if address.version == 6:
            return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
        return str(address)
