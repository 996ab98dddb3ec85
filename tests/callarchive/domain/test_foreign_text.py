"""Cleaned text has no escapes, credentials or phone numbers; ids, times, hashes and sizes stay."""

import hashlib
import uuid
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callarchive.domain.errors import TransferError
from callarchive.domain.foreign_text import (
    cleaned,
    cleaned_lines,
    mask_numbers,
    mask_text,
    place_to_keep,
    storable,
)

SESSION, RECORDING = "e35e3d0e-065a-11ec-b119-676cb2bc33ef", "eef54fc2-065a-11ec-bce9-ed1000154345"
SECRET = "s3cr3tV4lu3"
DIGITS = st.text("0123456789", min_size=7, max_size=15).filter(lambda digits: digits[:2] not in ("19", "20"))
AROUND = st.text(
    # Without "B": a number of bytes stays.
    st.characters(codec="utf-8", categories=("L", "P", "S", "Z"), exclude_characters="+-./:=_%()B"),
    max_size=6,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caller +6561234567 hung up", "caller *** hung up"),
        ("caller +65 6123-4567, again", "caller ***, again"),
        ("call 6123 4567 or (415) 555-2671 or 555-1234", "call *** or *** or ***"),
        ("020 7946 0958, 089/1234567, 01.23.45.67.89", "***, ***, ***"),
        ("sip:6561234567@host", "sip:***@host"),
        ("abc6591234567xyz_6591234567", "abc***xyz_***"),
        ("up/6591234567/%2B6591234567/x%252B6591234567", "up/***/***/x***"),
        ("%36%35%39%31%32%33%34%35%36%37", "***"),
        ("６５９１２３４５６７ and 659\u200b123\u200b4567", "*** and ***"),
        ('{"to":6591234567}', '{"to":***}'),
        ("2026-110-1234 is one all the same", "*** is one all the same"),
        ("+65 2199-01-01, (852) 2199-12-31, 2199-01-01 77, 2199-01-01-7 and 6123-12-04", "***, ***, ***, *** and ***"),
        ("21991231 and 2199-13-01, +2199-01-01", "*** and ***, ***"),
        ("2026-01-05T10:00:00.123456+08:00 6561234567", "2026-01-05T10:00:00.123456+08:00 ***"),
    ],
)
def test_phone_numbers_are_masked_anywhere(text: str, shown: str) -> None:
    assert cleaned(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "took 1234 ms, HTTP 503 (2026)",
        "12345678-1234-1234-1234-123456789012",
        f"up/2021-08-21/{SESSION}/{RECORDING}_2021-08-20T16%3A51%3A01.703Z.mp3",
        f"up/20260105/{SESSION}/{RECORDING}_2026-01-05T10:00:00.123456+08:00.mp3",
        "2026-01-05 10:00:00.123456789 +0800 and 20260105T100000Z and 2026/01/05",
        "2199-01-01 is after 2100-02-28, call_date=9999-12-31/x.parquet, from 2262-04-11T23:47:16.854775+00:00 on",
        "held until 2999-12-31 23:59:59: not yet",
        "got 12345678 bytes, size=12345678, Content-Length: 12345678, bytes 0-1234567/12345678, 123456789 B",
        "1234567 of 12345678 bytes",
        "10.20.130.40 and 203.0.113.7:2222",
        "s3://acme-123456789012-recordings/x",
        "hmac-sha256:0123456789012345678901234567890a",
        "1767607200123456789 ns",
        "an invalid token: it has expired",
        "basic authentication is required; a bearer token is missing",
    ],
)
def test_ids_times_hashes_sizes_and_addresses_stay(text: str) -> None:
    assert cleaned(text) == text


@given(number=DIGITS, before=AROUND, after=AROUND)
def test_seven_to_fifteen_digits_are_masked_next_to_anything(number: str, before: str, after: str) -> None:
    for text in (f"{before}{number}{after}", f"{before}+{number}{after}", f"{before}{quote('+' + number)}{after}"):
        assert number not in cleaned(text), text


@given(st.uuids(), st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31)), st.binary())
def test_any_id_time_and_hash_stays(an_id: uuid.UUID, at: datetime, data: bytes) -> None:
    stamp = at.replace(tzinfo=UTC)
    words = [str(an_id), str(an_id).upper(), stamp.isoformat(), f"{stamp:%Y%m%dT%H%M%SZ}", quote(f"{stamp:%FT%T.123Z}")]
    words += [hashlib.sha256(data).hexdigest(), f"{len(data) + 10**7} bytes"]
    for word in words:
        assert cleaned(f"up/{word}, {word}") == f"up/{word}, {word}"


