"""The webhook events of a world. The fields are those of 8x8's guides."""

from typing import Any

from callarchive.simulator.clock import iso_ms
from callarchive.simulator.world import Leg, Recording, Session

_OTHER_SPELLINGS = {"NO_ANSWER": "NO ANSWER", "CANCELED": "CANCELLED"}


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
