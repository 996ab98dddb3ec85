"""Verification of holds and erasures: honest ones pass; what is removed, edited, forged or unfinished is named."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.custody.erasures import Erasure
from callarchive.custody.holds import Scope
from callarchive.domain.errors import ArchiveError
from callarchive.monitoring.verification import verify_days
from callarchive.monitoring.verification.custody import compare_custody
from callarchive.monitoring.verification.witnessed import read_ledger
from callarchive.removal.erasing import Erasing, Order
from callarchive.removal.holds import Person, add_hold, release_hold
from callarchive.runtime.worker_pool import NoProgress
from callarchive.simulator.faults import Fault

PARTS = ("archive", "catalog")
Change = Callable[["Held"], object]


class Held:
    """An archived day with a hold, a released hold and an erased session."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial
        self.root: Path = trial.config.parent
        self.day = trial.days[0]
        rows = [row for row in trial.tables()["recordings"] if row["archive_status"] == "archived"]
        self.erased, self.kept = rows[0], next(r for r in rows if r["session_id"] != rows[0]["session_id"])
        with trial.connections() as connections:
            scope = Scope(session_id=self.kept["session_id"])
            self.hold = add_hold(connections, scope, reason="case 17", by=Person("ann")).hold_id
            scope = Scope(subaccount_id=self.kept["subaccount_id"], first=self.day)
            self.released = add_hold(connections, scope, reason="case 18", by=Person("ann")).hold_id
            release_hold(connections, self.released, reason=None, by=Person("bob"))
            entries = self.root / "archive" / "_ledger" / "entries"
            self.ledger_before = {path: path.read_bytes() for path in entries.iterdir()}
            self.responses_before = {
                path: path.read_bytes() for path in (self.root / "catalog" / "_answers").rglob("*.*")
            }
            erasing = Erasing(connections)
            done = erasing.erase(
                self.erased["subaccount_id"],
                self.day,
                Order(reason="request 1", by="ann"),
                sessions=[self.erased["session_id"]],
            )
            erasing.finish()
        assert done is not None
        self.erasure = done.erasure
        for part in PARTS:
            shutil.copytree(self.root / part, self.root / "whole" / part)

    def restore(self) -> None:
        for part in PARTS:
            shutil.rmtree(self.root / part)
            shutil.copytree(self.root / "whole" / part, self.root / part)

    def path(self, hold_id: str, name: str = "hold.json") -> Path:
        return self.root / "archive" / "_holds" / hold_id / name

    @property
    def register(self) -> Path:
        return self.root / "archive" / "_erased" / f"call_date={self.day}" / f"{self.erasure.erasure_id}.json"

    def set_status(self, status: str, *, recording_id: str) -> None:
        """Write another status into `recording_files`, with no other value, as an erasure does."""
        with self.trial.connections() as connections:
            rows = connections.catalog.partition(schemas.RECORDING_FILES, self.day)
            listed = rows.to_pylist()
            for row in listed:
                if row["recording_id"] == recording_id:
                    row.update(
                        {name: None for name in row if name not in ("subaccount_id", "session_id", "recording_id")}
                    )
                    row["archive_status"] = status
            connections.catalog.replace_partition(schemas.RECORDING_FILES, self.day, listed)

    def report(self) -> list[str]:
        with self.trial.connections() as connections:
            ledger = read_ledger(connections)
            found, unfinished = compare_custody(connections, ledger)
            verified = list(verify_days(connections, [self.day], ledger=ledger, progress=NoProgress()))
        findings = [*found, *(finding for day in verified for finding in day.defects)]
        not_checked = [*unfinished, *(reason for day in verified for reason in day.not_checked)]
        return [
            *(f"{defect} {what}" for defect, what in findings),
            *(f"not checked {reason}" for reason in not_checked),
            *ledger.problems,
        ]


@pytest.fixture(scope="module")
def once(start_shared_trial: Callable[..., Any]) -> Held:
    trial = start_shared_trial(sessions_per_day=5)
    trial.archive()
    return Held(trial)


