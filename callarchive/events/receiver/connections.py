"""Which open connections the receiver keeps: those that say nothing make room for those that do.

A connection waits while it owes a request: from its opening, or its last answer, until a whole request has come. Waiting ones
are bounded for each address and together; what is over the bound is cut off, oldest first. Connections whose request is being
answered are never cut off.
"""

import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from callarchive.events.receiver.admission import Network

_PATIENCE_S = 0.5
"""A younger connection is not cut off: its request may have come and not been read yet, as when many come at once."""
_IPV6_PREFIX = 64
"""A customer's network: whoever has one address of it has them all."""


class Connection(Protocol):
    """What can be cut off."""

    def cut_off(self) -> None: ...


class Connections:
    """The open connections of a server. Used by its event loop alone.

    Args:
        most: connections together.
        most_waiting_each: waiting connections for an address, or an IPv6 network of 64 bits.
        shared: addresses of proxies, which speak for everybody: they have no bound of their own.
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
        """A connection was opened, and waits. Others that wait too long are cut off where there are too many."""
        address = self._key_of(peer)
        while (
            address
            and len(self._waiting_at.get(address, ())) >= self._most_waiting_each
            and self._cut_off_oldest(self._waiting_at[address])
        ):
            pass
        while len(self._addresses) >= self.most and (
            self._cut_off_oldest(self._waiting) or self._cut_off_of_largest_crowd()
        ):
            pass
        self._addresses[connection] = address
        self.waits(connection)

    def make_room(self) -> bool:
        """Cut off what addresses have over their bounds. Return whether there was any: they may hold requests half sent."""
        crowds = [waiting for address, waiting in self._waiting_at.items() if address]
        found = False
        for waiting in crowds:
            while len(waiting) > self._most_waiting_each and self._cut_off_oldest(waiting, patience_s=0):
                found = True
        return found

    def waits(self, connection: Connection) -> None:
        """A connection was answered, and waits for its next request."""
        if connection not in self._addresses or connection in self._waiting:
            return
        now = self._clock()
        self._waiting[connection] = now
        self._waiting_at.setdefault(self._addresses[connection], {})[connection] = now

    def is_served(self, connection: Connection) -> None:
        """A whole request has come, and is answered."""
        if self._waiting.pop(connection, None) is not None:
            address = self._addresses[connection]
            del self._waiting_at[address][connection]
            if not self._waiting_at[address]:
                del self._waiting_at[address]

    def closed(self, connection: Connection) -> None:
        """A connection was closed, by whomever."""
        self.is_served(connection)
        self._addresses.pop(connection, None)

    def _cut_off_oldest(self, waiting: dict[Connection, float], *, patience_s: float = _PATIENCE_S) -> bool:
        oldest, since = next(iter(waiting.items()), (None, 0.0))
        if oldest is None or self._clock() - since < patience_s:
            return False
        self.closed(oldest)
        oldest.cut_off()
        return True

    def _cut_off_of_largest_crowd(self) -> bool:
        """Of an address that is over its bound even a young one goes."""
        crowds = [waiting for address, waiting in self._waiting_at.items() if address]
        largest = max(crowds, key=len, default={})
        return len(largest) > self._most_waiting_each and self._cut_off_oldest(largest, patience_s=0)

    def _key_of(self, peer: str | None) -> str:
        """What connections of one sender have in common; nothing where many senders share an address."""
        if peer is None:
            return ""
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return peer
        if isinstance(address, ipaddress.IPv6Address):
            mapped = address.ipv4_mapped
            if mapped is None:
                if any(address in network for network in self._shared):
                    return ""
                return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
            address = mapped
        return "" if any(address in network for network in self._shared) else str(address)
