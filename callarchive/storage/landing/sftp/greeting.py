"""The first bytes of whatever answers on the port, so that a server that is no SSH server is named as what it is."""

import re
import socket

from callarchive.domain.foreign_text import cleaned

_KEPT_BYTES = 1024
_AT_ONCE_BYTES = 256 << 10
_IS_SSH = re.compile(rb"(?m)^SSH-(2\.0|1\.99)-")
_FORMS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(form, re.IGNORECASE), what)
    for form, what in (
        (rb"SSH-1\.", "an SSH server of protocol 1, which is not supported"),
        (rb"HTTP/|\s*<(!doctype|html|\?xml)", "a web server (HTTP)"),
        (rb"[\x14-\x17]\x03[\x00-\x04]", "a server that speaks TLS (FTPS, HTTPS)"),
        (rb"220[ -].*(smtp|mail|postfix|exim)", "a mail server (SMTP)"),
        (rb"(120|220|421|500)[ -]", "an FTP server: FTP and FTPS are other protocols than SFTP"),
    )
)


class GreetedSocket(socket.socket):
    """A connected socket that keeps the first bytes that it receives, and receives ahead: paramiko takes packets in two parts.

    Attributes:
        greeting: those bytes.
    """

    greeting = b""
    _received = b""
    _read_to = 0

    @classmethod
    def connect_to(cls, host: str, port: int, *, timeout_s: float) -> "GreetedSocket":
        """Return a connected socket. Raises OSError or UnicodeError."""
        made = cls(fileno=socket.create_connection((host, port), timeout=timeout_s).detach())
        made.settimeout(timeout_s)
        return made

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive as `socket.recv`."""
        if self._read_to == len(self._received):
            self._received, self._read_to = super().recv(max(bufsize, _AT_ONCE_BYTES), flags), 0
            if len(self.greeting) < _KEPT_BYTES:
                self.greeting += self._received[:_KEPT_BYTES]
        data = self._received[self._read_to : self._read_to + bufsize]
        self._read_to += len(data)
        return data


def why_no_ssh(greeting: bytes, *, after_s: float, timeout_s: float) -> str | None:
    """Return what is wrong with a server that was expected to be an SSH server; `None` if it is one.

    Args:
        after_s: when the connection ended, or when it was given up.
    """
    where = "check the host and port in accounts.landing"
    if _IS_SSH.search(greeting) or (greeting and b"SSH-2.0-".startswith(greeting)):
        return None
    for form, what in _FORMS:
        if form.match(greeting):
            return f"is {what}, not SSH; it says {_quoted(greeting)}: {where}"
    if greeting:
        return f"did not greet as an SSH server but says {_quoted(greeting)}: {where}"
    if after_s >= timeout_s:
        return (
            f"did not agree on an SSH connection within {timeout_s:g} s: it sent nothing, as servers do that wait for their "
            f"client (HTTPS) or are overloaded; {where}"
        )
    return (
        f"closed the connection after {after_s:.1f} s without a word: it, or a firewall before it, may block this "
        f"machine's address or allow no more connections, or it is no SSH server: {where}, and ask the server's owner"
    )


def _quoted(greeting: bytes) -> str:
    first = next((line for line in greeting.splitlines() if line.strip()), greeting)
    return repr(cleaned(first.decode("utf-8", "replace"), limit=100))
