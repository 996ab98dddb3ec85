"""Holds and erasures in the archive against the ledger: removed, edited and forged ones, and what killed commands left."""

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.custody import erasures, holds
from callarchive.custody.erasures import Erasure
from callarchive.domain.days import day_of_folder
from callarchive.domain.errors import ArchiveError
from callarchive.domain.foreign_text import cleaned_path
from callarchive.ledger.checking import CheckedLedger, Entry
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.removal.holds import known_holds

_NAMES = re.compile(
    rf"{holds.FOLDER}/[a-z-]+/(hold|release)\.json|{erasures.FOLDER}/(begun|call_date=[0-9-]{{10}})/[a-z-]+\.json"
)
_SETS = ("session_hashes", "recording_ids")
_CONTINUE = "run `callarchive erase --continue`"


def erasures_in(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return the last entry of each erasure, by its id, without withdrawn ones."""
    found = {}
    for entry in entries:
        if entry.facts["event"] == "erased":
            found[str(entry.facts.get("erasure"))] = entry
        elif entry.facts["event"] == "erasure_withdrawn":
            found.pop(str(entry.facts.get("erasure")), None)
    return found


def compare_custody(connections: Connections, checked: CheckedLedger) -> tuple[list[Finding], list[str]]:
    """Return the findings about holds and erasures, and the holds that a killed command left. Raises ArchiveError.

    Without a ledger, only names and damage are checked. Days with an unfinished erasure are reported by their verification.
    """
    findings = list(_unknown_files(connections))
    unfinished = []
    with connections.custody_lock_for_reading():
        if checked.size:
            checked.extend()
        for known in known_holds(connections, checked.noted):
            for kind, what in known.contradictions() if checked.size else known.damages():
                if kind == "unfinished":
                    unfinished.append(what)
                else:
                    findings.append(Finding(Defect(kind), what))
        begun = {erasure.erasure_id: erasure for erasure in _begun(connections, findings)}
        if checked.size:
            findings += _erasures(connections, checked, begun)
    return findings, unfinished


def unfinished_erasure(erasure: Erasure) -> str:
    """Return what to do about an erasure that was begun and is not complete."""
    forged = f"if nobody began it, remove {erasures.FOLDER}/begun/{erasure.erasure_id}.json before anything is erased"
    begun = f"{erasure.erasure_id} of {erasure.subaccount_id} was begun by {erasure.by} and is not complete"
    return f"{begun}: {_CONTINUE}; {forged}"


def concerns(erasure: Erasure, day: date) -> bool:
    """Return whether an erasure that is not complete may have changed a part of the day's tables and files."""
    return abs(erasure.call_date - day) <= timedelta(days=1)


def _begun(connections: Connections, findings: list[Finding]) -> list[Erasure]:
    try:
        return connections.register.begun()
    except ArchiveError as err:
        findings.append(Finding(Defect.UNREADABLE, str(err)))
        return []


def _erasures(connections: Connections, checked: CheckedLedger, begun: dict[str, Erasure]) -> Iterator[Finding]:
    recorded, uri = erasures_in(checked.noted), connections.archive.store.uri
    found: dict[str, tuple[date, dict[str, Any]]] = {}
    try:
        for day, erasure_id, facts in connections.register.entries():
            found[erasure_id] = day, facts
    except (ArchiveError, ValueError) as err:
        yield Finding(Defect.UNREADABLE, str(err))
        return
    for erasure_id, entry in recorded.items():
        known, of = entry.facts, f"{erasure_id} of {entry.facts.get('subaccount_id')}, {entry.facts.get('call_date')}"
        named = f"entry {entry.number}, by {known.get('by')}, {known.get('at')}"
        if erasure_id not in found:
            if erasure_id not in begun:
                what = "its part of the register is gone, so what it erased may return: restore it from a backup"
                path = f"{erasures.FOLDER}/call_date={known.get('call_date')}/{erasure_id}.json"
                yield Finding(Defect.REMOVED, f"{uri(path)}: {of} ({named}): {what}")
            continue
        day, facts = found.pop(erasure_id)
        place = uri(f"{erasures.FOLDER}/call_date={day}/{erasure_id}.json")
        differ = [name for name in _SETS if sorted(facts.get(name, ())) != sorted(known.get(name, ()))]
        same = {
            "call_date": str(day),
            "subaccount_id": facts.get("subaccount_id"),
            "kind": facts.get("kind", known.get("kind")),
        }
        differ += [name for name, value in same.items() if known.get(name) != value]
        if differ and erasure_id not in begun:
            yield Finding(
                Defect.EDITED, f"{place}: its {', '.join(differ)} differ from those in the ledger ({named}): restore it"
            )
    for erasure_id, (day, _) in found.items():
        if erasure_id not in begun:
            place = uri(f"{erasures.FOLDER}/call_date={day}/{erasure_id}.json")
            what = "the ledger has no erasure of this name, and runs do not archive what it lists: remove it"
            yield Finding(Defect.ADDED, f"{place}: {what}")
    for erasure in begun.values():
        if erasure.deleting and erasure.erasure_id not in recorded:
            what = "it says that its deletion has begun, but the ledger has no entry of it: remove it"
            yield Finding(Defect.ADDED, f"{uri(f'{erasures.FOLDER}/begun/{erasure.erasure_id}.json')}: {what}")
    erased = [e.facts for e in checked.noted if e.facts["event"] == "erased" and e.facts.get("erasure") in recorded]
    if not begun and (left := checked.readable(number for facts in erased for number in facts.get("entries", ()))):
        yield Finding(
            Defect.ADDED,
            f"the ledger: entry {left[0]} was erased and is readable again ({len(left)} of that kind): restore its file",
        )


def _unknown_files(connections: Connections) -> Iterator[Finding]:
    store = connections.archive.store
    for folder in (holds.FOLDER, erasures.FOLDER):
        for item in store.list(folder):
            parent = item.path.split("/")[1]
            is_day = not parent.startswith("call_date=") or day_of_folder(parent) is not None
            if not (is_day and _NAMES.fullmatch(item.path)):
                yield Finding(
                    Defect.EXTRA, f"{store.url}/{cleaned_path(item.path)}: callarchive writes no file of that name"
                )
