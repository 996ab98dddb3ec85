"""Days with their ledger: put back, written again, interrupted, from before the ledger. See also `test_many_tamperings.py`."""

import random
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.archiving.transfer_journal import journal_folder
from callarchive.catalog import schemas
from callarchive.domain.errors import StoreError
from callarchive.ledger.batches import entry_line, facts_of
from callarchive.ledger.ledger import Ledger
from callarchive.ledger.notes import SigningKey
from callarchive.monitoring.verification import Defect
from callarchive.simulator.audio import SHAPES, make_recording
from tests.callarchive.monitoring.verification.tamperings import KINDS

FIRST, SECOND, THIRD = (date(2026, 1, day) for day in (5, 6, 7))
_FILES = ("archive", "catalog")


@pytest.fixture
def signed(archived_once: Any) -> Any:
    """The archived days; verification finds nothing wrong with them."""
    archived_once.restore()
    assert archived_once.verify_with_ledger() == (set(), [], [])
    return archived_once


def snapshot(days: Any, kept: Path) -> Path:
    for part in _FILES:
        shutil.copytree(days.root / part, kept / part)
    return kept


def put_back(days: Any, kept: Path, *parts: str) -> None:
    for part in parts:
        shutil.rmtree(days.root / part)
        shutil.copytree(kept / part, days.root / part)


def change_first_day(days: Any) -> None:
    """Archive the first day again after 8x8's file of one of its recordings changed."""
    put_another_file(days)
    days.trial.archive(FIRST)


def put_another_file(days: Any) -> None:
    """Replace the file of one of the first day's recordings in the landing."""
    row = next(
        row
        for row in days.rows(schemas.RECORDINGS)
        if row["archive_status"] == "archived" and row["subaccount_id"] == "demo_s3" and len(row["versions"]) == 1
    )
    path = row["source_uri"].removeprefix("s3://demo-recordings/my-recordings-path/")
    other = make_recording(shape=SHAPES[0], duration_s=44.0, seed=5)
    days.trial.simulator.s3.put(days.trial.simulator.world.accounts[0], path, other)


def test_a_catalog_of_an_earlier_day_is_found(signed: Any, tmp_path: Path) -> None:
    earlier = snapshot(signed, tmp_path)
    change_first_day(signed)
    assert signed.verify_with_ledger() == (set(), [], [])
    put_back(signed, earlier, "catalog")
    found, _, problems = signed.verify_with_ledger()
    assert problems == []
    rolled_back = [text for kind, text in found if kind is Defect.EDITED and "rolled back" in text]
    assert any("recordings/call_date=2026-01-05" in text for text in rolled_back), sorted(found)


def test_archive_and_catalog_of_an_earlier_day_are_found_with_a_kept_checkpoint(signed: Any, tmp_path: Path) -> None:
    earlier = snapshot(signed, tmp_path)
    change_first_day(signed)
    with signed.trial.connections() as connections:
        head = connections.ledger.head().note
    put_back(signed, earlier, *_FILES)
    assert signed.verify_with_ledger() == (set(), [], [])  # an intact archive of yesterday
    _, _, problems = signed.verify_with_ledger(since=head)
    assert ["its end was cut off" in problem for problem in problems] == [True]


