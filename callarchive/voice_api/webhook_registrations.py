"""Compares an account's webhooks at 8x8 with the wanted ones, and registers them. Other types are never changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from callarchive.settings import WebhookSettings
from callarchive.voice_api.account_setup import AccountSetup, WebhookRegistration

TYPES = ("VRU", "VSS")  # recording uploaded and session summary: the types that the receiver supports


@dataclass(frozen=True)
class WebhookDrift:
    """A type's webhook at 8x8 (`url` is `None` if there is none), whether it is `ours`, and its problems."""

    type: str
    url: str | None
    enabled: bool
    has_auth_header: bool
    ours: bool
    problems: tuple[str, ...]


def webhook_drift(
    wanted: WebhookSettings | None, found: Sequence[WebhookRegistration], *, types: Sequence[str] = TYPES
) -> list[WebhookDrift]:
    """Return every wanted type and every other type registered at 8x8, ordered by type."""
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
    """Register every wanted webhook. Return what 8x8 reports afterwards. Raises like `AccountSetup`."""
    header = None if wanted.auth_header is None else wanted.auth_header.reveal()
    for type_ in types:
        setup.register_webhook(type_=type_, url=wanted.url, auth_header=header)
    return [hook for hook in webhook_drift(wanted, setup.webhooks(), types=types) if hook.ours]


def goes_to(wanted: WebhookSettings | None, url: str) -> bool:
    """Return whether the URL is the configured one, which has no trailing slash."""
    return wanted is not None and url.rstrip("/") == wanted.url


def _problems(wanted: WebhookSettings, hook: WebhookRegistration) -> tuple[str, ...]:
    problems = {
        f"sent to another URL than {wanted.url}": not goes_to(wanted, hook.url),
        "disabled": not hook.enabled,
        "has no auth header": wanted.auth_header is not None and not hook.has_auth_header,
        "has an auth header, but accounts.webhooks has none": wanted.auth_header is None and hook.has_auth_header,
    }
    return tuple(problem for problem, found in problems.items() if found)
