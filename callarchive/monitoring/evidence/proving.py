"""Proofs that entries of the ledger are below checkpoints."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callarchive.archiving.connections import Connections
from callarchive.domain.errors import LedgerError
from callarchive.ledger.batches import line_hash
from callarchive.ledger.notes import Checkpoint
from callarchive.ledger.tree import inclusion_proof, proven_root
from callarchive.monitoring.evidence.collecting import RecordedFile


@dataclass(frozen=True)
class Proof:
    """The hashes that lead from an entry to a checkpoint.

    Attributes:
        name: the name of the file with the proof.
        checkpoint_name: the name of the file with the checkpoint.
        note: the checkpoint, signed or not.
    """

    name: str
    checkpoint_name: str
    note: str
    index: int
    hashes: Sequence[bytes]

    @property
    def size(self) -> int:
        """The number of entries below the checkpoint."""
        return Checkpoint.parse(self.note).size

    def text(self) -> str:
        """Return the proof as C2SP's tlog-proof."""
        hashes = "".join(f"{base64.b64encode(digest).decode()}\n" for digest in self.hashes)
        return f"c2sp.org/tlog-proof@v1\nindex {self.index}\n{hashes}\n{self.note}"


@dataclass(frozen=True)
class ProvenFile:
    """A file of the recording, with the name and the exact bytes of its entry, and a proof for each checkpoint."""

    file: RecordedFile
    entry_name: str
    line: bytes
    proofs: Sequence[Proof]


def prove(connections: Connections, files: Sequence[RecordedFile], notes: Mapping[str, str]) -> list[ProvenFile]:
    """Return proofs that the entries of the files are below these checkpoints, each under the name of its file.

    Raises LedgerError if a checkpoint is not one of this ledger, StoreError.
    """
    size = max(Checkpoint.parse(note).size for note in notes.values())
    lines = {file.entry.number: b"" for file in files}
    hashes = bytearray()  # 32 bytes an entry
    for batch in connections.ledger.batches():
        if batch.first >= size:
            break
        for number, line in enumerate(batch.lines, batch.first):
            hashes += line_hash(line)
            if number in lines:
                lines[number] = line
    proven = []
    for version, file in enumerate(files, 1):
        number, suffix = file.entry.number, "" if version == 1 else f"-{version}"
        line, proofs = lines[number], []
        for name, note in notes.items():
            checkpoint = Checkpoint.parse(note)
            leaves = (bytes(hashes[at : at + 32]) for at in range(0, len(hashes), 32))
            found = inclusion_proof(leaves, number, checkpoint.size)
            if proven_root(line_hash(line), number, checkpoint.size, found) != checkpoint.root:
                raise LedgerError(f"{name} is not a checkpoint of this ledger: run `callarchive ledger verify`")
            proof_name = name.replace("checkpoint.txt", f"proof{suffix}.tlog-proof")
            proofs.append(Proof(proof_name, name, note, number, found))
        proven.append(ProvenFile(file, f"entry{suffix}.json", line, proofs))
    return proven
