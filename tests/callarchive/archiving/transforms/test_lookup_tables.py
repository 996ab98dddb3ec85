"""The tables of a day's lookups: which sessions are final, and which earlier rows stay."""

import logging
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from callarchive.archiving.transforms.lookup_tables import (
    LookupRows,
    confirmed_negatives,
    final,
    lookups_with_earlier,
    recordings_with_earlier,
    second_lookup_at,
)
from callarchive.catalog import schemas
from callarchive.domain.models import ApiRecording, ApiStatus, ArchiveStatus, Lookup, LookupStatus

END = datetime(2026, 11, 1, 12, tzinfo=UTC)
GRACE = timedelta(hours=24)
DAY = timedelta(days=1)
LATE = END + GRACE
ONE, TWO = (f"e35e3d0e-065a-11ec-b119-676cb2bc33e{n}" for n in (1, 2))


def sessions(*keys, ended_at=END, started_at=None):
    rows = [dict(zip(("subaccount_id", "session_id"), key, strict=True)) for key in keys]
    for row in rows:
        row.update(started_at=started_at, ended_at=ended_at)
    return pa.Table.from_pylist(rows, schema=schemas.SESSION_IDS.schema)


def answers(*answered):
    rows = LookupRows()
    for subaccount_id, lookup in answered:
        rows.add(subaccount_id, lookup)
    return rows.tables()


def lookup(session_id=ONE, status=LookupStatus.OK, *recording_ids, at=LATE):
    recordings = tuple(ApiRecording(recording_id, ApiStatus.UPLOAD_COMPLETED) for recording_id in recording_ids)
    return Lookup(session_id, status, at, recordings)


def after(*looks, day=None, ended_at=END, day_end=END + timedelta(hours=12)):
    """Return `lookups` after these lookups of sessions of account acme, each in a run of its own."""
    day = sessions(("acme", ONE), ended_at=ended_at) if day is None else day
    lookups, _ = answers()
    for look in looks:
        new, _ = answers(("acme", look))
        lookups = lookups_with_earlier(new, lookups, sessions=day, day_end=day_end, grace=GRACE)
    return lookups


def since(*looks, **day):
    (row,) = after(*looks, **day).to_pylist()
    return row["negative_since"]


def files(**states):
    rows = [{"subaccount_id": "acme", "recording_id": name, "archive_status": state} for name, state in states.items()]
    return pa.Table.from_pylist(rows, schema=schemas.RECORDING_FILES.schema)


def is_final(found, *, states=None, account="acme", **session):
    lookups, metadata = answers((account, found)) if found else answers()
    return final(
        sessions(("acme", ONE), **session),
        lookups=lookups,
        metadata=metadata,
        files=files(**(states or {})),
        day_end=END + timedelta(hours=12),
        grace=GRACE,
    ).to_pylist() == [True]


def test_a_session_is_final_when_recordings_listed_after_the_grace_period_are_archived():
    found = lookup(ONE, LookupStatus.OK, "a", "b")
    assert is_final(found, states={"a": "archived", "b": "archived"})
    assert not is_final(found, states={"a": "archived"})
    for state in set(ArchiveStatus) - {ArchiveStatus.ARCHIVED}:
        assert not is_final(found, states={"a": "archived", "b": state.value})
    early = lookup(ONE, LookupStatus.OK, "a", at=LATE - timedelta(microseconds=1))
    assert not is_final(early, states={"a": "archived"})


def settled(*looks, states=None, named=(), **day):
    """Return whether the session is final after these lookups, and when it is looked up once more."""
    _, metadata = answers(("acme", lookup(ONE, LookupStatus.OK, *named))) if named else answers()
    given = {
        "lookups": after(*looks, **day),
        "metadata": metadata,
        "files": files(**(states or {})),
        "day_end": END + timedelta(hours=12),
        "grace": GRACE,
    }
    ended_at = day.get("ended_at", END)
    of_day = sessions(("acme", ONE), ended_at=ended_at)
    (is_final,), (second_at,) = final(of_day, **given).to_pylist(), second_lookup_at(of_day, **given).to_pylist()
    return is_final, second_at


