"""Holds: what they cover, and how they are stored."""

from datetime import UTC, date, datetime

import pytest

from callarchive.custody.holds import Holds, Item, Scope
from callarchive.domain.errors import StoreError
from callarchive.storage.stores.opening import open_store

_AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
_DAY = date(2026, 11, 1)
_SESSION, _RECORDING = "e35e3d0e-065a-11ec-b119-676cb2bc33ef", "f35e3d0e-065a-11ec-b119-676cb2bc33ef"
_ITEM = Item("acme_sg", _DAY, _SESSION, _RECORDING)


@pytest.fixture
def holds(tmp_path):
    return Holds(open_store(f"file://{tmp_path}"))


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope(session_id=_SESSION), True),
        (Scope(session_id=_RECORDING), False),
        (Scope(recording_id=_RECORDING), True),
        (Scope(recording_id=_SESSION), False),
        (Scope(subaccount_id="acme_sg"), True),
        (Scope(subaccount_id="acme_sg", first=_DAY, last=_DAY), True),
        (Scope(subaccount_id="acme_sg", last=date(2026, 10, 31)), False),
        (Scope(subaccount_id="acme_sg", first=date(2026, 11, 2)), False),
        (Scope(subaccount_id="acme_my"), False),
    ],
)
def test_what_a_scope_covers(scope, covered):
    assert scope.covers(_ITEM) is covered


def test_a_hold_on_a_part_covers_the_whole():
    whole_session, whole_day = Item("acme_sg", _DAY, _SESSION), Item("acme_sg", _DAY)
    assert Scope(recording_id=_RECORDING).covers(whole_session)
    assert Scope(session_id=_SESSION).covers(whole_day)


def test_a_hold_is_active_until_it_is_released(holds):
    scope = Scope(subaccount_id="acme_sg", first=_DAY)
    added = holds.add(scope, reason="case 7", by="ann", at=_AT)
    assert holds.active() == [added] == [holds.get(added.hold_id)]
    holds.release(added, by="bob", at=_AT)
    assert holds.active() == []
    assert [(hold.scope, hold.released.by) for hold in holds] == [(scope, "bob")]


def test_a_damaged_hold_is_an_error_because_it_may_hold_anything(holds, tmp_path):
    added = holds.add(Scope(session_id=_SESSION), reason="case 7", by="ann", at=_AT)
    (tmp_path / "_holds" / added.hold_id / "hold.json").write_text("{}")
    with pytest.raises(StoreError, match=rf"{added.hold_id}/hold.json is damaged, so what it holds is not known"):
        holds.active()