def rewrite_ledger(days: Any, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Write the whole ledger again with other entries, as somebody without the signing key can."""
    with days.trial.connections() as connections:
        ledger: Ledger = connections.ledger
        batches = list(ledger.batches())
        for path in ledger.paths():
            ledger.store.delete(path)
        forged = Ledger(ledger.store, origin=ledger.origin, clock=connections.clock)
        for batch in batches:
            if kept := [facts for facts in (change(facts_of(line)) for line in batch.lines) if facts is not None]:
                forged.append(kept)


def test_a_rewritten_ledger_is_found_with_a_kept_checkpoint(signed: Any) -> None:
    with signed.trial.connections() as connections:
        before = connections.ledger.head().note
    KINDS["a_call_is_removed_from_all_tables"](signed, random.Random(1))
    rewrite_ledger(signed, lambda facts: None if facts["event"] == "archived" else facts)
    _, _, problems = signed.verify_with_ledger(since=before)
    assert len(problems) == 1


def test_a_ledger_rewritten_without_the_key_is_found(signed: Any) -> None:
    key = SigningKey.generate("callarchive")
    (signed.root / "key").write_text(key.private_text())
    configuration = signed.trial.config.read_text()
    signed.trial.configure('[ledger]\nsigning_key = { file = "key" }')
    change_first_day(signed)
    assert signed.verify_with_ledger() == (set(), [], [])
    rewrite_ledger(signed, lambda facts: facts)
    _, _, problems = signed.verify_with_ledger()
    assert ["nothing is signed with a known key" in problem for problem in problems] == [True]
    signed.trial.config.write_text(configuration)


def test_an_interrupted_run_is_unfinished_and_not_edited(signed: Any) -> None:
    """The run recorded a table and was killed before it took its place; the next run finishes."""
    with signed.trial.connections() as connections:
        connections.ledger.append(
            [
                {
                    "event": "published",
                    "table": "sessions",
                    "call_date": str(FIRST),
                    "path": schemas.SESSIONS.partition_path(FIRST),
                    "sha256": "0" * 64,
                    "row_count": 8,
                }
            ]
        )
    found, not_checked, problems = signed.verify_with_ledger()
    assert (found, problems) == (set(), [])
    assert ["a run was killed before it replaced it" in reason for reason in not_checked] == [True]


def test_a_run_that_keeps_the_table_closes_what_an_interrupted_one_recorded(
    signed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Ledger.append

    def append_and_end(ledger: Ledger, entries: Any) -> Any:
        append(ledger, entries)
        raise StoreError("killed")

    with signed.trial.connections() as connections:
        rows = connections.catalog.partition(schemas.SESSIONS, FIRST)
        monkeypatch.setattr(Ledger, "append", append_and_end)
        with connections.day_lock(FIRST), pytest.raises(StoreError, match="killed"):
            connections.recorder.publish(schemas.SESSIONS, FIRST, rows.slice(1))
        monkeypatch.undo()
        found, not_checked, _ = signed.verify_with_ledger()
        assert (found, len(not_checked)) == (set(), 1)
        for _ in range(2):
            with connections.day_lock(FIRST):
                connections.recorder.publish(schemas.SESSIONS, FIRST, rows)
            assert signed.verify_with_ledger() == (set(), [], [])
        assert connections.ledger.store.list("_ledger/open") == []


def test_a_run_after_the_ledger_was_read_is_no_finding(signed: Any) -> None:
    from callarchive.monitoring.verification import verify_days
    from callarchive.monitoring.verification.witnessed import read_ledger
    from callarchive.runtime.worker_pool import NoProgress

    with signed.trial.connections() as connections:
        ledger = read_ledger(connections)
        change_first_day(signed)
        days = list(verify_days(connections, [FIRST], ledger=ledger, progress=NoProgress()))
    assert [(day.defects, day.not_checked) for day in days] == [((), ())]


def test_a_day_between_two_steps_of_a_run_is_unfinished_and_has_no_defect(signed: Any) -> None:
    """Each step of a run writes its table; until the last one has, the tables of the day need not agree."""
    put_another_file(signed)
    with signed.trial.connections() as connections:
        for number, step in enumerate(DAY_STEPS, start=1):
            with connections.day_lock(FIRST):
                step.run(connections, FIRST)
            found, not_checked, problems = signed.verify_with_ledger()
            assert (found, problems) == (set(), []), step.table.name
            is_last = number == len(DAY_STEPS)
            assert any("was interrupted: archive the day again" in reason for reason in not_checked) is not is_last
    assert not_checked == []


def test_files_that_a_killed_run_stored_are_not_extra(signed: Any) -> None:
    """The recordings have their names, and neither the journal nor a table has them yet."""
    row = next(row for row in signed.rows(schemas.RECORDING_FILES) if row["archive_path"] is not None)
    new = signed.archive / row["archive_path"].replace(".mp3", ".0123456789abcdef.mp3")
    new.write_bytes(b"x")
    assert any(kind is Defect.EXTRA for kind, _ in signed.verify_with_ledger()[0])
    with signed.trial.connections() as connections:
        connections.catalog_day(FIRST).begin()
    found, not_checked, _ = signed.verify_with_ledger()
    assert found == set()
    assert any(f"{new.name}: no row names it, and a run of {FIRST} was interrupted" in reason for reason in not_checked)


def test_an_archive_from_before_the_ledger_is_taken_in(signed: Any) -> None:
    shutil.rmtree(signed.archive / "_ledger")
    _, _, problems = signed.verify_with_ledger()
    assert ["there is no ledger" in problem for problem in problems] == [True]
    change_first_day(signed)
    assert signed.verify_with_ledger() == (set(), [], [])
    with signed.trial.connections() as connections:
        events = [facts_of(line)["event"] for batch in connections.ledger.batches() for line in batch.lines]
    assert {"adopted", "adopted_partition", "adopted_day", "version", "quarantined"} <= set(events)
    assert events.index("started") < events.index("archived")
    assert events.count("started") == 1


def test_damaged_tables_from_before_the_ledger_keep_no_other_day_from_being_archived(
    signed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(signed.archive / "_ledger")
    files = signed.part(schemas.RECORDING_FILES, SECOND)
    whole = files.read_bytes()
    files.write_bytes(b"damaged")
    signed.part(schemas.SESSIONS, THIRD).write_bytes(b"damaged")
    change_first_day(signed)
    assert f"does not take in {SECOND} yet" in caplog.text
    files.write_bytes(whole)
    signed.trial.archive()
    assert signed.verify_with_ledger() == (set(), [], [])


def test_rejected_bytes_stay_when_the_recording_is_audio_at_last(signed: Any) -> None:
    row = signed.recording(archive_status="rejected")
    path = row["source_uri"].removeprefix("s3://demo-recordings/my-recordings-path/")
    audio = make_recording(shape=SHAPES[0], duration_s=20.0, seed=5)
    signed.trial.simulator.s3.put(signed.trial.simulator.world.accounts[0], path, audio)
    signed.trial.archive(FIRST)
    assert signed.recording(recording_id=row["recording_id"])["archive_status"] == "archived"
    assert signed.verify_with_ledger() == (set(), [], [])
    signed.file(row["quarantine_uri"]).unlink()
    found, _, _ = signed.verify_with_ledger()
    assert [kind for kind, text in found if row["quarantine_uri"] in text] == [Defect.REMOVED]


def test_an_entry_with_values_that_no_run_writes_is_not_compared(signed: Any) -> None:
    for facts in (
        {"event": "archived", "call_date": str(FIRST)},
        {"event": "archived", "call_date": str(FIRST), "archive_path": [], "sha256": "0"},
        {"event": "published", "call_date": str(FIRST), "path": {}, "sha256": "0"},
    ):
        with signed.trial.connections() as connections:
            connections.ledger.append([facts])
        _, not_checked, _ = signed.verify_with_ledger()
        assert ["values that no run wrote" in reason for reason in not_checked] == [True]
        signed.restore()


def test_taking_in_goes_on_after_a_kill(signed: Any) -> None:
    """The ledger has two of three days when the process ends."""
    shutil.rmtree(signed.archive / "_ledger")
    with signed.trial.connections() as connections:
        connections.recorder.start()
    entries = signed.archive / "_ledger" / "entries"
    (signed.archive / "_ledger" / "started").unlink()
    batches = sorted(entries.iterdir())
    adopted = [path for path in batches if b'"event":"adopted_day"' in path.read_bytes()]
    for path in batches[batches.index(adopted[1]) + 1 :]:
        path.unlink()
    change_first_day(signed)
    assert signed.verify_with_ledger() == (set(), [], [])


def test_a_journal_of_an_interrupted_transfer_is_no_finding(signed: Any) -> None:
    """The files are in the archive and the journal; neither recording_files nor the ledger has them yet."""
    folder = signed.catalog / journal_folder(FIRST)
    folder.mkdir(parents=True)
    row = dict(signed.rows(schemas.RECORDING_FILES)[0])
    path = f"demo_s3/call_date={FIRST}/{row['session_id']}/{row['recording_id']}.0123456789abcdef.mp3"
    new = {
        **row,
        "versions": [*(row["versions"] or []), path],
        "versions_sha256": [*(row["versions_sha256"] or []), "0"],
    }
    table = pa.Table.from_pylist([new], schema=schemas.RECORDING_FILES.schema)
    import pyarrow.parquet as pq

    pq.write_table(table, folder / "1.parquet")
    found, not_checked, _ = signed.verify_with_ledger()
    assert not any("no run recorded it" in text for _, text in found)
    assert any("interrupted" in reason for reason in not_checked)


def test_an_entry_line_is_what_is_hashed() -> None:
    facts = {"b": 1, "a": "é"}
    assert entry_line(facts) == '{"a":"é","b":1}'.encode()
