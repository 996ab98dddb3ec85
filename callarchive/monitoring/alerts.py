"""Telling people: failed runs, failed checks, recordings about to be lost. By a webhook of theirs, by mail, or both.

No personal data: ids of sessions and recordings, days, counts. How often anything is told is bounded, and remembered beside the
catalog, so that all processes share the bound. A channel that fails never fails a run: it is tried again with the next alert.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.domain.foreign_text import cleaned
from callarchive.monitoring.alert_memory import AlertMemory, Sent
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
    """Something that a person should know.

    Attributes:
        kind: run_failed, checks_failed, not_checked, countdown, missing, test.
        key: what it is about; the same kind and key are not told again before `alerts.repeat_after_hours`.
        title: one line.
        lines: what there is to know.
        about: what it names, where that may become more: it is told again as soon as it names something new, and not
            when it merely names less.
        notes: what there is to know of the alerts themselves.
    """

    kind: str
    key: str
    title: str
    lines: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shown_lines(self) -> list[str]:
        """At most 50 lines and the notes, digits that look like a phone number starred out."""
        shown = list(self.lines[:_LINES])
        if len(self.lines) > _LINES:
            shown.append(f"... and {len(self.lines) - _LINES} more")
        # A path may hold bytes that are no text; no mail could.
        return [cleaned(line, limit=_LINE_CHARS) for line in (*shown, *self.notes)]

    @property
    def text(self) -> str:
        """Title and lines, as people read them."""
        return "\n".join((cleaned(self.title, limit=_LINE_CHARS), "", *self.shown_lines))

    @property
    def marks(self) -> tuple[str, ...]:
        """By what it is remembered: one for each thing that it names; very many are told again when they have doubled."""
        if not self.about:
            return (f"{self.kind}|{self.key}",)
        if len(self.about) > _REMEMBERED:
            return (f"{self.kind}|{self.key}|{len(self.about).bit_length()}",)
        digests = (hashlib.sha256(name.encode(errors="replace")).hexdigest()[:16] for name in self.about)
        return tuple(f"{self.kind}|{self.key}|{digest}" for digest in digests)


class ChannelError(ArchiveError):
    """An alert did not get through. The message names no URL, which may hold a token."""


class Alerts:
    """The configured channels.

    Args:
        store: where it is remembered what was told: the catalog's.
    """

    def __init__(self, settings: AlertSettings, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._memory = AlertMemory(store)
        self._clock = clock
        self._channels: dict[str, Callable[[Alert], None]] = {}
        if settings.webhook is not None:
            webhook = settings.webhook
            self._channels["webhook"] = lambda alert: post(webhook, alert)
        if settings.smtp is not None:
            smtp = settings.smtp
            self._channels["smtp"] = lambda alert: mail(smtp, alert)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the configured channels."""
        return tuple(self._channels)

    def send(self, alert: Alert) -> bool:
        """The alert has been told, unless it was before, too many were, or no channel took it. Returns whether it was told.

        Never raises: what went wrong is logged.
        """
        if not self._channels:
            return False
        done = False

        def tell(sent: Sent) -> Sent:
            nonlocal done
            done, sent = self._tell(alert, sent)
            return sent

        self._memory.update(tell)
        return done

    def try_out(self, alert: Alert) -> dict[str, str | None]:
        """The alert goes through every channel, whatever was told before. Returns what each one failed with; null is well."""
        outcome: dict[str, str | None] = {}
        for name, channel in self._channels.items():
            try:
                channel(alert)
                outcome[name] = None
            except ArchiveError as err:
                outcome[name] = str(err)
        return outcome

    def _tell(self, alert: Alert, sent: Sent) -> tuple[bool, Sent]:
        """Returns whether it was told, and what there is to remember now."""
        now = self._clock()
        repeat_after = timedelta(hours=self._settings.repeat_after_hours)
        sent = sent.since(now - repeat_after, now - timedelta(hours=1))
        marks = {name: [f"{name}|{mark}" for mark in alert.marks] for name in self._channels}
        owed = [name for name in self._channels if any(mark not in sent.told for mark in marks[name])]
        if not owed:
            return False, sent
        left = self._settings.max_per_hour - len(sent.recent)
        if left <= 0:
            log.warning("alert held back, too many were sent within the hour: %s", cleaned(alert.title))
            return False, replace(sent, held=sent.held + 1)
        notes = []
        if sent.held:
            notes.append(f"{sent.held} alerts before this one were held back.")
        if left == 1:
            notes.append("More within the hour are held back: callarchive status tells how things are.")
        told = dict(sent.told)
        for name in owed:
            try:
                self._channels[name](replace(alert, notes=tuple(notes)))
            except ArchiveError as err:
                log.error("alert %r did not get through by %s: %s", cleaned(alert.title), name, err)
            else:
                told |= dict.fromkeys(marks[name], now.isoformat())
        if told == sent.told:
            return False, sent
        return True, Sent(told, (*sent.recent, now.isoformat()), 0)


