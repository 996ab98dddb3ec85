"""The page that says how to check evidence with common programs alone, from `how_to_check.txt.jinja` beside this module."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from shlex import quote

from callarchive.domain.foreign_text import printable
from callarchive.ledger.notes import PublicKey
from callarchive.ledger.tree import proof_ranges
from callarchive.monitoring.evidence.collecting import Known
from callarchive.monitoring.evidence.proving import Proof, ProvenFile

_FIRST_HASH = 3
"""The line of a proof that has its lowest hash, from 1."""


def page(
    known: Known,
    files: Sequence[ProvenFile],
    key: PublicKey | None,
    *,
    made_at: datetime,
    kept_at: Mapping[str, str],
) -> str:
    """Return the page. Its commands are the lines that begin with four spaces.

    Args:
        key: the key that signed the checkpoint; None if no known one did.
        kept_at: where copies of the files with checkpoints are kept.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("callarchive.monitoring.evidence", "."),
        autoescape=False,  # noqa: S701 - plain text
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("how_to_check.txt.jinja").render(
        files=files,
        hash_position=lambda proven: proven.line.index(b'"sha256":"') + len('"sha256":"') + 1,
        kept_at=kept_at,
        key=key,
        known=known,
        made_at=made_at,
        quote=quote,
        signature_line=0 if key is None else _signature_line(files[0].proofs[0].note, key),
        size=files[0].proofs[0].size,
        steps=lambda proof: list(_steps(proof)),
    )


def _steps(proof: Proof) -> Iterator[tuple[int, int, str]]:
    """Yield the number of each step, the line of the proof with its hash, and the side of this hash, from leaf to root."""
    for number, entries in enumerate(proof_ranges(proof.index, proof.size)):
        yield number + 1, _FIRST_HASH + number, "left" if entries.start < proof.index else "right"


def _signature_line(note: str, key: PublicKey) -> int:
    """Return the line of the key's signature, from 1."""
    return next(n for n, line in enumerate(note.split("\n"), 1) if line.startswith(f"\N{EM DASH} {key.name} "))
