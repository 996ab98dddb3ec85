"""The webhooks that an account should have at 8x8, beside those that it has. Those of other types are never touched."""

from collections.abc import Sequence
from dataclasses import dataclass

from callarchive.settings import WebhookSettings
from callarchive.voice_api.account_setup import AccountSetup, WebhookRegistration

TYPES = ("VRU", "VSS")
"""Recording uploaded and session summary: what the receiver understands."""


@dataclass(frozen=True)
class WebhookDrift:
    """One type's webhook at 8x8 and what is wrong with it, in words; nothing is wrong where that is empty.

    Attributes:
        url: where 8x8 sends the events; null where it sends none.
        ours: whether the configuration wants this type.
    """

    type: str
    url: str | None
    enabled: bool
    has_auth_header: bool
    ours: bool
    problems: tuple[str, ...]


def webhook_drift(
    wanted: WebhookSettings | None, found: Sequence[WebhookRegistration], *, types: Sequence[str] = TYPES
) -> list[WebhookDrift]:
    """Every wanted type and every other that 8x8 has, ordered by type."""
    by_type = {hook.type: hook for hook in found}
    mine = set(types) if wanted is not None else set()
    drift = []
    for type_ in sorted(mine | set(by_type)):
        hook = by_type.get(type_)
        if hook is None:
            drift.append(WebhookDrift(type_, None, False, False, True, ("not registered",)))
            continue
        problems = _problems(wanted, hook) if wanted is not None and type_ in mine else ()
        drift.append(WebhookDrift(type_, hook.url, hook.enabled, hook.has_auth_header, type_ in mine, problems))
    return drift


def register_webhooks(
    setup: AccountSetup, wanted: WebhookSettings, *, types: Sequence[str] = TYPES
) -> list[WebhookDrift]:
    """8x8 has been told every wanted webhook. Returns what it then says of them: no problems, if all went well.

    Raises:
        ConfigurationError: the auth header's secret is not set.
        RejectedError, AccessDeniedError, UnavailableError: 8x8 did not take one.
    """
    header = None if wanted.auth_header is None else wanted.auth_header.reveal()
    for type_ in types:
        setup.register_webhook(type_=type_, url=wanted.url, auth_header=header)
    return [hook for hook in webhook_drift(wanted, setup.webhooks(), types=types) if hook.ours]


def goes_to(wanted: WebhookSettings | None, url: str) -> bool:
    """Whether the URL is the configuration's, which is written without a slash at its end."""
    return wanted is not None and url.rstrip("/") == wanted.url


def _problems(wanted: WebhookSettings, hook: WebhookRegistration) -> tuple[str, ...]:
    problems = []
    if not goes_to(wanted, hook.url):
        problems.append(f"goes to another URL than {wanted.url}")
    if not hook.enabled:
        problems.append("disabled")
    if wanted.auth_header is not None and not hook.has_auth_header:
        problems.append("has no auth header")
    if wanted.auth_header is None and hook.has_auth_header:
        problems.append("has an auth header that accounts.webhooks does not name")
    return tuple(problems)
