"""Which host keys an SFTP server shows, so that a person can compare their fingerprints before one is pinned.

No credentials are sent. Nothing is pinned here: another server may have answered on that port.
"""

import base64
from collections.abc import Sequence
from contextlib import suppress

from callarchive.domain.errors import UnavailableError
from callarchive.storage.landing.sftp.connection import handshake, shut
from callarchive.storage.landing.sftp.host_keys import fingerprint, host_name
from callarchive.storage.landing.sftp.server import Server

_KINDS = {"ssh-ed25519": "ssh-ed25519", "ecdsa-": "ecdsa-", "ssh-rsa": "rsa-sha2-"}
"""How the type of a key begins, and the algorithms that sign with it."""


class ShownKey:
    """A host key that a server showed.

    Attributes:
        key_type: such as ssh-ed25519.
        blob: the key.
        fingerprint: its SHA-256, as ssh-keygen(1) prints it.
    """

    def __init__(self, key_type: str, blob: bytes) -> None:
        self.key_type = key_type
        self.fingerprint = fingerprint(blob)
        self.blob = blob

    def known_hosts_line(self, server: Server) -> str:
        """Return the line that pins the key for this server."""
        key = base64.b64encode(self.blob).decode("ascii")
        return f"{host_name(server.host, server.port)} {self.key_type} {key}\n"


def shown_keys(server: Server) -> Sequence[ShownKey]:
    """Return a key of each kind that the server has, the one that it prefers first. Raises UnavailableError if it has none."""
    keys = [_shown(server, "")]
    for key_type, algorithms in _KINDS.items():
        if not keys[0].key_type.startswith(key_type):
            with suppress(UnavailableError):  # no key of this kind
                keys.append(_shown(server, algorithms))
    return keys


def _shown(server: Server, algorithms: str) -> ShownKey:
    transport, key = handshake(
        server, key_types=lambda offered: tuple(name for name in offered if name.startswith(algorithms))
    )
    shut(transport)
    return ShownKey(key.get_name(), key.asbytes())
