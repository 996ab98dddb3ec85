"""Parses 8x8's webhook events: VRU (a recording was uploaded) and VSS (a session has ended).

Pure functions. The fields are those of 8x8's page on call recordings and of its OpenAPI file. An invalid field becomes `None`,
an invalid id refuses the event. Only these fields are kept: nothing else of a body is written anywhere.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from callarchive.domain.days import parse_timestamp
from callarchive.domain.errors import ArchiveError, InvalidIdError
from callarchive.domain.foreign_text import cleaned, mask_credentials, place_to_keep, storable
from callarchive.domain.identifiers import EARLIEST_PLAUSIBLE_AT, parse_id
from callarchive.domain.models import ApiStatus
from callarchive.domain.payloads import (
    UnreadableError,
    decode,
    field_of,
    parse_json,
    read_duration,
    read_mos,
    read_status,
)
from callarchive.domain.phone_numbers import PhoneNumberMask

MAX_DEPTH = 32
MAX_VALUES = 10_000
_PATH_CHARS = 4096
_TEXT_CHARS = 200
_MOST_CALLS = 10_000
_STATUS_SPELLINGS = {"CANCELLED": "CANCELED"}


class EventRefusedError(ArchiveError):
    """A body is not an event of 8x8. The message quotes nothing of the body."""


@dataclass(frozen=True, slots=True)
class RecordingEvent:
    """VRU, `CALL_RECORDING_STATUS`: the status of a recording."""

    kind: ClassVar[str] = "recording"
    session_id: str
    recording_id: str
    status: ApiStatus
    status_raw: str | None = None
    duration_s: float | None = None  # `durationSeconds`
    # Of the file: raw colons, a date folder, no scheme. Never trusted. See `foreign_text.place_to_keep`.
    file_path: str | None = None


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """VSS, `SESSION_SUMMARY`: a session has ended."""

    kind: ClassVar[str] = "session"
    session_id: str
    session_status: str | None = None  # in the catalog's spelling: NO_ANSWER, CANCELED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    call_count: int | None = None
    call_duration_s: float | None = None  # of the longest leg
    source_number: str | None = None  # A's caller and B's callee, masked
    destination_number: str | None = None
    mos: float | None = None  # call quality of the worse leg, 1 to 5


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of an unknown type: counted, and only its type is kept."""

    kind: ClassVar[str] = "unknown"
    event_type: str | None = None


Event = RecordingEvent | SessionEvent | UnknownEvent


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event in the form in which it is stored."""

    event: Event
    # The parsed fields, as JSON in the form of 8x8's events, numbers masked: `event_in` returns the same event.
    payload: str
    identity: str  # SHA-256, hex, of account and payload: the same for a repeat


def read_event(body: bytes, *, subaccount_id: str, mask: PhoneNumberMask) -> ReadEvent:
    """Parse a webhook's body, masking its phone numbers.

    Raises:
        EventRefusedError: the body is not a JSON object, is nested deeper than 32, has more than 10,000 values, lacks the
            ids of its type, or names another account.
    """
    try:
        tree = parse_json(decode(body))
    except UnreadableError as err:
        raise EventRefusedError(f"the body {err}") from None
    if not isinstance(tree, dict):
        raise EventRefusedError("the body is not a JSON object")
    _check_size(tree)
    event = _event(tree, subaccount_id, mask)
    payload = _payload_of(event, tree)
    return ReadEvent(event, payload, identity_of(subaccount_id, payload))


def identity_of(subaccount_id: str, payload: str) -> str:
    """Return the hash that identifies an account's event."""
    return hashlib.sha256(f"{subaccount_id}\0{payload}".encode()).hexdigest()


def payload_to_keep(payload: str) -> str:
    """Return the used fields of a stored payload; older versions stored all. If unreadable, only the reason is kept."""
    try:
        return _payload_of(event_in(payload), parse_json(payload))
    except (EventRefusedError, UnreadableError) as err:
        return _json({"unreadable": cleaned(str(err), limit=_TEXT_CHARS)})


def event_in(payload: str) -> Event:
    """Return the event in a stored payload, whose numbers are masked. Raises EventRefusedError, UnreadableError."""
    tree = parse_json(payload)
    if not isinstance(tree, dict):
        raise EventRefusedError("the stored payload is not a JSON object")
    return _event(tree, None, lambda number: number)


def _event(tree: Mapping[str, Any], subaccount_id: str | None, mask: PhoneNumberMask) -> Event:
    kind = field_of(tree, "eventType")
    word = _word(kind) if isinstance(kind, str) else None
    fields = field_of(tree, "payload")
    if word not in ("CALL_RECORDING_STATUS", "SESSION_SUMMARY"):
        return UnknownEvent(word)
    if not isinstance(fields, dict):
        raise EventRefusedError(f"{word}: the payload is not a JSON object")
    _check_account(fields, subaccount_id)
    try:
        session_id = parse_id(field_of(fields, "sessionId"), kind="session id")
        if word == "SESSION_SUMMARY":
            return _session_event(session_id, fields, mask)
        recording_id = parse_id(field_of(fields, "recordingId"), kind="recording id")
    except InvalidIdError:
        raise EventRefusedError(f"{word}: an id in the payload is not a UUID") from None
    status, status_raw = read_status(field_of(fields, "status"))
    return RecordingEvent(
        session_id=session_id,
        recording_id=recording_id,
        status=status,
        status_raw=status_raw,
        duration_s=read_duration(field_of(fields, "durationSeconds")),
        file_path=_file_path(field_of(fields, "filePath")),
    )


