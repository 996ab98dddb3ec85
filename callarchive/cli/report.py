"""`callarchive report`: the calls of some days as one HTML file for a person who is not an engineer."""

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.accounts import Account, chosen_accounts
from callarchive.cli.days import FirstDay, LastDay, day_option, single_day_or_range
from callarchive.cli.find import no_id
from callarchive.cli.numbers import number_option
from callarchive.cli.output import Output
from callarchive.cli.private_files import check_target, private_file
from callarchive.domain.errors import ArchiveError, ConfigurationError, InvalidIdError
from callarchive.domain.identifiers import parse_id, plain_id
from callarchive.domain.plurals import many, size_text

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.monitoring.report.audio import EmbeddedAudio
    from callarchive.monitoring.report.calls import Report

_MOST_DAYS = 1100
_MB = 1_000_000


def report(
    context: typer.Context,
    day: Annotated[date | None, day_option("--day", "Day to report.")] = None,
    first: FirstDay = None,
    last: LastDay = None,
    account: Account = None,
    sessions: Annotated[
        list[str] | None,
        typer.Option("--session", metavar="ID", help="Only this session. May be repeated.", show_default=False),
    ] = None,
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write, readable only by you.")
    ] = Path("report.html"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Include recordings to listen to.")] = True,
    max_audio: Annotated[
        float,
        number_option(
            "--max-audio",
            "Include at most this many MB of recordings, the newest first.",
            float,
            accepted="a number of megabytes above 0 and at most 250, such as 25",
            accepts=lambda size: 0 < size <= 250,
        ),
    ] = 50,
) -> None:
    """Write one HTML file that says what was recorded and what is missing, with the recordings to listen to.

    It opens in any browser, without a server and without network access. It contains personal data: keep it as carefully as
    the recordings. Phone numbers are not included. Archived files are compared with the catalog before they are included.
    Exits with 1 if no day of the range is archived, and 2 if the file exists (without --force).

    \b
    Examples:
        callarchive report --from 2026-11-01 --to 2026-11-07 --output week.html
        callarchive report --day 2026-11-01 --session e35e3d0e-065a-11ec-b119-676cb2bc33ef
        callarchive report --from 2026-01-01 --to 2026-12-31 --no-audio
    """
    from callarchive.domain.days import days_between
    from callarchive.monitoring.report.calls import read_report

    output: Output = context.obj
    begin, end = single_day_or_range(day, first, last)
    if (end - begin) / timedelta(days=1) >= _MOST_DAYS:
        raise typer.BadParameter(f"{begin} to {end} is longer than {_MOST_DAYS:,} days", param_hint="--from/--to")
    ids = list(map(_session_id, sessions or ()))
    check_target(file, force=force)
    with output.connections() as connections:
        if account is not None:
            chosen_accounts(connections, account)
        facts = read_report(connections, list(days_between(begin, end)), account=account, sessions=ids)
        if not any(item.archived for item in facts.days):
            option = f"--day {begin}" if begin == end else f"--from {begin} --to {end}"
            none = f"{begin} is not" if begin == end else f"no day from {begin} to {end} is"
            raise ArchiveError(
                f"{none} archived in {connections.catalog.store.url}, so nothing is known: callarchive archive {option}"
            )
        absent = sorted(set(ids).difference(call.session_id for call in facts.calls))
        if absent:
            none = f"{begin} does not have" if begin == end else f"no archived day from {begin} to {end} has"
            raise ArchiveError(f"{none} session {absent[0]}: callarchive find {absent[0]}")
        embedded = _write(
            connections, output, facts, file, limit_bytes=int(max_audio * _MB) if audio else None, force=force
        )
    _print(output, facts, embedded, file)


def _session_id(text: str) -> str:
    try:
        return parse_id(plain_id(text), kind="session id")
    except InvalidIdError as err:
        raise ConfigurationError(f"--session: {no_id(text)}") from err


def _write(
    connections: "Connections", output: Output, facts: "Report", file: Path, *, limit_bytes: int | None, force: bool
) -> "EmbeddedAudio | None":
    from callarchive.monitoring.report.audio import embed_audio
    from callarchive.monitoring.report.page import pieces

    with (
        private_file(file, force=force) as page,
        TemporaryFile(dir=file.parent) as encoded,
        output.progress() as progress,
    ):
        embedded = None
        if limit_bytes is not None:
            embedded = embed_audio(connections, facts, encoded, limit_bytes=limit_bytes, progress=progress)
        for piece in pieces(facts, embedded):
            page.write(piece.encode(errors="replace"))
    return embedded


def _print(output: Output, facts: "Report", embedded: "EmbeddedAudio | None", file: Path) -> None:
    from callarchive.monitoring.report.page import verdict

    size_bytes, count = file.stat().st_size, 0 if embedded is None else embedded.count
    not_intact, unreadable = (0, 0) if embedded is None else (embedded.not_intact, embedded.unreadable)
    if output.json:
        output.print_json(
            {
                "output": str(file.absolute()),
                "size_bytes": size_bytes,
                "verdict": verdict(facts),
                "first": facts.days[0].day,
                "last": facts.days[-1].day,
                "timezone": facts.zone.key,
                "calls": {state.value: count for state, count in sorted(facts.counts.items()) if count},
                "calls_listed": len(facts.calls),
                "days_never_archived": [day.day for day in facts.days if not day.archived],
                "days_not_readable": [day.day for day in facts.days if day.damaged is not None],
                "recordings_included": count,
                "recordings_included_bytes": 0 if embedded is None else embedded.size_bytes,
                "files_not_intact": not_intact,
                "files_not_readable": unreadable,
            }
        )
    else:
        output.print_text(verdict(facts))
        output.print_text(f"{file}: {size_text(size_bytes)}, {many(count, 'recording', 'recordings')} to listen to")
    if count:
        output.print_note(
            f"{file} contains recorded calls: keep it as carefully as the recordings, and delete it afterwards"
        )
    else:
        output.print_note(f"{file} contains data about calls: delete it when it is no longer needed")
    if not_intact:
        files = many(not_intact, "archived file is", "archived files are")
        output.print_note(f"{files} missing or changed, and not included: callarchive verify lists all of them")
    if unreadable:
        output.print_note(f"{many(unreadable, 'archived file', 'archived files')} could not be read: the page says why")
