"""Requests to archive days: after new events, days that are due again, new id files.

Pure functions from news and earlier state to requests and new state, which is small. The same news gives a request with
the same key, so that a request is not made twice if the state was not saved.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from callarchive.planning.reopening import ReopenDay
from callarchive.sources.id_files import IdFile

_DAYS_AT_ONCE = 20
_FIRST_PAUSE = timedelta(minutes=1)
_QUIET_AFTER_PAUSES = 4
_SETTLED_AFTER = timedelta(seconds=10)


@dataclass(frozen=True)
class DayRequest:
    """A request to archive a day. Requests with the same key are one request."""

    day: date
    key: str
    why: str


@dataclass(frozen=True)
class Requested:
    """When a day was last requested, and the pause before its next request."""

    at: datetime
    pause: timedelta


@dataclass(frozen=True)
class EventMemory:
    """State for events: the last event's number, days with news to request, and when days were requested."""

    seen: int = 0
    waiting: Mapping[date, int] = field(default_factory=dict)
    requested: Mapping[date, Requested] = field(default_factory=dict)


def requests_for_events(
    memory: EventMemory,
    news: Iterable[tuple[int, date | None]],
    *,
    now: datetime,
    longest_pause: timedelta,
    is_busy: Callable[[date], bool],
) -> tuple[list[DayRequest], EventMemory]:
    """Return requests for days with news: the first at once, the next after pauses of 1, 2, 4 ... minutes.

    So a busy hour makes a handful of runs, and the first event after a quiet time is archived without delay.

    Args:
        news: numbers of new events and their days, lowest number first; None for events without a day.
        is_busy: whether a run of the day is queued or in progress.
    """
    seen, waiting = memory.seen, dict(memory.waiting)
    for number, day in news:
        seen = max(seen, number)
        if day is not None:
            waiting[day] = max(number, waiting.get(day, 0))
    requested = dict(memory.requested)
    requests: list[DayRequest] = []
    for day in sorted(waiting, reverse=True):
        if len(requests) == _DAYS_AT_ONCE:
            break
        before = requested.get(day)
        if (before is not None and now < before.at + before.pause) or is_busy(day):
            continue
        pause = _FIRST_PAUSE
        if before is not None and now < before.at + before.pause * _QUIET_AFTER_PAUSES:
            pause = before.pause * 2
        requested[day] = Requested(now, min(pause, longest_pause))
        number = waiting.pop(day)
        requests.append(DayRequest(day, f"events:{day}:{number}", f"webhook events up to number {number}"))
    kept = {
        day: was for day, was in requested.items() if day in waiting or now < was.at + was.pause * _QUIET_AFTER_PAUSES
    }
    return requests, EventMemory(seen, waiting, kept)


@dataclass(frozen=True)
class LateRequested:
    """The last request for a late day: its due time, when it was requested, and how often for that due time."""

    due_at: datetime
    at: datetime
    count: int


def requests_for_late_days(
    memory: Mapping[date, LateRequested],
    days: Sequence[ReopenDay],
    *,
    now: datetime,
    first_pause: timedelta,
    longest_pause: timedelta,
    is_busy: Callable[[date], bool],
) -> tuple[list[DayRequest], dict[date, LateRequested]]:
    """Return requests for days that are due. A day whose run failed, and so changed nothing, is retried with growing pauses.

    Args:
        days: days that are not final, from `days_to_reopen`.
    """
    requests: list[DayRequest] = []
    remembered: dict[date, LateRequested] = {}
    for day in days:
        before = memory.get(day.day)
        if before is not None:
            remembered[day.day] = before
        if day.due_at > now or len(requests) == _DAYS_AT_ONCE or is_busy(day.day):
            continue
        count = 1
        if before is not None and before.due_at == day.due_at:
            count = before.count + 1
            if now < before.at + min(first_pause * 2 ** min(before.count - 1, 20), longest_pause):
                continue
        remembered[day.day] = LateRequested(day.due_at, now, count)
        key = f"late:{day.day}:{day.due_at.isoformat()}:{count}"
        requests.append(DayRequest(day.day, key, f"{day.due_count} of {day.session_count} sessions are due again"))
    return requests, remembered


def requests_for_files(
    memory: Mapping[str, tuple[str, bool]] | None,
    files: Iterable[IdFile],
    *,
    now: datetime,
    is_known: Callable[[date], bool],
) -> tuple[list[DayRequest], dict[str, tuple[str, bool]]]:
    """Return requests for days with new or changed id files that have not changed since the last scan or for 10 s.

    Args:
        memory: state of every file by its name, and whether its day was requested with that state; None at the first scan,
            which requests only days that were never archived.
        is_known: whether the day was ever archived.
    """
    days: dict[date, list[IdFile]] = {}
    remembered: dict[str, tuple[str, bool]] = {}
    for file in files:
        state, done = (memory or {}).get(file.name, ("", False))
        if state == file.state and done:
            remembered[file.name] = state, True
        elif memory is None and is_known(file.day):
            remembered[file.name] = file.state, True
        elif state == file.state or now - file.modified_at > _SETTLED_AFTER:
            remembered[file.name] = file.state, True
            days.setdefault(file.day, []).append(file)
        else:
            remembered[file.name] = file.state, False
    requests: list[DayRequest] = []
    for day, changed in sorted(days.items()):
        states = hashlib.sha256("\n".join(sorted(f"{file.path}\0{file.state}" for file in changed)).encode())
        requests.append(
            DayRequest(day, f"files:{day}:{states.hexdigest()[:16]}", f"{len(changed)} files of session ids")
        )
    return requests, remembered