def post(webhook: AlertWebhookSettings, alert: Alert) -> None:
    """The alert was posted as JSON: kind, key, title, text (title and lines, as chat programs take it), lines.

    Raises:
        ChannelError: it was not taken.
    """
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
    told = "nothing was tried"
    for _ in range(_ATTEMPTS):
        try:
            # Only the status is wanted: a body that never ends would hold the run up.
            with requests.post(
                url,
                json=body,
                headers=headers,
                auth=lambda request: request,  # or a ~/.netrc would put its own header in the place of ours
                timeout=_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except (requests.RequestException, UnicodeError) as err:
            told = describe_failure(err, timeout_s=_TIMEOUT_S)
            continue
        if status < 300:
            return
        told = f"it answers HTTP {status}"
        if status < 500:
            break
    raise ChannelError(f"alerts.webhook: {told}")


def mail(smtp: SmtpSettings, alert: Alert) -> None:
    """The alert was handed to the mail server.

    Raises:
        ChannelError: the server cannot be reached, is not who it says, or did not take it.
    """
    import smtplib
    import socket
    import ssl
    from contextlib import closing, suppress
    from email.message import EmailMessage
    from email.utils import format_datetime

    message = EmailMessage()
    message["From"] = smtp.sender
    message["Date"] = format_datetime(datetime.now(UTC))  # a mail without one is no mail: RFC 5322, section 3.6
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
            with suppress(smtplib.SMTPException, OSError):  # the mail was taken, however the server says goodbye
                server.quit()
    except smtplib.SMTPAuthenticationError:
        raise ChannelError(f"alerts.smtp: {smtp.host} does not accept alerts.smtp.username and password") from None
    except smtplib.SMTPException as err:
        raise ChannelError(f"alerts.smtp: {smtp.host} did not take the mail: {type(err).__name__}") from None
    except ssl.SSLCertVerificationError as err:
        raise ChannelError(f"alerts.smtp: {smtp.host}: the certificate is not accepted: {err.verify_message}") from None
    except socket.gaierror:
        raise ChannelError(f"alerts.smtp: {smtp.host} cannot be resolved") from None
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or type(err).__name__
        raise ChannelError(f"alerts.smtp: {smtp.host}, port {smtp.port}: {reason}") from None


def check_channels(settings: AlertSettings) -> None:
    """Returns when the secrets of all channels are set. Raises ConfigurationError, which names every one that is not."""
    secrets: list[tuple[str, Secret | None]] = []
    if settings.webhook is not None:
        url = settings.webhook.url
        secrets.append(("alerts.webhook.url", url if isinstance(url, Secret) else None))
        secrets.append(("alerts.webhook.auth_header", settings.webhook.auth_header))
    if settings.smtp is not None:
        secrets.append(("alerts.smtp.password", settings.smtp.password))
    lacking = unset_secrets(secrets)
    if lacking:
        raise ConfigurationError("\n".join(lacking))
