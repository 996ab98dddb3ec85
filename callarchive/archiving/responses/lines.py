"""Look-ups as lines of JSON, as `answer_store` keeps them: each way between the two, which of two lines counts, packing.

A line holds an answer as it came, phone numbers masked; the answer is read anew with each reading of the line.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa

from callarchive.catalog.rows import Key
from callarchive.domain.days import parse_timestamp
from callarchive.domain.foreign_text import mask_text, storable
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.domain.payloads import DoubledKeys, UnreadableError, parse_json
from callarchive.domain.phone_numbers import PhoneNumberMask, mask_json
from callarchive.voice_api.lookups import read_lookup

_UNREADABLE_CHARS = 64 * 1024
_CHUNK_BYTES = 64 * 1024


def line_of(subaccount_id: str, lookup: Lookup, mask: PhoneNumberMask) -> bytes:
    """The look-up as a line, without the line end."""
    return json.dumps(
        {
            "subaccount_id": subaccount_id,
            "session_id": lookup.session_id,
            "looked_up_at": lookup.looked_up_at.isoformat(),
            "status": lookup.status,
            "http_status": lookup.http_status,
            "error": lookup.error,
            "unreachable": lookup.unreachable,
            "body": _masked_body(lookup, mask),
        }
    ).encode()


def key_of(line: bytes) -> Key:
    """Whose look-up it is. Raises ValueError, KeyError or TypeError where the line is damaged."""
    row = json.loads(line)
    return row["subaccount_id"], row["session_id"]


def lookup_of(line: bytes) -> tuple[Key, Lookup]:
    """Key and look-up. What has a body is read by `read_lookup` as if it had just come. Raises as `key_of`."""
    row = json.loads(line)
    looked_up_at = parse_timestamp(row["looked_up_at"])
    if looked_up_at is None:
        raise ValueError("no time stamp")
    key = row["subaccount_id"], row["session_id"]
    if row["body"] is not None and row["http_status"] is not None:
        return key, _read(row, looked_up_at)
    return key, Lookup(
        session_id=row["session_id"],
        status=LookupStatus(row["status"]),
        looked_up_at=looked_up_at,
        error=row["error"],
        http_status=row["http_status"],
        unreachable=row["unreachable"],
    )


def status_when_kept(line: bytes) -> str:
    """Return the look-up's status as the run that kept it read the answer. Raises as `key_of`."""
    return str(json.loads(line)["status"])


def line_that_counts(old: bytes, new: bytes) -> bytes:
    """Of two lines about one session the one to keep.

    The newer, except that one without recordings never replaces one that names some, and an error never an answer: neither
    a bad day at 8x8 nor its forgetting loses what it once said.
    """
    return new if _replaces(lookup_of(new)[1], lookup_of(old)[1]) else old


def packed(lines: Iterable[bytes]) -> bytes:
    """The lines as a zstd frame. The same lines give the same bytes."""
    target = pa.BufferOutputStream()
    with pa.CompressedOutputStream(target, "zstd") as stream:
        for line in lines:
            stream.write(line + b"\n")
    data: bytes = target.getvalue().to_pybytes()
    return data


def unpacked(data: bytes) -> Iterator[bytes]:
    """The lines that were packed; at most 64 KiB of them are unpacked ahead.

    Raises:
        OSError, pa.ArrowException, ValueError: the frame is damaged.
    """
    if not data:  # pyarrow reads nothing at all as an empty stream; a whole one has a frame, even around nothing
        raise ValueError("nothing is there")
    rest = b""
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    if rest:
        yield rest


def _read(row: dict[str, Any], looked_up_at: datetime) -> Lookup:
    return read_lookup(
        session_id=row["session_id"], http_status=row["http_status"], body=row["body"], looked_up_at=looked_up_at
    )


def _replaces(new: Lookup, old: Lookup) -> bool:
    if old.recordings and not new.recordings:
        return False  # a failed look-up, or 8x8 has forgotten the session by now
    if new.status is LookupStatus.ERROR and old.status is not LookupStatus.ERROR:
        return bool(new.recordings)
    return new.looked_up_at >= old.looked_up_at


def _masked_body(lookup: Lookup, mask: PhoneNumberMask) -> str | None:
    """The body itself where it holds nothing that may not be kept, else the same JSON without it; None to keep none.

    What is not JSON cannot be masked by its keys: what looks like a number is masked, and it is cut to 64 Ki
    characters, for it is kept as evidence of an error only. JSON that is an error because a key is doubled is not kept:
    rewritten it would have lost the other value, and would read as a good answer.
    """
    body = lookup.body
    if body is None:
        return None
    try:
        tree = parse_json(body)
        masked = mask_json(tree, mask)
        doubled = _holds_doubled_keys(tree)
        if doubled and lookup.status is LookupStatus.ERROR:
            return None
        return body if masked == tree and not doubled else storable(json.dumps(masked, ensure_ascii=False))
    except (UnreadableError, RecursionError):
        return mask_text(storable(body[:_UNREADABLE_CHARS]))


def _holds_doubled_keys(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, DoubledKeys) or any(_holds_doubled_keys(child) for child in children)
