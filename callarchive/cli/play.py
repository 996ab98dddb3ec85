"""`callarchive play`: verify an archived recording and open it with a player of this machine."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.find import no_id
from callarchive.cli.output import Output, print_error
from callarchive.cli.private_files import check_target, private_file
from callarchive.domain.errors import ArchiveError, ConfigurationError, InvalidIdError
from callarchive.domain.plurals import duration_text, many

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.catalog.rows import Row

_PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet"),
    ("mpg123", "-q"),
    ("afplay",),
    ("xdg-open",),
    ("open",),
)
_RETURNS_AT_ONCE = ("xdg-open", "open")  # the program that they start still needs the file


def play(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Recording id, or session id for all its recordings.")],
    print_path: Annotated[
        bool, typer.Option("--print-path", help="Print the path of the verified file instead of playing it.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Save the verified file, readable only by you, instead."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Play an archived recording, after its SHA-256 was compared with the catalog.

    The first of ffplay, mpv, mpg123, afplay, xdg-open and open that is installed plays it. A file in S3 is downloaded into a
    private temporary file, which is removed afterwards. Exits with 1 if a recording is not archived, or its file changed.

    \b
    Examples:
        callarchive play e35e3d0e-065a-11ec-b119-676cb2bc33ef
        callarchive play e35e3d0e-065a-11ec-b119-676cb2bc33ef --output call.mp3
    """
    from callarchive.monitoring.listening import recordings_of

    output: Output = context.obj
    if print_path and file is not None:
        raise typer.BadParameter("give either --print-path or --output", param_hint="--print-path")
    if file is not None:
        check_target(file, force=force)
    with output.connections() as connections:
        try:
            rows = recordings_of(connections, wanted)
        except InvalidIdError as err:
            raise ConfigurationError(no_id(wanted)) from err
        if not rows:
            known = ascii(wanted)[1:-1]
            raise ArchiveError(
                f"the catalog has no recording of {known}: callarchive find {known} shows what is known, and what to do"
            )
        if file is not None and len(rows) > 1:
            ids = ", ".join(row["recording_id"] for row in rows)
            raise ConfigurationError(
                f"--output saves one recording, and the session has {len(rows)}: give one of {ids}"
            )
        if len(rows) > 1 and not print_path:
            output.print_note(f"the session has {many(len(rows), 'recording', 'recordings')}, played in their order")
        done: list[dict[str, object]] = []
        failed = False
        for row in rows:
            try:
                done.append(_open(connections, output, row, file, print_path=print_path, force=force))
            except ArchiveError as err:
                if len(rows) == 1:
                    raise
                print_error(err)
                failed = True
    if output.json:
        output.print_json({"recordings": done})
    if failed:
        raise typer.Exit(1)


def _open(
    connections: "Connections", output: Output, row: "Row", file: Path | None, *, print_path: bool, force: bool
) -> "dict[str, object]":
    """Print, save or play the recording, and return what was done."""
    from callarchive.monitoring.listening import copy_verified

    names = ("subaccount_id", "session_id", "recording_id", "size_bytes", "duration_s", "sha256", "audio_issue")
    done = {name: row[name] for name in names}
    if file is not None:
        with private_file(file, force=force) as copy:
            copy_verified(connections, row, copy.write)
        output.print_note(f"{file} contains a recorded call: keep it as carefully as the recordings")
        return _done(output, done, file.absolute(), shown=str(file))
    if print_path:
        path = _local_path(connections, row)
        if path is None:
            uri = row["archive_uri"]
            raise ConfigurationError(
                f"{uri} has no path on this machine: save it with --output FILE, or open it without options"
            )
        copy_verified(connections, row, len)
        return _done(output, done, path, shown=str(path))
    player = next((words for words in _PLAYERS if shutil.which(words[0])), None)
    local = _local_path(connections, row)
    if player is None or (local is None and player[0] in _RETURNS_AT_ONCE):
        copy_verified(connections, row, len)
        where = "" if local is None else f"open {local} yourself, or "
        raise ArchiveError(
            f"recording {row['recording_id']} is archived and whole, but none of {', '.join(p[0] for p in _PLAYERS[:4])} is"
            f" installed to play it: {where}save it with --output FILE"
        )
    with _file(connections, row, local) as path:
        length = "" if row["duration_s"] is None else f", {duration_text(row['duration_s'])}"
        at = "" if row["started_at"] is None else f" of {row['started_at']:%Y-%m-%d %H:%M:%S} UTC"
        output.print_note(f"recording {row['recording_id']}{at}{length}: {player[0]}")
        played = subprocess.run([*player, str(path)], stdout=sys.stderr, check=False)
        if played.returncode:
            where = "" if local is None else f"; the file is {path}"
            raise ArchiveError(
                f"recording {row['recording_id']}: {player[0]} failed (exit code {played.returncode}){where};"
                " --output FILE saves it"
            )
        return done | {"path": None if local is None else str(path), "player": player[0]}


def _done(output: Output, done: "dict[str, object]", path: Path, *, shown: str) -> "dict[str, object]":
    if not output.json:
        typer.echo(shown)
    return done | {"path": str(path), "player": None}


def _local_path(connections: "Connections", row: "Row") -> Path | None:
    from callarchive.storage.stores.opening import local_folder

    folder = local_folder(connections.archive.store)
    return None if folder is None or row["archive_path"] is None else folder / row["archive_path"]


@contextmanager
def _file(connections: "Connections", row: "Row", local: Path | None) -> "Iterator[Path]":
    """Yield the path of the verified file: the archive's own, or a temporary copy."""
    from callarchive.monitoring.listening import copy_verified
    from callarchive.runtime.temporary_folders import temporary_folder

    if local is not None:
        copy_verified(connections, row, len)
        yield local
        return
    with temporary_folder("callarchive-play-") as folder:
        copied = folder / "recording.mp3"
        with private_file(copied, force=False) as copy:
            copy_verified(connections, row, copy.write)
        yield copied
