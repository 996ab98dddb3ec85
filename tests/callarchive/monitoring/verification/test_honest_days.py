"""Results of normal runs have no finding, and what cannot be compared is reported."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from callarchive.archiving.transfer_journal import journal_folder
from callarchive.catalog import schemas
from callarchive.domain.errors import StoreError
from callarchive.monitoring.verification import Defect
from callarchive.storage.stores import StoredObject
from callarchive.storage.stores.local import LocalStore

FIRST, SECOND, THIRD = (date(2026, 1, day) for day in (5, 6, 7))


def test_an_unchanged_archive_has_no_finding_even_if_it_was_moved(archived: Any) -> None:
    states = {row["archive_status"] for day in (FIRST, SECOND, THIRD) for row in archived.rows(schemas.RECORDINGS, day)}
    assert {"archived", "rejected"} < states
    for sample in (1.0, 0.1):
        days = archived.verify(sample=sample, seed=5)
        assert [(day.defects, day.not_checked) for day in days] == [((), ())] * 3
        assert all(day.row_count and day.file_count for day in days)
        read = sum(day.read_count for day in days)
        assert (read == sum(day.file_count for day in days)) is (sample == 1)
        assert [day.read_bytes for day in days] == [day.read_bytes for day in archived.verify(sample=sample, seed=5)]
    for name in ("archive", "catalog"):
        shutil.move(archived.root / name, archived.root / f"moved-{name}")
    elsewhere = {
        f"CALLARCHIVE_{name.upper()}__URL": f"file://{archived.root}/moved-{name}" for name in ("archive", "catalog")
    }
    done = subprocess.run(
        [sys.executable, "-c", "from callarchive.cli import main; main()", "--json", "verify"],
        env={**archived.trial.process_environment(), **elsewhere, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert set(result["findings_by_kind"]) == {defect.value for defect in Defect}
    assert set(result["findings_by_kind"].values()) == {0}
    assert result["checked"]["files"] == result["checked"]["files_read"] == sum(day.file_count for day in days)
    assert result["checked"]["bytes_read"] > 0
    assert result["not_checked"] == result["days_without_trace"] == []


def test_a_range_without_an_archived_day_is_an_error(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(sessions_per_day=2)
    nothing = trial.run("verify")
    assert nothing.returncode == 1
    assert "no day is archived in" in nothing.stderr
    trial.archive()
    done = trial.run("verify", "--from", "2025-11-01", "--to", "2025-11-30")
    assert done.returncode == 1
    assert "no day from 2025-11-01 to 2025-11-30 is archived" in done.stderr
    assert "0 defects" not in done.stdout
    assert "Traceback" not in done.stderr
    assert trial.run("verify", "--from", "2026-01-06", "--to", "2026-01-05").returncode == 2
    result = trial.run("verify")
    assert result.returncode == 0
    assert ": 0 defects" in result.stdout


def test_what_cannot_be_compared_is_reported_and_stops_nothing_else(
    archived: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = archived.recording(archive_status="archived")["archive_uri"]
    other = next(row["archive_uri"] for row in archived.rows(schemas.RECORDINGS, SECOND) if row["archive_uri"])
    archived.file(gone).unlink()

    # A store that lists nothing and no folders, though each file can be had.
    with monkeypatch.context() as lying:
        lying.setattr(LocalStore, "list", _lists_no_recordings(LocalStore.list))
        first, second, third = archived.verify()
    assert [finding for finding in first.defects if finding.defect is Defect.MISSING] == [(Defect.MISSING, gone)]
    assert not second.defects
    for day in (first, second, third):
        assert "lacks" in " ".join(day.not_checked)
        assert day.read_count > 0

    # A folder that may not be listed, and a file that may not be read.
    with monkeypatch.context() as refusing:
        refusing.setattr(LocalStore, "list", _refuses(LocalStore.list, f"demo_s3/call_date={FIRST}"))
        refusing.setattr(LocalStore, "open", _refuses(LocalStore.open, other.partition("/archive/")[2]))
        first, second, third = archived.verify()
    kinds = {finding.defect: finding.what for finding in first.defects}
    assert kinds.keys() == {Defect.UNREADABLE, Defect.MISSING}, "each is asked for, and only one is not there"
    assert "not listed" in kinds[Defect.UNREADABLE]
    assert kinds[Defect.MISSING] == gone
    assert [(finding.defect, other in finding.what) for finding in second.defects] == [(Defect.UNREADABLE, True)]
    assert not third.defects

    # A run that was killed: its tables need not agree, its files must.
    begun = archived.catalog / journal_folder(SECOND) / "begun"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"")
    archived.edit(schemas.SESSIONS, lambda _: True, SECOND, call_count=99)
    done = archived.trial.run("verify", "--from", str(SECOND), "--to", str(SECOND))
    assert done.returncode == 1
    assert f"not checked  {SECOND}  tables of {SECOND}: a run of {SECOND} was interrupted" in done.stdout
    summary, _, ledger = done.stdout.splitlines()[-1].partition("; ")
    assert summary.endswith(": 1 defect (1 edited), 1 item not checked"), "the ledger shows the edited table"
    assert ledger.endswith(": 0 problems")
    archived.trial.archive(SECOND)
    assert archived.verify(SECOND)[0].defects == ()


def _lists_no_recordings(honest: Callable[..., list[StoredObject]]) -> Callable[..., list[StoredObject]]:
    return lambda store, folder: [item for item in honest(store, folder) if not item.path.endswith(".mp3")]


def _refuses(honest: Callable[..., Any], refused: str) -> Callable[..., Any]:
    def ask(store: LocalStore, path: str) -> Any:
        if path == refused:
            raise StoreError(f"{store.url}: listing {path} failed: Permission denied")
        return honest(store, path)

    return ask
