"""`callarchive ledger`: the tamper-evident record of what was archived and published."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.output import Output
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.ledger.checking import CheckedLedger

ledger_app = typer.Typer(
    no_args_is_help=True,
    help="Show and check the tamper-evident record of what was archived and published.",
    rich_markup_mode=None,
)

Since = Annotated[
    Path | None,
    typer.Option(
        "--since",
        metavar="CHECKPOINT",
        help="A file with a checkpoint that `ledger head` printed; - for standard input.",
        show_default=False,
        allow_dash=True,
    ),
]


@ledger_app.command("head", short_help="Print the last checkpoint.")
def head(context: typer.Context) -> None:
    """Print the checkpoint of the ledger's end: its origin, the number of its entries, the hash of their tree, the signature.

    Keep it where those who can write to the archive cannot change it. `--since` compares the ledger with it later.
    """
    from callarchive.domain.errors import LedgerError
    from callarchive.ledger.notes import signers

    output: Output = context.obj
    with output.connections() as connections:
        ledger = connections.ledger
        batch = ledger.head()
        if batch is None:
            place = connections.archive.store.url
            raise LedgerError(
                f"{place} has no ledger: it begins with the next `callarchive archive`, or it was removed"
            )
        signed_by = [key.name for key in signers(batch.note, ledger.public_keys)]
    if output.json:
        checkpoint = batch.checkpoint
        output.print_json(
            {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "signed_by": signed_by,
                "checkpoint": batch.note,
            }
        )
        return
    typer.echo(batch.note, nl=False)


@ledger_app.command("keygen", short_help="Make a key that signs checkpoints.")
def keygen(
    context: typer.Context,
    output_file: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Where to write the secret key.", show_default=False)
    ],
    origin: Annotated[
        str | None,
        typer.Option("--origin", help="Name of the ledger; by default ledger.origin.", show_default=False),
    ] = None,
) -> None:
    """Make an Ed25519 key, write it to a new file that only this user can read, and print the public key.

    Checkpoints are checked with the public key. A person who has the secret key and can write to the archive can rewrite the
    ledger: keep both apart, and checkpoints elsewhere (ledger.anchor).
    """
    from callarchive.domain.errors import ConfigurationError
    from callarchive.ledger.notes import SigningKey

    output: Output = context.obj
    if origin is None:
        origin = output.settings().ledger.origin
    key = SigningKey.generate(origin)
    try:
        descriptor = os.open(output_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as err:
        raise ConfigurationError(f"{output_file} exists: a key is never overwritten: give another file") from err
    except OSError as err:
        raise ConfigurationError(f"{output_file} cannot be written: {err.strerror}") from err
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{key.private_text()}\n")
        file.flush()
        os.fsync(descriptor)
    public = str(key.public)
    if output.json:
        output.print_json({"file": output_file, "origin": origin, "public_key": public})
        return
    typer.echo(public)
    output.print_note(f'The secret key is in {output_file}. Add to the configuration:\n\n[ledger]\norigin = "{origin}"')
    output.print_note(
        f'signing_key = {{ file = "{output_file.absolute()}" }}\n\nWhere the ledger is only checked, without the key:'
    )
    output.print_note(f'\n[ledger]\norigin = "{origin}"\npublic_keys = ["{public}"]')


@ledger_app.command("verify", short_help="Check the ledger itself.")
def verify(context: typer.Context, since: Since = None) -> None:
    """Check the order, the hashes and the signatures of all entries, and that kept checkpoints are still a part of them.

    Compared are the checkpoint in ledger.anchor, and that of --since. `callarchive verify` also compares the archive and the
    catalog with the ledger. Exits with 1 if something is wrong, or there is no ledger.
    """
    from callarchive.monitoring.verification.witnessed import read_ledger

    output: Output = context.obj
    with output.connections() as connections:
        checked = read_ledger(connections, since=None if since is None else note_in(since))
    if output.json:
        output.print_json(ledger_document(checked))
    else:
        for problem in checked.problems:
            output.print_text(problem)
        output.print_text(summary_of(checked))
    if checked.problems:
        output.print_quiet_error(f"{many(len(checked.problems), 'problem', 'problems')}: ledger verify without -q")
        raise typer.Exit(1)


def note_in(place: Path) -> tuple[str, str]:
    """Return the name and the text of a file with a checkpoint. Raises ConfigurationError."""
    from callarchive.domain.errors import ConfigurationError

    if str(place) == "-":
        return "standard input", sys.stdin.read()
    try:
        return str(place), place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        why = getattr(err, "strerror", None) or "it is not text"
        raise ConfigurationError(f"--since {place}: {why}: give a file that `callarchive ledger head` printed") from err


def ledger_document(checked: "CheckedLedger") -> dict[str, object]:
    """Return what a check of the ledger found, for `--json`."""
    return {
        "entries": checked.size,
        "root": checked.root.hex(),
        "checkpoint": checked.note,
        "signed_by": checked.signed_by or None,
        "unsigned_entries": checked.unsigned_count,
        "compared_with": [witness.place for witness in checked.witnesses],
        "problems": checked.problems,
    }


def summary_of(checked: "CheckedLedger") -> str:
    """Return one line about the ledger."""
    signed = f"signed by {checked.signed_by}" if checked.signed_by else "not signed (ledger.signing_key)"
    if checked.signed_by and checked.unsigned_count:
        signed += f" from entry {checked.unsigned_count} on"
    places = " and ".join(witness.place for witness in checked.witnesses)
    compared = f"compared with {places}" if places else "compared with no kept checkpoint (ledger.anchor, --since)"
    problems = many(len(checked.problems), "problem", "problems")
    return f"ledger: {many(checked.size, 'entry', 'entries')}, {signed}, {compared}: {problems}"
