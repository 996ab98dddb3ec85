"""`callarchive doctor`, `find` and `verify`: is everything as it should be?"""

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.days import FirstDay, LastDay
from callarchive.cli.output import Output
from callarchive.cli.verified import Verification

if TYPE_CHECKING:
    from callarchive.monitoring.trace import Passport
    from callarchive.monitoring.trace_steps import Link


def doctor(context: typer.Context) -> None:
    """Checks the whole chain, from 8x8's configuration to the catalog, and says what to do where a link is broken.

    API keys, what 8x8 was told, the destination with the pushed credentials, webhooks, the receiver, landings, host keys, id
    files, the inbox, archive and catalog, disk space, the clock. Ends with the likeliest cause, the next command, and
    what could not be checked. Exits 1 if a link is broken. Run it after every change of the configuration.

    \b
    Example:
        callarchive doctor
    """
    from callarchive.archiving.connections import Connections
    from callarchive.monitoring.doctor import Verdict, conclusion, examine, likely_cause

    output: Output = context.obj
    with Connections(output.settings()) as connections:
        findings = list(examine(connections))
    if output.json:
        output.print_json(
            {"findings": findings, "likely_cause": likely_cause(findings), "conclusion": conclusion(findings)}
        )
    else:
        rows = [(f.verdict.value, f.link, f.detail, f.advice) for f in findings]
        output.print_table("Doctor", ("verdict", "link", "finding", "what to do"), rows)
        for line in conclusion(findings):
            output.print_text(line)
    if any(finding.verdict is Verdict.BROKEN for finding in findings):
        raise typer.Exit(1)


def find(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="A session id or a recording id.")],
) -> None:
    """Tells everything that is known of a session or a recording, and the first link of the chain that does not hold.

    Exits 1 if neither the catalog nor the inbox knows the id. Phone numbers are masked.

    \b
    Example:
        callarchive find e35e3d0e-065a-11ec-b119-676cb2bc33ef
    """
    from callarchive.archiving.connections import Connections
    from callarchive.domain.errors import ConfigurationError, InvalidIdError
    from callarchive.monitoring.trace import find as find_passports

    output: Output = context.obj
    with Connections(output.settings()) as connections:
        try:
            passports = find_passports(connections, wanted)
        except InvalidIdError as err:
            raise ConfigurationError(str(err)) from err
    if output.json:
        output.print_json({"found": passports})
    for passport in () if output.json else passports:
        _print_passport(output, passport)
    if not passports:
        typer.echo(f"neither catalog nor inbox knows {ascii(wanted)[1:-1]}: archive its day first", err=True)
        raise typer.Exit(1)


def _print_passport(output: Output, passport: "Passport") -> None:
    day = passport.call_date or "an unknown day"
    output.print_table(
        f"Session {passport.session['session_id']} of {passport.session['subaccount_id']}, {day}",
        ("link", "state", "what is known"),
        [row for link in passport.links for row in _link_rows(link)],
    )
    for recording in passport.recordings:
        output.print_table(
            f"Recording {recording['recording_id']}",
            ("link", "state", "what is known"),
            [row for link in recording["links"] for row in _link_rows(link)],
        )
    output.print_text("All links hold." if passport.broken_at is None else f"Broken at: {passport.broken_at}")


def _link_rows(link: "Link") -> list[tuple[str, str, str]]:
    """What the link tells, then a line for each of its facts; a fact that is a list has one for each item."""
    rows = [(link.name, link.state.value, link.told)]
    for name, value in link.facts.items():
        for item in value if isinstance(value, list) else [value]:
            rows.append(("", "", f"{name}: {_fact(item)}"))
    return rows


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, float):
        return f"{value:g}"
    return value.isoformat(sep=" ", timespec="milliseconds") if isinstance(value, datetime) else str(value)


def verify(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    sample: Annotated[
        float, typer.Option("--sample", help="Share of files to read and hash, above 0 and up to 1.", max=1.0)
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Choose the same files as a run that printed this number.")
    ] = None,
) -> None:
    """Compares everything that is kept: files with rows, tables with each other, 8x8's kept answers with tables.

    Names each file that is missing, changed or extra, each row that was removed, added or edited, links, removed days, and
    what could not be checked. Reads neither 8x8 nor a landing. Exits 1 if there is a finding, if something could not be
    checked, or if no day of the range is archived. Without days it goes through all that catalog and archive know.

    \b
    Examples:
        callarchive verify --from 2026-10-01 --to 2026-10-31
        callarchive verify --sample 0.05
    """
    from callarchive.archiving.connections import Connections
    from callarchive.domain.errors import ArchiveError
    from callarchive.monitoring.verification import days_in_range, verify_days

    if sample <= 0:
        raise typer.BadParameter("must be above 0", param_hint="--sample")
    begin, end = (None if day is None else day.date() for day in (first, last))
    if begin is not None and end is not None and end < begin:
        raise typer.BadParameter("--from is after --to", param_hint="--from/--to")
    if sample < 1 and seed is None:
        seed = secrets.randbelow(1_000_000)
    output: Output = context.obj
    with Connections(output.settings()) as connections, output.progress() as progress:
        days = days_in_range(connections, begin, end)
        verified = list(verify_days(connections, list(days.known), sample=sample, seed=seed, progress=progress))
        places = f"{connections.catalog.store.url} and {connections.archive.store.url}"
    verification = Verification(verified, days.unknown, sample=sample, seed=seed)
    if output.json:
        output.print_json(verification.document())
    elif verified:
        for line in verification.lines():
            output.print_text(line)
    if not verified:
        wanted = (
            "no day" if begin is None and end is None else f"no day from {begin or 'the first'} to {end or 'the last'}"
        )
        raise ArchiveError(f"{wanted} is archived in {places}: nothing was verified")
    if not verification.clean:
        raise typer.Exit(1)
