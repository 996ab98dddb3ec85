"""Appending to the ledger from several threads and processes, and what a check of the whole finds."""

import base64
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callarchive.domain.errors import ArchiveError, LedgerError, StoreError
from callarchive.domain.foreign_text import mask_numbers
from callarchive.ledger.anchor import Anchor
from callarchive.ledger.batches import Batch, path_of, redacted_line
from callarchive.ledger.checking import CheckedLedger, check_ledger, witness_in
from callarchive.ledger.ledger import Ledger
from callarchive.ledger.notes import Checkpoint, SigningKey
from callarchive.ledger.tree import leaf_hash
from callarchive.settings import S3Settings
from callarchive.storage.stores.local import LocalStore
from callarchive.storage.stores.local_root import HeldFolder
from callarchive.storage.stores.opening import file_url
from callarchive.storage.stores.s3 import S3Store

KEY = SigningKey("callarchive", bytes(range(32)))
AT = datetime(2026, 11, 1, tzinfo=UTC)


def open_ledger(folder: Path, key: SigningKey | None = KEY) -> Ledger:
    return Ledger(LocalStore(file_url(folder)), origin="callarchive", clock=lambda: AT, signing_key=key)


def facts(number: int) -> dict[str, object]:
    return {"event": "archived", "call_date": f"2026-01-{1 + number % 3:02d}", "number": number}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger with the entries 0 to 9 in four files."""
    made = open_ledger(tmp_path)
    for first, end in ((0, 1), (1, 4), (4, 9), (9, 10)):
        made.append([facts(number) for number in range(first, end)])
    return made


def edit(ledger: Ledger, first: int, change: Callable[[bytes], bytes]) -> None:
    ledger.store.replace(path_of(first), change(ledger.store.read(path_of(first))))


def problems(ledger: Ledger, *kept: str) -> str:
    return " | ".join(check_ledger(ledger, [witness_in(note, "a kept file", ledger) for note in kept]).problems)


def test_entries_are_kept_in_order_with_their_time(ledger: Ledger) -> None:
    checked = check_ledger(ledger)
    assert (checked.size, checked.problems, checked.signed_by) == (10, [], "callarchive")
    found = [entry for day in sorted(checked.days) for entry in checked.entries(day)]
    assert sorted(entry.number for entry in found) == list(range(10))
    assert all(entry.facts == {**facts(entry.number), "at": "2026-11-01T00:00:00+00:00"} for entry in found)
    with pytest.raises(ValueError, match="an append needs entries"):
        ledger.append([])


def test_threads_append_one_after_the_other(tmp_path: Path) -> None:
    shared, own = open_ledger(tmp_path), [open_ledger(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (shared if n % 2 else own[n % 4]).append([facts(n), facts(n)]), range(40)))
    checked = check_ledger(shared)
    assert (checked.size, checked.problems) == (80, [])
    numbers = sorted(entry.facts["number"] for day in checked.days for entry in checked.entries(day))
    assert numbers == sorted([*range(40)] * 2)


def test_processes_append_one_after_the_other_and_killed_ones_leave_nothing_open(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_ledger import facts, open_ledger
for number in range(100_000):
    open_ledger(Path({str(tmp_path)!r})).append([facts(number)])
"""
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    ledger = open_ledger(tmp_path)
    while len(ledger.paths()) < 60:
        ledger.append([facts(1)])
        assert all(process.poll() is None for process in running)
    for process in running:
        process.kill()
        process.wait()
    ledger.append([facts(2)])
    assert check_ledger(ledger).problems == []


def test_an_append_that_fails_late_leaves_no_hole_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = open_ledger(tmp_path), open_ledger(tmp_path)
    ours.append([facts(0)])
    whole, is_failing = HeldFolder.sync, [True]

    def fail_after_another_append(folder: HeldFolder) -> None:
        if is_failing.pop() if is_failing else False:
            theirs.append([facts(2)])
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        whole(folder)

    monkeypatch.setattr(HeldFolder, "sync", fail_after_another_append)
    with pytest.raises(StoreError, match="Input/output error"):
        ours.append([facts(1)])
    ours.append([facts(3)])
    checked = check_ledger(open_ledger(tmp_path))
    assert (checked.size, checked.problems) == (4, [])


def test_an_append_whose_confirmation_is_wrong_leaves_no_hole_before_the_next(
    s3_store: S3Store, s3_endpoint: str, meddling_server: Callable[..., str], aws_environment: None
) -> None:
    def deny_after_another_append(exchange: Any) -> None:
        if exchange.method == "PUT" and "/_ledger/" in exchange.path and not changed:
            changed.append(exchange.path)
            theirs.append([facts(2)])
            exchange.headers["x-amz-checksum-sha256"] = base64.b64encode(bytes(32)).decode()

    changed: list[str] = []
    endpoint = meddling_server(s3_endpoint, answered=deny_after_another_append)
    settings = S3Settings(endpoint_url=endpoint, region="us-east-1")
    ours, theirs = (
        Ledger(store, origin="callarchive", clock=lambda: AT, signing_key=KEY)
        for store in (S3Store(s3_store.url, settings), s3_store)
    )
    theirs.append([facts(0)])
    ours.append([facts(1)])
    ours.append([facts(3)])
    checked = check_ledger(theirs)
    assert (checked.size, checked.problems, len(changed)) == (4, [], 1)


