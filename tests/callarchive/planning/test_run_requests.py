from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callarchive.planning.reopening import ReopenDay
from callarchive.planning.run_requests import (
    EventMemory,
    requests_for_events,
    requests_for_files,
    requests_for_late_days,
)
from callarchive.sources.id_files import IdFile

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = date(2026, 11, 20)
LONGEST = timedelta(minutes=15)


def ask(memory: EventMemory, news: list[tuple[int, date | None]], at: datetime, busy: bool = False):
    return requests_for_events(memory, news, now=at, longest_pause=LONGEST, is_busy=lambda _: busy)


def test_the_first_event_of_a_quiet_day_starts_a_run_at_once() -> None:
    requests, memory = ask(EventMemory(), [(7, DAY)], NOW)
    assert [(request.day, request.key) for request in requests] == [(DAY, f"events:{DAY}:7")]
    assert memory.seen == 7
    assert not memory.waiting


def test_a_busy_hour_makes_a_handful_of_runs_and_the_last_event_is_in_one() -> None:
    memory, asked, number = EventMemory(), [], 0
    for tick in range(3 * 60):  # three ticks a minute, 28 events each
        news: list[tuple[int, date | None]] = []
        for _ in range(28):
            number += 1
            news.append((number, DAY))
        requests, memory = ask(memory, news, NOW + timedelta(seconds=20 * tick))
        asked += requests
    assert number > 5000
    assert 3 <= len(asked) <= 8
    late, memory = ask(memory, [], NOW + timedelta(hours=1, minutes=16))
    assert [request.key for request in late] == [f"events:{DAY}:{number}"]
    assert len({request.key for request in [*asked, *late]}) == len(asked) + 1


def test_after_a_quiet_time_the_first_event_starts_a_run_at_once() -> None:
    _, memory = ask(EventMemory(), [(1, DAY)], NOW)
    held, memory = ask(memory, [(2, DAY)], NOW + timedelta(seconds=30))
    assert not held
    asked, memory = ask(memory, [], NOW + timedelta(seconds=70))
    assert len(asked) == 1
    again, _ = ask(memory, [(3, DAY)], NOW + timedelta(hours=1))
    assert len(again) == 1


def test_a_day_with_a_run_in_progress_is_requested_later() -> None:
    none, memory = ask(EventMemory(), [(1, DAY)], NOW, busy=True)
    assert not none
    asked, _ = ask(memory, [], NOW + timedelta(seconds=20))
    assert [request.key for request in asked] == [f"events:{DAY}:1"]


def test_a_tick_without_saved_state_repeats_its_key() -> None:
    first, _ = ask(EventMemory(), [(1, DAY), (2, None)], NOW)
    again, _ = ask(EventMemory(), [(1, DAY), (2, None)], NOW + timedelta(seconds=20))
    assert [request.key for request in first] == [request.key for request in again]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_every_day_with_news_is_requested_eventually(steps: list[tuple[int, bool]]) -> None:
    memory, newest, covered = EventMemory(), {}, {}
    at = NOW
    for number, (offset, busy) in enumerate(steps, 1):
        day = DAY - timedelta(days=offset)
        newest[day] = number
        requests, memory = ask(memory, [(number, day)], at, busy)
        covered |= {request.day: int(request.key.rpartition(":")[2]) for request in requests}
        at += timedelta(seconds=20)
    requests, memory = ask(memory, [], at + timedelta(hours=1))
    covered |= {request.day: int(request.key.rpartition(":")[2]) for request in requests}
    assert covered == newest
    assert not memory.waiting


def late(memory, days, at, busy=False):
    return requests_for_late_days(
        memory,
        days,
        now=at,
        first_pause=timedelta(minutes=10),
        longest_pause=timedelta(hours=24),
        is_busy=lambda _: busy,
    )


def test_a_due_day_is_requested_once_per_due_time() -> None:
    day = ReopenDay(DAY, due_at=NOW - timedelta(minutes=1), session_count=3, due_count=2)
    first, memory = late({}, [day], NOW)
    assert [request.day for request in first] == [DAY]
    again, memory = late(memory, [day], NOW + timedelta(minutes=1))
    assert not again
    moved = ReopenDay(DAY, due_at=NOW + timedelta(minutes=5), session_count=3, due_count=2)
    assert not late(memory, [moved], NOW + timedelta(minutes=4))[0]
    assert late(memory, [moved], NOW + timedelta(minutes=6))[0]


def test_a_day_whose_run_changed_nothing_is_retried_with_growing_pauses() -> None:
    day = ReopenDay(DAY, due_at=NOW, session_count=1, due_count=1)
    memory, times = {}, []
    for minute in range(300):
        requests, memory = late(memory, [day], NOW + timedelta(minutes=minute))
        times += [minute] * len(requests)
    assert times == [0, 10, 30, 70, 150]


def test_days_that_are_not_due_or_busy_are_not_requested() -> None:
    due = ReopenDay(DAY, due_at=NOW, session_count=1, due_count=1)
    assert not late({}, [due], NOW, busy=True)[0]
    assert not late({}, [ReopenDay(DAY, NOW + timedelta(hours=1), 1, 0)], NOW)[0]
    assert late({}, [], NOW) == ([], {})


def id_file(state: str, *, at: datetime = NOW, day: date = DAY) -> IdFile:
    return IdFile(day, f"/ids/{day}.csv", state, at)


def look(memory, files, at=NOW, known=False):
    return requests_for_files(memory, files, now=at, is_known=lambda _: known)


def test_a_new_file_starts_its_day_when_it_is_complete() -> None:
    none, memory = look({}, [id_file("10-1")])
    assert not none
    asked, memory = look(memory, [id_file("10-1")], NOW + timedelta(seconds=5))
    assert [request.day for request in asked] == [DAY]
    assert not look(memory, [id_file("10-1")], NOW + timedelta(seconds=60))[0]


def test_a_growing_file_waits_and_a_changed_one_starts_its_day_again() -> None:
    _, memory = look({}, [id_file("10-1")])
    none, memory = look(memory, [id_file("20-2", at=NOW + timedelta(seconds=9))], NOW + timedelta(seconds=10))
    assert not none
    first, memory = look(memory, [id_file("20-2")], NOW + timedelta(seconds=20))
    second, _ = look(memory, [id_file("30-3")], NOW + timedelta(minutes=5))
    assert [len(first), len(second)] == [1, 1]
    assert first[0].key != second[0].key


@pytest.mark.parametrize("known", [True, False])
def test_the_first_scan_requests_only_days_never_archived(known: bool) -> None:
    asked, memory = look(None, [id_file("10-1", at=NOW - timedelta(days=1))], known=known)
    assert bool(asked) is not known
    assert not look(memory, [id_file("10-1", at=NOW - timedelta(days=1))], known=known)[0]
