"""`callarchive find`: everything known about a session or a recording."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.output import Output

if TYPE_CHECKING:
    from callarchive.monitoring.trace import Passport
    from callarchive.monitoring.trace_steps import Link


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
