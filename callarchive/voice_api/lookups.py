"""Parses the response of Get Recordings, field by field: an invalid field or recording never affects the others."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from callarchive.domain.days import parse_timestamp
from callarchive.domain.errors import InvalidIdError
from callarchive.domain.evidence import Unknown
from callarchive.domain.foreign_text import place_to_keep
from callarchive.domain.identifiers import parse_id, plausible
from callarchive.domain.models import ApiRecording, Lookup, LookupStatus
from callarchive.domain.payloads import (
    PROGRESS,
    DoubledKeys,
    UnreadableError,
    decode,
    field_of,
    numeric_code,
    parse_json,
    read_duration,
    read_status,
    shown,
    status_message,
)
from callarchive.voice_api.absence import absence

LIMIT_BYTES = 1024 * 1024  # a longer body is refused. A recording takes about 400 bytes, and a session has a handful.
MAX_RECORDINGS = 1000
_MAX_BRACKETS = 8 * MAX_RECORDINGS
"""The objects and lists of that many recordings. More are not parsed: as Python objects they take 20 times their bytes."""

_URL_CHARS = 4096
_PROBLEMS_SHOWN = 3
_NULL_LIST = re.compile(r'"recordings"\s*:\s*null\b', re.IGNORECASE)


def over_limit(body: str | bytes) -> str | None:
    """Return why a body is too large to parse, or `None`."""
    if len(body) > LIMIT_BYTES:
        return f"is longer than {LIMIT_BYTES} bytes"
    brackets = body.count(b"{") + body.count(b"[") if isinstance(body, bytes) else body.count("{") + body.count("[")
    return f"has more than {MAX_RECORDINGS} recordings" if brackets > _MAX_BRACKETS else None


def read_lookup(*, session_id: str, http_status: int, body: str | bytes, looked_up_at: datetime) -> Lookup:
    """Parse any response of Get Recordings about a session.

    - `ok`: 200 with recordings. One that names another session is set aside.
    - `not_found`: 404 in the form of 8x8's own errors.
    - `no_recordings`: 200 with an empty list and status code 0 or none, or with null and status code 0.
    - `error`: everything else, with the reason and the recordings that could be parsed. A response that names another
      session, or has a key twice, is not used.

    The `subAccountId` in a response is ignored: URL and key determine the account.
    """
    refused = over_limit(body)
    text = None if refused is not None else decode(body)

    def lookup(status: LookupStatus, error: str | None = None, found: Iterable[ApiRecording] = ()) -> Lookup:
        return Lookup(session_id, status, looked_up_at, tuple(found), error, http_status, text)

    if text is None:
        return lookup(LookupStatus.ERROR, f"the response {refused}")
    try:
        tree = parse_json(text)
    except UnreadableError as err:
        unreadable = f"HTTP {http_status}" if http_status not in (200, 404) else f"the response {err}"
        if http_status == 404:
            unreadable = f"HTTP 404, and {unreadable}: not a response of 8x8"
        return lookup(LookupStatus.ERROR, unreadable)
    if http_status not in (200, 404):
        return lookup(LookupStatus.ERROR, f"HTTP {http_status}{status_message(tree)}")
    if http_status == 404:
        proof = absence(tree)
        if isinstance(proof, Unknown):
            return lookup(LookupStatus.ERROR, proof.reason)
    if not isinstance(tree, dict):
        return lookup(LookupStatus.ERROR, f"the response is not a JSON object but {shown(tree)}")
    if isinstance(tree, DoubledKeys):
        return lookup(LookupStatus.ERROR, f"the response has {ascii(tree.keys_doubled[0])[:60]} twice")
    for key, value in tree.items():
        if key.lower() == "sessionid" and _differs(value, session_id):
            return lookup(LookupStatus.ERROR, f"the response is about another session: its {key} is {shown(value)}")
    if http_status == 404:
        return lookup(LookupStatus.NOT_FOUND)

    listed = field_of(tree, "recordings")
    if listed is None or listed == []:
        why = _no_proof_of_none(tree, text)
        return lookup(LookupStatus.NO_RECORDINGS) if why is None else lookup(LookupStatus.ERROR, why)
    if not isinstance(listed, list):
        return lookup(LookupStatus.ERROR, f"`recordings` is not a list but {shown(listed)}")
    if len(listed) > MAX_RECORDINGS:
        return lookup(LookupStatus.ERROR, f"the response has more than {MAX_RECORDINGS} recordings")
    found, problems, problem_count = _read_recordings(listed, session_id=session_id, now=looked_up_at)
    if problem_count:
        more = f" (and {problem_count - len(problems)} more)" if problem_count > len(problems) else ""
        return lookup(LookupStatus.ERROR, "; ".join(problems) + more, found)
    return lookup(LookupStatus.OK, found=found)


def _no_proof_of_none(tree: dict[str, Any], text: str) -> str | None:
    """Return why a response without recordings does not prove that there are none; `None` if it does."""
    keys = {key.lower() for key in tree}
    code = field_of(tree, "statusCode")
    number = numeric_code(code)
    if number not in (None, 0):
        return f"status code {number}{status_message(tree)}"
    if "statuscode" in keys and number is None:
        return f"the response names no recordings, and its status code is {shown(code)}"
    if "recordings" not in keys:
        return "the response has no `recordings`"
    # NaN and numbers out of range are `None` too.
    if field_of(tree, "recordings") is None and not (number == 0 and _NULL_LIST.search(text)):
        return "the response names no recordings, and not status code 0"
    return None


def _read_recordings(listed: list[Any], *, session_id: str, now: datetime) -> tuple[list[ApiRecording], list[str], int]:
    """Return the recordings, the first few problems, and how many problems there are."""
    found: dict[str, ApiRecording] = {}
    problems: list[str] = []
    problem_count = 0
    for item in listed:
        try:
            recording = _read_recording(item, session_id=session_id, now=now)
        except InvalidIdError as err:
            problem_count += 1
            if problem_count <= _PROBLEMS_SHOWN:
                problems.append(str(err))
            continue
        known = found.get(recording.recording_id)
        found[recording.recording_id] = recording if known is None else _united(known, recording)
    return list(found.values()), problems, problem_count


def _read_recording(item: Any, *, session_id: str, now: datetime) -> ApiRecording:
    """Parse a recording. Raise InvalidIdError if it cannot be identified, or belongs to another call."""
    if not isinstance(item, dict):
        raise InvalidIdError(f"a recording is not a JSON object but {shown(item)}")
    if isinstance(item, DoubledKeys):
        # `sessionId` and `sessionid` are both documented: the same value in both is no contradiction.
        unclear = {*item.same_spelling, *item.disagreeing}
        if doubled := [key for key in item.keys_doubled if key != "sessionid" or key in unclear]:
            id_ = shown(field_of(item, "recordingId"))
            raise InvalidIdError(f"recording {id_} is set aside: it has {ascii(doubled[0])[:60]} twice")
    recording_id = parse_id(field_of(item, "recordingId"), kind="recording id")
    for key, value in item.items():
        if key.lower() == "sessionid" and _differs(value, session_id):
            raise InvalidIdError(f"recording {recording_id} is set aside: its {key} is {shown(value)}")
    status, raw = read_status(field_of(item, "status"))
    url = field_of(item, "externalFileUrl")
    started_at = parse_timestamp(field_of(item, "startRecordingTime"))
    return ApiRecording(
        recording_id=recording_id,
        api_status=status,
        api_status_raw=raw,
        external_file_url=place_to_keep(url) if isinstance(url, str) and 0 < len(url) <= _URL_CHARS else None,
        duration_api_s=read_duration(field_of(item, "duration")),
        started_at=started_at if plausible(started_at, now=now) else None,
    )


def _differs(value: Any, session_id: str) -> bool:
    """Return whether the value names another session. Numbers and null name none."""
    return isinstance(value, str) and value.strip() != "" and value.strip().casefold() != session_id.casefold()


def _united(one: ApiRecording, other: ApiRecording) -> ApiRecording:
    """Merge two rows of one recording: the one with the more advanced status, completed from the other."""
    ahead, behind = sorted((one, other), key=lambda recording: PROGRESS.index(recording.api_status), reverse=True)
    return replace(
        ahead,
        external_file_url=ahead.external_file_url or behind.external_file_url,
        duration_api_s=behind.duration_api_s if ahead.duration_api_s is None else ahead.duration_api_s,
        started_at=ahead.started_at or behind.started_at,
    )
