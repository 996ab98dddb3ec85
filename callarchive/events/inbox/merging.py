"""Merges the events of a recording or a session into one. Pure functions: the order of arrival never matters."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from callarchive.domain.payloads import PROGRESS
from callarchive.events.inbox.events import RecordingEvent, SessionEvent

_SESSION_PROGRESS = ("ERROR", "FAILED", "CANCELED", "BUSY", "NO_ANSWER", "COMPLETED")
"""A session that one event reports as completed was a call, whatever another event reports for one leg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRecording(RecordingEvent):
    """A recording, merged from its VRU events."""

    first_received_at: datetime
    last_received_at: datetime


def merge_recordings(recordings: Sequence[InboxRecording]) -> InboxRecording:
    """Merge events of one recording, in any order: that with the most advanced status, completed from the others."""

    def rank(one: InboxRecording) -> tuple[Any, ...]:
        # The rest breaks ties, so that the order of arrival does not matter.
        return (
            PROGRESS.index(one.status),
            one.file_path or "",
            -1.0 if one.duration_s is None else one.duration_s,
            (one.status_raw is not None, one.status_raw or ""),
            one.session_id,
        )

    ranked = sorted(recordings, key=rank, reverse=True)
    return replace(
        ranked[0],
        duration_s=next((one.duration_s for one in ranked if one.duration_s is not None), None),
        file_path=next((one.file_path for one in ranked if one.file_path), None),
        first_received_at=min(one.first_received_at for one in recordings),
        last_received_at=max(one.last_received_at for one in recordings),
    )


def merge_summaries(events: Sequence[SessionEvent]) -> SessionEvent:
    """Merge VSS events of one session, in any order: earliest start, latest end, most advanced status."""
    ranked = sorted(events, key=lambda event: (_session_rank(event.session_status), repr(event)), reverse=True)

    def known(name: str) -> list[Any]:
        return [value for event in ranked if (value := getattr(event, name)) is not None]

    return SessionEvent(
        session_id=ranked[0].session_id,
        **{name: min(known(name), default=None) for name in ("started_at", "mos")},
        **{name: max(known(name), default=None) for name in ("ended_at", "call_count", "call_duration_s")},
        **{name: next(iter(known(name)), None) for name in ("session_status", "source_number", "destination_number")},
    )


def _session_rank(status: str | None) -> int:
    return _SESSION_PROGRESS.index(status) if status in _SESSION_PROGRESS else -1
