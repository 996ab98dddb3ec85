"""Ids are found in texts however they are written."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callarchive.domain.erased_ids import ErasedIds, ids_anywhere

ONE, TWO = "e35e3d0e-065a-11ec-b119-676cb2bc33ef", "eef54fc2-065a-11ec-bce9-ed1000154345"
IDS = ErasedIds("acme", frozenset([ONE]), frozenset([TWO]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"session {ONE}: HTTP 500", {ONE}),
        (f"{ONE.upper()}/{TWO}_2026-01-05T10:00:00.000Z.mp3", {ONE, TWO}),
        (f"urn:uuid:{ONE.replace('-', '')}", {ONE}),
        (f"ab12{ONE}34cd", {ONE}),
        (f"{ONE}-065a-11ec-b119-676cb2bc33ef", {ONE, "b2bc33ef-065a-11ec-b119-676cb2bc33ef"}),
        (f"ab{ONE.replace('-', '')}", set()),
        (ONE[1:], set()),
        (ONE[:-1], set()),
        ("", set()),
    ],
)
def test_ids_are_found_in_any_spelling(text: str, found: set[str]) -> None:
    assert ids_anywhere(text) == found
    assert IDS.in_text(text) is (not IDS.all.isdisjoint(found))
    assert not IDS.in_text(IDS.cut_from(text))


@given(st.lists(st.one_of(st.uuids().map(str), st.text("0123456789abcdefABCDEF-x", max_size=12)), max_size=6))
def test_every_uuid_in_a_text_is_found(parts: list[str]) -> None:
    text = "".join(parts)
    every = re.compile(r"(?=([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}))", re.IGNORECASE)
    assert {str(uuid.UUID(one)) for one in every.findall(text)} <= ids_anywhere(text)


def test_other_ids_stay_in_a_text() -> None:
    other = "00000000-065a-11ec-b119-676cb2bc33ef"
    assert IDS.cut_from(f"{other}: {TWO.upper()}, {ONE.replace('-', '')}") == f"{other}: (erased), (erased)"
