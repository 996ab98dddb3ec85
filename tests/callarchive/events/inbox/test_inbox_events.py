import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from callarchive.domain.models import ApiStatus
from callarchive.events.inbox.events import (
    EventRefusedError,
    RecordingEvent,
    SessionEvent,
    UnknownEvent,
    event_in,
    read_event,
)

SESSION, RECORDING = "e35e3d0e-065a-11ec-b119-676cb2bc33ef", "eef54fc2-065a-11ec-bce9-ed1000154345"


def drop(_: str | None) -> None:
    return None


def read(event: Any, *, mask: Any = drop) -> Any:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return read_event(body, subaccount_id="acme_sg", mask=mask)


def vru(**payload: Any) -> dict[str, Any]:
    return {
        "eventType": "CALL_RECORDING_STATUS",
        "payload": {"sessionId": SESSION, "recordingId": RECORDING, "status": "UPLOAD_COMPLETED", **payload},
    }


def vss(**payload: Any) -> dict[str, Any]:
    return {"eventType": "SESSION_SUMMARY", "payload": {"sessionId": SESSION, **payload}}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((4.2, 3.9), 3.9),
        (("4.2", None), 4.2),
        ((0, 5), 5.0),
        ((True, "4,1"), None),
        ((5.5, [4]), None),
        ((1e999, "nan"), None),
    ],
)
def test_the_worse_leg_gives_the_quality_and_a_stored_event_keeps_it(
    scores: tuple[object, object], expected: float
) -> None:
    legs = {name: {"callQuality": {"mos": score}} for name, score in zip(("callA", "callB"), scores, strict=True)}
    found = read(vss(details=legs))
    assert isinstance(found.event, SessionEvent)
    assert found.event.mos == expected
    assert event_in(found.payload) == found.event


def test_a_recording_event_is_read_with_its_path_as_sent() -> None:
    event = read(vru(durationSeconds=25, filePath="root/2021-08-21/s/r_2021-08-20T16:51:01.703Z.mp3")).event
    assert event == RecordingEvent(
        SESSION,
        RECORDING,
        ApiStatus.UPLOAD_COMPLETED,
        "UPLOAD_COMPLETED",
        25.0,
        "root/2021-08-21/s/r_2021-08-20T16:51:01.703Z.mp3",
    )


def test_a_summary_is_read_in_every_spelling() -> None:
    event = read(
        vss(
            subAccountId="ACME_SG",
            sessionStatus="NO ANSWER",
            startTime="2026-01-05T10:00:00.123Z",
            endTime="2026-01-05T10:00:30Z",
            callCount=2,
            details={"callA": {"callDuration": 3, "source": "+65 9123 4567"}, "callB": {"callDuration": 12}},
        ),
        mask=lambda number: number and "masked",
    ).event
    assert event == SessionEvent(
        SESSION,
        "NO_ANSWER",
        datetime(2026, 1, 5, 10, 0, 0, 123000, tzinfo=UTC),
        datetime(2026, 1, 5, 10, 0, 30, tzinfo=UTC),
        2,
        12.0,
        "masked",
        None,
    )
    assert read(vss(sessionStatus="CANCELLED")).event.session_status == "CANCELED"
    assert read(vss(sessionStatus="no-answer")).event.session_status == "NO_ANSWER"


@pytest.mark.parametrize(
    "odd",
    [
        {"durationSeconds": -1},
        {"durationSeconds": "x"},
        {"durationSeconds": True},
        {"filePath": 5},
        {"filePath": "a\0b"},
        {"filePath": ""},
        {"filePath": "x" * 5000},
    ],
)
def test_an_invalid_field_is_none_and_fails_nothing(odd: dict[str, Any]) -> None:
    event = read(vru(**odd)).event
    assert (event.duration_s, event.file_path) == (None, None)
    assert event.status is ApiStatus.UPLOAD_COMPLETED


def test_unset_and_implausible_times_and_counts_are_none() -> None:
    event = read(vss(startTime="1969-12-31T23:59:59.999Z", endTime=17, callCount=10**9, details=[])).event
    assert (event.started_at, event.ended_at, event.call_count, event.call_duration_s) == (None,) * 4


def test_an_unknown_status_is_kept_verbatim() -> None:
    event = read(vru(status="SOMETHING new")).event
    assert (event.status, event.status_raw) == (ApiStatus.UNKNOWN, "SOMETHING new")


def test_any_event_type_can_be_stored_and_counted() -> None:
    assert read({"eventType": "a\0b\ud800"}).event.event_type == "A\\U{0}B\ufffd"
    assert "6591234567" not in read({"eventType": "+6591234567"}).event.event_type
    assert len(read({"eventType": "x" * 5000}).event.event_type) == 200


@pytest.mark.parametrize("count", ["NaN", "1e400", "-1", "9" * 5000, "2.5", "true", '"2"', "null"])
def test_invalid_numbers_are_none(count: str) -> None:
    body = json.dumps(vss(callCount="HERE")).replace('"HERE"', count).encode()
    assert read(body).event.call_count is None
    json.loads(read(body).payload, parse_constant=pytest.fail)


