"""Erasure of entries: lines that name erased sessions or recordings are replaced by their hashes, which keeps the tree."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from callarchive.domain.errors import LedgerError
from callarchive.ledger.batches import Batch, BatchError, facts_of, path_of, redacted_line
from callarchive.ledger.checking import Entry
from callarchive.ledger.ledger import Ledger

ERASED, WITHDRAWN = "erased", "erasure_withdrawn"
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY = re.compile(rb'"call_date":"([0-9]{4}-[0-9]{2}-[0-9]{2})"')
_FILES = ("adopted", "archived", "quarantined", "version")
"""Events of files. Others name recordings at most: who held, proved or erased one stays on record."""


class LedgerReader:
    """Reads entries by what they name. Remembers the days and events of each file: it is not read again for others."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._days: dict[str, frozenset[bytes]] = {}
        self._found: dict[tuple[str, tuple[str, ...]], list[Entry]] = {}

    def naming(
        self, session_ids: Collection[str], recording_ids: Collection[str], *, days: Collection[str] | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the facts of each entry about these sessions, and about files of these recordings.

        Args:
            days: read only files with entries about one of these days.

        Raises LedgerError, StoreError.
        """
        sessions = {one.encode() for one in session_ids}
        every = sessions | {one.encode() for one in recording_ids}
        wanted = None if days is None else {day.encode() for day in days}
        for path in self._ledger.paths():
            if wanted is not None and path in self._days and wanted.isdisjoint(self._days[path]):
                continue
            data = self._ledger.store.read(path)
            if path not in self._days:
                self._days[path] = frozenset(_DAY.findall(data))
            if every.isdisjoint(_UUID.findall(data.lower())):
                continue
            for number, line in self._numbered(path, data):
                found = every.intersection(_UUID.findall(line.lower()))
                if found and ((facts := facts_of(line)).get("event") in _FILES or not found.isdisjoint(sessions)):
                    yield number, facts

    def entries(self, *events: str) -> Iterator[Entry]:
        """Yield the entries with one of these events, in order, unchecked. Raises LedgerError, StoreError."""
        marks = [f'"event":"{event}"'.encode() for event in events]
        for path in self._ledger.paths():
            if (path, events) not in self._found:
                data = self._ledger.store.read(path)
                self._found[path, events] = []
                for number, line in self._numbered(path, data) if any(mark in data for mark in marks) else ():
                    if any(mark in line for mark in marks) and (facts := facts_of(line)).get("event") in events:
                        self._found[path, events].append(Entry(number, facts))
            yield from self._found[path, events]

    def _numbered(self, path: str, data: bytes) -> Iterator[tuple[int, bytes]]:
        try:
            batch = Batch.decode(data)
        except BatchError as err:
            raise LedgerError(f"{self._ledger.store.uri(path)}: {err}: run `callarchive ledger verify`") from err
        return enumerate(batch.lines, batch.first)


def redact(ledger: Ledger, numbers: Collection[int], *, bypass_governance: bool = False) -> None:
    """Replace the entries with these numbers by their hashes, in every version of their files. May be repeated.

    No other process may redact at the same time. Raises LedgerError, StoreError, RetainedError.
    """
    firsts = [int(path.rpartition("/")[2].partition(".")[0]) for path in ledger.paths()]
    by_file: dict[int, set[int]] = defaultdict(set)
    for number in numbers:
        by_file[firsts[bisect_right(firsts, number) - 1]].add(number)
    for first, wanted in sorted(by_file.items()):
        path = path_of(first)
        batch = Batch.decode(ledger.store.read(path))
        lines = [
            redacted_line(line) if number in wanted else line for number, line in enumerate(batch.lines, batch.first)
        ]
        if lines != list(batch.lines):
            ledger.store.replace(path, Batch(batch.before, batch.note, lines).encode())
        ledger.store.erase_old_versions(path, bypass_governance=bypass_governance)
