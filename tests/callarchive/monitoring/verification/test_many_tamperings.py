"""Every seeded tampering is named by `verify`: what it affects, what was and what is."""

import random
from typing import Any

import pytest

from callarchive.ledger.batches import Batch
from tests.callarchive.monitoring.verification.tamperings import KINDS

_PARTS, _IN_A_PART = 7, 145


def unseen(days: Any, name: str, seed: int, *, since: str, share_since: float) -> str | None:
    """Tamper with the days, and return what the report lacks: None if nothing. Empty if the day has nothing of that kind.

    Of this share, only the first day is changed, and only what changed since the checkpoint is verified.
    """
    rng = random.Random(f"{name} {seed}")
    only_since = rng.random() < share_since
    days.days = days.all_days[:1] if only_since else days.all_days
    try:
        named = KINDS[name](days, rng)
        if named is None:
            return ""
        report = days.report(since if only_since else None)
    finally:
        days.restore()
    is_named = any(all(text in line for text in named) for line in report)
    return None if is_named else "\n  ".join((f"{name} {seed}: {named}", *report))


@pytest.fixture(scope="module")
def checkpoint(witnessed: Any) -> str:
    """The checkpoint of the time before the first day changed. Nothing is wrong with the days, also since then."""
    last = max((witnessed.earlier / "archive/_ledger/entries").iterdir())
    text: str = Batch.decode(last.read_bytes()).note
    assert witnessed.report() == witnessed.report(text) == []
    return text


def test_a_tampering_of_each_kind_is_named(witnessed: Any, checkpoint: str) -> None:
    assert len(KINDS) >= 60
    for name in KINDS:
        for seed in range(20):
            lacking = unseen(witnessed, name, seed, since=checkpoint, share_since=1)
            if lacking != "":
                break
        assert lacking is None, lacking or f"{name}: there is nothing of that kind"


@pytest.mark.many
@pytest.mark.parametrize("part", range(_PARTS))
def test_many_tamperings_are_named(witnessed: Any, checkpoint: str, part: int) -> None:
    left, count, seed = [], 0, 0
    while count < _IN_A_PART:
        for name in KINDS:
            lacking = unseen(witnessed, name, part * 10_000 + seed, since=checkpoint, share_since=0.5)
            count += lacking != ""
            left += [lacking] if lacking else []
        seed += 1
    assert not left, "\n".join(left)
