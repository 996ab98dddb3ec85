"""`callarchive find`: trace a session or a recording."""

import string
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.output import Output
from callarchive.domain.identifiers import ids_in, plain_id, uuid_time
from callarchive.domain.mistakes import quoted

if TYPE_CHECKING:
    from callarchive.monitoring.trace import Trace
    from callarchive.monitoring.trace_steps import Step


def find(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Session id or recording id.")],
) -> None:
    """Trace a session or a recording from its source to the archived file, and show where the trace breaks.

    Exits with 1 if the id is neither in the catalog nor in the inbox. Phone numbers are masked.

    \b
    Example:
        callarchive find e35e3d0e-065a-11ec-b119-676cb2bc33ef
    """
    from callarchive.domain.errors import ConfigurationError, InvalidIdError
    from callarchive.monitoring.trace import find as find_traces

    output: Output = context.obj
    with output.connections() as connections:
        try:
            traces = find_traces(connections, wanted)
        except InvalidIdError as err:
            raise ConfigurationError(_no_id(wanted)) from err
    if output.json:
        output.print_json({"found": [trace.document() for trace in traces]})
    for trace in () if output.json else traces:
        _print_trace(output, trace)
    if not traces:
        typer.echo(
            f"error: {ascii(wanted)[1:-1]} is neither in the catalog nor in the inbox: {_next_step(wanted)}", err=True
        )
        raise typer.Exit(1)


def _no_id(given: str) -> str:
    """Return why it is no id, what is expected, and an example."""
    inside = ids_in(given)
    digits = sum(char in string.hexdigits for char in given)
    if inside:
        hint = f"it contains one: callarchive find {inside[-1]}"
    elif digits and not set(given.lower()) - set(f"{string.hexdigits}-"):
        hint = f"an id has 32 hexadecimal digits, this has {digits}"
    else:
        hint = "write a UUID, such as e35e3d0e-065a-11ec-b119-676cb2bc33ef"
    return f"{quoted(given)} is not a session or recording id: {hint}"


def _next_step(wanted: str) -> str:
    at = uuid_time(plain_id(wanted))
    if at is None:
        return "archive its day first"
    return f"it was made at {at:%Y-%m-%d %H:%M} UTC; archive that day first: callarchive archive --day {at:%Y-%m-%d}"


def _print_trace(output: Output, trace: "Trace") -> None:
    day = trace.call_date or "an unknown day"
    output.print_table(
        f"Session {trace.session['session_id']} of {trace.session['subaccount_id']}, {day}",
        ("step", "state", "details"),
        [row for step in trace.links for row in _step_rows(step)],
    )
    for recording in trace.recordings:
        output.print_table(
            f"Recording {recording['recording_id']}",
            ("step", "state", "details"),
            [row for step in recording["links"] for row in _step_rows(step)],
        )
    output.print_text("All checks passed." if trace.broken_at is None else f"Broken at: {trace.broken_at}")


def _step_rows(step: "Step") -> list[tuple[str, str, str]]:
    """Return a row for the step, then one for each fact; a list has one for each item."""
    rows = [(step.name, step.state.value, step.detail)]
    for name, value in step.facts.items():
        items = value if isinstance(value, list) else [value]
        rows.extend(("", "", f"{name}: {_fact(item)}") for item in items)
    return rows


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, float):
        return f"{value:g}"
    return value.isoformat(sep=" ", timespec="milliseconds") if isinstance(value, datetime) else str(value)
