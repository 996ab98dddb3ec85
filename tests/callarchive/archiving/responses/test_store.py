"""The response store, on a real store on disk."""

import csv
import json
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from callarchive.archiving.responses.store import ResponseStore
from callarchive.custody.erasures import ErasureRegister
from callarchive.domain.errors import StoreError
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.storage.stores.local import LocalStore
from callarchive.voice_api.lookups import read_lookup

DAY = date(2026, 11, 1)
NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)
ONE = "e35e3d0e-065a-11ec-b119-676cb2bc33e1"
TWO = "e35e3d0e-065a-11ec-b119-676cb2bc33e2"
RECORDING = "eef54fc2-065a-11ec-bce9-ed1000154345"
OK = f'{{"recordings": [{{"recordingId": "{RECORDING}", "status": "PROCESSING", "other": 1.50}}]}}'
NUMBER = "+65 9123 4567"


def keep(number):
    return number


def hashed(number):
    return f"hmac-sha256:{hash(number):x}" if number else None


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "catalog"


@pytest.fixture
def answers(folder):
    return ResponseStore(store := LocalStore(f"file://{folder}"), ErasureRegister(store))


def answer(session_id=ONE, *, body=OK, http_status=200, minutes=0):
    at = NOW + timedelta(minutes=minutes)
    return read_lookup(session_id=session_id, http_status=http_status, body=body, looked_up_at=at)


def silence(session_id=ONE, *, minutes=0, unreachable=True):
    return Lookup(
        session_id, LookupStatus.ERROR, NOW + timedelta(minutes=minutes), error="no answer", unreachable=unreachable
    )


def save(answers, *lookups, account="acme_sg", mask=keep):
    with answers.journal(DAY, masks={account: mask}) as journal:
        for lookup in lookups:
            journal.add(account, lookup)


def text_of(folder):
    """Return every stored byte, unpacked."""
    return b"".join(
        pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd").read() for path in sorted(folder.rglob("*.zst"))
    ).decode()


def test_a_day_without_lookups_is_empty(answers):
    assert answers.load_lookups(DAY) == {}
    with answers.load_call_log(DAY, "acme_sg") as files:
        assert files is None


def test_every_kind_of_response_round_trips(answers, folder):
    kept = [
        answer(ONE),
        answer(TWO, body='{"statusCode": 1404, "statusMessage": "no"}', http_status=404),
        answer(RECORDING, body='{"recordings": null}'),
        silence("e35e3d0e-065a-11ec-b119-676cb2bc33e4"),
        answer("e35e3d0e-065a-11ec-b119-676cb2bc33e5", body="<html>\ud800"),
        Lookup("not an id", LookupStatus.ERROR, NOW, error="not a session id"),
    ]
    save(answers, *kept)
    assert answers.load_lookups(DAY) == {("acme_sg", lookup.session_id): lookup for lookup in kept}
    assert [str(path.relative_to(folder)) for path in folder.rglob("*.zst")] == [
        "_answers/lookups/call_date=2026-11-01/answers.jsonl.zst"
    ]


def test_accounts_and_days_are_separate(answers):
    save(answers, answer(ONE))
    save(answers, answer(ONE, body='{"statusCode": 1404, "statusMessage": "no"}', http_status=404), account="other")
    with answers.journal(DAY + timedelta(days=1), masks={}) as journal:
        journal.add("acme_sg", answer(TWO))
    found = answers.load_lookups(DAY)
    assert {key: lookup.status for key, lookup in found.items()} == {
        ("acme_sg", ONE): LookupStatus.OK,
        ("other", ONE): LookupStatus.NOT_FOUND,
    }


def test_the_newest_response_wins_in_any_order(answers):
    newer = OK.replace("PROCESSING", "CALLBACK_COMPLETED")
    save(answers, answer(minutes=5, body=newer))
    save(answers, answer(minutes=1))
    assert answers.load_lookups(DAY)["acme_sg", ONE].recordings[0].api_status == "CALLBACK_COMPLETED"


def test_a_response_with_recordings_survives_their_deletion_at_8x8(answers):
    save(answers, answer(minutes=1))
    save(answers, answer(minutes=9, body='{"recordings": []}'))
    assert answers.load_lookups(DAY)["acme_sg", ONE].status is LookupStatus.OK