@pytest.mark.parametrize(
    "text",
    [
        f"https://host/x.mp3?X-Amz-Algorithm=AWS4&X-Amz-Signature={SECRET}&x=1",
        f"could not read (see https://user:{SECRET}@host/x.mp3#part)",
        f"x/y.mp3?sig={SECRET}",
        f"no scheme: user:{SECRET}@host/x",
        f"https%3A%2F%2Fuser%3A{SECRET}%40host%2Fx%3FX-Amz-Signature%3D{SECRET}%26y",
        f"https%253A%252F%252Fhost%252Fx%253Fsig%253D{SECRET}",
        f"&Signature={SECRET}&Expires=1",
        f"X-Amz-Security-Token%3D{SECRET}",
        f"access_token={SECRET}; token={SECRET}",
        f'{{"password": "{SECRET}", "api_key":"{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f"authorization=Basic {SECRET}==",
        f"header 'Bearer {SECRET}' refused",
        f"token: {SECRET}",
        f"key AKIA{SECRET.upper()}ABCDEF is unknown",
        f"jwt eyJhbGciOiJI.{SECRET}.{SECRET}",
    ],
)
def test_credentials_are_masked(text: str) -> None:
    for shown in (cleaned(text), mask_text(text), str(TransferError(text))):
        assert SECRET.lower() not in shown.lower()


def test_a_text_is_one_bounded_line_without_escapes() -> None:
    odd = "\x1b[31mOh\x1b]0;title\x07\r\n\tno\x00 \u202eabc \ud800 \x9b1m"
    assert cleaned(odd) == "Oh   no\\u{0} \\u{202e}abc \\u{d800} "
    assert cleaned("x" * 999, limit=50) == "x" * 47 + "..."
    assert cleaned_lines("one\n\x1b[1mtwo") == "one\ntwo"
    assert storable("\ud800x") == "\ufffdx"


@given(
    st.text()
    | st.lists(st.sampled_from(["+65", "9123", " ", "4567", "?sig=", "://", "@", "%2B", "-", "a:b"])).map("".join)
)
@example(":0000000A:0@0")
@example("0:0000000 0@0")
def test_cleaning_twice_changes_nothing_and_leaves_one_line(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once
    assert once.isprintable()
    assert len(once) <= 300


def test_a_number_at_the_cut_of_a_very_long_text_is_not_shown_in_part() -> None:
    for length in range(65_520, 65_536):
        assert "65912" not in cleaned("x " * (length // 2) + "6591234567", limit=10**6)


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        (f"https://u:p@host/up/{SESSION}/x.mp3?X-Amz-Signature=abc", f"https://host/up/{SESSION}/x.mp3"),
        (f"up/6591234567/2026-01-05/{SESSION}/{RECORDING}.mp3", f"2026-01-05/{SESSION}/{RECORDING}.mp3"),
        (f"https://host/%2B65%209123%204567/{SESSION}/x.mp3", f"https://host/{SESSION}/x.mp3"),
        (f"https://host/%2536591234567/{SESSION}/x.mp3", f"https://host/{SESSION}/x.mp3"),
        (f"up/65912/34567/{SESSION}-x.mp3", "itself"),
        (f"up/a:b%40c/{SESSION}/x.mp3", f"{SESSION}/x.mp3"),
        (f"up/a%3Fkey%3Db/{SESSION}/x.mp3", f"{SESSION}/x.mp3"),
        (f"up/{SESSION}/6591234567.mp3", None),
        (f"up/1234/20260105/{SESSION}/{RECORDING}_2026-01-05T10:00:00.123456+08:00.mp3", "itself"),
    ],
)
def test_a_stored_place_still_finds_the_file(place: str, kept: str | None) -> None:
    assert place_to_keep(place) == (place if kept == "itself" else kept)


def test_a_long_hostile_text_takes_no_time() -> None:
    for odd in (
        "a:" * 30_000,
        "://:" * 15_000,
        "1 " * 30_000,
        "%25" * 20_000,
        "sig=" * 15_000,
        "(" * 60_000,
        "?a" * 30_000,
    ):
        assert len(mask_numbers(cleaned(odd))) <= 300
