"""Interrupted runs leave pieces of lookups, and pieces are merged into one object."""

from datetime import UTC, date, datetime, timedelta

import pytest

from callarchive.archiving.responses.journal import ResponseJournal
from callarchive.archiving.responses.store import ResponseStore
from callarchive.custody.erasures import ErasureRegister
from callarchive.domain.errors import StoreError
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.storage.stores.local import LocalStore
from callarchive.voice_api.lookups import read_lookup

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)
BODY = '{"recordings": [{"recordingId": "eef54fc2-065a-11ec-bce9-ed1000154345", "status": "PROCESSING"}]}'


@pytest.fixture
def store(tmp_path):
    return LocalStore(f"file://{tmp_path}/catalog")


def answer(number, *, minutes=0, body=BODY):
    session_id = f"e35e3d0e-065a-11ec-b119-676cb2{number:06x}"
    at = NOW + timedelta(minutes=minutes)
    return read_lookup(session_id=session_id, http_status=200, body=body, looked_up_at=at)


def journal(store, **options):
    return ResponseJournal(store, DAY, masks={"acme": lambda number: number}, **options)


def interrupt(store, *lookups, **options):
    with journal(store, **options) as answers:
        for lookup in lookups:
            answers.add("acme", lookup)
        raise KeyboardInterrupt


def files(tmp_path):
    return sorted(path.name for path in tmp_path.rglob("*.zst"))


def test_a_killed_run_leaves_whole_pieces(store):
    answers = journal(store, piece=3)
    for number in range(8):  # and no flush: the process was killed
        answers.add("acme", answer(number))
    assert [lookup for _, lookup in journal(store).left()] == [answer(number) for number in range(6)]
    kept = ResponseStore(store, ErasureRegister(store)).load_lookups(DAY)
    assert kept == {("acme", answer(number).session_id): answer(number) for number in range(6)}


def test_a_piece_is_written_after_piece_s(store):
    answers = journal(store, piece_s=0)
    answers.add("acme", answer(1))
    assert [lookup for _, lookup in journal(store).left()] == [answer(1)]


def test_a_failed_run_leaves_its_responses_and_the_next_run_merges_them(store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupt(store, *map(answer, range(7)), piece=5)
    assert len(list(journal(store).left())) == 7
    with journal(store) as answers:
        answers.add("acme", answer(7))
    assert files(tmp_path) == ["answers.jsonl.zst"]
    assert list(ResponseStore(store, ErasureRegister(store)).load_lookups(DAY).values()) == [
        answer(number) for number in range(8)
    ]
    assert list(journal(store).left()) == []


def test_pieces_and_merged_lookups_agree_on_the_response_of_a_session(store):
    nothing = answer(1, minutes=9, body='{"recordings": []}')
    for lookups in ((answer(1), answer(2)), (nothing, answer(2, minutes=1))):
        with pytest.raises(KeyboardInterrupt):
            interrupt(store, *lookups, piece=1)
    wanted = {("acme", answer(1).session_id): answer(1), ("acme", answer(2).session_id): answer(2, minutes=1)}
    assert ResponseStore(store, ErasureRegister(store)).load_lookups(DAY) == wanted
    with journal(store):
        pass
    assert ResponseStore(store, ErasureRegister(store)).load_lookups(DAY) == wanted


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_pieces_of_any_size_and_order_merge_into_the_same_bytes(store, tmp_path, piece):
    expected = LocalStore(f"file://{tmp_path}/expected")
    with journal(expected) as answers:
        for number in range(40):
            answers.add("acme", answer(number))
    shuffled = sorted(range(40), key=lambda number: number * 17 % 40)
    with journal(store, piece=piece) as answers:
        for number in shuffled:
            answers.add("acme", answer(number))
    path = f"_answers/lookups/call_date={DAY}/answers.jsonl.zst"
    assert store.read(path) == expected.read(path)


def test_no_responses_write_nothing(store, tmp_path):
    with journal(store):
        pass
    assert files(tmp_path) == []


def test_a_run_without_responses_leaves_the_stored_object_unchanged(store, tmp_path):
    with journal(store) as answers:
        answers.add("acme", answer(1))
    (path,) = tmp_path.rglob("*.zst")
    before = path.stat().st_ino
    with journal(store):
        pass
    assert path.stat().st_ino == before


def test_a_damaged_piece_is_named(store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupt(store, answer(1))
    (path,) = tmp_path.rglob("pieces/*.zst")
    path.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=path.name):
        list(journal(store).left())
    with pytest.raises(StoreError, match=path.name):
        ResponseStore(store, ErasureRegister(store)).load_lookups(DAY)


def test_a_failing_store_does_not_hide_the_error_of_the_run(store, tmp_path, caplog):
    lookup = Lookup("s", LookupStatus.ERROR, NOW, error="no answer")
    (tmp_path / "catalog").write_bytes(b"a file where a folder belongs")
    with pytest.raises(KeyboardInterrupt):
        interrupt(store, lookup)
    assert "could not store 1 responses of 8x8" in caplog.text
