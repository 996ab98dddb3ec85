"""Lookups as lines of JSON: responses as received, with phone numbers masked. Reading a line parses its response again."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from callarchive.catalog.rows import Key
from callarchive.domain.days import parse_timestamp
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.foreign_text import mask_text, storable
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.domain.payloads import DoubledKeys, UnreadableError, parse_json
from callarchive.domain.phone_numbers import PhoneNumberMask, mask_json, unmasked
from callarchive.voice_api.lookups import read_lookup

_UNREADABLE_CHARS = 64 * 1024
_CHUNK_BYTES = 64 * 1024


def line_of(subaccount_id: str, lookup: Lookup, mask: PhoneNumberMask) -> bytes:
    """Return the lookup as a line, without the line end."""
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
    """Return the key of a line. Raises ValueError, KeyError or TypeError if the line is damaged."""
    row = json.loads(line)
    return row["subaccount_id"], row["session_id"]


def lookup_of(line: bytes) -> tuple[Key, Lookup]:
    """Return the key and the lookup of a line. A response body is parsed again. Raises as `key_of`."""
    row = json.loads(line)
    session_id, http_status, body = row["session_id"], row["http_status"], row["body"]
    looked_up_at = parse_timestamp(row["looked_up_at"])
    if looked_up_at is None:
        raise ValueError("no timestamp")
    if body is not None and http_status is not None:
        lookup = read_lookup(session_id=session_id, http_status=http_status, body=body, looked_up_at=looked_up_at)
    else:
        facts = {name: row[name] for name in ("error", "http_status", "unreachable")}
        lookup = Lookup(session_id, LookupStatus(row["status"]), looked_up_at, **facts)
    return (row["subaccount_id"], session_id), lookup


def status_when_kept(line: bytes) -> str:
    """Return the status that the run which stored the line determined. Raises as `key_of`."""
    return str(json.loads(line)["status"])


def line_that_counts(old: bytes, new: bytes) -> bytes:
    """Return the line to keep of two about one session: the newer one, except that nothing known of recordings is lost.

    A line without recordings never replaces one with some, and an error never replaces a response.
    """
    return new if _replaces(lookup_of(new)[1], lookup_of(old)[1]) else old


def without_erased(lookup: Lookup, ids: ErasedIds) -> Lookup:
    """Return the lookup as if 8x8's response did not list the erased recordings. Ids elsewhere in its texts are cut."""
    if not ids.in_text(lookup.body) and not ids.in_text(lookup.error):
        return lookup
    left = tuple(one for one in lookup.recordings if one.recording_id not in ids.recording_ids)
    error = None if lookup.error is None else ids.cut_from(lookup.error)
    body = None if lookup.body is None else _body_without(lookup.body, ids)
    if body is None or lookup.http_status is None:
        return replace(lookup, recordings=left, error=error, body=None)
    facts: dict[str, Any] = {"session_id": lookup.session_id, "looked_up_at": lookup.looked_up_at}
    return read_lookup(http_status=lookup.http_status, body=body, **facts)


def line_without_erased(line: bytes, ids: ErasedIds) -> bytes | None:
    """Return the line as `without_erased` does; None if its session was erased. Raises as `key_of`."""
    (subaccount_id, session_id), lookup = lookup_of(line)
    if subaccount_id == ids.subaccount_id and session_id in ids.session_ids:
        return None
    recordings = {one.recording_id for one in lookup.recordings}
    if subaccount_id != ids.subaccount_id and (session_id in ids.session_ids or recordings & ids.recording_ids):
        return line  # another account's, which may have the same ids
    return line_of(subaccount_id, without_erased(lookup, ids), unmasked) if ids.in_text(line.decode()) else line


def packed(lines: Iterable[bytes]) -> bytes:
    """Pack the lines into a zstd frame. Equal lines give equal bytes."""
    target = pa.BufferOutputStream()
    with pa.CompressedOutputStream(target, "zstd") as stream:
        for line in lines:
            stream.write(line + b"\n")
    data: bytes = target.getvalue().to_pybytes()
    return data


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield the lines of a frame, unpacking at most 64 KiB ahead. Raises OSError, pa.ArrowException or ValueError."""
    if not data:  # pyarrow accepts it as an empty stream, but even no lines pack into a frame
        raise ValueError("empty object")
    rest = b""
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    if rest:
        yield rest


def _replaces(new: Lookup, old: Lookup) -> bool:
    if old.recordings and not new.recordings:
        return False  # a failed lookup, or 8x8 has deleted the session since
    if new.status is LookupStatus.ERROR and old.status is not LookupStatus.ERROR:
        return bool(new.recordings)
    return new.looked_up_at >= old.looked_up_at


def _body_without(body: str, ids: ErasedIds) -> str | None:
    """Return the body without the entries of lists that have an id; None if its JSON cannot be rewritten."""

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [kept for kept in map(without, value) if not ids.in_text(json.dumps(kept))]
        return {key: without(child) for key, child in value.items()} if isinstance(value, dict) else value

    try:
        tree = parse_json(body)
        return None if _has_duplicate_keys(tree) else ids.cut_from(json.dumps(without(tree), ensure_ascii=False))
    except (UnreadableError, RecursionError):
        return ids.cut_from(body)


def _masked_body(lookup: Lookup, mask: PhoneNumberMask) -> str | None:
    """Return the body unchanged if it needs no masking, else the masked JSON; None if it must not be stored.

    A body that is not JSON only documents an error: possible numbers are masked, and it is cut to 64 Ki characters. JSON
    that is an error because of a duplicate key is not stored: rewriting it would drop one value and make it look valid.
    """
    body = lookup.body
    if body is None:
        return None
    try:
        tree = parse_json(body)
        masked = mask_json(tree, mask)
        is_ambiguous = _has_duplicate_keys(tree)
        if is_ambiguous and lookup.status is LookupStatus.ERROR:
            return None
        return body if masked == tree and not is_ambiguous else storable(json.dumps(masked, ensure_ascii=False))
    except (UnreadableError, RecursionError):
        return mask_text(storable(body[:_UNREADABLE_CHARS]))


def _has_duplicate_keys(value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return isinstance(value, DoubledKeys) or any(map(_has_duplicate_keys, children))
