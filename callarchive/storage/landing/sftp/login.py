"""Log in to an SFTP server with a password or a private key, and name what else the server asks for.

Errors by form: a refused password, another method than ours, a further step, an expired password, a question.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import paramiko
from paramiko.auth_handler import AuthHandler

from callarchive.domain.errors import AccessDeniedError, UnavailableError
from callarchive.domain.foreign_text import cleaned
from callarchive.storage.landing.sftp.server import Server

_INTERACTIVE = "keyboard-interactive"
_PASSWORD = re.compile(
    r"pass|pwd|p/w|kennwort|contraseñ|contrasen|senha|mot de|palavra|hasł|haslo|heslo|wachtwoord|lösen|losen|salasana|parol"
    r"|şifre|sifre|jelsz|adgangskode|sandi|mật khẩu|kodeord|lozink|slaptažod",
    re.IGNORECASE,
)
_NOT_PASSWORD = re.compile(
    r"one.?time|\botp\b|token|\bcode\b|passcode|verif|\bpin\b|challenge|2fa|mfa|factor|authenticator", re.IGNORECASE
)
_NEW_PASSWORD = re.compile(
    r"\bnew\b|expire|retype|re-enter|confirm|\bchange|neues|abgelaufen|nouveau|expir|nuev|caducad", re.IGNORECASE
)
EXPIRED = re.compile(r"password (has|is) expired|password change required|change your password", re.IGNORECASE)
_LOCKED = re.compile(r"expire|locked|disabled|suspended|blocked|inactive", re.IGNORECASE)
_ADDRESS = re.compile(r"\S+@\S+")


class LogInCutOffError(UnavailableError):
    """The connection ended during our log-in: some servers refuse one like that, and a retry may lock us out."""


def log_in(transport: paramiko.Transport, server: Server, *, password: str | None, key: paramiko.PKey | None) -> None:
    """Log in with the key, or with the password by either method that the server offers for one.

    Raises:
        AccessDeniedError: the server does not accept it, or asks for something else.
        LogInCutOffError: it may not accept it.
        UnavailableError: no answer.
    """
    began = time.monotonic()
    means, name = ("this private key", "private_key") if key is not None else ("this password", "password")
    who = f"account {server.account}: {server.uri}"
    check = f"check the user in accounts.landing and accounts.sftp.{name}"
    if key is None and server.settings.password is not None:
        doubt = server.settings.password.doubt()
        check += f"; {doubt}" if doubt else f" (read from {server.settings.password.place})"
    attempt = _LogIn(transport, server)
    try:
        more = attempt.by_key(key) if key is not None else attempt.by_password(password or "")
    except paramiko.BadAuthenticationType as err:
        raise AccessDeniedError(
            f"{who} does not let user {server.user!r} log in with {means}; it offers: {_listed(err.allowed_types)}"
            f"{_other_way(err.allowed_types, with_key=key is not None)}"
        ) from err
    except (OSError, EOFError, paramiko.SSHException) as err:
        # paramiko raises the same for a refusal, a closed connection and a time-out.
        if time.monotonic() - began >= server.settings.timeout_s:
            raise UnavailableError(f"{server.uri} did not answer our log-in: {reason_of(err)}") from err
        if not transport.is_active():
            # OpenSSH with MaxAuthTries 1 refuses like this; other servers do when they are full.
            raise LogInCutOffError(
                f"{who} closed the connection when user {server.user!r} showed {means}: "
                f"the log-in may have been refused; {check}"
            ) from err
        if not isinstance(err, paramiko.AuthenticationException):
            raise UnavailableError(f"{server.uri} did not answer our log-in: {reason_of(err)}") from err
        said = cleaned(_text(attempt.banner), limit=200).strip()
        said = f" (it says: {said!r})" if _LOCKED.search(said) else ""
        raise AccessDeniedError(f"{who} does not accept user {server.user!r} with {means}{said}: {check}") from err
    if more:
        raise AccessDeniedError(
            f"{who} accepts {means} of user {server.user!r} and asks for more ({_listed(more)}): not supported, because "
            "callarchive has a password or a key, not both; have the server's owner let this user in with one of them "
            "(OpenSSH: AuthenticationMethods)"
        )


class _LogIn(AuthHandler):
    """One log-in by one or two methods.

    paramiko requests the authentication service before each method: OpenSSH's server grants it again, others end the
    connection. Here it is requested once.

    Attributes:
        offered: the methods in the server's last refusal.
    """

    def __init__(self, transport: paramiko.Transport, server: Server) -> None:
        super().__init__(transport)
        transport.auth_handler = self
        self.offered: tuple[str, ...] = ()
        self._server = server
        self._who = f"account {server.account}: {server.uri}"
        self._requested = self._answered = False

    def by_key(self, key: paramiko.PKey) -> Sequence[str]:
        """Return the methods that the server asks for beyond the key. Raises as paramiko."""
        return self._wait(partial(self.auth_publickey, self._server.user, key))

    def by_password(self, password: str) -> Sequence[str]:
        """Return the methods that the server asks for beyond the password. Raises as paramiko, and AccessDeniedError."""
        try:
            return self._wait(partial(self.auth_password, self._server.user, password))
        except paramiko.AuthenticationException:
            # Offered both, some servers accept the password by one of them only: ssh(1) tries both, too.
            if _INTERACTIVE not in self.offered or not self.transport.is_active():
                raise
        try:
            return self._wait(partial(self.auth_interactive, self._server.user, partial(self._answer, password)))
        except paramiko.BadAuthenticationType as err:  # no longer offered once it failed
            raise paramiko.AuthenticationException(str(err)) from err

    def _wait(self, begin: Callable[[threading.Event], None]) -> Sequence[str]:
        done = threading.Event()
        begin(done)
        more: Sequence[str] = self.wait_for_response(done)
        return more

    # paramiko calls these; all but the first in its own thread, where an error ends the connection and is raised by `_wait`.

    def _request_auth(self) -> None:
        if not self._requested:
            self._requested = True
            super()._request_auth()  # type: ignore[misc]  # the stubs lack these four
            return
        granted = paramiko.Message()
        granted.add_string("ssh-userauth")
        granted.rewind()
        self._parse_service_accept(granted)  # type: ignore[attr-defined]

    def _parse_userauth_failure(self, m: paramiko.Message) -> None:
        self.offered = tuple(paramiko.Message(m.get_remainder()).get_list())
        super()._parse_userauth_failure(m)  # type: ignore[misc]

    def _parse_userauth_info_request(self, m: paramiko.Message) -> None:
        if self.auth_method == "password":  # then the same number is SSH_MSG_USERAUTH_PASSWD_CHANGEREQ (RFC 4252)
            raise self._expired(m.get_text())
        super()._parse_userauth_info_request(m)  # type: ignore[misc]

    def _answer(self, password: str, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
        """Return the answers to the server's questions: the password once, and nothing where it asks nothing."""
        if not prompts:
            return []
        texts = [text.strip() for text, _ in prompts]
        about = " ".join((title, instructions, *texts)).strip()
        asked = ", ".join(repr(cleaned(text, limit=80)) for text in texts)
        if _NEW_PASSWORD.search(about if self._answered or len(prompts) > 1 else texts[0]):
            raise self._expired(about)
        if self._answered or len(prompts) > 1:
            if self._answered and len(prompts) == 1 and _is_password(texts[0], hidden=not prompts[0][1], user=""):
                raise AccessDeniedError(
                    f"{self._who} does not accept user {self._server.user!r} with this password (it prompts again: {asked}): "
                    "check the user in accounts.landing and accounts.sftp.password"
                )
            first = "accepts this password and then asks" if self._answered else "asks"
            raise self._other_question(f"{first} {asked}, more than one password")
        if not _is_password(texts[0] or about, hidden=not prompts[0][1], user=self._server.user):
            raise self._other_question(f"asks {asked}, which is not the password")
        self._answered = True
        return [password]

    def _expired(self, text: str) -> AccessDeniedError:
        said = cleaned(text, limit=200).strip()
        return AccessDeniedError(
            f"{self._who}: the password of user {self._server.user!r} has expired: the server asks for a new one"
            f"{f' ({said!r})' if said else ''}. Set one with another client, such as ssh, or have the server's owner do it; "
            "then update accounts.sftp.password"
        )

    def _other_question(self, what: str) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self._who} {what} (keyboard-interactive). callarchive answers the question for the password and no other. "
            f"Have the server's owner exempt user {self._server.user!r}, or let it log in with a private key "
            "(accounts.sftp.private_key)"
        )


def reason_of(err: BaseException) -> str:
    """Return the error's own text, cleaned."""
    return cleaned(str(err), limit=200).rstrip(".") or type(err).__name__


def _is_password(prompt: str, *, hidden: bool, user: str) -> bool:
    """Return whether a prompt asks for the account's password.

    A hidden one without a word, or in a script that `_PASSWORD` does not cover, does.
    """
    text = _ADDRESS.sub("", prompt.replace(user, "") if user else prompt)
    if _NOT_PASSWORD.search(text) or _NEW_PASSWORD.search(text):
        return False
    return bool(_PASSWORD.search(text)) or (hidden and not re.search("[a-zA-Z]", text))


def _text(sent: str | bytes | None) -> str:
    return sent.decode("utf-8", "replace") if isinstance(sent, bytes) else sent or ""


def _listed(methods: Sequence[str]) -> str:
    return cleaned(", ".join(methods), limit=200) or "nothing"


def _other_way(offered: Sequence[str], *, with_key: bool) -> str:
    if with_key and {"password", _INTERACTIVE} & {*offered}:
        return ": set accounts.sftp.password in place of private_key"
    if not with_key and "publickey" in offered:
        return ": set accounts.sftp.private_key in place of password"
    return ": have the server's owner allow a password or a key"