@pytest.fixture
def held(once: Held) -> Iterator[Held]:
    yield once
    once.restore()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def copy_as(path: Path, name: str) -> None:
    shutil.copy(path, path.with_name(name))


def released_by_hand(held: Held) -> None:
    copy_as(held.path(held.released, "release.json"), "x")
    shutil.move(held.path(held.released, "x"), held.path(held.hold, "release.json"))


def a_forged_erasure(held: Held) -> None:
    facts = json.loads(held.register.read_text()) | {"recording_ids": [held.kept["recording_id"]]}
    held.register.with_name("erasure-forged.json").write_text(json.dumps(facts))


def a_forged_beginning(held: Held) -> None:
    with held.trial.connections() as connections:
        forged = replace(held.erasure, erasure_id="erasure-forged", deleting=True)
        connections.register.begin(forged)


def readable_again(held: Held) -> None:
    for path, data in held.ledger_before.items():
        path.write_bytes(data)


def responses_again(held: Held) -> None:
    for path, data in held.responses_before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


TAMPERINGS: dict[str, tuple[Change, str]] = {
    "hold removed": (
        lambda h: h.path(h.hold).unlink(),
        "removed hold {hold}: its object is gone, but the ledger has it",
    ),
    "hold folder removed": (lambda h: shutil.rmtree(h.path(h.hold).parent), "by ann: case 17"),
    "all holds removed": (lambda h: shutil.rmtree(h.path(h.hold).parent.parent), "removed hold {released}: its object"),
    "hold damaged": (lambda h: h.path(h.hold).write_text("{"), "unreadable hold {hold}: "),
    "hold of another session": (
        lambda h: edit(h.path(h.hold), h.kept["session_id"], h.erased["session_id"]),
        "edited hold {hold}: session_hash is",
    ),
    "hold of fewer days": (
        lambda h: edit(h.path(h.released), f'"{h.day}"', '"2030-01-01"'),
        "edited hold {released}: first is 2030-01-01, but {day} in the ledger (entry",
    ),
    "other reason": (lambda h: edit(h.path(h.hold), "case 17", "none"), "reason is none, but case 17 in the ledger"),
    "other person": (lambda h: edit(h.path(h.hold), '"ann"', '"eve"'), "by is eve, but ann in the ledger"),
    "released by hand": (released_by_hand, "added hold {hold}: released by bob in the archive, but the ledger has no"),
    "released by another": (
        lambda h: edit(h.path(h.released, "release.json"), "bob", "eve"),
        "edited hold {released}: released by eve, but by bob in the ledger",
    ),
    "release removed": (
        lambda h: h.path(h.released, "release.json").unlink(),
        "not checked hold {released}: released in the ledger (entry",
    ),
    "file among holds": (lambda h: copy_as(h.path(h.hold), "hold.json.bak"), "extra file://"),
    "file among erasures": (lambda h: copy_as(h.register, "Notes.txt"), "extra file://"),
    "register entry removed": (
        lambda h: h.register.unlink(),
        "its part of the register is gone, so what it erased may",
    ),
    "register removed": (lambda h: shutil.rmtree(h.register.parent.parent), "removed file://"),
    "register damaged": (lambda h: h.register.write_text("["), "is damaged: restore it, or what was erased may return"),
    "register of other types": (
        lambda h: h.register.write_text('{"subaccount_id": "a", "session_hashes": 5, "recording_ids": []}'),
        "is damaged: restore it, or what was erased may return",
    ),
    "register no object": (
        lambda h: h.register.write_text("[5]"),
        "is damaged: restore it, or what was erased may return",
    ),
    "register of another kind": (
        lambda h: edit(h.register, '"kind": "erase"', '"kind": "retention"'),
        "its kind differ from those in the ledger (entry",
    ),
    "folder of no day": (
        lambda h: shutil.copytree(h.register.parent, h.register.parent.with_name("call_date=2026-99-99")),
        "callarchive writes no file of that name",
    ),
    "register edited": (
        lambda h: edit(h.register, h.erased["recording_id"], h.kept["recording_id"]),
        "its recording_ids differ from those in the ledger (entry",
    ),
    "register forged": (a_forged_erasure, "erasure-forged.json: the ledger has no erasure of this name"),
    "beginning forged": (
        a_forged_beginning,
        "begun/erasure-forged.json: it says that its deletion has begun, but the ledger",
    ),
    "ledger rolled back behind the erasure": (readable_again, "was erased and is readable again ("),
    "responses rolled back behind the erasure": (
        responses_again,
        "added {account}/{erased}: it was erased, but a stored response names it: erase it again",
    ),
    "tombstone forged": (
        lambda h: h.set_status("erased", recording_id=h.kept["recording_id"]),
        "edited recording_files {account}/{kept}: it is erased, but the ledger has no erasure of it",
    ),
    "tombstone removed": (
        lambda h: h.set_status("missing", recording_id=h.erased["recording_id"]),
        "added recording_files {account}/{gone}: it is missing, but it was erased (entry",
    ),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampering_with_holds_and_erasures_is_named(held: Held, kind: str) -> None:
    change, expected = TAMPERINGS[kind]
    change(held)
    names = {
        "hold": held.hold,
        "released": held.released,
        "day": held.day,
        "account": held.kept["subaccount_id"],
        "kept": held.kept["recording_id"],
        "gone": held.erased["recording_id"],
        "erased": held.erased["session_id"],
    }
    report = "\n".join(held.report())
    assert expected.format(**names) in report


def test_honest_holds_and_erasures_have_no_finding(held: Held) -> None:
    assert held.report() == []
    held.trial.archive()
    assert held.report() == []


def test_an_erased_recording_of_an_account_that_fails_is_no_finding(held: Held) -> None:
    account, faults = held.erased["subaccount_id"], held.trial.simulator.api.faults
    faults.add(Fault.answer(401), match=account, times=None)
    with suppress(ArchiveError):
        held.trial.archive()
    faults.clear()
    [line] = held.report()
    assert line.startswith(f"not checked tables of {account}: the latest run could not archive it")


def test_an_unfinished_erasure_makes_its_day_not_checked(held: Held) -> None:
    with held.trial.connections() as connections:
        begun: Erasure = replace(held.erasure, erasure_id="erasure-begun", deleting=False)
        connections.register.begin(begun)
        connections.register.add(begun)
    [line] = held.report()
    assert line.startswith(f"not checked {held.day}: erasure-begun of {held.kept['subaccount_id']} was begun by ann")
    assert "run `callarchive erase --continue`" in line


def test_verify_prints_holds_and_erasures(held: Held) -> None:
    held.path(held.hold).unlink()
    done = held.trial.run("verify")
    assert done.returncode == 1
    assert f"removed  -  hold {held.hold}: its object is gone" in done.stdout
    assert "1 defect (1 removed)" in done.stdout


def test_a_hold_without_its_entry_is_unfinished(held: Held) -> None:
    with held.trial.connections() as connections:
        hold = connections.holds.add(
            Scope(recording_id=held.kept["recording_id"]), reason="x", by="ann", at=connections.clock()
        )
    [line] = held.report()
    assert line.startswith(f"not checked hold {hold.hold_id}: the ledger has no entry of it: a command was killed")


def test_a_withdrawn_erasure_has_no_finding(held: Held) -> None:
    with held.trial.connections() as connections:
        about = {"erasure": "erasure-withdrawn", "subaccount_id": "demo_s3", "call_date": str(held.day), "by": "ann"}
        lists = {"recording_ids": [held.kept["recording_id"]], "session_hashes": [], "entries": [0]}
        connections.recorder.record({"event": "erased", **about, **lists})
        connections.recorder.record({"event": "erasure_withdrawn", **about, "holds": [held.hold]})
    assert held.report() == []
