"""One SSH connection to an SFTP server: connected, its host key compared, logged in. It opens sessions.

Nothing is looked for beyond the account's settings: no agent, no ~/.ssh. How many connections there are is up to
`sftp_pool`, which host keys are believed is in `sftp_host_keys`.
"""

import io
import logging
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from callarchive.errors import AccessDeniedError, ConfigurationError, UnavailableError
from callarchive.landing.sftp_host_keys import SSH_PORT, read_known_hosts
from callarchive.landing.sftp_messages import SessionLostError
from callarchive.landing.sftp_session import SftpSession
from callarchive.settings import SftpSettings

_LIBRARY_LOG = "callarchive.landing.sftp.wire"
_KEEPALIVE_S = 15
_WINDOW_BYTES = 2 << 20
_PACKET_BYTES = 256 << 10
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
)


class SessionRefusedError(UnavailableError):
    """The server does not open one more session on this connection; the connection itself is in order."""


@dataclass(frozen=True, slots=True)
class Server:
    """An SFTP server, and how to log in to it.

    Attributes:
        stall_timeout_s: how long a session waits for the next byte.
    """

    host: str
    port: int
    user: str
    settings: SftpSettings = field(repr=False)
    stall_timeout_s: float

    @classmethod
    def from_landing(cls, landing: str, *, settings: SftpSettings, stall_timeout_s: float) -> "Server":
        """The server in `sftp://user@host:port/path`; the user is percent-decoded."""
        parts = urlsplit(landing)
        return cls(
            host=parts.hostname or "",
            port=parts.port or SSH_PORT,
            user=unquote(parts.username or "", errors="strict"),
            settings=settings,
            stall_timeout_s=stall_timeout_s,
        )

    @property
    def uri(self) -> str:
        """The server for people and tables, without the user."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{host}" if self.port == SSH_PORT else f"sftp://{host}:{self.port}"


class Connection:
    """A logged-in SSH connection. Thread-safe. Made by `connect`."""

    def __init__(self, transport: paramiko.Transport, server: Server) -> None:
        self._transport = transport
        self._server = server
        self._opening = threading.Lock()
        self._broken = False

    @property
    def alive(self) -> bool:
        return self._transport.is_active()

    def open_session(self) -> SftpSession:
        """A session that is ready to use.

        Raises:
            SessionRefusedError: the server wants no more sessions on this connection.
            UnavailableError: the connection is broken or silent.
        """
        timeout_s = self._server.settings.timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            # One at a time: the transport keeps a single "last exception", and a refusal could end in another thread.
            with self._opening:
                channel = self._open_channel(timeout_s)
        except paramiko.ChannelException as err:
            raise SessionRefusedError(f"{self._server.uri} refuses to open a session: {err}") from err
        except (OSError, EOFError, paramiko.SSHException) as err:
            raise UnavailableError(f"{self._server.uri} opened no session: {_said(err)}") from err
        session = SftpSession(channel, stall_timeout_s=self._server.stall_timeout_s)
        # Nothing in the library bounds the wait for the subsystem's answer; closing the channel ends it.
        watchdog = threading.Timer(timeout_s, session.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            channel.invoke_subsystem("sftp")
            session.start(deadline=deadline)
        except (OSError, EOFError, paramiko.SSHException, SessionLostError) as err:
            session.close()
            # OpenSSH opens the channel and refuses the subsystem when it has none; a full server may do the same.
            raise SessionRefusedError(f"{self._server.uri} did not start its sftp subsystem: {_said(err)}") from err
        finally:
            watchdog.cancel()
        return session

    def _open_channel(self, timeout_s: float) -> paramiko.Channel:
        if self._broken:
            # Somebody else has just waited in vain; those in the queue behind need not do it one after the other.
            raise paramiko.SSHException("the server did not answer the request before")
        try:
            return self._transport.open_session(timeout=timeout_s)
        except paramiko.ChannelException:
            raise
        except (OSError, EOFError, paramiko.SSHException):
            self._broken = True
            raise

    def close(self) -> None:
        """The connection is closed, and whoever waits on one of its sessions stops waiting."""
        _shut(self._transport)


def connect(server: Server, *, key: paramiko.PKey | None) -> Connection:
    """A connection to the server: its host key is pinned, and it has accepted our credentials.

    Args:
        key: what to log in with; null for the password in the settings.

    Raises:
        ConfigurationError: known_hosts or the password cannot be read. Nothing was contacted.
        HostKeyError: before any credentials were sent.
        AccessDeniedError: the server does not accept our credentials.
        UnavailableError: everything else.
    """
    settings = server.settings
    pinned = read_known_hosts(settings.known_hosts, host=server.host, port=server.port)
    password = settings.password.reveal() if settings.password is not None else None
    try:
        sock = socket.create_connection((server.host, server.port), timeout=settings.timeout_s)
    except (OSError, UnicodeError) as err:
        raise UnavailableError(f"{server.uri} cannot be reached: {_said(err)}") from err
    transport = _transport(sock)
    try:
        options = transport.get_security_options()
        options.key_types = pinned.preferred(tuple(options.key_types))
        options.ciphers = _CIPHERS
        options.digests = _MACS
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = settings.timeout_s
        transport.clear_to_send_timeout = settings.timeout_s
        try:
            transport.start_client(timeout=settings.timeout_s)
            # start_client returns quietly when its time is up; this raises then.
            shown = transport.get_remote_server_key()
        except (OSError, EOFError, paramiko.SSHException) as err:
            raise UnavailableError(
                f"{server.uri} did not agree on an SSH connection within {settings.timeout_s:g} s: {_said(err)}"
            ) from err
        pinned.verify(shown.get_name(), shown.asbytes())
        _log_in(transport, server, password=password, key=key)
        transport.set_keepalive(_KEEPALIVE_S)
    except BaseException:
        _shut(transport)
        raise
    return Connection(transport, server)


def load_private_key(settings: SftpSettings) -> paramiko.PKey | None:
    """The account's private key (RSA, ECDSA or Ed25519; OpenSSH's format, PEM or PKCS#8), null when it has a password.

    Raises:
        ConfigurationError: it cannot be read, or not with this passphrase.
    """
    if settings.private_key is None:
        return None
    place = f"accounts sftp.private_key: {settings.private_key}"
    passphrase = settings.passphrase.reveal().encode("utf-8") if settings.passphrase is not None else None
    try:
        data = settings.private_key.read_bytes()
    except OSError as err:
        raise ConfigurationError(f"{place} cannot be read: {err.strerror}") from err
    load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE" in data else serialization.load_pem_private_key
    try:
        try:
            loaded = load(data, passphrase)
        except TypeError as err:
            if passphrase is None:
                raise ConfigurationError(f"{place} is encrypted: name accounts sftp.passphrase") from err
            loaded = load(data, None)  # a passphrase is named, and the key needs none
    except (ValueError, UnsupportedAlgorithm) as err:
        wrong = (
            "it is no private key, or damaged" if passphrase is None else "wrong accounts sftp.passphrase, or damaged"
        )
        raise ConfigurationError(f"{place} cannot be read: {wrong}") from err
    kind: type[paramiko.PKey]
    if isinstance(loaded, rsa.RSAPrivateKey):
        kind = paramiko.RSAKey
    elif isinstance(loaded, ec.EllipticCurvePrivateKey):
        kind = paramiko.ECDSAKey
    elif isinstance(loaded, ed25519.Ed25519PrivateKey):
        kind = paramiko.Ed25519Key
    else:
        raise ConfigurationError(f"{place} is neither an RSA, an ECDSA nor an Ed25519 key")
    # In memory only: paramiko reads fewer formats than cryptography does, and this is one of them.
    plain = loaded.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return kind.from_private_key(io.StringIO(plain.decode("ascii")))


def _transport(sock: socket.socket) -> paramiko.Transport:
    # Without it a small request waits for the acknowledgement of the one before it.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    transport = paramiko.Transport(sock, default_window_size=_WINDOW_BYTES, default_max_packet_size=_PACKET_BYTES)
    log = logging.getLogger(_LIBRARY_LOG)
    if log.level == logging.NOTSET:
        # What goes wrong is raised here, once; the library would log it too, with a traceback, and log-ins at INFO.
        log.setLevel(logging.CRITICAL)
    transport.set_log_channel(_LIBRARY_LOG)
    return transport


def _log_in(transport: paramiko.Transport, server: Server, *, password: str | None, key: paramiko.PKey | None) -> None:
    began = time.monotonic()
    means = "this private key" if key is not None else "this password"
    try:
        if key is not None:
            more = transport.auth_publickey(server.user, key)
        else:
            # Falls back to keyboard-interactive, where that is what the server offers and it asks a single question.
            more = transport.auth_password(server.user, password or "")
    except paramiko.BadAuthenticationType as err:
        offered = ", ".join(err.allowed_types)
        raise AccessDeniedError(
            f"{server.uri} does not let user {server.user!r} log in with {means}; it offers: {offered}"
        ) from err
    except paramiko.AuthenticationException as err:
        # The library raises the same for "no", for a connection that ended and for silence.
        if not transport.is_active() or time.monotonic() - began >= server.settings.timeout_s:
            raise UnavailableError(f"{server.uri} did not answer our log-in: {_said(err)}") from err
        raise AccessDeniedError(
            f"{server.uri} does not accept user {server.user!r} with {means}: check the user in accounts landing and "
            "accounts sftp.password or sftp.private_key"
        ) from err
    except (OSError, EOFError, paramiko.SSHException) as err:
        raise UnavailableError(f"{server.uri} did not answer our log-in: {_said(err)}") from err
    if more:
        raise AccessDeniedError(
            f"{server.uri} accepts {means} of user {server.user!r} and asks for more ({', '.join(more)}): not supported"
        )


def _shut(transport: paramiko.Transport) -> None:
    # A handshake that was given up leaves a timer running, which would hold up the end of the program.
    transport.packetizer.complete_handshake()
    transport.close()
    transport.sock.close()


def _said(err: BaseException) -> str:
    text = "".join(char for char in str(err) if char.isprintable())[:200]
    return text or type(err).__name__
