"""Reading 8x8's answers about recordings, field by field: what is odd is set aside, and never sinks its neighbours.

Pure functions: an answer that was kept reads the same years later. The page on Get Recordings and the OpenAPI file
differ in field names and status texts; either is accepted.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from callarchive.days import parse_timestamp
from callarchive.errors import InvalidIdError
from callarchive.identifiers import parse_id, plausible
from callarchive.models import ApiRecording, ApiStatus, Lookup, LookupStatus
from callarchive.phone_numbers import mask_numbers

_RAW_STATUS_CHARS = 200
_URL_CHARS = 4096
_LONGEST_INTEGER = 300
_LONGEST_S = timedelta(days=7).total_seconds()
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

PROGRESS = (
    ApiStatus.UNKNOWN,
    ApiStatus.PROCESSING,
    ApiStatus.PROCESSING_FAILED,
    ApiStatus.UPLOAD_FAILED,
    ApiStatus.UPLOAD_COMPLETED,
    ApiStatus.CALLBACK_FAILED,
    ApiStatus.CALLBACK_COMPLETED,
)
"""How far a recording has come, from nothing known to everything done."""


class UnreadableError(ValueError):
    """A body is not JSON."""


def read_lookup(
    *,
    session_id: str,
    http_status: int,
    body: str | bytes,
    looked_up_at: datetime,
) -> Lookup:
    """The answer of Get Recordings for a session, whatever came.

    404 is `not_found`; 200 with recordings `ok`; 200 with an empty or null list, or with none and status code 0,
    `no_recordings`; everything else `error`, with the reason and with the recordings that could be read.

    Args:
        session_id: the one asked for, as `parse_id` gives it. A recording that names another is set aside.
            (The `subAccountId` in an answer decides nothing: the URL and the key did.)
    """
    text = decode(body)

    def lookup(status: LookupStatus, error: str | None = None, found: Iterable[ApiRecording] = ()) -> Lookup:
        return Lookup(session_id, status, looked_up_at, tuple(found), error, http_status, text)

    if http_status == 404:
        return lookup(LookupStatus.NOT_FOUND)
    try:
        tree = parse_json(text)
    except UnreadableError as err:
        unreadable = f"HTTP {http_status}" if http_status != 200 else f"the answer {err}"
        return lookup(LookupStatus.ERROR, unreadable)
    if http_status != 200:
        return lookup(LookupStatus.ERROR, f"HTTP {http_status}{status_message(tree)}")
    if not isinstance(tree, dict):
        return lookup(LookupStatus.ERROR, f"the answer is not a JSON object but {_shown(tree)}")

    listed = field_of(tree, "recordings")
    code = _status_code(tree)
    if listed is None or listed == []:
        if code not in (None, 0):
            return lookup(LookupStatus.ERROR, f"status code {code}{status_message(tree)}")
        if code is None and not any(key.lower() == "recordings" for key in tree):
            return lookup(LookupStatus.ERROR, "the answer holds neither recordings nor status code 0")
        return lookup(LookupStatus.NO_RECORDINGS)
    if not isinstance(listed, list):
        return lookup(LookupStatus.ERROR, f"`recordings` is not a list but {_shown(listed)}")

    found: dict[str, ApiRecording] = {}
    problems: list[str] = []
    for item in listed:
        try:
            recording = _read_recording(item, session_id=session_id, now=looked_up_at)
        except InvalidIdError as err:
            problems.append(mask_numbers(str(err)))
            continue
        known = found.get(recording.recording_id)
        found[recording.recording_id] = recording if known is None else _united(known, recording)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        return lookup(LookupStatus.ERROR, "; ".join(problems[:3]) + more, found.values())
    return lookup(LookupStatus.OK, found=found.values())


def decode(body: str | bytes) -> str:
    """The body as text that can be stored: bytes that are no UTF-8, and lone surrogates, become U+FFFD."""
    if isinstance(body, bytes):
        try:
            return body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff")
        except UnicodeError:  # UTF-32 with an odd tail raises even so
            return body.decode("utf-8", "replace")
    return clean(body)


def clean(text: str) -> str:
    """The text without lone surrogates: neither Parquet nor UTF-8 can hold them."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def parse_json(text: str) -> Any:
    """The JSON value. Numbers that no column can hold (NaN, Infinity, 1e400, integers of over 300 digits) are null.

    Raises:
        UnreadableError: says "is not JSON" and where it stops to be, or "is nested too deeply".
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as err:
        where = f"at character {err.pos} of {len(text)}" if text.strip() else "(it is empty)"
        raise UnreadableError(f"is not JSON {where}") from err
    except RecursionError as err:
        raise UnreadableError("is nested too deeply") from err


def not_json(body: bytes) -> str | None:
    """Why a body must be asked for again; null when it is JSON.

    A body without announced length that was cut short looks like JSON that stops.
    """
    try:
        parse_json(decode(body))
    except UnreadableError as err:
        return f"the answer {err}"
    return None


def field_of(tree: Mapping[str, Any], name: str) -> Any:
    """The value under that name, or under another spelling of its case; null if there is none."""
    if name in tree:
        return tree[name]
    return next((value for key, value in tree.items() if key.lower() == name.lower()), None)


def without_credentials(place: str) -> str:
    """The place without user, password, query and fragment: a presigned signature must not be written anywhere."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return place.partition("?")[0]
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def status_message(tree: Any) -> str:
    """What an error answer says of itself, as the end of a sentence: ": statusMessage (errorId ...)", or nothing."""
    if not isinstance(tree, dict):
        return ""
    said = field_of(tree, "statusMessage") or field_of(tree, "message")
    error_id = field_of(tree, "errorId")
    text = f": {_short(mask_numbers(clean(said)))}" if isinstance(said, str) else ""
    return f"{text} (errorId {_short(clean(error_id))})" if isinstance(error_id, str) else text


