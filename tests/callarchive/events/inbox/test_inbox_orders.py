"""Events in any order, and any number of repeats, give the same inbox."""

import json
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox

ACCOUNT = "acme_sg"
NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAYS = (datetime(2021, 8, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
DATED = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"  # version 1: 2021-08-26
UNDATED = "e35e3d0e-065a-41ec-b119-676cb2bc33ef"
RECORDINGS = [f"eef54fc2-065a-11ec-bce9-ed100015434{n}" for n in (1, 2)]
WORDS = ["UNKNOWN", "PROCESSING", "PROCESSING_FAILED", "UPLOAD_FAILED", "UPLOAD_COMPLETED", "CALLBACK_FAILED"]
"""The most advanced one last; CALLBACK_COMPLETED would always win."""

UPLOADED = st.fixed_dictionaries(
    {"sessionId": st.sampled_from([DATED, UNDATED]), "recordingId": st.sampled_from(RECORDINGS)},
    optional={
        "status": st.sampled_from(["", "completed", *WORDS]),
        "durationSeconds": st.integers(0, 3),
        "filePath": st.sampled_from(["", "a.mp3", "b.mp3"]),
    },
).map(lambda payload: {"eventType": "CALL_RECORDING_STATUS", "payload": payload})
ENDED = st.fixed_dictionaries(
    {"sessionId": st.sampled_from([DATED, UNDATED])},
    optional={
        "sessionStatus": st.sampled_from(["COMPLETED", "NO ANSWER", "CANCELLED", "NEW WORD", "OTHER WORD"]),
        "startTime": st.sampled_from(
            ["1969-12-31T23:59:59.999Z", "2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z", "2099-01-01T00:00:00Z"]
        ),
        "endTime": st.sampled_from(["2026-01-05T10:01:00Z", "2026-01-06T10:01:00Z"]),
        "callCount": st.integers(0, 2),
        "details": st.fixed_dictionaries({"callA": st.fixed_dictionaries({"callDuration": st.integers(0, 3)})}),
    },
).map(lambda payload: {"eventType": "SESSION_SUMMARY", "payload": payload})


def state_after(batches: Sequence[Sequence[dict[str, Any]]]) -> tuple[Any, ...]:
    """Return everything that an inbox with these events reports, except for their numbers."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Inbox.open(f"sqlite:///{Path(folder)}/inbox.sqlite3", clock=lambda: NOW)) as inbox,
    ):
        for batch in batches:
            bodies = [json.dumps(event).encode() for event in batch]
            inbox.add([(ACCOUNT, read_event(b, subaccount_id=ACCOUNT, mask=lambda _: None)) for b in bodies])
        dates = {(change.session_id, change.call_at) for change in inbox.changes(0)}
        return (
            inbox.sessions(ACCOUNT, *DAYS),
            inbox.undated(ACCOUNT),
            inbox.recordings(ACCOUNT, [DATED, UNDATED]),
            len(inbox.changes(0)),
            dates,
        )


def uploaded(**facts: Any) -> dict[str, Any]:
    payload = {"sessionId": DATED, "recordingId": RECORDINGS[0], **facts}
    return {"eventType": "CALL_RECORDING_STATUS", "payload": payload}


def ended(**facts: Any) -> dict[str, Any]:
    return {"eventType": "SESSION_SUMMARY", "payload": {"sessionId": DATED, **facts}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (uploaded(status=""), uploaded()),
        (uploaded(durationSeconds=0), uploaded(filePath="a.mp3")),
        (uploaded(durationSeconds=1), uploaded(durationSeconds=2)),
        (uploaded(sessionId=UNDATED), uploaded()),
        (ended(sessionStatus="NEW WORD"), ended(sessionStatus="OTHER WORD")),
        (ended(sessionStatus="COMPLETED"), ended(sessionStatus="NO ANSWER")),
        (ended(startTime="2026-01-05T10:00:00Z"), ended(startTime="2026-01-06T10:00:00Z")),
        (ended(startTime="2026-01-05T10:00:00Z"), ended(startTime="2099-01-01T00:00:00Z")),
        (ended(startTime="2026-01-05T10:00:00Z"), uploaded()),
    ],
)
def test_two_events_give_the_same_inbox_in_either_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert state_after([[one], [other]]) == state_after([[other], [one]]) == state_after([[other, one, other]])


def test_the_earliest_plausible_start_dates_the_session_for_all_later_events() -> None:
    starts = ["2026-01-06T10:00:00Z", "2026-01-05T10:00:00Z", "1969-12-31T23:59:59.999Z", "2026-01-07T10:00:00Z"]
    ((session,), *_) = state_after([[ended(startTime=start)] for start in starts])
    assert session.call_at == datetime(2026, 1, 5, 10, tzinfo=UTC)


@given(st.lists(UPLOADED | ENDED, min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_any_order_and_batches_with_repeats_give_the_same_inbox(events: list[dict[str, Any]], rng: Any) -> None:
    shuffled = [*events, *rng.sample(events, rng.randrange(len(events) + 1))]
    rng.shuffle(shuffled)
    cut = rng.randrange(len(shuffled) + 1)
    found = state_after([shuffled[:cut], shuffled[cut:]])
    assert found == state_after([[event] for event in events])

    sessions, undated, recordings, _, _ = found
    payloads = [event["payload"] for event in events if event["eventType"] == "CALL_RECORDING_STATUS"]
    for recording in recordings:
        words = [p.get("status", "UNKNOWN") for p in payloads if p["recordingId"] == recording.recording_id]
        best = max(WORDS.index(word) if word in WORDS else 0 for word in words)
        assert recording.status == WORDS[best]
    starts: dict[str, set[str]] = {}
    for event in events:
        payload = event["payload"]
        at = payload.get("startTime", "") if event["eventType"] == "SESSION_SUMMARY" else ""
        starts.setdefault(payload["sessionId"], set()).update({at} if at[:4] == "2026" else set())
    for session in sessions:
        plausible = sorted(starts[session.session_id])
        if plausible:
            assert session.call_at == datetime.fromisoformat(plausible[0])
        else:
            assert session.session_id == DATED
            assert abs(session.call_at - datetime(2021, 8, 26, tzinfo=UTC)) < timedelta(days=7)
    assert [one.session_id for one in undated] == [UNDATED] * (starts.get(UNDATED) == set())
