"""The register of erasures."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from callarchive.custody.erasures import Erasure, ErasureRegister, new_id
from callarchive.domain.errors import StoreError
from callarchive.storage.stores.opening import open_store

_DAY = date(2026, 11, 1)
_SESSION, _RECORDING = "e35e3d0e-065a-11ec-b119-676cb2bc33ef", "f35e3d0e-065a-11ec-b119-676cb2bc33ef"
_ERASURE = Erasure(
    erasure_id=new_id("erasure"),
    subaccount_id="acme_sg",
    call_date=_DAY,
    reason="request 12",
    by="ann",
    session_ids=frozenset([_SESSION]),
    recording_ids=frozenset([_RECORDING]),
)


@pytest.fixture
def register(tmp_path):
    return ErasureRegister(open_store(f"file://{tmp_path}"))


def test_what_was_erased_on_request_is_known_on_all_days_to_which_a_source_may_date_it(register):
    register.add(_ERASURE)
    for offset, is_known in ((-32, False), (-31, True), (31, True), (32, False)):
        assert register.around(_DAY + timedelta(days=offset)).has_session("acme_sg", _SESSION) is is_known


def test_what_retention_erased_is_known_on_the_day_and_its_neighbours(register):
    register.add(replace(_ERASURE, kind="retention"))
    for offset in (-1, 0, 1):
        erased = register.around(_DAY + timedelta(days=offset))
        assert erased.has_session("acme_sg", _SESSION)
        assert erased.has_recording("acme_sg", _RECORDING)
        assert not erased.has_session("acme_my", _SESSION)
    assert not register.around(_DAY + timedelta(days=2))


def test_the_register_has_no_session_id_once_the_erasure_is_complete(register, tmp_path):
    register.begin(_ERASURE)
    register.add(_ERASURE)
    assert register.begun() == [_ERASURE]
    register.begin(replace(_ERASURE, deleting=True))
    assert [one.deleting for one in register.begun()] == [True]
    register.complete(_ERASURE)
    assert register.begun() == []
    left = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(left) == 1
    assert _SESSION not in left[0]


def test_files_of_other_names_in_the_register_stop_nothing(register, tmp_path):
    register.begin(_ERASURE)
    register.add(_ERASURE)
    for folder in ("begun", f"call_date={_DAY}"):
        (tmp_path / "_erased" / folder / "notes.txt").write_text("x")
    assert register.begun() == [_ERASURE]
    assert register.around(_DAY).has_session("acme_sg", _SESSION)
    assert [erasure_id for _, erasure_id, _ in register.entries()] == [_ERASURE.erasure_id]


def test_a_damaged_register_is_an_error_because_what_was_erased_could_return(register, tmp_path):
    register.add(_ERASURE)
    (tmp_path / "_erased" / f"call_date={_DAY}" / f"{_ERASURE.erasure_id}.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged: restore it, or what was erased may return"):
        register.around(_DAY)
