"""Parsing responses: an invalid field affects only itself."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.models import ApiStatus, Lookup, LookupStatus
from callarchive.voice_api.lookups import read_lookup

SESSION = "e35e3d0e-065a-11ec-b119-676cb2bc33ef"
ONE = "eef54fc2-065a-11ec-bce9-ed1000154345"
TWO = "eef54fc2-065a-11ec-bce9-ed1000154346"
NOW = datetime(2026, 11, 2, tzinfo=UTC)
PAGE = """{"recordings": [{
    "recordingId": "eef54fc2-065a-11ec-bce9-ed1000154345", "sessionId": "e35e3d0e-065a-11ec-b119-676cb2bc33ef",
    "subAccountId": "acme_sg", "status": "CALLBACK_COMPLETED",
    "externalFileUrl": "https://host.example/e35e/eef5_2021-08-26T10%3A46%3A56.535Z.mp3",
    "startRecordingTime": "1969-12-31T23:59:59.999Z"}], "statusCode": 0, "statusMessage": "ok"}"""


def read(body, http_status=200):
    if isinstance(body, dict | list):
        body = json.dumps(body)
    return read_lookup(session_id=SESSION, http_status=http_status, body=body, looked_up_at=NOW)


def only(**fields):
    """Return the recording of a response with only that one."""
    lookup = read({"recordings": [{"recordingId": ONE} | fields]})
    assert lookup.status is LookupStatus.OK, lookup.error
    (recording,) = lookup.recordings
    return recording


def test_the_documented_response_is_read():
    lookup = read(PAGE)
    (recording,) = lookup.recordings
    assert (lookup.status, lookup.error, lookup.http_status, lookup.body) == (LookupStatus.OK, None, 200, PAGE)
    assert recording.recording_id == ONE
    assert recording.api_status is ApiStatus.CALLBACK_COMPLETED
    assert recording.external_file_url == "https://host.example/e35e/eef5_2021-08-26T10%3A46%3A56.535Z.mp3"
    assert recording.started_at is None
    assert recording.duration_api_s is None


def test_the_openapi_spelling_is_read():
    recording = only(
        sessionid=SESSION.upper(), status="completed", duration=10, startRecordingTime="2021-01-01T00:00:00Z"
    )
    assert (recording.api_status, recording.api_status_raw) == (ApiStatus.UNKNOWN, "completed")
    assert recording.duration_api_s == 10
    assert recording.started_at == datetime(2021, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("http_status", "body", "status"),
    [
        (200, '{"recordings": []}', LookupStatus.NO_RECORDINGS),
        (200, '{"recordings": null, "statusCode": 0}', LookupStatus.NO_RECORDINGS),
        (200, '{"Recordings": []}', LookupStatus.NO_RECORDINGS),
        (200, '{"recordings": null, "statusCode": "0"}', LookupStatus.NO_RECORDINGS),
        (200, '{"recordings": null, "statusCode": 0.0}', LookupStatus.NO_RECORDINGS),
        (200, '\ufeff{"recordings": null, "statusCode": 0}'.encode(), LookupStatus.NO_RECORDINGS),
        (200, '{"recordings": [], "statusCode": 0}'.encode("utf-16"), LookupStatus.NO_RECORDINGS),
        (200, '{"statusCode": 0}', LookupStatus.ERROR),
        (200, '{"statusCode": 0, "statusMessage": "ok"}', LookupStatus.ERROR),
        (200, '{"recordings": null}', LookupStatus.ERROR),
        (200, '{"recordings": null, "statusCode": null}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": null}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": ""}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": false}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": NaN}', LookupStatus.ERROR),
        (200, '{"recordings": NaN, "statusCode": 0}', LookupStatus.ERROR),
        (200, '{"recordings": 1e999, "statusCode": 0}', LookupStatus.ERROR),
        (200, '{"recordings": [], "recordings": [], "statusCode": 0}', LookupStatus.ERROR),
        (200, '{"recordings": [], "Recordings": null, "statusCode": 0}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": 0, "statusCode": 0}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": 0, "STATUSCODE": 5}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": 0, "sessionId": "' + TWO + '"}', LookupStatus.ERROR),
        (
            200,
            '{"recordings": [], "statusCode": 0, "sessionid": "' + SESSION.upper() + '"}',
            LookupStatus.NO_RECORDINGS,
        ),
        (200, "{}", LookupStatus.ERROR),
        (200, "[]", LookupStatus.ERROR),
        (200, "null", LookupStatus.ERROR),
        (200, "", LookupStatus.ERROR),
        (200, "<html>", LookupStatus.ERROR),
        (200, '{"recordings": {}}', LookupStatus.ERROR),
        (200, '{"recordings": "none"}', LookupStatus.ERROR),
        (200, '{"recordings": 0}', LookupStatus.ERROR),
        (200, '{"recordings": [], "statusCode": 1001}', LookupStatus.ERROR),
        (200, '{"statusCode": true}', LookupStatus.ERROR),
        (200, '{"recordings": [null]}', LookupStatus.ERROR),
        (200, "[" * 100_000, LookupStatus.ERROR),
        (200, '{"recordings": ' + "[" * 100_000, LookupStatus.ERROR),
        (500, PAGE, LookupStatus.ERROR),
        (201, PAGE, LookupStatus.ERROR),
    ],
)
def test_every_state_is_distinguished(http_status, body, status):
    lookup = read(body, http_status)
    assert lookup.status is status
    assert (lookup.error is None) == (status is not LookupStatus.ERROR)
    assert not lookup.unreachable


def test_an_error_is_reported_without_phone_numbers():
    body = {"errorId": "aa40-1", "statusCode": "1001", "statusMessage": "no call to +65 9123 4567"}
    assert read(body).error == "status code 1001: no call to *** (errorId aa40-1)"
    assert read(body, 422).error == "HTTP 422: no call to *** (errorId aa40-1)"


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1" * 5000,
        "-5",
        "604801",
        '"x"',
        "true",
        "[]",
        '"1e3"',
        '"٣"',
    ],
)
def test_an_implausible_duration_is_none_and_affects_nothing_else(text):
    lookup = read(f'{{"recordings": [{{"recordingId": "{ONE}", "duration": {text}}}]}}')
    assert (lookup.status, [r.duration_api_s for r in lookup.recordings]) == (LookupStatus.OK, [None])


@pytest.mark.parametrize(("value", "expected"), [("25", 25), (" 25.5 ", 25.5), (0, 0), (604800, 604800), (1.5, 1.5)])
def test_a_duration_may_be_a_text(value, expected):
    assert only(duration=value).duration_api_s == expected


@pytest.mark.parametrize(
    "value",
    [
        "1969-12-31T23:59:59.999Z",
        "2014-12-31T00:00:00Z",
        "2026-11-05T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "",
        5,
        [],
        "x" * 99,
    ],
)
def test_an_implausible_start_is_none(value):
    assert only(startRecordingTime=value).started_at is None


@pytest.mark.parametrize("text", ["upload completed", " Upload-Completed ", "UPLOAD_COMPLETED", "upload  _completed"])
def test_a_status_is_recognized_in_any_spelling(text):
    recording = only(status=text)
    assert (recording.api_status, recording.api_status_raw) == (ApiStatus.UPLOAD_COMPLETED, text)


@pytest.mark.parametrize(
    ("value", "raw"),
    [(None, None), ("completed", "completed"), (7, "7"), ("x" * 999, "x" * 200), ("", ""), ({}, "an object")],
)
def test_an_unknown_status_is_kept_raw(value, raw):
    recording = only(status=value)
    assert (recording.api_status, recording.api_status_raw) == (ApiStatus.UNKNOWN, raw)


def test_lone_surrogates_are_replaced_so_that_parquet_can_hold_them():
    recording = only(status="\ud800x", externalFileUrl="https://h/\udfff")
    texts = [recording.api_status_raw, recording.external_file_url]
    assert texts == ["\ufffdx", "https://h/\ufffd"]
    assert pa.array(texts, pa.string()).validate(full=True) is None


def test_invalid_utf_8_affects_only_its_character():
    body = PAGE.encode().replace(b"CALLBACK_COMPLETED", b"\xff\xfe")
    assert read(body).recordings[0].api_status_raw == "\ufffd\ufffd"


@pytest.mark.parametrize("bad", ["../../etc/passwd", "", None, 5, {}, ONE + "x", "x" * 10_000, "+6591234567"])
def test_a_bad_recording_id_is_reported_and_its_neighbours_are_kept(bad):
    lookup = read({"recordings": [{"recordingId": bad}, {"recordingId": TWO.upper(), "status": "PROCESSING"}]})
    assert [r.recording_id for r in lookup.recordings] == [TWO]
    assert lookup.status is LookupStatus.ERROR
    assert "recording id" in (lookup.error or "")
    assert len(lookup.error or "") < 130
    assert "6591234567" not in (lookup.error or "")


def test_many_bad_recordings_give_a_short_error():
    error = read({"recordings": [5] * 999}).error or ""
    assert len(error) < 300
    assert error.endswith("(and 996 more)")


@pytest.mark.parametrize(
    "field",
    [{"sessionId": TWO}, {"sessionid": TWO}, {"sessionId": SESSION, "SessionID": TWO}],
)
def test_a_recording_of_another_call_is_set_aside(field):
    lookup = read({"recordings": [{"recordingId": ONE} | field, {"recordingId": TWO}]})
    assert [r.recording_id for r in lookup.recordings] == [TWO]
    assert lookup.status is LookupStatus.ERROR
    assert ONE in (lookup.error or "")


def test_missing_and_odd_session_ids_do_not_name_another_call():
    for field in (
        {},
        {"sessionId": None},
        {"sessionId": 5, "subAccountId": ""},
        {"subAccountId": "ACME_SG"},
        {"subAccountId": "parent"},
    ):
        assert only(**field).recording_id == ONE


def test_the_most_advanced_of_two_rows_of_one_recording_wins():
    rows = [
        {"recordingId": ONE, "status": "UPLOAD_COMPLETED", "duration": 12},
        {"recordingId": ONE.upper(), "status": "CALLBACK_FAILED"},
        {"recordingId": ONE, "status": "PROCESSING", "externalFileUrl": "https://h/x.mp3"},
    ]
    for order in (rows, rows[::-1]):
        (recording,) = read({"recordings": order}).recordings
        assert recording.api_status is ApiStatus.CALLBACK_FAILED
        assert (recording.duration_api_s, recording.external_file_url) == (12, "https://h/x.mp3")


@pytest.mark.parametrize("doubled", ['"status": "PROCESSING", "status": "PROCESSING"', '"duration": 1, "Duration": 2'])
def test_a_recording_with_a_doubled_key_is_set_aside_and_its_neighbours_are_kept(doubled):
    lookup = read(f'{{"recordings": [{{"recordingId": "{ONE}", {doubled}}}, {{"recordingId": "{TWO}"}}]}}')
    assert (lookup.status, [r.recording_id for r in lookup.recordings]) == (LookupStatus.ERROR, [TWO])
    assert f"recording '{ONE}' is set aside: it has" in (lookup.error or "")


def test_both_documented_spellings_of_the_session_id_may_occur_together():
    assert only(sessionId=SESSION, sessionid=SESSION).recording_id == ONE


OWN_404S = [
    '{"statusCode": 1404, "statusMessage": "Session not found"}',
    '{"errorId": "1aa1fc32-8e07-11ea-864e-1961d882f548", "statusCode": "1404", "statusMessage": "x", "timestamp": "t"}',
    '{"sessionStatus": "NOT_CREATED", "statusCode": 404, "statusMessage": "not found by Id"}',
    '{"code": 4018, "message": "Invalid jobId", "errorId": "aa400d4b-fffe-ea11-8277-00155d4ff7ed", "timestamp": "t"}',
    '{"statusCode": -1013, "statusMessage": "x", "recordings": null}',
]
FOREIGN_404S = {
    "nothing": "",
    "blank": " \n",
    "html": "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>nginx</body></html>",
    "text": "404 page not found\n",
    "iis": "The resource you are looking for has been removed.",
    "kong": '{"message": "no Route matched with those values"}',
    "aws": '{"message": "Not Found"}',
    "azure": '{"statusCode": 404, "message": "Resource not found"}',
    "nest": '{"statusCode": 404, "message": "Cannot GET /api/v1", "error": "Not Found"}',
    "spring": '{"timestamp": "2026-11-02T00:00:00Z", "status": 404, "error": "Not Found", "path": "/api/v1"}',
    "problem": '{"type": "about:blank", "title": "Not Found", "status": 404, "detail": "No static resource"}',
    "envoy": '{"code": 404, "message": "not found"}',
    "google": '{"error": {"code": 404, "message": "Not found", "status": "NOT_FOUND"}}',
    "apigee": '{"fault": {"faultstring": "Unable to identify proxy", "detail": {"errorcode": "x"}}}',
    "django": '{"detail": "Not found."}',
    "object": "{}",
    "list": "[]",
    "null": "null",
    "cut": '{"statusCode": 1404, "statusMessage": "Session not',
    "code only": '{"statusCode": 1404}',
    "empty text": '{"statusCode": 1404, "statusMessage": ""}',
    "null text": '{"statusCode": 1404, "statusMessage": null}',
    "text only": '{"statusMessage": "Session not found", "errorId": "x"}',
    "code 0": '{"statusCode": 0, "statusMessage": "ok"}',
    "code true": '{"statusCode": true, "statusMessage": "Session not found"}',
    "code in words": '{"statusCode": "NOT_FOUND", "statusMessage": "Session not found"}',
    "in a list": '[{"statusCode": 1404, "statusMessage": "Session not found"}]',
    "code twice": '{"statusCode": 1404, "statusCode": 0, "statusMessage": "Session not found"}',
    "another session": f'{{"statusCode": 1404, "statusMessage": "Session not found", "sessionId": "{TWO}"}}',
    "with recordings": f'{{"statusCode": 1404, "statusMessage": "x", "recordings": [{{"recordingId": "{ONE}"}}]}}',
}


@pytest.mark.parametrize("body", OWN_404S)
def test_a_404_in_the_form_of_8x8s_errors_is_not_found(body):
    assert (read(body, 404).status, read(body, 404).error) == (LookupStatus.NOT_FOUND, None)


@pytest.mark.parametrize("body", FOREIGN_404S.values(), ids=FOREIGN_404S)
def test_any_other_404_proves_nothing_about_the_session(body):
    for form in (body, body.encode(), body.encode("utf-16")):
        lookup = read(form, 404)
        assert lookup.status is LookupStatus.ERROR
        assert lookup.recordings == ()
        assert "404" in (lookup.error or "") or "another session" in (lookup.error or "")


@pytest.mark.parametrize(
    "body",
    [
        '{"recordings": [' + ",".join(["{}"] * 340_000) + "]}",
        '{"recordings": [' + ",".join(["5"] * 1001) + "]}",
        '{"recordings": [' + ",".join(["[]"] * 9000) + "]}",
        '{"recordings": [], "statusCode": 0, "note": "' + "x" * 1024 * 1024 + '"}',
    ],
    ids=["tiny objects", "numbers", "lists", "a long text"],
)
def test_a_response_too_large_for_a_session_is_an_error_and_is_not_kept_in_memory(body):
    lookup = read(body)
    assert lookup.status is LookupStatus.ERROR
    assert "1000 recordings" in (lookup.error or "") or "1048576 bytes" in (lookup.error or "")


def test_as_many_recordings_as_a_session_may_have_are_read():
    items = [
        {"recordingId": f"eef54fc2-065a-11ec-bce9-{number:012x}", "status": "PROCESSING"} for number in range(1000)
    ]
    assert len(read({"recordings": items, "statusCode": 0}).recordings) == 1000


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text(max_size=8), child, max_size=4),
    max_leaves=12,
)
_recording = st.fixed_dictionaries(
    {},
    optional={
        "recordingId": st.sampled_from([ONE, TWO, ONE.upper()]) | _json,
        "sessionId": st.just(SESSION) | _json,
        "sessionid": _json,
        "subAccountId": st.just("acme_sg") | _json,
        "status": st.sampled_from([*ApiStatus, "completed"]) | _json,
        "externalFileUrl": _json,
        "duration": _json,
        "startRecordingTime": st.sampled_from(["2026-11-01T10:00:00Z", "0001-01-01T00:00:00+23:59"]) | _json,
    },
)
_response = st.fixed_dictionaries(
    {},
    optional={
        "recordings": st.lists(_recording | _json, max_size=4) | _json,
        "statusCode": _json,
        "statusMessage": _json,
    },
)


@settings(max_examples=300, deadline=None)
@given(
    body=(_response | _json).map(json.dumps) | st.binary(max_size=200) | st.text(max_size=200),
    status=st.integers(100, 599),
)
def test_any_body_gives_a_lookup_that_can_be_stored(body, status):
    for http_status in (status, 200):
        lookup = read(body, http_status)
        assert isinstance(lookup, Lookup)
        assert (lookup.status is LookupStatus.ERROR) == (lookup.error is not None)
        assert len({r.recording_id for r in lookup.recordings}) == len(lookup.recordings)
        texts = [lookup.error, lookup.body]
        for recording in lookup.recordings:
            assert recording.recording_id in (ONE, TWO)
            assert recording.duration_api_s is None or 0 <= recording.duration_api_s <= 604800
            assert recording.started_at is None or recording.started_at.year >= 2015
            texts += [recording.api_status_raw, recording.external_file_url]
        for text in texts:
            (text or "").encode()