@pytest.mark.parametrize("status", [LookupStatus.NO_RECORDINGS, LookupStatus.NOT_FOUND])
def test_two_negative_responses_a_day_apart_after_the_grace_period_are_final(status):
    early, first = lookup(ONE, status, at=LATE - timedelta(seconds=1)), lookup(ONE, status)
    soon = lookup(ONE, status, at=LATE + timedelta(hours=23, minutes=59))
    second = lookup(ONE, status, at=LATE + DAY)
    assert settled(early) == (False, None)
    assert settled(early, second) == (False, LATE + 2 * DAY)
    assert settled(first) == (False, LATE + DAY)
    assert settled(first, soon) == (False, LATE + DAY)
    assert settled(first, second) == (True, None)
    assert settled(first, soon, second) == (True, None)
    assert settled(first, second, named=["a"], states={"a": "archived"}) == (True, None)
    assert settled(first, second, named=["a"], states={"a": "missing"}) == (False, None)
    assert settled(first, named=["a"], states={"a": "missing"}) == (False, None), "looked up in every run of the day"


def test_an_error_in_between_changes_nothing_and_an_ok_resets_negative_since():
    none, error = LookupStatus.NO_RECORDINGS, LookupStatus.ERROR
    first, second = lookup(ONE, none), lookup(ONE, LookupStatus.NOT_FOUND, at=LATE + DAY)
    half = LATE + DAY / 2
    assert since(first, lookup(ONE, error, at=half)) == LATE
    assert settled(first, lookup(ONE, error, at=LATE + 2 * DAY)) == (False, None)
    assert settled(first, lookup(ONE, error, at=half), second) == (True, None)
    assert since(first, lookup(ONE, LookupStatus.OK, "a", at=half)) is None
    assert since(first, lookup(ONE, LookupStatus.OK, "a", at=half), second) == LATE + DAY
    assert since(lookup(ONE, error), second) == LATE + DAY


def test_a_response_from_the_future_or_before_the_grace_period_is_not_the_first():
    ahead = lookup(ONE, LookupStatus.NOT_FOUND, at=LATE + 300 * DAY)
    assert since(ahead, lookup(ONE, LookupStatus.NOT_FOUND)) == LATE
    _, metadata = answers()
    known = {"lookups": after(lookup(ONE, LookupStatus.NOT_FOUND), lookup(ONE, LookupStatus.NOT_FOUND, at=LATE + DAY))}
    known |= {"metadata": metadata, "files": files(), "day_end": END, "grace": GRACE}
    assert final(sessions(("acme", ONE)), **known).to_pylist() == [True]
    later = sessions(("acme", ONE), ended_at=END + timedelta(minutes=1))
    assert final(later, **known).to_pylist() == [False]


def test_a_negative_response_of_an_older_version_does_not_count():
    old, _ = answers(("acme", lookup(ONE, LookupStatus.NOT_FOUND, at=LATE + 9 * DAY)))
    assert confirmed_negatives(old).to_pylist() == [False]
    given = {"lookups": old, "metadata": answers()[1], "files": files(), "day_end": END, "grace": GRACE}
    assert final(sessions(("acme", ONE)), **given).to_pylist() == [False]
    assert second_lookup_at(sessions(("acme", ONE)), **given).to_pylist() == [None]


def test_errors_missing_lookups_and_an_ok_without_recordings_are_never_final():
    assert not is_final(None)
    assert not is_final(lookup(ONE, LookupStatus.ERROR))
    assert not is_final(lookup(ONE, LookupStatus.ERROR, "a"), states={"a": "archived"})
    assert not is_final(lookup(ONE, LookupStatus.OK))


@pytest.mark.parametrize("status", [LookupStatus.OK, LookupStatus.NO_RECORDINGS, LookupStatus.NOT_FOUND])
def test_a_session_is_not_final_before_a_recording_that_only_an_event_names_is_archived(status):
    lookups, metadata = answers(("acme", lookup(ONE, status, *(["a"] if status is LookupStatus.OK else []))))
    event = {"subaccount_id": "acme", "session_id": ONE, "recording_id": "e", "only_by_event": True}
    with_event = pa.concat_tables([metadata, pa.Table.from_pylist([event], schema=metadata.schema)])
    if status is not LookupStatus.OK:
        lookups = after(lookup(ONE, status), lookup(ONE, status, at=LATE + DAY))

    def is_final_with(**states):
        return final(
            sessions(("acme", ONE)),
            lookups=lookups,
            metadata=with_event,
            files=files(**states),
            day_end=END,
            grace=GRACE,
        ).to_pylist() == [True]

    assert is_final_with(a="archived", e="archived")
    assert not is_final_with(a="archived")
    assert not is_final_with(a="archived", e="pending")


