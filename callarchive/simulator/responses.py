"""What 8x8's API says, as JSON values: the form of every answer, read off 8x8's page and OpenAPI file.

Where those are silent (what stands in the body of a 401, 403 or 404), the form of the documented 422 is used.
Routes and bytes are in `api`, export jobs in `exports`.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from callarchive.simulator.clock import iso_ms
from callarchive.simulator.world import Answer, Recording, Session

UNSET_START = "1969-12-31T23:59:59.999Z"
"""What 8x8's page shows as `startRecordingTime`: a time stamp of -1 ms."""

WEBHOOK_TYPES = ("VCS", "VCA", "VSS", "VRU", "VNU")
OK = {"statusCode": 0, "statusMessage": "ok"}


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Where 8x8 was told to push an account's recordings."""

    protocol: str
    host: str
    port: int
    username: str
    path: str
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where 8x8 was told to send an account's events of one type."""

    type: str
    url: str
    enabled: bool = True
    http_auth_header: str = field(default="", repr=False)


class InvalidBodyError(Exception):
    """A request's body is not what the route takes: answered with 422."""


def recordings_answer(session: Session | None, *, now: datetime) -> tuple[int, dict[str, Any]]:
    """HTTP status and body for a session's recordings; null is a session that never was."""
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
    answer: dict[str, Any] = {
        "recordingId": recording.recording_id,
        recording.session_key: recording.session_id,
        "subAccountId": recording.subaccount_id,
        "status": recording.status if ready else "PROCESSING",
        "externalFileUrl": recording.external_file_url if ready else None,
        "startRecordingTime": iso_ms(start) if start is not None else UNSET_START,
    }
    if recording.reported_duration_s is not None:
        answer["duration"] = recording.reported_duration_s
    return answer


def push_config_answer(subaccount_id: str, config: PushConfig, *, deleted: bool = False) -> dict[str, Any]:
    """The push configuration as it is told: whether there is a password, never which."""
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
    """The push configuration in a request's body. Raises InvalidBodyError."""
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


def webhooks_answer(subaccount_id: str, webhooks: list[Webhook]) -> dict[str, Any]:
    """An account's webhooks: whether there is an auth header, never which."""
    told = [webhook_answer(webhook) for webhook in webhooks]
    return {"subAccountId": subaccount_id, "count": len(told), "webhooks": told, **OK}


def webhook_answer(webhook: Webhook) -> dict[str, Any]:
    """One webhook."""
    return {
        "type": webhook.type,
        "url": webhook.url,
        "enabled": webhook.enabled,
        "httpAuthHeaderAvailable": bool(webhook.http_auth_header),
    }


def read_webhook(body: Any) -> Webhook:
    """The webhook in a request's body. 8x8's guides say `active` where its OpenAPI file says `enabled`.

    Raises:
        InvalidBodyError: the type is none of the five, the URL is none, or a field is of the wrong kind.
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
    """An error as the voice API words it: `statusCode` is a text here and a number elsewhere."""
    return {"errorId": str(uuid.uuid4()), "statusCode": code, "statusMessage": message, "timestamp": iso_ms(now)}


def unknown_job(*, now: datetime) -> dict[str, Any]:
    """The error for an export job that is not known, which has a form of its own."""
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