def test_entries_that_were_edited_are_found(ledger: Ledger) -> None:
    edit(ledger, 4, lambda data: data.replace(b'"number":5', b'"number":6'))
    assert "its entries do not have the hash in its checkpoint" in problems(ledger)
    with pytest.raises(LedgerError, match="ledger verify"):
        edit_and_append(ledger)


def edit_and_append(ledger: Ledger) -> None:
    edit(ledger, 9, lambda data: data.replace(b'"number":9', b'"number":8'))
    Ledger(ledger.store, origin="callarchive", clock=lambda: AT, signing_key=KEY).append([facts(10)])


def test_a_file_in_the_middle_that_was_removed_is_found(ledger: Ledger) -> None:
    ledger.store.delete(path_of(4))
    assert "entries 4 to 8 are missing before it" in problems(ledger)


def test_an_end_that_was_cut_off_is_found_with_a_kept_checkpoint(ledger: Ledger) -> None:
    head = ledger.head()
    assert head is not None
    ledger.store.delete(path_of(9))
    assert problems(ledger) == ""  # without a checkpoint elsewhere this is an earlier, intact ledger
    assert "its end was cut off" in problems(ledger, head.note)


def rewritten(ledger: Ledger, tmp_path: Path, key: SigningKey | None) -> Ledger:
    """A ledger in which entry 5 never happened, made from the beginning by somebody who has this key."""
    forged = open_ledger(tmp_path / "forged", key)
    for first, end in ((0, 1), (1, 4), (4, 9), (9, 10)):
        forged.append([facts(number + (number == 5)) for number in range(first, end)])
    for path in forged.paths():
        ledger.store.replace(path, forged.store.read(path))
    return ledger


def test_a_rewritten_ledger_is_found_by_its_signatures_or_a_kept_checkpoint(ledger: Ledger, tmp_path: Path) -> None:
    head = ledger.head()
    assert head is not None
    unsigned = check_ledger(rewritten(ledger, tmp_path / "unsigned", None))
    assert unsigned.unsigned_count == 10
    assert ["nothing is signed with a known key" in problem for problem in unsigned.problems] == [True]
    stranger = SigningKey("callarchive", bytes(32))
    assert check_ledger(rewritten(ledger, tmp_path / "stranger", stranger)).signed_by == ""
    assert problems(rewritten(ledger, tmp_path / "stolen", KEY)) == ""  # the key is all that it takes
    assert "the ledger was rewritten" in problems(ledger, head.note)


def test_entries_added_without_the_key_stay_visible_after_later_signatures(ledger: Ledger, tmp_path: Path) -> None:
    open_ledger(tmp_path, None).append([facts(99)])
    ledger.append([facts(10)])
    assert "its checkpoint is not signed with a known key, but earlier ones are" in problems(ledger)


def test_a_fork_is_found(ledger: Ledger, tmp_path: Path) -> None:
    other = open_ledger(tmp_path / "other")
    other.append([facts(0)])
    other.append([facts(77), facts(78)])
    ledger.store.replace(path_of(3), Batch.encode(Batch.decode(other.store.read(path_of(1)))))
    assert "its name is wrong" in problems(ledger)
    assert "the ledger was forked" in problems(ledger)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\n" + data,
        lambda data: data.replace(b'"first":', b'"first":-'),
        lambda data: data.replace(b'"first":', b'"first":""'),
        lambda data: data.replace(b'"frontier":["', b'"frontier":["AAAA'),
        lambda data: data.replace(b'"checkpoint":"callarchive', b'"checkpoint":"'),
        lambda data: data.replace(b'"checkpoint":"callarchive\\n', b'"checkpoint":"callarchive\\n' + b"9" * 5000),
        lambda data: data.replace(b'"first"', b'"x":' + b"[" * 100_000 + b',"first"'),
        lambda data: b"[]\n" + data.partition(b"\n")[2],
        lambda data: data.partition(b"\n")[0] + b"\n" + b"{\n" * 5,
    ],
)
def test_malformed_files_are_problems_and_no_tracebacks(ledger: Ledger, change: Callable[[bytes], bytes]) -> None:
    edit(ledger, 4, change)
    assert path_of(4) in problems(ledger)
    edit(ledger, 9, change)
    with pytest.raises(LedgerError, match="ledger verify"):
        Ledger(ledger.store, origin="callarchive", clock=lambda: AT, signing_key=KEY).append([facts(10)])


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"event":"completed","partitions":7}',
        b'{"event":"completed","partitions":[7]}',
        b'{"event":"erased","entries":7}',
        b'{"event":"erased","entries":[[]]}',
        b"\xff",
    ],
    ids=["nested", "no list", "no partition", "no numbers", "lists", "no text"],
)
def test_an_entry_that_no_run_writes_is_a_problem_and_no_traceback(ledger: Ledger, line: bytes) -> None:
    before = Batch.decode(ledger.store.read(path_of(9))).after()
    after = before.copy()
    after.append(leaf_hash(line))
    note = KEY.sign(Checkpoint("callarchive", after.size, after.root()).text())
    ledger.store.create(path_of(10), Batch(before, note, [line]).encode())
    assert "entry 10" in problems(ledger)


