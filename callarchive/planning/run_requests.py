"""Which days to archive now, and why: new events, days that are due again, files of session ids that were dropped.

Pure functions from what is known and what was asked for before to requests and what to remember, which is small. The same
news always makes a request with the same key, so that a request which was made and not remembered is not made twice.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from callarchive.domain.id_files import IdFile
from callarchive.planning.reopening import ReopenDay

_DAYS_AT_ONCE = 20
_FIRST_PAUSE = timedelta(minutes=1)
_QUIET_AFTER_PAUSES = 4
_SETTLED_AFTER = timedelta(seconds=10)


@dataclass(frozen=True)
class DayRequest:
    """A day to be archived. `key` is that of the news: equal keys are one request."""

    day: date
    key: str
    why: str


@dataclass(frozen=True)
class Asked:
    """When a day was last asked for, and how long its next request is put off."""

    at: datetime
    pause: timedelta


@dataclass(frozen=True)
class EventMemory:
    """What was seen of the inbox: the last event's number, days with news that were not asked for yet, and when days were."""

    seen: int = 0
    waiting: Mapping[date, int] = field(default_factory=dict)
    asked: Mapping[date, Asked] = field(default_factory=dict)


def requests_for_events(
    memory: EventMemory,
    news: Iterable[tuple[int, date | None]],
    *,
    now: datetime,
    longest_pause: timedelta,
    is_busy: Callable[[date], bool],
) -> tuple[list[DayRequest], EventMemory]:
    """Each day with news is asked for once, at once; while news keeps coming, after pauses of 1, 2, 4 ... minutes.

    A busy hour makes a handful of runs so, and the first event after a quiet time none of them late.

    Args:
        news: numbers of new events and their days, lowest number first; null for events of no day.
        is_busy: whether a run of the day is waiting or under way: what it finds is up to date.
    """
    seen, waiting = memory.seen, dict(memory.waiting)
    for number, day in news:
        seen = max(seen, number)
        if day is not None:
            waiting[day] = max(number, waiting.get(day, 0))
    asked = dict(memory.asked)
    requests: list[DayRequest] = []
    for day in sorted(waiting, reverse=True):
        if len(requests) == _DAYS_AT_ONCE:
            break
        before = asked.get(day)
        if (before is not None and now < before.at + before.pause) or is_busy(day):
            continue
        pause = _FIRST_PAUSE
        if before is not None and now < before.at + before.pause * _QUIET_AFTER_PAUSES:
            pause = before.pause * 2
        asked[day] = Asked(now, min(pause, longest_pause))
        number = waiting.pop(day)
        requests.append(DayRequest(day, f"events:{day}:{number}", f"webhook events up to number {number}"))
    kept = {day: was for day, was in asked.items() if day in waiting or now < was.at + was.pause * _QUIET_AFTER_PAUSES}
    return requests, EventMemory(seen, waiting, kept)


@dataclass(frozen=True)
class LateAsked:
    """For what a late day was asked last: when it was due then, when it was asked for, how often for the same."""

    due_at: datetime
    at: datetime
    count: int


def requests_for_late_days(
    memory: Mapping[date, LateAsked],
    days: Sequence[ReopenDay],
    *,
    now: datetime,
    first_pause: timedelta,
    longest_pause: timedelta,
    is_busy: Callable[[date], bool],
) -> tuple[list[DayRequest], dict[date, LateAsked]]:
    """Each day that is due is asked for once. One whose run changed nothing, because it failed, is asked for again in growing
    intervals.

    Args:
        days: those that are not final, as `days_to_reopen` gives them.
    """
    requests: list[DayRequest] = []
    remembered: dict[date, LateAsked] = {}
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
        remembered[day.day] = LateAsked(day.due_at, now, count)
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
    """Each new or changed file starts its day, when it has kept its state since the last look or for some seconds.

    Args:
        memory: state of every file by its name, and whether its day was asked for with that state; null at the first look,
            which asks only for days that were never archived.
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
