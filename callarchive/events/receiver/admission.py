"""Who may send events: by address, seen through trusted proxies, and by the header that 8x8 was told to send."""

import hmac
import ipaddress
from collections.abc import Iterable, Sequence

from callarchive.settings import EIGHT_BY_EIGHT

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ForgedAddressError(ValueError):
    """What a proxy says of the client's address is no address."""


def networks(ranges: Iterable[str]) -> tuple[Network, ...]:
    """The networks behind addresses, networks, and names such as `8x8-singapore`."""
    return tuple(ipaddress.ip_network(address) for name in ranges for address in EIGHT_BY_EIGHT.get(name, (name,)))


def client_address(peer: str, forwarded_for: Sequence[str], *, trusted: Sequence[Network]) -> Address:
    """Who really sends: the last address that no trusted proxy has.

    Args:
        peer: who is connected to us.
        forwarded_for: the values of all X-Forwarded-For headers, in their order. Believed only as far as trusted proxies
            wrote it, from the right: what stands further left was written by whoever they talked to.

    Raises:
        ForgedAddressError: a trusted proxy passed on something that is no address.
    """
    address = _address(peer)
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    while _within(address, trusted) and hops:
        address = _address(hops.pop())
    return address


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether the address may send; without a list everyone may."""
    return not allowed or _within(address, allowed)


def same_header(sent: Sequence[bytes], expected: bytes) -> bool:
    """Whether just one header came and is the expected one. Takes the same time wherever they differ."""
    return hmac.compare_digest(sent[0] if len(sent) == 1 else b"", expected) and len(sent) == 1


def _address(text: str) -> Address:
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:4711
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 203.0.113.7:4711
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ForgedAddressError("no address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: Address, ranges: Sequence[Network]) -> bool:
    return any(address in network for network in ranges)
