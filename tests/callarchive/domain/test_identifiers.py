"""Ids are UUIDs in lower case; their time follows RFC 9562."""

import string
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callarchive.domain.errors import InvalidIdError
from callarchive.domain.identifiers import EARLIEST_PLAUSIBLE_AT, parse_id, path_segment, plain_id, plausible, uuid_time

ID = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"


@given(st.uuids())
def test_every_uuid_in_either_case_is_an_id_in_lower_case(value: uuid.UUID) -> None:
    assert parse_id(str(value).upper(), kind="session id") == str(value)
    assert parse_id(str(value), kind="session id") == str(value)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdError):
        parse_id(text, kind="session id")


@given(at=st.integers(0, 35), character=st.characters(blacklist_characters=string.hexdigits))
def test_one_wrong_character_is_refused(at: int, character: str) -> None:
    text = ID[:at] + character + ID[at + 1 :]
    if text != ID:
        with pytest.raises(InvalidIdError):
            parse_id(text, kind="session id")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../" + ID[3:],
        "../../../../../../../../../etc/passwd",
        "/" + ID[1:],
        ID[:-1] + "\x00",
        ID + "\x00",
        ID + "\n",
        " " + ID,
        ID + ".mp3",
        "{" + ID + "}",
        "urn:uuid:" + ID,
        ID.replace("-", ""),
        ID.replace("1", "１"),  # full-width
        ID.replace("1", "١"),  # Arabic-Indic
        ID.replace("a", "а"),  # Cyrillic
        ID.replace("-", "‐"),  # hyphen
        ID.replace("-", "−"),  # minus
        ID[:-1] + "\ud800",
        "a" * 10_240,
        ID * 300,
        None,
        42,
        True,
        1.5,
        [ID],
        {"id": ID},
        ID.encode(),
    ],
)
def test_near_misses_are_refused_with_a_short_ascii_message(text: object) -> None:
    with pytest.raises(InvalidIdError) as caught:
        parse_id(text, kind="recording id")
    message = str(caught.value)
    assert message.startswith("not a recording id")
    assert len(message) < 120
    assert message.isascii()
    assert message.isprintable()


def test_the_time_is_that_of_the_rfc_example() -> None:
    # RFC 9562, appendix A.1: C232AB00-9414-11EC-B3C8-9F6BDECED846 is 2022-02-22 14:22:22 at UTC-5.
    assert uuid_time("C232AB00-9414-11EC-B3C8-9F6BDECED846") == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


def test_the_time_is_that_of_the_generator() -> None:
    before = time.time_ns()
    made = uuid.uuid1()
    after = time.time_ns()
    at = uuid_time(str(made))
    assert at is not None
    # A generator may run ahead by a few ticks when it is asked twice within 100 ns.
    assert before / 1e9 - 0.001 <= at.timestamp() <= after / 1e9 + 0.001


@given(st.datetimes(datetime(2015, 1, 1), datetime(2199, 12, 31)), st.integers(0, 9))
def test_the_time_survives_a_round_trip_through_a_uuid(at: datetime, ticks: int) -> None:
    hundred_ns = (at - datetime(1582, 10, 15)) // timedelta(microseconds=1) * 10 + ticks
    low, mid, high = hundred_ns & 0xFFFFFFFF, hundred_ns >> 32 & 0xFFFF, hundred_ns >> 48
    assert uuid_time(f"{low:08x}-{mid:04x}-1{high:03x}-8000-0123456789ab") == at.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        str(uuid.UUID(int=0)),
        str(uuid.UUID(int=2**128 - 1)),
        "919108f7-52d1-4320-9bac-f847db4148a8",  # version 4, RFC 9562
        "1ec9414c-232a-6b00-b3c8-9f6bdeced846",  # version 6, RFC 9562
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",  # version 7, RFC 9562
        "c232ab00-9414-11ec-f3c8-9f6bdeced846",  # version 1 of another variant
        "00000000-0000-1000-8000-000000000000",  # 1582
        ID,  # 1997
    ],
)
def test_no_other_uuid_has_a_time(text: str) -> None:
    assert uuid_time(text) is None


def test_the_latest_time_of_a_uuid_does_not_raise() -> None:
    at = uuid_time("ffffffff-ffff-1fff-bfff-ffffffffffff")
    assert at is not None
    assert at.year == 5236


def test_plausible_is_between_2015_and_two_days_ahead() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert plausible(EARLIEST_PLAUSIBLE_AT, now=now)
    assert plausible(now + timedelta(days=2), now=now)
    assert not plausible(EARLIEST_PLAUSIBLE_AT - timedelta(microseconds=1), now=now)
    assert not plausible(now + timedelta(days=2, microseconds=1), now=now)
    assert not plausible(datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), now=now)
    assert not plausible(None, now=now)


@pytest.mark.parametrize(
    ("account", "segment"),
    [
        ("acme_sg", "acme_sg"),
        ("a&b.c-d", "a&b.c-d"),
        ("_acme", "%5Facme"),
        (".acme", "%2Eacme"),
        ("...", "%2E.."),
        ("-rf", "-rf"),
    ],
)
def test_an_accounts_folder_is_visible_and_stays_below_its_parent(account: str, segment: str) -> None:
    assert path_segment(account) == segment


@given(st.lists(st.from_regex(r"[A-Za-z0-9\-._&]{3,50}", fullmatch=True), min_size=2, max_size=2, unique=True))
def test_two_accounts_never_share_a_folder(accounts: list[str]) -> None:
    first, second = map(path_segment, accounts)
    assert first != second
    assert not {first, second} & {".", ".."}
    assert not first.startswith((".", "_"))


@given(
    st.uuids(),
    st.sampled_from(["{%s}", "urn:uuid:%s", "(%s)", "\u00a0%s\u200b", "UUID:%s", '"%s",', "'%s'"]),
    st.booleans(),
)
def test_ids_in_other_notations_become_8x8s(value: uuid.UUID, notation: str, hyphens: bool) -> None:
    written = notation % (str(value) if hyphens else value.hex)
    assert plain_id(written) == plain_id(written.upper()).lower() == str(value)


@pytest.mark.parametrize("text", ["", "{}", "17", "x" * 10_000, "{%s" % ("0" * 31), "0" * 33])
def test_text_that_is_no_id_stays(text: str) -> None:
    assert plain_id(text) == text
