"""What 8x8 sends by webhook for a world, and how badly: shuffled, doubled, dropped, never tried again.

VRU is sent when a recording was uploaded, and only then; VSS when a session has ended. The fields are those of 8x8's guides.
"""

import json
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.clock import iso_ms
from callarchive.simulator.world import Leg, Recording, Session, World

_OTHER_SPELLINGS = {"NO_ANSWER": "NO ANSWER", "CANCELED": "CANCELLED"}
_UPLOADED = frozenset(("UPLOAD_COMPLETED", "CALLBACK_COMPLETED", "CALLBACK_FAILED", "completed"))
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """An event that 8x8 sends: its type, whose it is, when it is due, and its body."""

    type: str
    subaccount_id: str
    session_id: str
    recording_id: str | None
    due_at: datetime
    body: dict[str, Any]


@dataclass
class Post:
    """What became of the events so far.

    Attributes:
        delivered: answered with 200, once for each delivery.
        dropped: never sent.
        refused: sent and not answered with 200: 8x8 does not try again.
    """

    delivered: list[Event] = field(default_factory=list)
    dropped: list[Event] = field(default_factory=list)
    refused: list[Event] = field(default_factory=list)


class Postman:
    """Sends the events of a world to the webhooks that are registered at the simulated API.

    Args:
        doubled, dropped: which shares of the events are sent twice, or not at all.
    """

    def __init__(self, api: SimulatedApi, *, seed: int = 1, doubled: float = 0.0, dropped: float = 0.0) -> None:
        self._api = api
        self._rng = random.Random(seed)
        self._doubled = doubled
        self._dropped = dropped
        self._done: set[tuple[str, str, str | None]] = set()
        self.post = Post()

    def deliver(self, world: World, *, now: datetime) -> int:
        """What is due by now, and was not before, has been sent, in any order. Returns how many deliveries there were."""
        due = []
        for event in events_of(world):
            key = event.type, event.session_id, event.recording_id
            if event.due_at <= now and key not in self._done:
                self._done.add(key)
                if self._rng.random() < self._dropped:
                    self.post.dropped.append(event)
                else:
                    due += [event] * (2 if self._rng.random() < self._doubled else 1)
        self._rng.shuffle(due)
        for event in due:
            (self.post.delivered if self._send(event) else self.post.refused).append(event)
        return len(due)

    def _send(self, event: Event) -> bool:
        """Whether it was answered with 200."""
        hooks = [hook for hook in self._api.webhooks(event.subaccount_id) if hook.type == event.type and hook.enabled]
        taken = False
        for hook in hooks:
            headers = {"Content-Type": "application/json"}
            if hook.http_auth_header:
                headers["Authorization"] = hook.http_auth_header
            request = urllib.request.Request(  # noqa: S310 - the test's own receiver
                hook.url, json.dumps(event.body).encode(), headers, method="POST"
            )
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                    taken = answer.status == 200
            except (urllib.error.URLError, OSError):
                taken = False
        return taken


def events_of(world: World) -> Iterator[Event]:
    """Every event of the world, session by session."""
    for session in world.sessions:
        yield Event("VSS", session.subaccount_id, session.session_id, None, session.ended_at, session_summary(session))
        for recording in session.recordings:
            if recording.status in _UPLOADED:
                due_at = recording.ready_at or session.ended_at
                body = recording_uploaded(recording)
                yield Event("VRU", session.subaccount_id, session.session_id, recording.recording_id, due_at, body)


def recording_uploaded(recording: Recording) -> dict[str, Any]:
    """The VRU event: without account, id of its own, or time."""
    return {
        "namespace": "VOICE",
        "eventType": "CALL_RECORDING_STATUS",
        "description": "Call recording status updated",
        "payload": {
            "sessionId": recording.session_id,
            "recordingId": recording.recording_id,
            "durationSeconds": round(recording.duration_s),
            "filePath": f"recordings/{recording.path}",
            "status": "UPLOAD_COMPLETED",
        },
    }


def session_summary(session: Session) -> dict[str, Any]:
    """The VSS event. Every second odd status is spelled the other way, as 8x8's guides do."""
    status = session.status
    if status in _OTHER_SPELLINGS and int(session.session_id[:8], 16) % 2:
        status = _OTHER_SPELLINGS[status]
    details = {name: _call(leg) for name, leg in zip(("callA", "callB"), session.legs, strict=False)}
    return {
        "namespace": "VOICE",
        "eventType": "SESSION_SUMMARY",
        "description": "Summary of the completed session",
        "payload": {
            "sessionId": session.session_id,
            "subAccountId": session.subaccount_id,
            "sessionStatus": status,
            "startTime": iso_ms(session.started_at),
            "endTime": iso_ms(session.ended_at),
            "lastAction": "makeCall",
            "callCount": len(session.legs),
            "details": details,
            "errorDetails": {"code": 0, "message": "ok"},
        },
    }


def _call(leg: Leg) -> dict[str, Any]:
    call: dict[str, Any] = {
        "callId": leg.call_id,
        "source": leg.source.digits,
        "destination": leg.destination.digits,
        "initiatedTime": iso_ms(leg.initiated_at),
        "callDuration": leg.duration_s,
        "callStatus": leg.status,
    }
    if leg.mos is not None:
        call["callQuality"] = {"mos": float(leg.mos), "packetLossRate": 0.1, "jitter": 4}
    return call