def test_the_last_of_two_fields_of_one_name_wins() -> None:
    body = json.dumps(vss(callCount=1)).replace('"callCount": 1', '"callCount": 1, "callCount": 3').encode()
    assert read(body).event.call_count == 3


def test_field_names_are_case_insensitive() -> None:
    event = read({"EVENTTYPE": "session_summary", "Payload": {"SessionID": SESSION.upper(), "callcount": 2}}).event
    assert event == SessionEvent(SESSION, call_count=2)


@pytest.mark.parametrize("type_", ["VIRTUAL_NUMBER", "", None, 5])
def test_other_types_are_unknown_events(type_: Any) -> None:
    assert isinstance(read({"eventType": type_, "payload": {}}).event, UnknownEvent)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\xfa",
        json.dumps(vru(sessionId="../../etc")).encode(),
        json.dumps(vru(recordingId=None)).encode(),
        json.dumps(vss(sessionId=SESSION + "0")).encode(),
        json.dumps(vss(subAccountId="another")).encode(),
        json.dumps({"eventType": "SESSION_SUMMARY", "payload": []}).encode(),
        json.dumps({"eventType": "X", "a": [0] * 10_001}).encode(),
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[" * 100_000,
    ],
)
def test_other_bodies_are_refused_and_not_shown(body: bytes) -> None:
    with pytest.raises(EventRefusedError) as caught:
        read(body)
    assert "etc" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_nesting_up_to_the_limit_is_accepted() -> None:
    assert isinstance(read(b'{"a":' * 31 + b"1" + b"}" * 31).event, UnknownEvent)


def test_phone_numbers_are_masked_before_they_are_stored_also_as_json_integers() -> None:
    event = vss(details={"callA": {"source": 6591234567, "destination": "6591234568", "msisdn": "+65 9123-4569"}})
    kept = read(event).payload
    assert not [digits for digits in ("6591234567", "6591234568", "9123-4569") if digits in kept]
    hashed = read(event, mask=lambda number: number and "hmac-sha256:x")
    for found in (hashed.event, event_in(hashed.payload)):
        assert isinstance(found, SessionEvent)
        assert found.source_number == "hmac-sha256:x"


def test_repeats_have_one_identity_in_any_order_of_fields() -> None:
    event = vru(durationSeconds=25)
    turned = {key: event[key] for key in reversed(event)}
    turned["payload"] = {key: event["payload"][key] for key in reversed(event["payload"])}
    assert read(event).identity == read(turned).identity
    assert read(event).identity != read(vru(durationSeconds=26)).identity
    other = read_event(json.dumps(event).encode(), subaccount_id="other", mask=drop)
    assert other.identity != read(event).identity


def test_ids_are_stored_in_lower_case_and_texts_without_unstorable_characters() -> None:
    read_ = read(vru(sessionId=SESSION.upper(), status="a\ud800b\0c"))
    assert read_.event.session_id == SESSION
    assert "\ud800" not in read_.payload
    assert "\\u0000" not in read_.payload
    read_.payload.encode()
    again = event_in(read_.payload)
    assert isinstance(again, RecordingEvent)
    assert again.recording_id == str(uuid.UUID(RECORDING))


def test_only_parsed_fields_are_stored_and_parse_the_same_again() -> None:
    number, signature = "6591234567", "5ecre7" * 6
    event = vru(
        durationSeconds=25,
        filePath=f"up/+{number}/2026-01-05/{SESSION}/{RECORDING}.mp3?X-Amz-Signature={signature}",
        status=f"DONE for abc{number}xyz at https://u:{signature}@host/?sig={signature}",
        url=f"https://host/x?X-Amz-Signature={signature}",
        caller=int(number),
        note=[f"abc{number}xyz", {"%2B" + number: f"%2B{number}"}],
    )
    for keeps in (drop, lambda value: value):
        kept = read({**event, "description": signature}, mask=keeps)
        assert number not in kept.payload
        assert signature not in kept.payload
        assert kept.event.file_path == f"2026-01-05/{SESSION}/{RECORDING}.mp3"
        assert event_in(kept.payload) == kept.event
    summary = vss(
        subAccountId="acme_sg",
        sessionStatus="NO ANSWER",
        startTime="2026-01-05T10:00:00.123Z",
        details={"callA": {"source": number, "callDuration": 3, "callId": number}, "callB": {"callDuration": 12.5}},
        errorDetails={"message": number},
    )
    kept = read(summary, mask=lambda value: value)  # this account keeps numbers
    assert kept.event.source_number == number
    assert kept.payload.count(number) == 1
    assert event_in(kept.payload) == kept.event
    assert read({**summary, "description": "again"}, mask=lambda value: value).identity == kept.identity


def test_only_the_type_of_an_unknown_event_is_stored() -> None:
    one = read({"eventType": "NEW for 6591234567", "payload": {"to": "6591234567"}})
    assert json.loads(one.payload) == {"eventType": "NEW FOR ***"}
    assert read({"eventType": "NEW for 6591234567"}).identity == one.identity
