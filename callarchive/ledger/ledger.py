"""The ledger in the archive's store. Each append is a new object whose name can be taken only once, so there is one order."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from threading import Lock

from callarchive.domain.errors import AlreadyExistsError, LedgerError
from callarchive.ledger.batches import FOLDER, Batch, BatchError, Facts, entry_line, is_marker, is_path, path_of
from callarchive.ledger.notes import Checkpoint, NoteError, PublicKey, SigningKey, signers
from callarchive.ledger.tree import Frontier, leaf_hash
from callarchive.storage.stores import Store

log = logging.getLogger(__name__)

_TRIES = 1000
_WHAT_NEXT = "nothing was added: run `callarchive ledger verify`"


class Ledger:
    """The ledger of an archive. Thread-safe; several processes may append at the same time."""

    def __init__(
        self,
        store: Store,
        *,
        origin: str,
        clock: Callable[[], datetime],
        signing_key: SigningKey | None = None,
        public_keys: Sequence[PublicKey] = (),
    ) -> None:
        self.store = store
        self.origin = origin
        own = () if signing_key is None else (signing_key.public,)
        self.public_keys = tuple(dict.fromkeys((*own, *public_keys)))
        self.can_sign = signing_key is not None
        self._signing_key = signing_key
        self._clock = clock
        self._tree: Frontier | None = None
        self._appending = Lock()

    def append(self, entries: Iterable[Facts]) -> Batch:
        """Append the entries, each with the time in `at`, as one object, and return it.

        They are durable when this returns. Raises LedgerError if the end of the ledger is not intact; StoreError.
        """
        at = self._clock().isoformat()
        lines = [entry_line({"at": at, **facts}) for facts in entries]
        if not lines:
            raise ValueError("an append needs entries")
        with self._appending:
            tree = self._end() if self._tree is None else self._tree
            for _ in range(_TRIES):
                batch, after = self._batch(tree, lines)
                try:
                    self.store.create(batch.path, batch.encode())
                except AlreadyExistsError:  # another run was faster
                    tree = self._tree = self._checked(tree.size)
                    continue
                self._tree = after
                return batch
        raise LedgerError(f"{self.store.uri(FOLDER)}: other runs kept appending to the ledger: run again")

    def head(self) -> Batch | None:
        """Return the last batch; None if there is no ledger yet. Raises LedgerError if its file is malformed, StoreError."""
        paths = self.paths()
        return self._read(paths[-1]) if paths else None

    def paths(self) -> list[str]:
        """Return the paths of the files, in order."""
        return [item.path for item in self.store.list(f"{FOLDER}/entries") if is_path(item.path)]

    def unknown_files(self) -> list[str]:
        """Return the paths of files in the ledger's folder that no run wrote."""
        paths = [item.path for item in self.store.list(FOLDER)]
        return [path for path in paths if not is_path(path) and not is_marker(path)]

    def batches(self) -> Iterator[Batch]:
        """Yield the files in order, unchecked. Raises LedgerError for one that is malformed."""
        return map(self._read, self.paths())

    def checkpoint(self) -> Checkpoint | None:
        """Return the state of the ledger after the last append of this process, else its end; None without a ledger.

        Raises LedgerError if the end is not intact; StoreError.
        """
        with self._appending:
            tree = self._tree = self._end() if self._tree is None else self._tree
        return Checkpoint(self.origin, tree.size, tree.root()) if tree.size else None

    def _batch(self, before: Frontier, lines: Sequence[bytes]) -> tuple[Batch, Frontier]:
        """Return the entries as the next file, and the tree after them."""
        tree = before.copy()
        for line in lines:
            tree.append(leaf_hash(line))
        text = Checkpoint(self.origin, tree.size, tree.root()).text()
        return Batch(before, text if self._signing_key is None else self._signing_key.sign(text), lines), tree

    def _end(self) -> Frontier:
        """Return the tree at the end of the ledger."""
        paths = self.paths()
        return self._checked(int(paths[-1].rpartition("/")[2].removesuffix(".jsonl"))) if paths else Frontier()

    def _checked(self, first: int) -> Frontier:
        """Return the tree after the batch that begins with this entry, which must be intact and, with a key, signed."""
        batch = self._read(path_of(first))
        uri = self.store.uri(batch.path)
        try:
            tree = batch.after()
            if self._signing_key is not None and not signers(batch.note, self.public_keys):
                log.warning("%s is not signed with a known key: `callarchive ledger verify` lists what is not", uri)
        except (BatchError, NoteError) as err:
            raise LedgerError(f"{uri}: {err}: {_WHAT_NEXT}") from err
        if batch.first != first or batch.checkpoint.origin != self.origin:
            what = f"its name is wrong: {_WHAT_NEXT}"
            if batch.first == first:
                origin = batch.checkpoint.origin
                what = f"it is of the ledger {origin}, but ledger.origin is {self.origin}: set it back to {origin}"
            raise LedgerError(f"{uri}: {what}")
        return tree

    def _read(self, path: str) -> Batch:
        try:
            return Batch.decode(self.store.read(path))
        except BatchError as err:
            raise LedgerError(f"{self.store.uri(path)}: {err}: {_WHAT_NEXT}") from err
