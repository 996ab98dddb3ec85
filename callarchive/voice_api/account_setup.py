"""Reads and changes an account's configuration at 8x8: where it pushes recordings and sends events (OpenAPI file)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from callarchive.domain.errors import AnswerError, ArchiveError, UnavailableError
from callarchive.domain.evidence import Unknown
from callarchive.domain.foreign_text import storable
from callarchive.domain.payloads import (
    DoubledKeys,
    UnreadableError,
    decode,
    field_of,
    not_json,
    numeric_code,
    parse_json,
    status_message,
)
from callarchive.settings import AccountSettings, LookupSettings
from callarchive.voice_api.absence import read_404
from callarchive.voice_api.bodies import Response
from callarchive.voice_api.transport import NoResponseError, Request, Transport

_HIDDEN = "(hidden)"
_PUSH_FIELDS = ("protocol", "host", "port", "username", "passwordSet", "path")


class RejectedError(ArchiveError):
    """8x8 rejects a configuration; the message has its text and its errorId."""


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Where 8x8 pushes an account's recordings. 8x8 never returns the password, only whether there is one."""

    protocol: str | None
    host: str | None
    port: int | None
    username: str | None
    password_set: bool
    path: str | None


@dataclass(frozen=True, slots=True)
class WebhookRegistration:
    """Where 8x8 sends an account's events of one type. It never returns the auth header, only whether there is one."""

    type: str
    url: str
    enabled: bool
    has_auth_header: bool


class AccountSetup:
    """The client of one account's configuration at 8x8.

    Every method raises AccessDeniedError if the API key is rejected, UnavailableError if there is no usable response, and those
    that change something RejectedError if 8x8 does not accept it. No message contains a secret.
    """

    def __init__(self, transport: Transport, account: AccountSettings, lookups: LookupSettings, *, url: str) -> None:
        self._transport = transport
        self._account = account
        self._lookups = lookups
        self._url = url

    def push_config(self) -> PushConfig | None:
        """Return the recording push configuration; `None` if none is set."""
        status, tree = self._send("GET", "recording-push-config")
        if status == 404:
            return None
        if any(field_of(tree, name) for name in _PUSH_FIELDS):
            return _read_push_config(tree)
        if numeric_code(field_of(tree, "statusCode")) != 0:
            raise self._unreadable("recording-push-config", "has neither a push configuration nor status code 0")
        return None

    def set_push_config(self, *, protocol: str, host: str, port: int, username: str, password: str, path: str) -> None:
        """Set the recording push configuration."""
        payload = {"protocol": protocol, "host": host, "port": port, "username": username, "path": path}
        payload["password"] = password
        self._send("POST", "recording-push-config", payload, secrets=(password,), none_at=())

    def delete_push_config(self) -> bool:
        """Delete the push configuration. Return whether there was one."""
        status, _ = self._send("DELETE", "recording-push-config")
        return status != 404

    def webhooks(self) -> list[WebhookRegistration]:
        """Return the account's webhooks, ordered by type."""
        status, tree = self._send("GET", "webhooks")
        if status == 404:
            return []
        listed = field_of(tree, "webhooks")
        if listed is None and numeric_code(field_of(tree, "statusCode")) == 0:
            listed = []
        if not isinstance(listed, list):  # as an empty list, all would be reported as not registered
            raise self._unreadable("webhooks", "has no list of webhooks")
        found = [_read_webhook(item) for item in listed if isinstance(item, dict)]
        return sorted(found, key=lambda hook: hook.type)

    def register_webhook(self, *, type_: str, url: str, auth_header: str | None) -> None:
        """Register the URL for events of the type, replacing its current registration."""
        payload: dict[str, Any] = {"type": type_, "url": url, "enabled": True}
        if auth_header is not None:
            payload["httpAuthHeader"] = auth_header
        # "Bearer x" is as secret as the x in it.
        secrets = () if auth_header is None else (auth_header, *auth_header.split()[1:])
        self._send("POST", "webhooks", payload, secrets=secrets, none_at=())

    def unregister_webhook(self, type_: str) -> bool:
        """Remove the registration of the type. Return whether there was one."""
        status, _ = self._send("DELETE", f"webhooks/{quote(type_, safe='')}")
        return status != 404

    def _send(
        self,
        method: str,
        route: str,
        payload: Mapping[str, Any] | None = None,
        *,
        secrets: tuple[str, ...] = (),
        none_at: tuple[int, ...] = (404,),
    ) -> tuple[int, dict[str, Any]]:
        """Return status and object of a response: 2xx, or (empty) one of `none_at` in the form of 8x8's own errors."""
        what = f"account {self._account.subaccount_id}: {method} {route.partition('/')[0]}"
        request = Request(
            method=method,
            url=f"{self._url}/{route}",
            payload=None if payload is None else json.dumps(payload).encode(),
            unusable=not_json if method == "GET" else None,
        )
        try:
            response = self._transport.send(request, deadline=self._transport.deadline(self._lookups.deadline_s))
        except (NoResponseError, AnswerError) as err:
            # Not chained: a library's message may show what was sent.
            raise UnavailableError(f"{what}: {_without(str(err), secrets)}") from None
        if response.status in none_at:
            proof = read_404(response.body)
            if isinstance(proof, Unknown):
                why = _without(proof.reason, secrets)
                raise UnavailableError(f"{what}: {self._account.api_url}: {why}; check accounts.api_url")
            return response.status, {}
        # Hidden before masking and truncation, which would leave an unrecognizable half of a secret.
        tree = {
            name: _without(value, secrets) if isinstance(value, str) else value
            for name, value in _object_in(response).items()
        }
        message = status_message(tree)
        if not 200 <= response.status < 300:
            raise RejectedError(f"{what}: 8x8 returned HTTP {response.status}{message}")
        if method == "GET" and not tree:
            raise self._unreadable(route, "is not a JSON object")
        code = field_of(tree, "statusCode")
        if code not in (None, 0, "0"):
            raise RejectedError(f"{what}: 8x8 returned status code {ascii(code)[:20]}{message}")
        return response.status, tree

    def _unreadable(self, route: str, why: str) -> UnavailableError:
        account = self._account.subaccount_id
        return UnavailableError(f"account {account}: GET {route}: the response {why}; check accounts.api_url")


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """Hide the secrets in a text: 8x8 may echo a request's fields. A short secret may hide more than itself."""
    for secret in secrets:
        for spelling in (secret, json.dumps(secret)[1:-1]):
            text = text.replace(spelling, _HIDDEN)
    return text


