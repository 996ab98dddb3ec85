"""Host keys of an SFTP server: only those in the account's known_hosts file are accepted.

The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". The file is never written.
"""

import base64
import binascii
import codecs
import fnmatch
import hashlib
import hmac
import shlex
from dataclasses import dataclass
from pathlib import Path

from callarchive.domain.errors import ConfigurationError, HostKeyError

SSH_PORT = 22
_KEY_TYPES = ("ssh-rsa", "ssh-ed25519", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")
_IGNORED_MAX = 3
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The keys in known_hosts for one server.

    Attributes:
        account: the subaccount_id, for messages.
        keys: (key type, key blob) in the file's order, without revoked ones.
        revoked: blobs that are refused for any server.
        ignored: lines that seem to be meant for the server and pin nothing, with the reason.
    """

    host: str
    port: int
    account: str
    path: Path
    keys: tuple[tuple[str, bytes], ...]
    revoked: frozenset[bytes]
    ignored: tuple[str, ...] = ()

    def preferred(self, offered: tuple[str, ...]) -> tuple[str, ...]:
        """Return the algorithms in `offered`, those with pinned keys first, like ssh(1).

        A server with several keys then presents the pinned one.
        """
        pinned = dict.fromkeys(name for key_type, _ in self.keys for name in _signatures(key_type) if name in offered)
        return (*pinned, *(name for name in offered if name not in pinned))

    def verify(self, key_type: str, blob: bytes) -> None:
        """Check that the server's key is pinned and not revoked.

        Raises:
            HostKeyError: it is not; the message shows how to pin it.
        """
        server = f"account {self.account}: sftp://{host_name(self.host, self.port)}"
        shown = f"{server} shows the {key_type} host key {fingerprint(blob)}"
        if blob in self.revoked:
            raise HostKeyError(f"{shown}, which is marked @revoked in {self.path}: nothing was sent to the server")
        if any(hmac.compare_digest(blob, known) for _, known in self.keys):
            return
        file = shlex.quote(str(self.path))
        pin = f"ssh-keyscan -p {self.port} {shlex.quote(self.host)} >> {file}"
        ask = "No credentials were sent. Ask the server's owner whether this fingerprint is right; if it is"
        if self.keys:
            unpin = f"ssh-keygen -R {shlex.quote(host_name(self.host, self.port))} -f {file}"
            raise HostKeyError(
                f"{shown}, which is none of those pinned in {self.path}: its key was changed, or it is another server. "
                f"{ask}: {unpin} && {pin}"
            )
        ignored = f" ({'; '.join(self.ignored)})" if self.ignored else ""
        raise HostKeyError(f"{shown}, and {self.path} holds no key of that server{ignored}. {ask}: {pin}")


def read_known_hosts(path: Path, *, host: str, port: int, account: str) -> PinnedKeys:
    """Return the keys in the file for `host` and `port`.

    As in ssh(1), a server on another port than 22 is looked up as `[host]:port`, and as `host` only if there is no such
    line. Lines with @cert-authority are ignored: host certificates are not supported, so the server's plain key must be
    pinned. Invalid lines are ignored. A byte order mark of UTF-8 is skipped.

    Raises:
        ConfigurationError: the file cannot be read, or a @revoked line is invalid.
    """
    place = f"account {account}: accounts.sftp.known_hosts: {path}"
    pin = f"ssh-keyscan -p {port} {shlex.quote(host)} >> {shlex.quote(str(path))}"
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as err:  # a ValueError is a NUL in the name
        reason = getattr(err, "strerror", None) or type(err).__name__
        raise ConfigurationError(
            f"{place} cannot be read ({reason}). Make it with: {pin}, and have the server's owner confirm the fingerprint"
        ) from err
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise ConfigurationError(
            f"{place} cannot be read: it is UTF-16 text, as > and >> of Windows PowerShell write it, which ssh does not "
            f"read either. Remove it and write it as ASCII (| Out-File -Encoding ascii), or with: {pin}"
        )
    text = data.decode("utf-8-sig", "replace")
    ignored: list[str] = []
    exact: list[tuple[str, bytes]] = []
    without_port: list[tuple[str, bytes]] = []
    revoked: set[bytes] = set()
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if marker not in ("", "@revoked"):
            if marker == "@cert-authority" and fields and _names_any(fields[0], host, port):
                ignored.append(f"line {number} is of a @cert-authority: host certificates are not supported")
            continue
        blob = _blob(fields)
        if blob is None:
            if not marker and fields[0].startswith(_KEY_TYPES):
                ignored.append(
                    f"line {number} begins with the key: the host's name, and a space, are missing before it"
                )
            elif not marker and _names_any(fields[0], host, port):
                ignored.append(f"the key in line {number} is cut or damaged")
            if marker == "@revoked":
                raise ConfigurationError(f"{place}, line {number}: the revoked key is unreadable")
            continue
        if marker == "@revoked":
            # For any host: a key that was revoked once is refused everywhere.
            revoked.add(blob)
        elif _names(fields[0], host_name(host, port)):
            exact.append((fields[1], blob))
        elif port != SSH_PORT and _names(fields[0], host):
            without_port.append((fields[1], blob))
    keys = tuple(key for key in exact or without_port if key[1] not in revoked)
    return PinnedKeys(
        host=host,
        port=port,
        account=account,
        path=path,
        keys=keys,
        revoked=frozenset(revoked),
        ignored=tuple(ignored[:_IGNORED_MAX]),
    )


def fingerprint(blob: bytes) -> str:
    """Return a key's SHA-256 in ssh-keygen(1)'s format."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def host_name(host: str, port: int) -> str:
    """Return the server's name in known_hosts."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _signatures(key_type: str) -> tuple[str, ...]:
    # An ssh-rsa key signs with SHA-2, under these names.
    return _RSA_SIGNATURES if key_type == "ssh-rsa" else (key_type,)


def _blob(fields: list[str]) -> bytes | None:
    """Return the key of a line `hosts type base64 [comment]`; `None` if it is invalid, or of another type."""
    if len(fields) < 3:
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    name = fields[1].encode("utf-8")
    return blob if blob.startswith(len(name).to_bytes(4, "big") + name) else None


def _names(patterns: str, name: str) -> bool:
    """Return whether a line's hosts match the server. A matching `!pattern` excludes it."""
    name = name.lower()
    if patterns.startswith("|1|"):
        return _hashes(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        # Only * and ? are wildcards in known_hosts; brackets enclose host names with a port.
        glob = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatch.fnmatchcase(name, glob):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _names_any(patterns: str, host: str, port: int) -> bool:
    return _names(patterns, host_name(host, port)) or _names(patterns, host)


def _hashes(hashed: str, name: str) -> bool:
    """Return whether `|1|salt|hash` is the name's HMAC-SHA1, keyed with the salt."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed.removeprefix("|1|").split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode("utf-8"), hashlib.sha1).digest(), digest)
