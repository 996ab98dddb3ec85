"""Telling people: failed runs, failed checks, recordings about to be lost. By a webhook of theirs, by mail, or both.

No personal data: ids of sessions and recordings, days, counts. How often anything is told is bounded, and remembered beside the
catalog, so that all processes share the bound. A channel that fails never fails a run: it is tried again with the next alert.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callarchive.errors import ArchiveError, ConfigurationError, ObjectNotFoundError
from callarchive.phone_numbers import mask_numbers
from callarchive.settings import AlertSettings, AlertWebhookSettings, Secret, SmtpSettings
from callarchive.stores import Store
from callarchive.voice_api.answers import clean

log = logging.getLogger(__name__)

_STATE = "_alerts/sent.json"
_LOCK = "alerts"
_LOCK_WAIT_S = 120.0
_TIMEOUT_S = 15.0
_LINES = 50
_ATTEMPTS = 2


@dataclass(frozen=True)
class Alert:
    """Something that a person should know.

    Attributes:
        kind: run_failed, checks_failed, countdown, missing, test.
        key: what it is about; the same kind and key are not told again before `alerts.repeat_after_hours`.
        title: one line.
        lines: what there is to know.
    """

    kind: str
    key: str
    title: str
    lines: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Title and at most 50 lines, digits that look like a phone number starred out."""
        shown = list(self.lines[:_LINES])
        if len(self.lines) > _LINES:
            shown.append(f"... and {len(self.lines) - _LINES} more")
        # A path may hold bytes that are no text; no mail could.
        return clean(mask_numbers("\n".join((self.title, "", *shown))))


class ChannelError(ArchiveError):
    """An alert did not get through. The message names no URL, which may hold a token."""


class Alerts:
    """The configured channels.

    Args:
        store: where it is remembered what was told: the catalog's.
    """

    def __init__(self, settings: AlertSettings, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._store = store
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
        try:
            with self._store.lock(_LOCK, wait_s=_LOCK_WAIT_S):
                return self._send(alert)
        except ArchiveError as err:
            log.error("alert %r was not sent, or that was not remembered: %s", mask_numbers(alert.title), err)
            return False

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

    def _send(self, alert: Alert) -> bool:
        now = self._clock()
        state = self._state()
        hour_ago = now - timedelta(hours=1)
        repeat_at = now - timedelta(hours=self._settings.repeat_after_hours)
        told = {key: at for key, at in state.told.items() if datetime.fromisoformat(at) > repeat_at}
        recent = [at for at in state.recent if datetime.fromisoformat(at) > hour_ago]
        held = state.held
        owed = [name for name in self._channels if f"{name}|{alert.kind}|{alert.key}" not in told]
        if not owed:
            return False
        if len(recent) >= self._settings.max_per_hour:
            self._remember(told, recent, held + 1)
            log.warning("alert held back, %d were sent within the hour: %s", len(recent), mask_numbers(alert.title))
            return False
        if held:
            alert = Alert(
                alert.kind, alert.key, alert.title, (*alert.lines, "", f"{held} alerts before this one were held back.")
            )
        done = False
        for name in owed:
            try:
                self._channels[name](alert)
            except ArchiveError as err:
                log.error("alert %r did not get through by %s: %s", mask_numbers(alert.title), name, err)
            else:
                done = True
                told[f"{name}|{alert.kind}|{alert.key}"] = now.isoformat()
        if done:
            self._remember(told, [*recent, now.isoformat()], 0)
        return done

    def _state(self) -> "_Sent":
        """What is remembered. A file that somebody spoilt is as good as none: an alert twice is better than none."""
        try:
            state = json.loads(self._store.read(_STATE))
            told, recent, held = dict(state["told"]), list(state["recent"]), int(state["held"])
            if any(datetime.fromisoformat(at).tzinfo is None for at in (*told.values(), *recent)):
                return _Sent({}, [], 0)
        except (ObjectNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return _Sent({}, [], 0)
        return _Sent(told, recent, held)

    def _remember(self, told: dict[str, str], recent: Sequence[str], held: int) -> None:
        state = {"told": told, "recent": list(recent), "held": held}
        self._store.replace(_STATE, json.dumps(state, indent=1).encode())


@dataclass(frozen=True, slots=True)
class _Sent:
    """When each alert was told by which channel, when any were within the hour, and how many were held back since."""

    told: dict[str, str]
    recent: list[str]
    held: int


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
        "title": mask_numbers(alert.title),
        "text": alert.text,
        "lines": [mask_numbers(line) for line in alert.lines[:_LINES]],
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

    message = EmailMessage()
    message["From"] = smtp.sender
    message["To"] = ", ".join(smtp.recipients)
    message["Subject"] = "callarchive: " + " ".join(clean(mask_numbers(alert.title)).split())
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
    lacking = []
    secrets = {
        "alerts.webhook.url": settings.webhook.url if settings.webhook is not None else None,
        "alerts.webhook.auth_header": settings.webhook.auth_header if settings.webhook is not None else None,
        "alerts.smtp.password": settings.smtp.password if settings.smtp is not None else None,
    }
    for key, secret in secrets.items():
        if isinstance(secret, Secret):
            try:
                secret.reveal()
            except ConfigurationError as err:
                lacking.append(f"{key}: {err}")
    if lacking:
        raise ConfigurationError("\n".join(lacking))
