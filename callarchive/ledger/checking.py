"""The check of the whole ledger: its order, its hashes, its signatures, and the checkpoints that others keep of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.domain.evidence import Absent
from callarchive.ledger.batches import FOLDER, STARTED, Batch, BatchError, facts_of, line_hash, path_of
from callarchive.ledger.ledger import Ledger
from callarchive.ledger.notes import Checkpoint, NoteError, signers
from callarchive.ledger.tree import Frontier


@dataclass(frozen=True)
class Witness:
    """A checkpoint that is kept elsewhere, and where."""

    checkpoint: Checkpoint
    place: str


@dataclass(frozen=True)
class Entry:
    """An entry: its number from 0, and its facts."""

    number: int
    facts: dict[str, Any]


NOTED = frozenset(
    (
        "configured",
        "erased",
        "erasure_withdrawn",
        "evidence",
        "hold_added",
        "hold_release_requested",
        "hold_released",
        "started",
    )
)
"""Events of what people did, which are few: a ledger that was read keeps their entries."""


@dataclass
class CheckedLedger:
    """A ledger that was read whole.

    Attributes:
        problems: what is wrong, a sentence each.
        size: the number of entries.
        root: the root hash of their tree.
        note: the last checkpoint; empty without entries.
        signed_by: the name of the key that signed the last checkpoint; empty if none of the known ones did.
        unsigned_count: entries from before the first signature.
        days: the numbers of the first entries of the files with entries about each day.
        witnesses: the checkpoints that it was compared with.
        noted: the entries with one of the events `NOTED`, in order.
    """

    ledger: Ledger
    problems: list[str] = field(default_factory=list)
    size: int = 0
    root: bytes = b""
    note: str = ""
    signed_by: str = ""
    unsigned_count: int = 0
    days: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    witnesses: tuple[Witness, ...] = ()
    noted: list[Entry] = field(default_factory=list)
    _tree: Frontier = field(default_factory=Frontier)
    _is_signed: bool = False
    _started: int = 0
    _redacted: set[int] = field(default_factory=set)
    _erased: set[int] = field(default_factory=set)

    def entries(self, day: str) -> Iterator[Entry]:
        """Yield the entries about a day, in order. Raises LedgerError, StoreError."""
        for first in self.days.get(day, ()):
            batch = Batch.decode(self.ledger.store.read(path_of(first)))
            for number, line in enumerate(batch.lines, first):
                facts = facts_of(line)
                if day in _days_of(facts):
                    yield Entry(number, facts)

    def readable(self, numbers: Iterable[int]) -> list[int]:
        """Return those of the numbers whose entries are not redacted."""
        return sorted(set(numbers) - self._redacted)

    def extend(self) -> bool:
        """Read the files that were added since the last call, and return whether there are any. Raises StoreError."""
        paths = [path for path in self.ledger.paths() if path >= path_of(self._tree.size)]
        for path in () if self._tree.size else self.ledger.unknown_files():
            self._add(f"{self.ledger.store.uri(path)}: no run wrote it: remove it")
        witnesses = () if self.size else self.witnesses
        sizes = {witness.checkpoint.size for witness in witnesses}
        roots = {self._tree.size: self._tree.root()} if self._tree.size in sizes else {}
        for path in paths:
            self._read(path, sizes, roots)
        self.size, self.root = self._tree.size, self._tree.root()
        for witness in witnesses:
            self._compare(witness, roots)
        store = self.ledger.store
        if self._started and self.size > self._started and isinstance(store.stat(STARTED), Absent):
            self._add(f"{store.uri(STARTED)}: it was removed, but entry {self._started - 1} was followed by others")
        if lost := sorted(self._redacted - self._erased):
            self._add(f"entry {lost[0]} was erased, and no entry says so ({len(lost)} of that kind)")
        return bool(paths)

    def _read(self, path: str, sizes: set[int], roots: dict[int, bytes]) -> None:
        uri = self.ledger.store.uri(path)
        try:
            batch = Batch.decode(self.ledger.store.read(path))
        except ObjectNotFoundError:
            return self._add(f"{uri}: it was removed while the ledger was read")
        except BatchError as err:
            return self._add(f"{uri}: {err}")
        expected = self._tree.size
        if path != path_of(batch.first):
            self._add(f"{uri}: its name is wrong: its first entry is {batch.first}")
        if batch.first > expected:
            self._add(f"{uri}: entries {expected} to {batch.first - 1} are missing before it")
            self._tree = batch.before.copy()
        elif batch.first < expected:
            return self._add(f"{uri}: it has entries that the file before it has too: the ledger was forked")
        elif batch.before.hashes != self._tree.hashes:
            self._add(f"{uri}: it does not continue the file before it: the ledger was forked or edited")
        for number, line in enumerate(batch.lines, batch.first):
            self._take(number, line, batch.first, uri)
            if self._tree.size in sizes:
                roots[self._tree.size] = self._tree.root()
        return self._check_note(batch, uri)

    def _take(self, number: int, line: bytes, first: int, uri: str) -> None:
        try:
            self._tree.append(line_hash(line))
            facts = facts_of(line)
            days = _days_of(facts)
            if "redacted" in facts:
                self._redacted.add(number)
            elif facts.get("event") in NOTED:
                self.noted.append(Entry(number, facts))
                self._erased.update(facts.get("entries", ()))
                self._started = number + 1 if facts["event"] == "started" else self._started
        except BatchError as err:
            return self._add(f"{uri}: entry {number}: {err}")
        except (TypeError, AttributeError):
            return self._add(f"{uri}: entry {number} has facts that no run writes")
        for day in days:
            firsts = self.days[day]
            if not firsts or firsts[-1] != first:
                firsts.append(first)
        return None

    def _check_note(self, batch: Batch, uri: str) -> None:
        try:
            checkpoint = batch.checkpoint
            found = signers(batch.note, self.ledger.public_keys)
        except NoteError as err:
            return self._add(f"{uri}: its checkpoint: {err}")
        if (checkpoint.size, checkpoint.root) != (self._tree.size, self._tree.root()):
            self._add(f"{uri}: its entries do not have the hash in its checkpoint: entries were edited")
        if checkpoint.origin != self.ledger.origin:
            self._add(f"{uri}: it is of the ledger {checkpoint.origin}, not of {self.ledger.origin} (ledger.origin)")
        if found:
            self._is_signed = True
        elif self._is_signed:
            self._add(f"{uri}: its checkpoint is not signed with a known key, but earlier ones are")
        else:
            self.unsigned_count = self._tree.size
        self.note, self.signed_by = batch.note, found[0].name if found else ""
        return None

    def _compare(self, witness: Witness, roots: dict[int, bytes]) -> None:
        checkpoint = witness.checkpoint
        if checkpoint.origin != self.ledger.origin:
            self._add(f"{witness.place} is a checkpoint of {checkpoint.origin}, not of {self.ledger.origin}")
        elif checkpoint.size > self.size:
            ends = f"the ledger has {self.size} entries, but had {checkpoint.size} according to {witness.place}"
            self._add(f"{ends}: its end was cut off")
        elif roots.get(checkpoint.size) != checkpoint.root:
            self._add(f"the first {checkpoint.size} entries are not those of {witness.place}: the ledger was rewritten")

    def _add(self, problem: str) -> None:
        if problem not in self.problems:  # `extend` may find it again
            self.problems.append(problem)


def check_ledger(ledger: Ledger, witnesses: Sequence[Witness] = ()) -> CheckedLedger:
    """Read the ledger whole, and compare it with checkpoints that are kept elsewhere. Raises StoreError."""
    checked = CheckedLedger(ledger, witnesses=tuple(witnesses))
    checked.extend()
    if checked.size and not checked.signed_by and ledger.public_keys and not checked.problems:
        checked.problems.append(
            "nothing is signed with a known key: no run has ended since it was set, or it was rewritten"
        )
    if not checked.size:
        place = ledger.store.uri(FOLDER)
        checked.problems.append(f"{place}: there is no ledger: it begins with the next run, or it was removed")
    return checked


def witness_in(note: str, place: str, ledger: Ledger) -> Witness:
    """Return the checkpoint in a note that somebody kept. Raises ArchiveError if it is none, or its signature is wrong."""
    try:
        witness = Witness(Checkpoint.parse(note), place)
        signers(note, ledger.public_keys)
    except NoteError as err:
        raise ArchiveError(f"{place}: {err}: `callarchive ledger head` prints a checkpoint") from err
    return witness


def _days_of(facts: dict[str, Any]) -> set[str]:
    """Return the days that an entry is about."""
    if "call_date" in facts:
        return {str(facts["call_date"])}
    paths = [str(partition.get("path", "")) for partition in facts.get("partitions", ())]
    return {path.partition("/call_date=")[2].partition("/")[0] for path in paths}