def _read_push_config(tree: Mapping[str, Any]) -> PushConfig:
    port = field_of(tree, "port")
    if isinstance(port, str) and port.strip().isdecimal():
        port = int(port)
    return PushConfig(
        protocol=_text(tree, "protocol"),
        host=_text(tree, "host"),
        port=port if isinstance(port, int) and not isinstance(port, bool) else None,
        username=_text(tree, "username"),
        password_set=_flag(tree, "passwordSet") is True,
        path=_text(tree, "path"),
    )


def _read_webhook(item: Mapping[str, Any]) -> WebhookRegistration:
    """Read a webhook. 8x8's guides have `active` where its OpenAPI file has `enabled`."""
    enabled = _flag(item, "enabled")
    if enabled is None:
        enabled = _flag(item, "active")
    return WebhookRegistration(
        type=(_text(item, "type") or "").upper(),
        url=_text(item, "url") or "",
        enabled=enabled is not False,
        has_auth_header=_flag(item, "httpAuthHeaderAvailable") is True,
    )


def _flag(tree: Mapping[str, Any], name: str) -> bool | None:
    """Read a flag, also as text: otherwise a webhook with "false" would be reported as enabled."""
    value = field_of(tree, name)
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _text(tree: Mapping[str, Any], name: str) -> str | None:
    value = field_of(tree, name)
    return storable(value)[:2000] if isinstance(value, str) and value else None


def _object_in(response: Response) -> dict[str, Any]:
    try:
        tree = parse_json(decode(response.body))
    except UnreadableError:
        return {}
    # An object with a doubled key is ambiguous.
    return tree if isinstance(tree, dict) and not isinstance(tree, DoubledKeys) else {}