def _read_recording(item: Any, *, session_id: str, now: datetime) -> ApiRecording:
    """Raises InvalidIdError where the recording cannot be told, or is that of another call."""
    if not isinstance(item, dict):
        raise InvalidIdError(f"a recording is not a JSON object but {_shown(item)}")
    recording_id = parse_id(field_of(item, "recordingId"), kind="recording id")
    for key, value in item.items():
        if key.lower() == "sessionid" and _differs(value, session_id):
            raise InvalidIdError(f"recording {recording_id} is set aside: its {key} is {_shown(value)}")
    status, raw = read_status(field_of(item, "status"))
    url = field_of(item, "externalFileUrl")
    started_at = parse_timestamp(field_of(item, "startRecordingTime"))
    return ApiRecording(
        recording_id=recording_id,
        api_status=status,
        api_status_raw=raw,
        external_file_url=without_credentials(clean(url))
        if isinstance(url, str) and 0 < len(url) <= _URL_CHARS
        else None,
        duration_api_s=read_duration(field_of(item, "duration")),
        started_at=started_at if plausible(started_at, now=now) else None,
    )


def _differs(value: Any, asked: str) -> bool:
    """Only a text names something: a number or a null there is an oddity of the answer, not another call."""
    return isinstance(value, str) and value.strip() != "" and value.strip().casefold() != asked.casefold()


def read_status(value: Any) -> tuple[ApiStatus, str | None]:
    """The status that 8x8's word means, UNKNOWN where it means none, and the word as it came."""
    if value is None:
        return ApiStatus.UNKNOWN, None
    if not isinstance(value, str):
        return ApiStatus.UNKNOWN, _shown(value)
    word = re.sub(r"[\s\-_]+", "_", value.strip()).upper()
    status = ApiStatus(word) if word in ApiStatus.__members__ else ApiStatus.UNKNOWN
    return status, mask_numbers(clean(value[:_RAW_STATUS_CHARS]))


def read_duration(value: Any) -> float | None:
    """Seconds, from 0 to a week; null for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip(), re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LONGEST_S else None


def _united(one: ApiRecording, other: ApiRecording) -> ApiRecording:
    """Of two rows about one recording the one that has come further, with what only the other tells."""
    ahead, behind = sorted((one, other), key=lambda recording: PROGRESS.index(recording.api_status), reverse=True)
    return replace(
        ahead,
        external_file_url=ahead.external_file_url or behind.external_file_url,
        duration_api_s=behind.duration_api_s if ahead.duration_api_s is None else ahead.duration_api_s,
        started_at=ahead.started_at or behind.started_at,
    )


def _status_code(tree: Mapping[str, Any]) -> int | str | None:
    """8x8 writes it as a number on the page and as a text in OpenAPI's 422; null where there is none."""
    code = field_of(tree, "statusCode")
    if isinstance(code, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", code, re.ASCII):
        return int(code)
    if isinstance(code, float) and code.is_integer():
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None if code is None else _shown(code)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _integer(text: str) -> int | None:
    return int(text) if len(text) <= _LONGEST_INTEGER else None


_DECODER = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=lambda _: None)
"""Made once: `json.loads` with these options would make one for each answer."""


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def _shown(value: Any) -> str:
    """A value in a message: its kind, or a short and harmless form of it."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = mask_numbers(ascii(value))
    return text if len(text) <= 60 else text[:57] + "..."