@pytest.mark.parametrize(
    "error", [silence(minutes=9), answer(body="<html>", minutes=9), answer(body="{}", http_status=500, minutes=9)]
)
def test_an_error_without_recordings_never_replaces_a_response(answers, error):
    save(answers, answer())
    save(answers, error)
    assert answers.load_lookups(DAY)["acme_sg", ONE] == answer()
    save(answers, silence(TWO))
    save(answers, answer(TWO, minutes=1))
    assert answers.load_lookups(DAY)["acme_sg", TWO].status is LookupStatus.OK


def test_an_error_with_recordings_replaces_a_response(answers):
    save(answers, answer())
    partly = f'{{"recordings": [{{"recordingId": "{RECORDING}", "status": "UPLOAD_FAILED"}}, 5]}}'
    save(answers, answer(body=partly, minutes=1))
    assert answers.load_lookups(DAY)["acme_sg", ONE].recordings[0].api_status == "UPLOAD_FAILED"


def test_equal_responses_give_equal_bytes(answers, folder):
    save(answers, answer(TWO), answer(ONE))
    (path,) = folder.rglob("*.zst")
    before = path.read_bytes()
    path.unlink()
    save(answers, answer(ONE), answer(TWO))
    assert path.read_bytes() == before


def test_numbers_in_bodies_are_masked_before_they_are_stored(answers, folder):
    body = OK[:-1] + f', "source": "{NUMBER}", "details": {{"callA": {{"msisdn": 6591234567}}}}}}'
    html = f"<html>call from {NUMBER}"
    for mask in (lambda _: None, hashed):
        save(answers, answer(body=body, minutes=1), answer(TWO, body=html, minutes=1), mask=mask)
        assert "9123" not in text_of(folder)
        assert answers.load_lookups(DAY)["acme_sg", ONE].recordings == answer(body=body).recordings
        shutil.rmtree(folder)
    with answers.journal(DAY, masks={}) as journal:
        journal.add("acme_sg", answer(body=body))
    assert "9123" not in text_of(folder)


def test_a_stored_hash_is_not_hashed_again(answers):
    save(answers, answer(body=OK[:-1] + f', "source": "{NUMBER}"}}'), mask=hashed)
    once = answers.load_lookups(DAY)["acme_sg", ONE]
    save(answers, Lookup(ONE, once.status, NOW + timedelta(1), http_status=200, body=once.body), mask=hashed)
    assert answers.load_lookups(DAY)["acme_sg", ONE].body == once.body


def test_a_body_without_numbers_is_stored_unchanged(answers):
    save(answers, answer(), mask=lambda _: None)
    assert answers.load_lookups(DAY)["acme_sg", ONE].body == OK
    nested = '{"statusCode": 0, "x": ' + "[" * 700 + "]" * 700 + "}"
    save(answers, answer(TWO, body=nested), mask=lambda _: None)
    assert answers.load_lookups(DAY)["acme_sg", TWO].status in (LookupStatus.NO_RECORDINGS, LookupStatus.ERROR)


@pytest.mark.parametrize("damage", [b"", b"not zstd at all", None])
def test_a_damaged_object_is_named(answers, folder, damage):
    save(answers, answer())
    (path,) = folder.rglob("*.zst")
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    with pytest.raises(StoreError, match=r"answers\.jsonl\.zst"):
        answers.load_lookups(DAY)


HEADER = "SessionId,CallId,SourceEndpoint,DestinationEndpoint,InitiatedAt,Content"


def write(tmp_path, *texts):
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"in-{number}.csv")
        paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
    return paths


def load(answers, account="acme_sg"):
    with answers.load_call_log(DAY, account) as files:
        return [list(csv.reader(path.read_text(encoding="utf-8").splitlines(keepends=True))) for path in files]


def test_call_logs_are_stored_without_numbers_and_content(answers, tmp_path, folder):
    rows = f'{ONE},1,{NUMBER},6598765432,2026-11-01T10:00:00Z,"{{""say"": ""call 91234567""}}"\r\n'
    other = f"destination endpoint;SESSIONID;CONTENT;x\n{NUMBER};{TWO};hello 91234567;ü\n"
    answers.save_call_log(DAY, "acme_sg", write(tmp_path, f"\ufeff{HEADER}\r\n{rows}", other), lambda _: None)
    assert load(answers) == [
        [
            ["SessionId", "CallId", "SourceEndpoint", "DestinationEndpoint", "InitiatedAt"],
            [ONE, "1", "", "", "2026-11-01T10:00:00Z"],
        ],
        [["destination endpoint", "SESSIONID", "x"], ["", TWO, "ü"]],
    ]
    assert "9123" not in text_of(folder)


