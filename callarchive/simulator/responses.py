"""The JSON bodies of 8x8's API, after its documentation page and OpenAPI file.

The bodies of 401, 403 and 404 are not documented; they have the form of the documented 422. Routes are in `api`, export jobs in
`exports`.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from callarchive.simulator.clock import iso_ms
from callarchive.simulator.world import Answer, Recording, Session

UNSET_START = "1969-12-31T23:59:59.999Z"
"""The unset `startRecordingTime` in 8x8's documentation: a time stamp of -1 ms."""

WEBHOOK_TYPES = ("VCS", "VCA", "VSS", "VRU", "VNU")
OK = {"statusCode": 0, "statusMessage": "ok"}


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Where 8x8 pushes an account's recordings."""

    protocol: str
    host: str
    port: int
    username: str
    path: str
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where 8x8 sends an account's events of one type."""

    type: str
    url: str
    enabled: bool = True
    http_auth_header: str = field(default="", repr=False)


class InvalidBodyError(Exception):
    """The request body is invalid: the response is 422."""


def recordings_response(session: Session | None, *, now: datetime) -> tuple[int, dict[str, Any]]:
    """Return status and body for a session's recordings; `None` is an unknown session."""
    if session is None or session.answer is Answer.NOT_FOUND:
        return 404, refusal("1404", "Session not found", now=now)
    if session.answer is Answer.NULL_LIST:
        return 200, {"recordings": None, **OK}
    if session.answer is Answer.EMPTY_LIST:
        return 200, {"recordings": [], **OK}
    return 200, {"recordings": [_recording(recording, now=now) for recording in session.recordings], **OK}


def _recording(recording: Recording, *, now: datetime) -> dict[str, Any]:
    ready = recording.ready(now)
    start = recording.reported_started_at
    body: dict[str, Any] = {
        "recordingId": recording.recording_id,
        recording.session_key: recording.session_id,
        "subAccountId": recording.subaccount_id,
        "status": recording.status if ready else "PROCESSING",
        "externalFileUrl": recording.external_file_url if ready else None,
        "startRecordingTime": iso_ms(start) if start is not None else UNSET_START,
    }
    if recording.reported_duration_s is not None:
        body["duration"] = recording.reported_duration_s
    return body


def push_config_response(subaccount_id: str, config: PushConfig, *, deleted: bool = False) -> dict[str, Any]:
    """Return the push configuration, with whether there is a password instead of the password."""
    return {
        **({"delete": True} if deleted else {}),
        "subAccountId": subaccount_id,
        "protocol": config.protocol,
        "host": config.host,
        "port": config.port,
        "username": config.username,
        "passwordSet": bool(config.password),
        "path": config.path,
        **OK,
    }


def read_push_config(body: Any) -> PushConfig:
    """Return the push configuration in a request body. Raise InvalidBodyError if it is invalid."""
    fields = _object(body)
    protocol = _text(fields, "protocol")
    port = fields.get("port")
    if protocol.upper() not in ("S3", "SFTP", "FTP"):
        raise InvalidBodyError("Invalid protocol")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise InvalidBodyError("Invalid port")
    return PushConfig(
        protocol=protocol,
        host=_text(fields, "host"),
        port=port,
        username=_text(fields, "username"),
        password=_text(fields, "password"),
        path=_text(fields, "path"),
    )


def webhooks_response(subaccount_id: str, webhooks: list[Webhook]) -> dict[str, Any]:
    """Return an account's webhooks, with whether there is an auth header instead of the header."""
    items = [webhook_response(webhook) for webhook in webhooks]
    return {"subAccountId": subaccount_id, "count": len(items), "webhooks": items, **OK}


def webhook_response(webhook: Webhook) -> dict[str, Any]:
    """Return one webhook."""
    return {
        "type": webhook.type,
        "url": webhook.url,
        "enabled": webhook.enabled,
        "httpAuthHeaderAvailable": bool(webhook.http_auth_header),
    }


def read_webhook(body: Any) -> Webhook:
    """Return the webhook in a request body. 8x8's guides have `active` where its OpenAPI file has `enabled`.

    Raises:
        InvalidBodyError: the type, the URL or the type of a field is invalid.
    """
    fields = _object(body)
    kind = _text(fields, "type")
    url = _text(fields, "url")
    enabled = fields.get("enabled", fields.get("active", True))
    header = fields.get("httpAuthHeader") or ""
    if kind not in WEBHOOK_TYPES:
        raise InvalidBodyError("Invalid webhook type")
    if not url.startswith(("http://", "https://")):
        raise InvalidBodyError("Invalid webhook url")
    if not isinstance(header, str) or not isinstance(enabled, bool | None):
        raise InvalidBodyError("Invalid webhook fields")
    return Webhook(type=kind, url=url, enabled=enabled is not False, http_auth_header=header)


def refusal(code: str, message: str, *, now: datetime) -> dict[str, Any]:
    """Return an error of the voice API. Its `statusCode` is a string here and a number elsewhere."""
    return {"errorId": str(uuid.uuid4()), "statusCode": code, "statusMessage": message, "timestamp": iso_ms(now)}


def unknown_job(*, now: datetime) -> dict[str, Any]:
    """Return the error for an unknown export job, which has a different form."""
    return {"code": 4018, "message": "Invalid jobId", "errorId": str(uuid.uuid4()), "timestamp": iso_ms(now)}


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidBodyError("Invalid JSON request body")
    return body


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidBodyError(f"Invalid {key}")
    return value
