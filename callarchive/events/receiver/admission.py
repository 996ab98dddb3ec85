"""Decides who may send events: by address, seen through trusted proxies, and by the configured header."""

import hmac
import ipaddress
from collections.abc import Iterable, Sequence

from callarchive.settings import EIGHT_BY_EIGHT

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ForgedAddressError(ValueError):
    """A proxy forwarded an invalid client address."""


def networks(ranges: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks for addresses, networks, and names such as `8x8-singapore`."""
    return tuple(ipaddress.ip_network(address) for name in ranges for address in EIGHT_BY_EIGHT.get(name, (name,)))


def client_address(peer: str, forwarded_for: Sequence[str], *, trusted: Sequence[Network]) -> Address:
    """Return the sender's address: the last one that is not a trusted proxy's.

    The values of all X-Forwarded-For headers are read from the right, as far as trusted proxies wrote them: entries
    further left may be forged. Raises ForgedAddressError if a trusted proxy forwarded something that is not an address.
    """
    address = address_in(peer)
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    while is_within(address, trusted) and hops:
        address = address_in(hops.pop())
    return address


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Return whether the address may send; everyone may if there is no list."""
    return not allowed or is_within(address, allowed)


def same_header(sent: Sequence[bytes], expected: bytes) -> bool:
    """Return whether exactly one header was sent and equals the expected one, in constant time."""
    return hmac.compare_digest(sent[0] if len(sent) == 1 else b"", expected) and len(sent) == 1


def address_in(text: str) -> Address:
    """Return the address in a text, without brackets, port and IPv6 mapping. Raises ForgedAddressError."""
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:4711
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 203.0.113.7:4711
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ForgedAddressError("not an address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_within(address: Address, ranges: Sequence[Network]) -> bool:
    """Return whether the address is in one of the networks."""
    return any(address in network for network in ranges)
