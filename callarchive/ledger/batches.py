"""The files of the ledger: one for each append, named after the number of its first entry.

A file has JSON Lines. The first line has the state of the tree before the file and the checkpoint after it; each further line
is an entry, and its bytes without the line feed are what the tree hashes. An erased entry is replaced by its hash, which keeps
the tree.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from callarchive.domain.errors import LedgerError
from callarchive.ledger.notes import Checkpoint, NoteError
from callarchive.ledger.tree import Frontier, leaf_hash

FOLDER = "_ledger"
STARTED = f"{FOLDER}/started"
"""An empty object that says that the ledger has the files of the time before it, so that no run reads it whole to know."""
_REDACTED = b'{"redacted":"'
_ERASED = re.compile(re.escape(_REDACTED) + rb'([0-9a-f]{64})"}')

Facts = Mapping[str, Any]


class BatchError(LedgerError):
    """A file of the ledger is malformed, or its entries do not have the hash in its own checkpoint."""


def path_of(first: int) -> str:
    """Return the path of the file that begins with this entry, relative to the archive's root.

    Logs and messages mask shorter rows of digits as phone numbers.
    """
    return f"{FOLDER}/entries/{first:020d}.jsonl"


def is_path(path: str) -> bool:
    """Return whether it can be the path of a file of the ledger."""
    return re.fullmatch(rf"{FOLDER}/entries/[0-9]{{20}}\.jsonl", path) is not None


def open_path(partition: str) -> str:
    """Return the path of the empty object that exists while the ledger has a partition's hash and not its completion."""
    return f"{FOLDER}/open/{partition}"


def is_marker(path: str) -> bool:
    """Return whether it can be the path of an empty object beside the files of the ledger."""
    return (
        path == STARTED or re.fullmatch(rf"{FOLDER}/open/\w+/call_date=[0-9-]{{10}}/part-0\.parquet", path) is not None
    )


def entry_line(facts: Facts) -> bytes:
    """Return the line of an entry, without the line feed."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def redacted_line(line: bytes) -> bytes:
    """Return the line that takes an erased entry's place."""
    return _REDACTED + line_hash(line).hex().encode() + b'"}'


def line_hash(line: bytes) -> bytes:
    """Return the leaf hash of an entry. Raises BatchError."""
    if not line.startswith(_REDACTED):
        return leaf_hash(line)
    erased = _ERASED.fullmatch(line)
    if erased is None:  # with more in it, facts that the tree does not hash would be taken for recorded ones
        raise BatchError("an erased entry is malformed")
    return bytes.fromhex(erased[1].decode())


def facts_of(line: bytes) -> dict[str, Any]:
    """Return the facts of an entry. Raises BatchError."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise BatchError("an entry is not JSON") from err
    if not isinstance(facts, dict):
        raise BatchError("an entry is not a JSON object")
    return facts


@dataclass(frozen=True)
class Batch:
    """A file of the ledger.

    Attributes:
        before: the tree before its entries.
        note: the checkpoint after its entries, signed or not.
        lines: its entries.
    """

    before: Frontier
    note: str
    lines: Sequence[bytes]

    @property
    def first(self) -> int:
        """The number of the first entry, from 0."""
        return self.before.size

    @property
    def path(self) -> str:
        """Where the file is, relative to the archive's root."""
        return path_of(self.first)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after the entries. Raises NoteError."""
        return Checkpoint.parse(self.note)

    @property
    def is_signed(self) -> bool:
        """Whether the checkpoint has a signature, of whatever key."""
        return "\n\n" in self.note

    def after(self) -> Frontier:
        """Return the tree after the entries. Raises BatchError if it is not the checkpoint's."""
        tree = self.before.copy()
        for line in self.lines:
            tree.append(line_hash(line))
        try:
            checkpoint = self.checkpoint
        except NoteError as err:
            raise BatchError(str(err)) from err
        if (checkpoint.size, checkpoint.root) != (tree.size, tree.root()):
            raise BatchError("its entries do not have the hash in its checkpoint")
        return tree

    def encode(self) -> bytes:
        """Return the file."""
        frontier = [base64.b64encode(digest).decode() for digest in self.before.hashes]
        header = {"checkpoint": self.note, "first": self.first, "frontier": frontier}
        return b"".join(line + b"\n" for line in (entry_line(header), *self.lines))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the batch in a file. Raises BatchError if it is malformed; the hashes are not compared."""
        head, *lines = data.split(b"\n")
        if not lines or lines.pop() != b"" or not lines:
            raise BatchError("it is cut off")
        header = facts_of(head)
        try:
            hashes = [base64.b64decode(text, validate=True) for text in header["frontier"]]
            before = Frontier(header["first"], hashes)
            note = header["checkpoint"]
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise BatchError("its first line is malformed") from err
        if not isinstance(note, str) or any(len(digest) != 32 for digest in hashes):
            raise BatchError("its first line is malformed")
        return cls(before, note, lines)
