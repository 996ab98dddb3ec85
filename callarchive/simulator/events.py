"""The webhook events of a world, sent as unreliably as by 8x8: shuffled, duplicated, dropped, and never retried.

VRU is sent only when a recording was uploaded, VSS when a session has ended. The fields are those of 8x8's guides.
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
    """A webhook event of 8x8."""

    type: str
    subaccount_id: str
    session_id: str
    recording_id: str | None
    due_at: datetime
    body: dict[str, Any]


@dataclass
class Post:
    """The results of the events so far.

    Attributes:
        delivered: the response was 200; one entry per delivery.
        dropped: never sent.
        refused: the response was not 200. 8x8 does not retry.
    """

    delivered: list[Event] = field(default_factory=list)
    dropped: list[Event] = field(default_factory=list)
    refused: list[Event] = field(default_factory=list)


class Postman:
    """Sender of a world's events to the webhooks that are registered at the simulated API.

    Args:
        doubled, dropped: the shares of events that are sent twice, and not at all.
    """

    def __init__(self, api: SimulatedApi, *, seed: int = 1, doubled: float = 0.0, dropped: float = 0.0) -> None:
        self._api = api
        self._rng = random.Random(seed)
        self._doubled = doubled
        self._dropped = dropped
        self._done: set[tuple[str, str, str | None]] = set()
        self.post = Post()

    def deliver(self, world: World, *, now: datetime) -> int:
        """Send all events that became due since the last call, in random order. Return the number of deliveries."""
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
        """Send an event and return whether the response was 200."""
        hooks = [hook for hook in self._api.webhooks(event.subaccount_id) if hook.type == event.type and hook.enabled]
        taken = False
        for hook in hooks:
            headers = {"Content-Type": "application/json"}
            if hook.http_auth_header:
                headers["Authorization"] = hook.http_auth_header
            request = urllib.request.Request(  # noqa: S310 - the receiver on this machine
                hook.url, json.dumps(event.body).encode(), headers, method="POST"
            )
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                    taken = response.status == 200
            except (urllib.error.URLError, OSError):
                taken = False
        return taken


def events_of(world: World) -> Iterator[Event]:
    """Yield all events of the world, session by session."""
    for session in world.sessions:
        yield Event("VSS", session.subaccount_id, session.session_id, None, session.ended_at, session_summary(session))
        for recording in session.recordings:
            if recording.status in _UPLOADED:
                due_at = recording.ready_at or session.ended_at
                body = recording_uploaded(recording)
                yield Event("VRU", session.subaccount_id, session.session_id, recording.recording_id, due_at, body)


def recording_uploaded(recording: Recording) -> dict[str, Any]:
    """Return the VRU event, which has no account, no event id and no time."""
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
    """Return the VSS event. Half of the ambiguous statuses have the other spelling that 8x8's guides use."""
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
