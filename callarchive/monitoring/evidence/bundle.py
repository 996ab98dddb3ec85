"""The ZIP file: audio, facts, entries of the ledger, their proofs, the checkpoint that they lead to, and how to check it.

That evidence was written is itself an entry of the ledger. It is appended when all audio is in the file and intact, before the
file takes its name: if the command is killed in between, the ledger has evidence that nobody got. The other order could give
away evidence that no entry mentions. The checkpoint in the file covers this entry too.

Where checkpoints are kept elsewhere, a second proof leads to the earliest one that covers the recording: it shows since when
the recording has been unchanged.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

from callarchive import __version__
from callarchive.archiving.connections import Connections
from callarchive.ledger.batches import Batch
from callarchive.ledger.notes import PublicKey, signers
from callarchive.monitoring.evidence.checking import page
from callarchive.monitoring.evidence.collecting import Known
from callarchive.monitoring.evidence.proving import ProvenFile, prove
from callarchive.monitoring.listening import copy_verified

_LARGE = 1 << 31


@dataclass(frozen=True)
class Bundle:
    """The files with their proofs, the batch with the entry about this, and the key that signed its checkpoint."""

    files: Sequence[ProvenFile]
    batch: Batch
    key: PublicKey | None
    names: Sequence[str]


def write_bundle(connections: Connections, known: Known, file: BinaryIO, *, by: str) -> Bundle:
    """Write the ZIP file. Its members have no times and a fixed order.

    Raises ArchiveError if an archived file is gone or changed, LedgerError, StoreError.
    """
    row = known.row
    with ZipFile(file, "w") as bundle:
        for recorded in known.files:
            source = {**row, "archive_path": recorded.path, "sha256": recorded.sha256}
            member = ZipInfo(recorded.name)
            with bundle.open(member, "w", force_zip64=(row["size_bytes"] or 0) >= _LARGE) as audio:
                copy_verified(connections, source, audio.write)
        about = {name: row[name] for name in ("subaccount_id", "recording_id")}
        batch = connections.recorder.record(
            {"event": "evidence", **about, "call_date": str(row["call_date"]), "by": by}
        )
        notes, kept_at = {"checkpoint.txt": batch.note}, []
        if connections.anchor is not None:
            earliest = connections.anchor.earliest(1 + max(recorded.entry.number for recorded in known.files))
            kept_at = [connections.anchor.store.uri(connections.anchor.path_of(batch.checkpoint.size))]
            if earliest is not None and earliest[0].checkpoint.size < batch.checkpoint.size:
                notes["anchored-checkpoint.txt"] = earliest[1]
                kept_at.append(earliest[0].place)
        files = prove(connections, known.files, notes)
        signed_by = signers(batch.note, connections.ledger.public_keys)
        key = signed_by[0] if signed_by else None
        facts: dict[str, Any] = {"made_at": connections.clock(), "made_by": f"callarchive {__version__}", **known.facts}
        add = partial(_add, bundle)
        for proven in files:
            add(proven.entry_name, proven.line)
            for proof in proven.proofs:
                add(proof.name, proof.text().encode())
        for name, note in notes.items():
            add(name, note.encode())
        if key is not None:
            add("public-key.pem", key.pem().encode())
            add("public-key.txt", f"{key}\n".encode())
        add("facts.json", json.dumps(facts, default=_plain, ensure_ascii=False, indent=2).encode())
        text = page(known, files, key, made_at=facts["made_at"], kept_at=dict(zip(notes, kept_at, strict=False)))
        add("how-to-check.txt", text.encode())
        return Bundle(files, batch, key, bundle.namelist())


def _add(bundle: ZipFile, name: str, data: bytes) -> None:
    bundle.writestr(ZipInfo(name), data)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
