"""What several events tell of one recording or one session, made one. Pure functions: the order of arrival never matters."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from callarchive.domain.models import ApiStatus
from callarchive.domain.payloads import PROGRESS
from callarchive.events.inbox.events import SessionEvent

_SESSION_PROGRESS = ("ERROR", "FAILED", "CANCELED", "BUSY", "NO_ANSWER", "COMPLETED")
"""A session that one event calls completed was a call, whatever another one says of one of its legs."""


@dataclass(frozen=True, slots=True)
class InboxRecording:
    """What VRU events tell of a recording, all together."""

    session_id: str
    recording_id: str
    status: ApiStatus
    status_raw: str | None
    duration_s: float | None
    file_path: str | None
    first_received_at: datetime
    last_received_at: datetime


def merge_recordings(told: Sequence[InboxRecording]) -> InboxRecording:
    """What several events tell of one recording, in any order: of the furthest status, with what only the others know."""

    def rank(one: InboxRecording) -> tuple[Any, ...]:
        # The rest breaks ties, so that the order of arrival does not matter.
        return (
            PROGRESS.index(one.status),
            one.file_path or "",
            -1.0 if one.duration_s is None else one.duration_s,
            (one.status_raw is not None, one.status_raw or ""),
            one.session_id,
        )

    ranked = sorted(told, key=rank, reverse=True)
    return replace(
        ranked[0],
        duration_s=next((one.duration_s for one in ranked if one.duration_s is not None), None),
        file_path=next((one.file_path for one in ranked if one.file_path), None),
        first_received_at=min(one.first_received_at for one in told),
        last_received_at=max(one.last_received_at for one in told),
    )


def merge_summaries(told: Sequence[SessionEvent]) -> SessionEvent:
    """What several VSS events tell of one session, in any order: earliest start, latest end, the furthest status."""
    ranked = sorted(told, key=lambda event: (_session_rank(event.session_status), repr(event)), reverse=True)

    def first(name: str) -> Any:
        return next((value for event in ranked if (value := getattr(event, name)) is not None), None)

    return SessionEvent(
        session_id=ranked[0].session_id,
        session_status=first("session_status"),
        started_at=min((event.started_at for event in told if event.started_at is not None), default=None),
        ended_at=max((event.ended_at for event in told if event.ended_at is not None), default=None),
        call_count=max((event.call_count for event in told if event.call_count is not None), default=None),
        call_duration_s=max(
            (event.call_duration_s for event in told if event.call_duration_s is not None), default=None
        ),
        source_number=first("source_number"),
        destination_number=first("destination_number"),
    )


def _session_rank(status: str | None) -> int:
    return _SESSION_PROGRESS.index(status) if status in _SESSION_PROGRESS else -1