def test_numbers_are_kept_or_hashed_as_the_account_says(answers, tmp_path):
    files = write(tmp_path, f'{HEADER}\n{ONE},1,{NUMBER},,2026-11-01T10:00:00Z,"a\n""b"""\n')
    answers.save_call_log(DAY, "acme_sg", files, keep)
    assert load(answers)[0][1] == [ONE, "1", NUMBER, "", "2026-11-01T10:00:00Z", 'a\n"b"']
    answers.save_call_log(DAY, "acme_sg", files, hashed)
    assert load(answers)[0][1] == [ONE, "1", hashed(NUMBER), "", "2026-11-01T10:00:00Z"]


def test_rows_of_the_wrong_length_keep_their_session_and_lose_their_numbers(answers, tmp_path, folder):
    text = (
        f"{HEADER}\n{ONE},1,an,extra,{NUMBER},6598765432,x,y\n"
        f'{ONE},2,"never closed {NUMBER},,\n{TWO},3,,{NUMBER},2026-11-01T10:00:00Z,\n'
    )
    answers.save_call_log(DAY, "acme_sg", write(tmp_path, text), lambda _: None)
    (rows,) = load(answers)
    assert rows[1][0] == ONE
    assert rows[2][:2] == [ONE, "2"]
    assert rows[3] == [TWO, "3", "", "", "2026-11-01T10:00:00Z"]
    assert "9123" not in text_of(folder)
    assert "9876" not in text_of(folder)


def test_malformed_files_are_stored_as_far_as_possible(answers, tmp_path, folder):
    texts = [b"", f"<html>{NUMBER}", f"{HEADER}\n".encode() + b"\xff\x00,2,,,,\n", f"{HEADER}\n{'x' * 200_000},,,,,\n"]
    texts += [f'{HEADER}\n{ONE},a"b\rc,,,,\n{TWO},1,,,,"\n']
    answers.save_call_log(DAY, "acme_sg", write(tmp_path, *texts), lambda _: None)
    assert "9123" not in text_of(folder)
    with answers.load_call_log(DAY, "acme_sg") as files:
        assert len(files) == 5


def test_saving_again_replaces_all_files_and_none_is_an_empty_log(answers, tmp_path):
    files = write(tmp_path, f"{HEADER}\n", f"{HEADER}\n")
    answers.save_call_log(DAY, "acme_sg", files, keep)
    answers.save_call_log(DAY, "acme_sg", files[:1], keep)
    assert len(load(answers)) == 1
    answers.save_call_log(DAY, "acme_sg", [], keep)
    assert load(answers) == []


def test_an_account_whose_name_begins_with_a_dot_has_its_own_path(answers, tmp_path, folder):
    answers.save_call_log(DAY, "..a", write(tmp_path, f"{HEADER}\n"), keep)
    assert load(answers, "..a") == [[HEADER.split(",")]]
    assert [path.name for path in folder.rglob("*.zst")] == ["%2E.a.tar.zst"]


def test_a_damaged_call_log_is_named(answers, tmp_path, folder):
    answers.save_call_log(DAY, "acme_sg", write(tmp_path, f"{HEADER}\n"), keep)
    (path,) = folder.rglob("*.zst")
    path.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"acme_sg\.tar\.zst"):
        load(answers)


@pytest.mark.needs("zstd", "tar")
def test_standard_tools_open_the_stored_files(answers, tmp_path, folder):
    save(answers, answer())
    answers.save_call_log(DAY, "acme_sg", write(tmp_path, f"{HEADER}\n"), keep)
    lookups, log = folder.rglob("*.jsonl.zst"), folder.rglob("*.tar.zst")
    line = subprocess.run(["zstd", "-dc", next(lookups)], capture_output=True, check=True, timeout=10).stdout
    assert json.loads(line)["session_id"] == ONE
    listed = subprocess.run(["tar", "--zstd", "-tf", next(log)], capture_output=True, check=True, timeout=10).stdout
    assert listed == b"log-0000.csv\n"


def test_no_password_and_no_signature_in_a_url_is_stored(answers, folder):
    url = "sftp://pushuser:hunter2@h/up/a.mp3?X-Amz-Signature=abcdef"
    body = json.dumps({"recordings": [{"recordingId": ONE, "status": "UPLOAD_COMPLETED", "externalFileUrl": url}]})
    save(answers, answer(body=body))
    ((lookup),) = answers.load_lookups(DAY).values()
    assert lookup.recordings[0].external_file_url == "sftp://h/up/a.mp3"
    assert "hunter2" not in (lookup.body or "")
    assert "abcdef" not in (lookup.body or "")
