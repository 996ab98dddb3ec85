"""Decides whether a 404 is 8x8's own: gateways, proxies and services at a wrong `api_url` return 404 too."""

from typing import Any

from callarchive.domain.evidence import Absent, Unknown
from callarchive.domain.payloads import (
    DoubledKeys,
    UnreadableError,
    decode,
    field_of,
    numeric_code,
    parse_json,
    status_message,
)


def read_404(body: str | bytes) -> Absent | Unknown:
    """Return what the body of a 404 proves."""
    try:
        tree = parse_json(decode(body))
    except UnreadableError as err:
        return Unknown(f"HTTP 404, and the response {err}: not a response of 8x8")
    return absence(tree)


def absence(tree: Any) -> Absent | Unknown:
    """Return what the JSON value in the body of a 404 proves.

    8x8's own errors have a code that is not 0 and a text, in most of its API `statusCode` and `statusMessage`. With `code` or
    `message` instead, as in the log export, there must be an `errorId` too: many gateways' errors have that form without it.
    """
    if not isinstance(tree, dict):
        return Unknown("HTTP 404 with JSON that is not an object: not a response of 8x8")
    if isinstance(tree, DoubledKeys):
        return Unknown(f"HTTP 404 with `{tree.keys_doubled[0]}` twice")
    if field_of(tree, "recordings"):
        return Unknown("HTTP 404 with recordings")
    own = _has_code(tree, "statusCode") and _has_text(tree, "statusMessage")
    generic = (_has_code(tree, "statusCode") or _has_code(tree, "code")) and (
        _has_text(tree, "statusMessage") or _has_text(tree, "message")
    )
    if own or (generic and _has_text(tree, "errorId")):
        return Absent(f"8x8 returned HTTP 404{status_message(tree)}")
    return Unknown(f"HTTP 404 not in the form of 8x8's errors{status_message(tree)}")


def _has_code(tree: dict[str, Any], name: str) -> bool:
    return numeric_code(field_of(tree, name)) not in (None, 0)


def _has_text(tree: dict[str, Any], name: str) -> bool:
    value = field_of(tree, name)
    return isinstance(value, str) and value.strip() != ""
