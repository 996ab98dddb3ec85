"""The anchor: checkpoints kept where those who can write to the archive cannot change them."""

from contextlib import suppress

from callarchive.domain.errors import AlreadyExistsError, LedgerError
from callarchive.ledger.batches import FOLDER, Batch
from callarchive.ledger.checking import Witness, witness_in
from callarchive.ledger.ledger import Ledger
from callarchive.storage.stores import Store

_FOLDER = "checkpoints"


class Anchor:
    """Checkpoints of a ledger in a store of their own, each under its size."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self.store = store
        self._ledger = ledger

    @staticmethod
    def path_of(size: int) -> str:
        """Return where the checkpoint of this size is."""
        return f"{_FOLDER}/{size:020d}.txt"

    def keep(self, batch: Batch) -> None:
        """Store the checkpoint of the last batch. Raises LedgerError if another one of that size is there, StoreError."""
        path = self.path_of(batch.checkpoint.size)
        with suppress(AlreadyExistsError):
            self.store.create(path, batch.note.encode())
            return
        kept = witness_in(self.store.read(path).decode(errors="replace"), self.store.uri(path), self._ledger)
        if kept.checkpoint != batch.checkpoint:
            raise LedgerError(f"{kept.place} has another hash than the ledger: run `callarchive ledger verify`")

    def follow(self) -> None:
        """Store the checkpoint of the ledger's end. Raises LedgerError if the ledger is shorter than one stored before."""
        head, last = self._ledger.head(), self.last()
        size = 0 if head is None else head.checkpoint.size
        if last is not None and last.checkpoint.size > size:
            raise LedgerError(
                f"{self._ledger.store.uri(FOLDER)}: the ledger has {size} entries, but had {last.checkpoint.size} according to"
                f" {last.place}: restore it from a backup, or set another ledger.anchor to begin again"
            )
        if head is not None:
            self.keep(head)

    def last(self) -> Witness | None:
        """Return the checkpoint of the largest size; None if there is none. Raises ArchiveError, StoreError."""
        paths = self._paths()
        return self._witness(paths[-1])[0] if paths else None

    def earliest(self, size: int) -> tuple[Witness, str] | None:
        """Return the checkpoint of the smallest size that is at least `size`, and its note; None if there is none.

        Raises ArchiveError, StoreError.
        """
        path = next((path for path in self._paths() if path >= self.path_of(size)), None)
        return None if path is None else self._witness(path)

    def _paths(self) -> list[str]:
        return [item.path for item in self.store.list(_FOLDER)]

    def _witness(self, path: str) -> tuple[Witness, str]:
        note = self.store.read(path).decode(errors="replace")
        return witness_in(note, self.store.uri(path), self._ledger), note