def _word(text: str) -> str:
    """Return the text in upper case, cleaned for storage and comparison."""
    return cleaned(storable(text[:_TEXT_CHARS]), limit=_TEXT_CHARS).strip().upper()[:_TEXT_CHARS].rstrip()


def _payload_of(event: Event, tree: Mapping[str, Any]) -> str:
    """Return the event as 8x8 would send it with only the parsed fields; numbers that are objects in `tree` stay so."""
    fields: dict[str, Any]
    if isinstance(event, UnknownEvent):
        return _json({"eventType": event.event_type})
    if isinstance(event, RecordingEvent):
        kind = "CALL_RECORDING_STATUS"
        fields = {
            "recordingId": event.recording_id,
            "durationSeconds": _amount(event.duration_s),
            "filePath": event.file_path,
            "status": event.status_raw,
        }
    else:
        kind = "SESSION_SUMMARY"
        legs = _legs(field_of(tree, "payload"))
        leg = {
            "callDuration": _amount(event.call_duration_s),
            "callQuality": None if event.mos is None else {"mos": _amount(event.mos)},
            "source": _as_sent(legs, "source", event.source_number),
            "destination": _as_sent(legs, "destination", event.destination_number),
        }
        fields = {
            "sessionStatus": event.session_status,
            "startTime": None if event.started_at is None else event.started_at.isoformat(),
            "endTime": None if event.ended_at is None else event.ended_at.isoformat(),
            "callCount": event.call_count,
            "details": {"callA": _present(leg)} if _present(leg) else None,
        }
    return _json({"eventType": kind, "payload": _present({"sessionId": event.session_id, **fields})})


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _amount(seconds: float | None) -> float | None:
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds


def _json(tree: Any) -> str:
    return json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _session_event(session_id: str, fields: Mapping[str, Any], mask: PhoneNumberMask) -> SessionEvent:
    legs = _legs(fields)
    durations_s = [seconds for leg in legs if (seconds := read_duration(field_of(leg, "callDuration"))) is not None]
    scores = [score for leg in legs if (score := read_mos(field_of(leg, "callQuality"))) is not None]
    count = field_of(fields, "callCount")
    return SessionEvent(
        session_id=session_id,
        session_status=_session_status(field_of(fields, "sessionStatus")),
        started_at=_time(field_of(fields, "startTime")),
        ended_at=_time(field_of(fields, "endTime")),
        call_count=count if type(count) is int and 0 <= count <= _MOST_CALLS else None,
        call_duration_s=max(durations_s, default=None),
        mos=min(scores, default=None),
        source_number=mask(_number(legs[0], "source")) if legs else None,
        # As in the export, where the first leg's callee is the masking number that A dialled.
        destination_number=mask(_number(legs[0], "destination")) if legs else None,
    )


def _legs(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = field_of(fields, "details")
    legs = [field_of(details, name) for name in ("callA", "callB")] if isinstance(details, dict) else []
    return [leg for leg in legs if isinstance(leg, dict)]


def _check_account(fields: Mapping[str, Any], subaccount_id: str | None) -> None:
    named = field_of(fields, "subAccountId")
    if subaccount_id is None or not isinstance(named, str) or not named.strip():
        return
    if named.strip().casefold() != subaccount_id.casefold():
        raise EventRefusedError("the event belongs to another subaccount")


def _session_status(value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return None
    words = _word(value).replace("-", " ").replace("_", " ").split()
    word = _word("_".join(words))[:_TEXT_CHARS].strip("_")  # cleaned again: what was a date may read as a number now
    return _STATUS_SPELLINGS.get(word, word) or None


def _time(value: Any) -> datetime | None:
    """Parse a time. 8x8 writes a time that was never set as 1969 or 1970."""
    at = parse_timestamp(value)
    return at if at is not None and at >= EARLIEST_PLAUSIBLE_AT else None


def _file_path(value: Any) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= _PATH_CHARS or "\0" in value:
        return None
    return place_to_keep(value)


def _number(leg: Mapping[str, Any], name: str) -> str | None:
    """Return a leg's phone number, which is a text, a JSON integer, or an object with one of these."""
    value = field_of(leg, name)
    if isinstance(value, dict):
        value = value.get(_number_key(value))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = "".join(character for character in str(value)[:_TEXT_CHARS] if character.isprintable())
    return mask_credentials(text)[:64].strip() or None


def _number_key(value: Mapping[str, Any]) -> str:
    return next((key for key in value if key.lower() in ("msisdn", "endpoint", "number")), "")


def _as_sent(legs: list[Mapping[str, Any]], name: str, number: str | None) -> str | dict[str, str] | None:
    value = field_of(legs[0], name) if legs else None
    return {_number_key(value).lower(): number} if number is not None and isinstance(value, dict) else number


def _check_size(tree: Any) -> None:
    """Refuse large bodies, level by level: a body may be too deep for recursion."""
    level, count = [tree], 1
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        count += len(level)
        if count > MAX_VALUES:
            raise EventRefusedError(f"the body has more than {MAX_VALUES} values")
    if any(isinstance(node, dict | list) for node in level):
        raise EventRefusedError(f"the body is nested deeper than {MAX_DEPTH}")
