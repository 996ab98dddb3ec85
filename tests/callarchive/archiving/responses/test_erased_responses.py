"""Erased ids leave the stored responses, and what a later run stores of them."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.responses.lines import without_erased
from callarchive.archiving.responses.store import ResponseStore
from callarchive.custody.erasures import Erasure, ErasureRegister
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.storage.stores.local import LocalStore
from callarchive.voice_api.lookups import read_lookup
from tests.traces import traces_of

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)
ONE, TWO, THREE = (f"e35e3d0e-065a-11ec-b119-676cb2bc33e{number}" for number in (1, 2, 3))
A, B, C = (f"eef54fc2-065a-11ec-bce9-ed100015434{letter}" for letter in "abc")
IDS = ErasedIds("acme", frozenset([ONE]), frozenset([A, B]))


def response(session_id: str, *recordings: str, minutes: int = 0) -> Lookup:
    listed = [
        {"recordingId": one, "status": "PROCESSING", "externalFileUrl": f"s3://b/{one}.mp3"} for one in recordings
    ]
    body = json.dumps({"recordings": listed, "statusCode": 0})
    at = NOW + timedelta(minutes=minutes)
    return read_lookup(session_id=session_id, http_status=200, body=body, looked_up_at=at)


def keep(number: str | None) -> str | None:
    return number


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(f"file://{tmp_path}/catalog")


@pytest.fixture
def responses(store: LocalStore) -> ResponseStore:
    return ResponseStore(store, ErasureRegister(store))


def csv(path: Path, *sessions: str) -> Path:
    path.write_text("SessionId,Note\n" + "".join(f"{one},call {number}\n" for number, one in enumerate(sessions)))
    return path


def test_lookups_lose_erased_sessions_and_the_entries_of_erased_recordings(
    responses: ResponseStore, tmp_path: Path
) -> None:
    with responses.journal(DAY, masks={"acme": keep, "other": keep}) as journal:
        for lookup in (response(ONE, A), response(TWO, B, C), response(THREE, B)):
            journal.add("acme", lookup)
        journal.add("other", response(ONE, C))
    with responses.journal(DAY, masks={"acme": keep}) as journal:  # of a run that was killed
        journal.add("acme", response(ONE, A, minutes=1))
        journal.keep_pieces()
    assert traces_of(A, tmp_path)
    responses.erase(DAY, IDS)
    responses.erase(DAY, IDS)
    found = responses.load_lookups(DAY)
    assert {key: [one.recording_id for one in lookup.recordings] for key, lookup in found.items()} == {
        ("acme", TWO): [C],
        ("acme", THREE): [],
        ("other", ONE): [C],
    }
    assert found["acme", TWO] == response(TWO, C)
    assert found["acme", THREE].status is LookupStatus.NO_RECORDINGS
    assert traces_of(A, tmp_path) == traces_of(B, tmp_path) == []


@pytest.mark.parametrize(
    "body",
    [
        f'{{"recordings": [{{"recordingId": "{B.upper()}", "status": "PROCESSING"}}], "note": "see {B}"}}',
        f'{{"recordings": [{{"recordingId": "{B}", "status": "PROCESSING", "status": "OTHER"}}]}}',
        f'{{"recordings": "{B}"}}',
        f"<html>{B.replace('-', '')}",
        f'{{"statusMessage": "no file {B}"}}',
    ],
)
def test_no_response_keeps_an_erased_recording_whatever_its_form(body: str) -> None:
    lookup = without_erased(read_lookup(session_id=TWO, http_status=200, body=body, looked_up_at=NOW), IDS)
    assert not IDS.in_text(f"{lookup.body} {lookup.error} {lookup.recordings}")
    assert lookup.session_id == TWO


def test_an_error_of_a_lookup_loses_the_id() -> None:
    failed = Lookup(TWO, LookupStatus.ERROR, NOW, error=f"recording {B}: no status", http_status=200)
    assert without_erased(failed, IDS).error == "recording (erased): no status"
    other = response(TWO, C)
    assert without_erased(other, IDS) is other


def test_call_logs_lose_the_rows_of_erased_sessions_and_later_ones_never_have_them(
    responses: ResponseStore, store: LocalStore, tmp_path: Path
) -> None:
    def kept() -> list[str]:
        with responses.load_call_log(DAY, "acme") as files:
            return [file.read_text() for file in files or ()]

    logs = [csv(tmp_path / "one.csv", ONE.upper(), TWO), csv(tmp_path / "two.csv", ONE)]
    responses.save_call_log(DAY, "acme", logs, keep)
    assert len(kept()) == 2
    left = [f"SessionId,Note\n{TWO},call 1\n"]  # a file with nothing but its header would look like a cut export
    responses.erase(DAY, IDS)
    assert kept() == left
    assert traces_of(ONE, tmp_path / "catalog") == []
    facts: dict[str, Any] = {"erasure_id": "erasure-a", "subaccount_id": "acme", "reason": "case 1", "by": "ann"}
    ErasureRegister(store).add(Erasure(call_date=DAY, session_ids=frozenset([ONE]), **facts))
    ResponseStore(store, ErasureRegister(store)).save_call_log(DAY, "acme", logs, keep)
    assert kept() == left
    assert traces_of(ONE, tmp_path / "catalog") == []
