"""What 8x8 is told about an account: where to push recordings, and where to send events.

Routes and fields are those of 8x8's OpenAPI file, read with the tolerance of `answers`. What they should be, and how they
differ from that, is in `push_config` and `webhook_registrations`.
"""

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
from callarchive.voice_api.bodies import Answer
from callarchive.voice_api.transport import NoAnswerError, Request, Transport

_HIDDEN = "(hidden)"
_TOLD = ("protocol", "host", "port", "username", "passwordSet", "path")


class RejectedError(ArchiveError):
    """8x8 does not take what it was told; the message has its words and its errorId."""


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Where 8x8 pushes an account's recordings, as it tells. The password is never told, only whether there is one."""

    protocol: str | None
    host: str | None
    port: int | None
    username: str | None
    password_set: bool
    path: str | None


@dataclass(frozen=True, slots=True)
class WebhookRegistration:
    """Where 8x8 sends an account's events of one type. The auth header is never told, only whether there is one."""

    type: str
    url: str
    enabled: bool
    has_auth_header: bool


class AccountSetup:
    """8x8's configuration of one account.

    Every method raises AccessDeniedError when the API key is refused, UnavailableError when no usable answer comes, and those
    that change something RejectedError when 8x8 does not take it. Secrets are in no message.
    """

    def __init__(self, transport: Transport, account: AccountSettings, lookups: LookupSettings, *, url: str) -> None:
        self._transport = transport
        self._account = account
        self._lookups = lookups
        self._url = url

    def push_config(self) -> PushConfig | None:
        """The recording push configuration; null when none is set."""
        status, tree = self._ask("GET", "recording-push-config")
        if status == 404:
            return None
        if any(field_of(tree, name) for name in _TOLD):
            return _read_push_config(tree)
        if numeric_code(field_of(tree, "statusCode")) != 0:
            raise self._unreadable("recording-push-config", "holds neither a push configuration nor status code 0")
        return None

    def set_push_config(self, *, protocol: str, host: str, port: int, username: str, password: str, path: str) -> None:
        """8x8 has been told this configuration."""
        told = {
            "protocol": protocol,
            "host": host,
            "port": port,
            "username": username,
            "password": password,
            "path": path,
        }
        self._ask("POST", "recording-push-config", told, secrets=(password,), none_at=())

    def delete_push_config(self) -> bool:
        """No configuration is set any more. Returns whether one was."""
        status, _ = self._ask("DELETE", "recording-push-config")
        return status != 404

    def webhooks(self) -> list[WebhookRegistration]:
        """The account's webhooks, ordered by type."""
        status, tree = self._ask("GET", "webhooks")
        if status == 404:
            return []
        listed = field_of(tree, "webhooks")
        if listed is None and numeric_code(field_of(tree, "statusCode")) == 0:
            listed = []
        if not isinstance(listed, list):  # taken for none, all would be reported as not registered
            raise self._unreadable("webhooks", "holds no list of webhooks")
        found = [_read_webhook(item) for item in listed if isinstance(item, dict)]
        return sorted(found, key=lambda hook: hook.type)

    def register_webhook(self, *, type_: str, url: str, auth_header: str | None) -> None:
        """Events of the type are sent to the URL from now on, in place of where they went before."""
        told: dict[str, Any] = {"type": type_, "url": url, "enabled": True}
        if auth_header is not None:
            told["httpAuthHeader"] = auth_header
        # "Bearer x" is as secret as the x in it.
        secrets = () if auth_header is None else (auth_header, *auth_header.split()[1:])
        self._ask("POST", "webhooks", told, secrets=secrets, none_at=())

    def unregister_webhook(self, type_: str) -> bool:
        """Events of the type are sent nowhere any more. Returns whether they were."""
        status, _ = self._ask("DELETE", f"webhooks/{quote(type_, safe='')}")
        return status != 404

    def _ask(
        self,
        method: str,
        route: str,
        told: Mapping[str, Any] | None = None,
        *,
        secrets: tuple[str, ...] = (),
        none_at: tuple[int, ...] = (404,),
    ) -> tuple[int, dict[str, Any]]:
        """Return status and JSON object of an answer that is a 2xx, or one of `none_at`, whose object is empty.

        Such a 404 counts in the form of 8x8's own errors only: a gateway's says nothing about the account.
        """
        what = f"account {self._account.subaccount_id}: {method} {route.partition('/')[0]}"
        request = Request(
            method=method,
            url=f"{self._url}/{route}",
            payload=None if told is None else json.dumps(told).encode(),
            unusable=not_json if method == "GET" else None,
        )
        try:
            answer = self._transport.send(request, deadline=self._transport.deadline(self._lookups.deadline_s))
        except (NoAnswerError, AnswerError) as err:
            # Not chained: what a library says of a request may show what was sent.
            raise UnavailableError(f"{what}: {_without(str(err), secrets)}") from None
        if answer.status in none_at:
            proof = read_404(answer.body)
            if isinstance(proof, Unknown):
                why = _without(proof.reason, secrets)
                raise UnavailableError(f"{what}: {self._account.api_url}: {why}; check accounts.api_url")
            return answer.status, {}
        # Hidden before it is shortened and starred out, which would leave half a secret that nobody recognises.
        tree = {
            name: _without(value, secrets) if isinstance(value, str) else value
            for name, value in _object_in(answer).items()
        }
        said = status_message(tree)
        if not 200 <= answer.status < 300:
            raise RejectedError(f"{what}: 8x8 answers HTTP {answer.status}{said}")
        if method == "GET" and not tree:
            raise self._unreadable(route, "is not a JSON object")
        code = field_of(tree, "statusCode")
        if code not in (None, 0, "0"):
            raise RejectedError(f"{what}: 8x8 answers status code {ascii(code)[:20]}{said}")
        return answer.status, tree

    def _unreadable(self, route: str, why: str) -> UnavailableError:
        account = self._account.subaccount_id
        return UnavailableError(f"account {account}: GET {route}: the answer {why}; check accounts.api_url")


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """8x8 may say a request's fields back. A secret of a few characters would take half the text with it: so be it."""
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
    """8x8's guides say `active` where its OpenAPI file says `enabled`."""
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
    """Also where it is spelled as a text: read as set, "false" would pass a switched-off webhook for a good one."""
    value = field_of(tree, name)
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _text(tree: Mapping[str, Any], name: str) -> str | None:
    value = field_of(tree, name)
    return storable(value)[:2000] if isinstance(value, str) and value else None


def _object_in(answer: Answer) -> dict[str, Any]:
    try:
        tree = parse_json(decode(answer.body))
    except UnreadableError:
        return {}
    # An object with a doubled key says two things at once, and so nothing.
    return tree if isinstance(tree, dict) and not isinstance(tree, DoubledKeys) else {}
