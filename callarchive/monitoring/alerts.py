"""Alerts without personal data, sent by webhook, by mail, or both. Their rate is limited across all processes.

A channel that fails never fails a run: it is tried again with the next alert.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.domain.foreign_text import cleaned
from callarchive.monitoring.alert_memory import Sent, update_sent
from callarchive.settings import AlertSettings, AlertWebhookSettings, Secret, SmtpSettings, unset_secrets
from callarchive.storage.stores import Store

log = logging.getLogger(__name__)

_TIMEOUT_S = 15.0
_LINES = 50
_LINE_CHARS = 1000
_REMEMBERED = 1000
_ATTEMPTS = 2


@dataclass(frozen=True)
class Alert:
    """An alert.

    Attributes:
        kind: run_failed, checks_failed, not_checked, countdown, missing, past_time, test.
        key: the subject; the same kind and key are not sent again before `alerts.repeat_after_hours`.
        about: names of the items in the alert, which is sent again as soon as there is a new one, but not when there are fewer.
        notes: about the alerts themselves.
    """

    kind: str
    key: str
    title: str
    lines: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shown_lines(self) -> list[str]:
        """Up to 50 lines and the notes, with digits that look like a phone number masked."""
        shown = list(self.lines[:_LINES])
        if len(self.lines) > _LINES:
            shown.append(f"... and {len(self.lines) - _LINES} more")
        # A path may hold bytes that are not text, which a mail cannot.
        return [cleaned(line, limit=_LINE_CHARS) for line in (*shown, *self.notes)]

    @property
    def text(self) -> str:
        """Title and lines as text."""
        return "\n".join((cleaned(self.title, limit=_LINE_CHARS), "", *self.shown_lines))

    @property
    def marks(self) -> tuple[str, ...]:
        """The keys under which it is remembered: one per item. Beyond 1,000 items, one that changes when they double."""
        if not self.about:
            return (f"{self.kind}|{self.key}",)
        if len(self.about) > _REMEMBERED:
            return (f"{self.kind}|{self.key}|{len(self.about).bit_length()}",)
        digests = (hashlib.sha256(name.encode(errors="replace")).hexdigest()[:16] for name in self.about)
        return tuple(f"{self.kind}|{self.key}|{digest}" for digest in digests)


class ChannelError(ArchiveError):
    """An alert was not delivered. The message has no URL, which may hold a token."""


class Alerts:
    """The configured channels. The catalog's store has the memory of sent alerts."""

    def __init__(self, settings: AlertSettings, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._channels: dict[str, Callable[[Alert], None]] = {}
        if settings.webhook is not None:
            self._channels["webhook"] = partial(post, settings.webhook)
        if settings.smtp is not None:
            self._channels["smtp"] = partial(mail, settings.smtp)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the configured channels."""
        return tuple(self._channels)

    def send(self, alert: Alert) -> bool:
        """Send the alert, unless it was sent before or too many were. Return whether a channel accepted it. Never raises."""
        return bool(self._channels) and update_sent(self._store, partial(self._send, alert))

    def send_test(self, alert: Alert) -> dict[str, str | None]:
        """Send the alert through every channel, without limits. Return each channel's error, or None."""
        outcome: dict[str, str | None] = dict.fromkeys(self._channels)
        for name, channel in self._channels.items():
            try:
                channel(alert)
            except ArchiveError as err:
                outcome[name] = str(err)
        return outcome

    def _send(self, alert: Alert, sent: Sent) -> tuple[bool, Sent]:
        """Send the alert where it is due. Return whether a channel accepted it, and the new state."""
        now = self._clock()
        repeat_after = timedelta(hours=self._settings.repeat_after_hours)
        sent = sent.since(now - repeat_after, now - timedelta(hours=1))
        marks = {name: [f"{name}|{mark}" for mark in alert.marks] for name in self._channels}
        owed = [name for name in self._channels if any(mark not in sent.sent_at for mark in marks[name])]
        if not owed:
            return False, sent
        left = self._settings.max_per_hour - len(sent.recent)
        if left <= 0:
            log.warning("alert held back, too many were sent within the hour: %s", cleaned(alert.title))
            return False, replace(sent, held=sent.held + 1)
        held_back = (f"{sent.held} alerts before this one were held back.",) if sent.held else ()
        last = (
            ("More within the hour are held back: run callarchive status for the current state.",) if left == 1 else ()
        )
        sent_at = dict(sent.sent_at)
        for name in owed:
            try:
                self._channels[name](replace(alert, notes=held_back + last))
            except ArchiveError as err:
                log.error("alert %r was not delivered by %s: %s", cleaned(alert.title), name, err)
            else:
                sent_at |= dict.fromkeys(marks[name], now.isoformat())
        if sent_at == sent.sent_at:
            return False, sent
        return True, Sent(sent_at, (*sent.recent, now.isoformat()), 0)


def post(webhook: AlertWebhookSettings, alert: Alert) -> None:
    """Post the alert as JSON: kind, key, title, text (title and lines, for chat programs), lines. Raises ChannelError."""
    import requests

    from callarchive.voice_api.failures import describe_failure

    url = webhook.url.reveal() if isinstance(webhook.url, Secret) else webhook.url
    headers = {} if webhook.auth_header is None else {"Authorization": webhook.auth_header.reveal()}
    body = {
        "kind": alert.kind,
        "key": alert.key,
        "title": cleaned(alert.title, limit=_LINE_CHARS),
        "text": alert.text,
        "lines": alert.shown_lines,
    }
    reason = ""
    for _ in range(_ATTEMPTS):
        try:
            # Only the status is needed; an endless body would block the run.
            with requests.post(
                url,
                json=body,
                headers=headers,
                auth=lambda request: request,  # or requests would replace our header by one from ~/.netrc
                timeout=_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
        except (requests.RequestException, UnicodeError) as err:
            reason = describe_failure(err, timeout_s=_TIMEOUT_S)
            continue
        if status < 300:
            return
        reason = f"HTTP {status}"
        if status < 500:
            break
    raise ChannelError(f"alerts.webhook: {reason}")


def mail(smtp: SmtpSettings, alert: Alert) -> None:
    """Send the alert by mail. Raises ChannelError."""
    import smtplib
    import socket
    import ssl
    from contextlib import closing, suppress
    from email.message import EmailMessage
    from email.utils import format_datetime

    message = EmailMessage()
    message["From"] = smtp.sender
    message["Date"] = format_datetime(datetime.now(UTC))  # required by RFC 5322, section 3.6
    message["To"] = ", ".join(smtp.recipients)
    message["Subject"] = "callarchive: " + " ".join(cleaned(alert.title, limit=_LINE_CHARS).split())
    message.set_content(alert.text)
    context = ssl.create_default_context()
    try:
        if smtp.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=_TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(smtp.host, smtp.port, timeout=_TIMEOUT_S)
        with closing(server):
            if smtp.security == "starttls":
                server.starttls(context=context)
            if smtp.username is not None and smtp.password is not None:
                server.login(smtp.username, smtp.password.reveal())
            server.send_message(message)
            with suppress(smtplib.SMTPException, OSError):  # the mail is accepted already
                server.quit()
    except (OSError, ValueError) as err:  # smtplib's and ssl's errors are OSErrors
        reason = f", port {smtp.port}: {getattr(err, 'strerror', None) or type(err).__name__}"
        if isinstance(err, smtplib.SMTPAuthenticationError):
            reason = " rejected alerts.smtp.username and password"
        elif isinstance(err, smtplib.SMTPException):
            reason = f" rejected the mail: {type(err).__name__}"
        elif isinstance(err, ssl.SSLCertVerificationError):
            reason = f": invalid certificate: {err.verify_message}"
        elif isinstance(err, socket.gaierror):
            reason = " cannot be resolved"
        raise ChannelError(f"alerts.smtp: {smtp.host}{reason}") from None


def check_channels(settings: AlertSettings) -> None:
    """Raise ConfigurationError if secrets of channels are not set; it names each of them."""
    secrets: list[tuple[str, Secret | None]] = []
    if settings.webhook is not None:
        url = settings.webhook.url
        secrets.append(("alerts.webhook.url", url if isinstance(url, Secret) else None))
        secrets.append(("alerts.webhook.auth_header", settings.webhook.auth_header))
    if settings.smtp is not None:
        secrets.append(("alerts.smtp.password", settings.smtp.password))
    unset = unset_secrets(secrets)
    if unset:
        raise ConfigurationError("\n".join(unset))
