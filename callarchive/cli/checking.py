"""`callarchive doctor`, `find` and `verify`: is everything as it should be?"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.days import FirstDay, LastDay
from callarchive.cli.output import Output
from callarchive.wording import many

if TYPE_CHECKING:
    from callarchive.passport import Passport
    from callarchive.passport_links import Link


def doctor(context: typer.Context) -> None:
    """Goes along the whole chain, from 8x8's configuration to the catalog, and says what to do where a link is broken.

    API keys, what 8x8 was told, the destination with the pushed credentials, webhooks, the receiver, landings, host keys, id
    files, the inbox, archive and catalog, disk space, the clock. Ends with the likeliest cause and the next command.
    Exits 1 if a link is broken. Run it after every change of the configuration.

    \b
    Example:
        callarchive doctor
    """
    from callarchive.connections import Connections
    from callarchive.doctor import Verdict, examine, likely_cause

    output: Output = context.obj
    with Connections(output.settings()) as connections:
        findings = list(examine(connections))
    cause = likely_cause(findings)
    if output.json:
        output.print_json({"findings": findings, "likely_cause": cause})
    else:
        rows = [(f.verdict.value, f.link, f.detail, f.advice) for f in findings]
        output.print_table("Doctor", ("verdict", "link", "finding", "what to do"), rows)
        if cause is None:
            output.print_text("Every link holds.")
        else:
            output.print_text(f"Begin with {cause.link}: {cause.detail}")
            output.print_text(f"Next: {cause.advice}")
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
    from callarchive.connections import Connections
    from callarchive.errors import ConfigurationError, InvalidIdError
    from callarchive.passport import find as find_passports

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
) -> None:
    """Re-reads the archive against the catalog, and names every file that is missing, changed or extra.

    Exits 1 if there is one. Without days it goes through all that the catalog or the archive knows.

    \b
    Examples:
        callarchive verify --from 2026-10-01 --to 2026-10-31
        callarchive verify --sample 0.05
    """
    from callarchive.connections import Connections
    from callarchive.verification import days_to_verify, verify_days

    if sample <= 0:
        raise typer.BadParameter("must be above 0", param_hint="--sample")
    output: Output = context.obj
    with Connections(output.settings()) as connections, output.progress() as progress:
        days = [
            day
            for day in days_to_verify(connections)
            if (first is None or day >= first.date()) and (last is None or day <= last.date())
        ]
        verified = list(verify_days(connections, days, sample=sample, progress=progress))
    defects = [(day.day, defect, uri) for day in verified for defect, uri in day.defects]
    if output.json:
        output.print_json({"days": verified})
    else:
        for day, defect, uri in defects:
            output.print_text(f"{defect}  {day}  {uri}")
        files, read = sum(day.file_count for day in verified), sum(day.read_count for day in verified)
        checked = f"{many(len(verified), 'day', 'days')}, {many(files, 'file', 'files')}, {read:,} of them read"
        output.print_text(f"{checked}: {many(len(defects), 'defect', 'defects')}")
    if defects:
        raise typer.Exit(1)