def test_messages_name_the_files(ledger: Ledger) -> None:
    assert mask_numbers(path_of(9)) == path_of(9)


def test_a_file_of_somebody_else_is_named_and_prevents_no_append(ledger: Ledger) -> None:
    ledger.store.create("_ledger/entries/notes.txt", b"x")
    assert "_ledger/entries/notes.txt: no run wrote it: remove it" in problems(ledger)
    open_again = Ledger(ledger.store, origin="callarchive", clock=lambda: AT, signing_key=KEY)
    batch = open_again.append([facts(10)])
    assert batch is not None
    assert batch.path == path_of(10)


def test_facts_beside_the_hash_of_an_erased_entry_are_refused(ledger: Ledger) -> None:
    """The tree has only the hash: without the refusal, anybody could write facts there."""
    ledger.append([{"event": "erased", "entries": [6]}])
    batch = Batch.decode(ledger.store.read(path_of(4)))
    forged = redacted_line(batch.lines[2])[:-1] + b',"event":"archived","call_date":"2026-01-01"}'
    lines = [forged if number == 6 else line for number, line in enumerate(batch.lines, 4)]
    ledger.store.replace(batch.path, Batch(batch.before, batch.note, lines).encode())
    assert "entry 6: an erased entry is malformed" in problems(ledger)


def test_an_erased_entry_keeps_the_tree_and_needs_an_entry_that_says_so(ledger: Ledger) -> None:
    batch = Batch.decode(ledger.store.read(path_of(4)))
    lines = [redacted_line(line) if number == 6 else line for number, line in enumerate(batch.lines, 4)]
    ledger.store.replace(batch.path, Batch(batch.before, batch.note, lines).encode())
    assert b'"number":6' not in ledger.store.read(batch.path)
    assert problems(ledger) == "entry 6 was erased, and no entry says so (1 of that kind)"
    checked = check_ledger(ledger)
    checked.extend()  # as `verify` does for each day
    assert len(checked.problems) == 1
    ledger.append([{"event": "erased", "entries": [6]}])
    assert problems(ledger) == ""


def test_a_ledger_of_another_origin_is_not_continued(ledger: Ledger) -> None:
    renamed = Ledger(ledger.store, origin="acme.example/recordings", clock=lambda: AT)
    with pytest.raises(
        LedgerError, match=r"it is of the ledger callarchive, but ledger.origin is acme.example/recordings"
    ):
        renamed.append([facts(10)])


def test_a_check_goes_on_with_what_was_added_since(ledger: Ledger) -> None:
    checked = check_ledger(ledger)
    assert not checked.extend()
    ledger.append([facts(10)])
    assert checked.extend()
    assert (checked.size, checked.problems) == (11, [])


def test_the_anchor_keeps_checkpoints_and_refuses_another_history(ledger: Ledger, tmp_path: Path) -> None:
    anchor = Anchor(LocalStore(file_url(tmp_path / "anchor")), ledger)
    head = ledger.head()
    assert head is not None
    assert anchor.last() is None
    anchor.keep(head)
    anchor.keep(head)  # a rerun after a kill
    last = anchor.last()
    assert last is not None
    assert last.checkpoint == head.checkpoint
    forged = rewritten(ledger, tmp_path / "forged", KEY).head()
    assert forged is not None
    with pytest.raises(LedgerError, match="has another hash than the ledger"):
        anchor.keep(forged)


@pytest.mark.parametrize("note", ["", "nonsense", "callarchive\nten\nAAAA\n"])
def test_what_is_no_checkpoint_is_not_compared(ledger: Ledger, note: str) -> None:
    with pytest.raises(ArchiveError, match=r"kept.txt: not a checkpoint.*ledger head"):
        witness_in(note, "kept.txt", ledger)


def test_files_are_json_lines_that_other_programs_read(ledger: Ledger) -> None:
    lines = ledger.store.read(path_of(4)).decode().splitlines()
    assert json.loads(lines[0])["first"] == 4
    assert [json.loads(line)["number"] for line in lines[1:]] == [4, 5, 6, 7, 8]


def test_there_is_no_ledger_yet(tmp_path: Path) -> None:
    empty = open_ledger(tmp_path)
    checked: CheckedLedger = check_ledger(empty)
    assert empty.head() is None
    assert (checked.size, len(checked.problems)) == (0, 1)
    assert "there is no ledger" in checked.problems[0]
