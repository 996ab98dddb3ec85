"""`callarchive evidence`: one file that proves a recording to people who have no callarchive."""

from pathlib import Path
from typing import Annotated

import typer

from callarchive.cli.find import next_step, no_id
from callarchive.cli.output import Output
from callarchive.cli.private_files import check_target, private_file
from callarchive.domain.errors import ArchiveError, ConfigurationError, InvalidIdError
from callarchive.domain.plurals import size_text
from callarchive.runtime.users import current_user


def evidence(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Recording id, or id of a session with one recording.")],
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="ZIP file to write, readable only by you.")
    ] = Path("evidence.zip"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    with_numbers: Annotated[
        bool, typer.Option("--with-numbers", help="Include the phone numbers of the call, if the catalog keeps them.")
    ] = False,
) -> None:
    """Write a ZIP file that proves an archived recording: audio, facts, ledger entry, proof, checkpoint, how to check it.

    It can be checked with sha256sum and openssl, without callarchive. The recording is compared with catalog and ledger first;
    if it is not archived, has changed or is not in the ledger, nothing is written, and the exit code is 1. The ledger records
    that evidence was written, and by which user. Exits with 2 if the file exists (without --force).

    \b
    Example:
        callarchive evidence e35e3d0e-065a-11ec-b119-676cb2bc33ef --output evidence.zip
    """
    from callarchive.monitoring.evidence.bundle import write_bundle
    from callarchive.monitoring.evidence.collecting import collect
    from callarchive.monitoring.listening import recordings_of

    output: Output = context.obj
    check_target(file, force=force)
    with output.connections() as connections:
        try:
            rows = recordings_of(connections, wanted)
        except InvalidIdError as err:
            raise ConfigurationError(no_id(wanted)) from err
        if not rows:
            known = ascii(wanted)[1:-1]
            raise ArchiveError(
                f"the catalog has no recording of {known}: callarchive find {known}; else {next_step(wanted, connections)}"
            )
        if len(rows) > 1:
            ids = ", ".join(row["recording_id"] for row in rows)
            raise ConfigurationError(f"a file proves one recording, and the session has {len(rows)}: give one of {ids}")
        found = collect(connections, rows[0], with_numbers=with_numbers)
        with private_file(file, force=force) as written:
            bundle = write_bundle(connections, found, written, by=current_user())
    checkpoint, size_bytes = bundle.batch.checkpoint, file.stat().st_size
    adopted = [recorded.name for recorded in found.files if recorded.is_adopted]
    if output.json:
        output.print_json(
            {
                "output": str(file.absolute()),
                "size_bytes": size_bytes,
                "recording_id": rows[0]["recording_id"],
                "sha256": rows[0]["sha256"],
                "contents": bundle.names,
                "entries": [proven.file.entry.number for proven in bundle.files],
                "not_witnessed": adopted,
                "ledger": {"size": checkpoint.size, "root": checkpoint.root.hex()},
                "signed_by": None if bundle.key is None else bundle.key.name,
            }
        )
    else:
        output.print_text(f"{file}: {size_text(size_bytes)}; how-to-check.txt in it says how to check it")
    if adopted:
        output.print_note(
            f"{adopted[0]} was archived before the ledger began: nothing shows what happened to it before"
        )
    if bundle.key is None:
        output.print_note("the checkpoint is not signed, so it does not show who made it: set ledger.signing_key")
    output.print_note(f"{file} contains a recorded call: keep it as carefully as the recordings")
