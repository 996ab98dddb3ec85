"""Parse JSON payloads of 8x8, and fields of API responses and events. Names of both its page and its OpenAPI file work."""

import json
import math
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from callarchive.domain.foreign_text import cleaned, storable
from callarchive.domain.models import ApiStatus

_RAW_STATUS_CHARS = 200
_LONGEST_INTEGER = 300
_LONGEST_S = timedelta(days=7).total_seconds()

PROGRESS = (
    ApiStatus.UNKNOWN,
    ApiStatus.PROCESSING,
    ApiStatus.PROCESSING_FAILED,
    ApiStatus.UPLOAD_FAILED,
    ApiStatus.UPLOAD_COMPLETED,
    ApiStatus.CALLBACK_FAILED,
    ApiStatus.CALLBACK_COMPLETED,
)
"""The statuses of a recording in the order of its progress."""


class UnreadableError(ValueError):
    """A body is not valid JSON."""


class DoubledKeys(dict[str, Any]):
    """A JSON object with duplicate keys, ignoring case: which value counts is unknown.

    Attributes:
        keys_doubled: the duplicate keys, in lower case.
        same_spelling: those with duplicates in the same case.
        disagreeing: those with more than one value.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        spellings: dict[str, list[str]] = {}
        values: dict[str, list[Any]] = {}
        for key, value in pairs:
            spellings.setdefault(key.lower(), []).append(key)
            values.setdefault(key.lower(), []).append(value)
        self.keys_doubled = [key for key, found in spellings.items() if len(found) > 1]
        self.same_spelling = [key for key in self.keys_doubled if len(set(spellings[key])) < len(spellings[key])]
        self.disagreeing = [key for key in self.keys_doubled if any(v != values[key][0] for v in values[key])]


def decode(body: str | bytes) -> str:
    """Return the body as text that can be stored: invalid bytes and lone surrogates become U+FFFD."""
    if isinstance(body, bytes):
        try:
            return body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff")
        except UnicodeError:  # UTF-32 with an odd tail raises even so
            return body.decode("utf-8", "replace")
    return storable(body)


def parse_json(text: str) -> Any:
    """Return the JSON value; an object with duplicate keys is a `DoubledKeys`.

    Numbers that no column can hold (NaN, Infinity, 1e400, integers of over 300 digits) are `None`.
    Raises UnreadableError: "is not JSON" with the position, or "is nested too deeply".
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as err:
        where = f"at character {err.pos} of {len(text)}" if text.strip() else "(it is empty)"
        raise UnreadableError(f"is not JSON {where}") from err
    except RecursionError as err:
        raise UnreadableError("is nested too deeply") from err


def not_json(body: bytes) -> str | None:
    """Return why a body is not JSON, else `None`. A body without Content-Length may have been cut short."""
    try:
        parse_json(decode(body))
    except UnreadableError as err:
        return f"the response {err}"
    return None


def field_of(tree: Mapping[str, Any], name: str) -> Any:
    """Return the value of a key, ignoring case if need be; `None` if there is none."""
    if name in tree:
        return tree[name]
    return next((value for key, value in tree.items() if key.lower() == name.lower()), None)


def status_message(tree: Any) -> str:
    """Return the message of an error response as the end of a sentence: ": statusMessage (errorId ...)", or an empty string."""
    if not isinstance(tree, dict):
        return ""
    said = field_of(tree, "statusMessage") or field_of(tree, "message")
    error_id = field_of(tree, "errorId")
    text = f": {cleaned(said, limit=200)}" if isinstance(said, str) else ""
    return f"{text} (errorId {cleaned(error_id, limit=200)})" if isinstance(error_id, str) else text


def numeric_code(value: Any) -> int | None:
    """Return a status code, a number or (in the OpenAPI file's 422) a text, as a number; `None` where it is not one."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_status(value: Any) -> tuple[ApiStatus, str | None]:
    """Return the status, UNKNOWN where it is none of the documented ones, and the original text."""
    if value is None:
        return ApiStatus.UNKNOWN, None
    if not isinstance(value, str):
        return ApiStatus.UNKNOWN, shown(value)
    return _status_of_text(value[:_RAW_STATUS_CHARS])


@lru_cache(maxsize=64)  # few texts are in all responses
def _status_of_text(text: str) -> tuple[ApiStatus, str]:
    raw = cleaned(storable(text), limit=_RAW_STATUS_CHARS)
    word = re.sub(r"[\s\-_]+", "_", raw.strip()).upper()
    return ApiStatus(word) if word in ApiStatus.__members__ else ApiStatus.UNKNOWN, raw


def read_duration(value: Any) -> float | None:
    """Return the seconds, from 0 to a week; `None` for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip(), re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LONGEST_S else None


def read_mos(quality: Any) -> float | None:
    """Return the mean opinion score of a `callQuality`, 1 to 5; `None` for anything else."""
    score = field_of(quality, "mos") if isinstance(quality, dict) else None
    if isinstance(score, str) and re.fullmatch(r"[0-9](\.[0-9]{1,15})?", score.strip(), re.ASCII):
        score = float(score)
    if isinstance(score, bool) or not isinstance(score, int | float):
        return None
    return float(score) if 1 <= score <= 5 else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _integer(text: str) -> int | None:
    return int(text) if len(text) <= _LONGEST_INTEGER else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(set(map(str.lower, found))) == len(pairs) else DoubledKeys(pairs)


_DECODER = json.JSONDecoder(
    parse_float=_finite, parse_int=_integer, parse_constant=lambda _: None, object_pairs_hook=_object
)
"""`json.loads` with these options would make a new decoder for each body."""


def shown(value: Any) -> str:
    """Return a value for a message: its kind, or a short and clean form of it."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return cleaned(ascii(value), limit=60)
