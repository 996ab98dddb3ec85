"""Ids of sessions, recordings and accounts: UUIDs in upper or lower case, in every sample of version 1 (RFC 9562)."""

import re
import uuid
from datetime import UTC, datetime, timedelta

from callarchive.domain.errors import InvalidIdError

SUBACCOUNT_PATTERN = r"^[A-Za-z0-9\-._&]{3,50}$"
EARLIEST_PLAUSIBLE_AT = datetime(2015, 1, 1, tzinfo=UTC)
"""No Number Masking call is older: an earlier time stamp is a default value or a mistake."""

LATEST_PLAUSIBLE_AHEAD = timedelta(days=2)  # the most that another clock may be ahead of ours
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_WRITTEN = re.compile(
    r"(?:urn:)?(?:uuid:)?[{(\[<]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[})\]>]?",
    re.ASCII | re.IGNORECASE,
)
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u2060\ufeff]+")
_HYPHENS = re.compile(r"[\u2010-\u2015\u2212\uff0d]")
_AROUND = "'\"`,;\u2018\u2019\u201c\u201d"
_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)


def is_uuid(text: str) -> bool:
    """Return whether the text is a UUID, in upper or lower case."""
    return len(text) == 36 and _UUID.fullmatch(text) is not None


def parse_id(text: object, *, kind: str) -> str:
    """Return the id in lower case. Raises InvalidIdError, with `kind` and 60 characters at most, if it is not a UUID."""
    if isinstance(text, str) and is_uuid(text):
        return text.lower()
    shown = ascii(text)
    raise InvalidIdError(f"not a {kind} (a UUID): {shown if len(shown) <= 60 else shown[:57] + '...'}")


def plain_id(text: str) -> str:
    """Return the UUID as 8x8 writes it; other text unchanged.

    Databases and spreadsheets write it in braces, without hyphens, as `urn:uuid:...`, with typographic hyphens, in quotes,
    followed by a comma as in a JSON array, or with no-break and invisible spaces around it.
    """
    if is_uuid(text):
        return text
    found = _WRITTEN.fullmatch(_HYPHENS.sub("-", _INVISIBLE.sub("", text[:200]).strip(_AROUND)))
    return "-".join(found.groups()) if found else text


def ids_in(text: str) -> list[str]:
    """Return the UUIDs in the text, each once, in lower case."""
    return list(dict.fromkeys(found.lower() for found in _UUID.findall(text)))


def uuid_time(text: str) -> datetime | None:
    """Return the time in a version-1 UUID, cut to microseconds; `None` for other versions and times before 2015."""
    parsed = uuid.UUID(text)
    if parsed.version != 1:
        return None
    try:
        at = _GREGORIAN + timedelta(microseconds=parsed.time // 10)
    except OverflowError:
        return None
    return at if at >= EARLIEST_PLAUSIBLE_AT else None


def plausible(at: datetime | None, *, now: datetime) -> bool:
    """Return whether this can be the time of a call: not before Number Masking existed, at most two days ahead of us."""
    return at is not None and EARLIEST_PLAUSIBLE_AT <= at <= now + LATEST_PLAUSIBLE_AHEAD


def path_segment(subaccount_id: str) -> str:
    """Return the account's folder: its id, with a leading `.` or `_`, which Parquet readers ignore, percent-encoded."""
    first = subaccount_id[0]
    return f"%{ord(first):02X}{subaccount_id[1:]}" if first in "._" else subaccount_id


def account_of_segment(segment: str) -> str:
    """Return the account whose `path_segment` it is."""
    return chr(int(segment[1:3], 16)) + segment[3:] if segment.startswith(("%2E", "%5F")) else segment
