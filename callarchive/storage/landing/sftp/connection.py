"""One SSH connection to an SFTP server: connect, verify the host key, log in, open sessions.

Only the account's settings are used: no agent, no ~/.ssh.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable

import paramiko

from callarchive.domain.errors import UnavailableError
from callarchive.storage.landing.sftp.credentials import read_password
from callarchive.storage.landing.sftp.greeting import GreetedSocket, why_no_ssh
from callarchive.storage.landing.sftp.host_keys import read_known_hosts
from callarchive.storage.landing.sftp.login import EXPIRED, log_in, reason_of
from callarchive.storage.landing.sftp.messages import SessionLostError
from callarchive.storage.landing.sftp.server import Server
from callarchive.storage.landing.sftp.session import SftpSession

_LIBRARY_LOG = "callarchive.storage.landing.sftp.landing.wire"
_KEEPALIVE_S = 15
_WINDOW_BYTES = 16 << 20
"""The SSH window of a channel: 400 MB/s over 40 ms. Memory is bounded by the downloads' requests instead."""
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
    """The server refuses one more session on this connection, which stays usable."""


class Connection:
    """A logged-in SSH connection. Thread-safe. Made by `connect`."""

    def __init__(self, transport: paramiko.Transport, server: Server) -> None:
        self._transport = transport
        self._server = server
        self._opening = threading.Lock()
        self._broken = False
        self._worked = False

    @property
    def alive(self) -> bool:
        """Whether the connection is open."""
        return self._transport.is_active()

    def open_session(self) -> SftpSession:
        """Return a new session.

        Raises:
            SessionRefusedError: the server refuses more sessions on this connection.
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
            raise UnavailableError(f"{self._server.uri} opened no session: {reason_of(err)}") from err
        session = SftpSession(channel, stall_timeout_s=self._server.stall_timeout_s)
        # paramiko waits for the subsystem's reply without a limit; closing the channel ends it.
        watchdog = threading.Timer(timeout_s, session.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            channel.invoke_subsystem("sftp")
            session.start(deadline=deadline)
        except (OSError, EOFError, paramiko.SSHException, SessionLostError) as err:
            # No limit on sessions can be the reason. OpenSSH opens the channel even if it has no such subsystem.
            why = self._why_no_sftp(session, err) if not self._worked and time.monotonic() < deadline else None
            session.close()
            if why is not None:
                raise SessionRefusedError(why) from err
            raise SessionRefusedError(f"{self._server.uri} did not start its sftp subsystem: {reason_of(err)}") from err
        finally:
            watchdog.cancel()
        self._worked = True
        return session

    def _why_no_sftp(self, session: SftpSession, err: BaseException) -> str:
        """Return why the first session speaks no SFTP."""
        greeting = session.greeting()
        user = f"user {self._server.user!r}"
        if EXPIRED.search(greeting):
            return (
                f"{self._server.uri}: the password of {user} has expired, so the server starts no SFTP: {greeting!r}. "
                "Log in once with ssh and set a new one"
            )
        if greeting:
            return (
                f"{self._server.uri}: the server let us in but offers no SFTP: it sends text in its place: {greeting!r}. "
                f"If a login script of {user} prints it (.bashrc, .profile, a forced command), have it print nothing "
                f"without a terminal; if it is a refusal, have the server's owner let {user} use SFTP"
            )
        return (
            f"{self._server.uri}: the server let us in but offers no SFTP ({reason_of(err)}): is the sftp subsystem "
            f"on, and may {user} use it? Or has its password expired?"
        )

    def _open_channel(self, timeout_s: float) -> paramiko.Channel:
        if self._broken:
            # Another thread has just timed out; those behind it need not wait in turn.
            raise paramiko.SSHException("the server did not answer the request before")
        try:
            return self._transport.open_session(timeout=timeout_s)
        except paramiko.ChannelException:
            raise
        except (OSError, EOFError, paramiko.SSHException):
            self._broken = True
            raise

    def client(self) -> paramiko.SFTPClient:
        """Return paramiko's own client, for a few bytes; it is closed with the connection.

        Raises:
            UnavailableError: the server offers no SFTP.
        """
        try:
            client = paramiko.SFTPClient.from_transport(self._transport)
        except (OSError, EOFError, paramiko.SSHException) as err:
            raise UnavailableError(f"{self._server.uri} opened no session: {reason_of(err)}") from err
        if client is None:
            raise UnavailableError(f"{self._server.uri} opened no session")
        channel = client.get_channel()
        if channel is not None:
            channel.settimeout(self._server.settings.timeout_s)
        return client

    def close(self) -> None:
        """Close the connection; callers that wait on its sessions get an error."""
        shut(self._transport)


def connect(server: Server, *, key: paramiko.PKey | None) -> Connection:
    """Return a logged-in connection to the server, after verifying its host key.

    Args:
        key: to log in with; `None` for the password in the settings.

    Raises:
        ConfigurationError: known_hosts or the password cannot be read. Nothing was contacted.
        HostKeyError: before any credentials were sent.
        AccessDeniedError: the server does not accept our credentials.
        LogInCutOffError: it may not accept them.
        UnavailableError: everything else.
    """
    settings = server.settings
    pinned = read_known_hosts(settings.known_hosts, host=server.host, port=server.port, account=server.account)
    password = read_password(settings, account=server.account)
    transport, shown = handshake(server, key_types=pinned.preferred)
    try:
        pinned.verify(shown.get_name(), shown.asbytes())
        log_in(transport, server, password=password, key=key)
        transport.set_keepalive(_KEEPALIVE_S)
    except BaseException:
        shut(transport)
        raise
    return Connection(transport, server)


def handshake(
    server: Server, *, key_types: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> tuple[paramiko.Transport, paramiko.PKey]:
    """Return an encrypted connection and the host key that the server showed. It is not verified, and nobody is logged in.

    Args:
        key_types: returns the algorithms of the host key to offer, the best first, of those that are supported.

    Raises:
        UnavailableError: the server cannot be reached, is no SSH server, or has no key of these types.
    """
    settings = server.settings
    began = time.monotonic()
    try:
        sock = GreetedSocket.connect_to(server.host, server.port, timeout_s=settings.timeout_s)
    except ConnectionResetError as err:
        raise UnavailableError(_no_agreement(server, b"", err, after_s=time.monotonic() - began)) from err
    except (OSError, UnicodeError) as err:
        raise UnavailableError(f"{server.uri} cannot be reached: {reason_of(err)}") from err
    transport = _transport(sock)
    try:
        options = transport.get_security_options()
        options.key_types = key_types(tuple(options.key_types))
        options.ciphers = _CIPHERS
        options.digests = _MACS
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = settings.timeout_s
        transport.clear_to_send_timeout = settings.timeout_s
        try:
            transport.start_client(timeout=settings.timeout_s)
            # start_client returns without an error after a time-out; this raises then.
            return transport, transport.get_remote_server_key()
        except (OSError, EOFError, paramiko.SSHException) as err:
            after_s = time.monotonic() - began
            raise UnavailableError(_no_agreement(server, sock.greeting, err, after_s=after_s)) from err
    except BaseException:
        shut(transport)
        raise


def _no_agreement(server: Server, greeting: bytes, err: BaseException, *, after_s: float) -> str:
    timeout_s = server.settings.timeout_s
    wrong = why_no_ssh(greeting, after_s=after_s, timeout_s=timeout_s)
    if wrong is not None:
        return f"{server.uri} {wrong}"
    when = f"within {timeout_s:g} s" if after_s >= timeout_s else f"and the attempt ended after {after_s:.1f} s"
    return f"{server.uri} did not agree on an SSH connection {when}: {reason_of(err)}"


def _transport(sock: socket.socket) -> paramiko.Transport:
    # Without it a small request waits for the acknowledgement of the previous one.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    transport = paramiko.Transport(sock, default_window_size=_WINDOW_BYTES, default_max_packet_size=_PACKET_BYTES)
    log = logging.getLogger(_LIBRARY_LOG)
    if log.level == logging.NOTSET:
        # Errors are raised here; paramiko would also log them, with a traceback, and log-ins at INFO.
        log.setLevel(logging.CRITICAL)
    transport.set_log_channel(_LIBRARY_LOG)
    return transport


def shut(transport: paramiko.Transport) -> None:
    """Close the connection."""
    # An abandoned handshake leaves a timer running, which would delay the end of the program.
    transport.packetizer.complete_handshake()
    transport.close()
    transport.sock.close()