def test_an_event_does_not_make_an_ok_without_recordings_final():
    lookups, metadata = answers(("acme", lookup(ONE, LookupStatus.OK)))
    event = {"subaccount_id": "acme", "session_id": ONE, "recording_id": "e", "only_by_event": True}
    with_event = pa.Table.from_pylist([event], schema=metadata.schema)
    found = final(
        sessions(("acme", ONE)),
        lookups=lookups,
        metadata=with_event,
        files=files(e="archived"),
        day_end=END,
        grace=GRACE,
    )
    assert found.to_pylist() == [False]


def test_sessions_and_files_of_another_account_with_the_same_ids_do_not_count():
    assert not is_final(lookup(ONE, LookupStatus.NO_RECORDINGS), account="other")
    lookups, metadata = answers(("other", lookup(ONE, LookupStatus.OK, "a")))
    found = final(
        sessions(("other", ONE)),
        lookups=lookups,
        metadata=metadata,
        files=files(a="archived"),
        day_end=LATE,
        grace=GRACE,
    )
    assert found.to_pylist() == [False]


def test_the_grace_period_starts_at_the_calls_end_or_start_or_the_days_end():
    found, kept = lookup(ONE, LookupStatus.OK, "a", at=LATE), {"a": "archived"}
    assert is_final(found, states=kept, ended_at=END, started_at=END + timedelta(hours=9))
    assert is_final(found, states=kept, ended_at=None, started_at=END)
    assert not is_final(found, states=kept, ended_at=None, started_at=END + timedelta(seconds=1))
    assert not is_final(found, states=kept, ended_at=None), "the day ends twelve hours later"
    assert is_final(lookup(ONE, LookupStatus.OK, "a", at=LATE + timedelta(hours=12)), states=kept, ended_at=None)
    none = lookup(ONE, LookupStatus.NO_RECORDINGS, at=LATE)
    assert since(none) == LATE
    assert since(none, ended_at=None) is None
    assert since(none, ended_at=None, day_end=END) == LATE


def test_a_new_response_replaces_the_earlier_one_and_loses_no_recording():
    earlier_lookups, earlier = answers(("acme", lookup(ONE, LookupStatus.OK, "a", "b")), ("acme", lookup(TWO)))
    new_lookups, new = answers(("acme", lookup(ONE, LookupStatus.ERROR, "b", "c")))
    day = sessions(("acme", ONE), ("acme", TWO))
    lookups = lookups_with_earlier(new_lookups, earlier_lookups, sessions=day, day_end=END, grace=GRACE).to_pylist()
    assert {row["session_id"]: row["lookup_status"] for row in lookups} == {ONE: "error", TWO: "ok"}
    rows = recordings_with_earlier(new, earlier, sessions=day).to_pylist()
    assert sorted((row["session_id"], row["recording_id"]) for row in rows) == [(ONE, "a"), (ONE, "b"), (ONE, "c")]


def test_sessions_that_left_the_day_leave_both_tables():
    lookups, metadata = answers(("acme", lookup(ONE, LookupStatus.OK, "a")))
    nothing = answers()
    others = sessions(("acme", TWO))
    assert lookups_with_earlier(nothing[0], lookups, sessions=others, day_end=END, grace=GRACE).num_rows == 0
    assert recordings_with_earlier(nothing[1], metadata, sessions=sessions(("other", ONE))).num_rows == 0


def test_a_recording_listed_for_two_sessions_is_assigned_to_the_first_with_a_warning(caplog):
    _, metadata = answers(("acme", lookup(TWO, LookupStatus.OK, "a", "b")), ("acme", lookup(ONE, LookupStatus.OK, "a")))
    day = sessions(("acme", ONE), ("acme", TWO))
    with caplog.at_level(logging.WARNING):
        rows = recordings_with_earlier(metadata, answers()[1], sessions=day).to_pylist()
    assert [(row["recording_id"], row["session_id"]) for row in rows] == [("a", ONE), ("b", TWO)]
    assert caplog.messages == [f"recording a is listed for the sessions {ONE} and {TWO}: assigned to the first"]


def test_no_response_is_lost_beyond_a_batch():
    lookups, metadata = answers(*(("acme", lookup(f"s{n}", LookupStatus.OK, f"r{n}")) for n in range(2500)))
    assert lookups["session_id"].to_pylist() == [f"s{n}" for n in range(2500)]
    assert metadata["recording_id"].to_pylist() == [f"r{n}" for n in range(2500)]
