"""`callarchive find`: trace a session or a recording."""

import shlex
import string
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.output import Output
from callarchive.domain.days import day_of
from callarchive.domain.identifiers import ids_in, plain_id, uuid_time
from callarchive.domain.mistakes import quoted

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.custody.holds import Hold
    from callarchive.monitoring.trace import Trace
    from callarchive.monitoring.trace_steps import Step
    from callarchive.settings import Settings
    from callarchive.settings.stores import ArchiveSettings


def find(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Session id or recording id.")],
) -> None:
    """Say whether a session's recordings are archived and whole, where the files are, and where the trace breaks.

    -v shows every step from the source to the file, with the facts behind it. Exits with 1 if the id is neither in the catalog
    nor in the inbox and was not erased. Phone numbers are masked.

    \b
    Example:
        callarchive find e35e3d0e-065a-11ec-b119-676cb2bc33ef
    """
    from callarchive.custody.holds import Hold
    from callarchive.domain.errors import ConfigurationError, InvalidIdError, StoreError
    from callarchive.monitoring.trace import erasures_of
    from callarchive.monitoring.trace import find as find_traces

    output: Output = context.obj
    with output.connections() as connections:
        settings = connections.settings
        try:
            traces = find_traces(connections, wanted)
        except InvalidIdError as err:
            raise ConfigurationError(no_id(wanted)) from err
        erasures = erasures_of(connections, wanted)
        holds, damage = [list[Hold]() for _ in traces], None
        try:
            holds = [_holds_on(connections, trace) for trace in traces]
        except StoreError as err:
            damage = err
        advice = "" if traces or erasures else next_step(wanted, connections)
    if output.json:
        found = [{**trace.document(), "holds": held} for trace, held in zip(traces, holds, strict=True)]
        output.print_json({"found": found, "erased": erasures})
    for erasure in () if output.json else erasures:
        at = f" on {erasure['at'][:10]}" if erasure["at"] else ""
        why = f": {erasure['reason']}" if erasure["reason"] else ""
        call = f"{erasure['subaccount_id']}, {erasure['call_date']}"
        output.print_text(f"{plain_id(wanted).lower()} of {call}: erased{at} ({erasure['erasure_id']}){why}")
    if damage is not None:
        typer.echo(f"warning: whether a hold covers it is not known: {damage}", err=True)
    for trace, held in () if output.json else zip(traces, holds, strict=True):
        _print_verdict(output, trace, settings, wanted=plain_id(wanted).lower())
        for hold in held:
            output.print_text(f"Held by {hold.hold_id} ({hold.scope}): {hold.reason}")
        if output.verbose:
            _print_steps(output, trace)
    if traces and not (output.json or output.verbose):
        output.print_text("Every step with its facts: -v")
    if not traces and not erasures:
        typer.echo(f"error: {ascii(wanted)[1:-1]} is neither in the catalog nor in the inbox: {advice}", err=True)
        raise typer.Exit(1)


def _holds_on(connections: "Connections", trace: "Trace") -> "list[Hold]":
    """Return the holds in the archive that cover the session or one of its recordings."""
    from callarchive.custody.holds import Item

    if trace.call_date is None:
        return []
    session, recordings = trace.session, [recording["recording_id"] for recording in trace.recordings] or [""]
    items = [Item(session["subaccount_id"], trace.call_date, session["session_id"], one) for one in recordings]
    return [hold for hold in connections.holds.active() if any(map(hold.scope.covers, items))]


def no_id(given: str) -> str:
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


def next_step(wanted: str, connections: "Connections") -> str:
    """Return what to do about an id that the catalog does not have."""
    at = uuid_time(plain_id(wanted))
    if at is None:
        return "archive its day first"
    day = day_of(at, connections.settings.zone)
    made = f"it was made at {at:%Y-%m-%d %H:%M} UTC"
    if day in connections.catalog.days():
        return f"{made}; {day} is archived, but neither its session sources nor 8x8 list it (docs/troubleshooting.md)"
    return f"{made}; archive that day first: callarchive archive --day {day}"


def _print_verdict(output: Output, trace: "Trace", settings: "Settings", *, wanted: str) -> None:
    """Print whether each recording is archived, the wanted one first, its file, and the session's steps that do not hold."""
    from callarchive.monitoring.trace_steps import NO_EVENTS, StepState, verdict_on

    for recording in sorted(trace.recordings, key=lambda row: row["recording_id"] != wanted):
        output.print_text(f"Recording {recording['recording_id']}: {verdict_on(recording)}")
        for name, value in (
            ("file", _to_open(recording["archive_uri"], settings.archive)),
            ("SHA-256", recording["sha256"]),
            ("quarantine", recording["quarantine_uri"]),
            ("object", recording["source_uri"]),
        ):
            if value is not None:
                output.print_text(f"  {name}: {value}")
    if not trace.recordings:
        output.print_text("not archived: no recording is known")
    session, day = trace.session, trace.call_date or "an unknown day"
    output.print_text(f"Session {session['session_id']} of {session['subaccount_id']}, {day}")
    with_events = {account.subaccount_id for account in settings.accounts if account.expects_events}
    for step in trace.links:
        is_noise = step == NO_EVENTS and session["subaccount_id"] not in with_events
        if step.state is not StepState.OK and not is_noise:
            output.print_text(f"  {step.name} ({step.state}): {step.detail}")
    output.print_text("All checks passed." if trace.broken_at is None else f"Broken at: {trace.broken_at}")


def _to_open(uri: str | None, archive: "ArchiveSettings") -> str | None:
    """Return the path of an archived file, or the command that downloads it from S3."""
    if uri is None or not uri.startswith("s3://"):
        return uri and uri.removeprefix("file://")
    endpoint, profile = archive.s3.endpoint_url, archive.s3.profile
    options = [*(("--endpoint-url", endpoint) if endpoint else ()), *(("--profile", profile) if profile else ())]
    return shlex.join(["aws", "s3", "cp", *options, uri, "."])


def _print_steps(output: Output, trace: "Trace") -> None:
    output.print_table(
        "Steps of the session",
        ("step", "state", "details"),
        [row for step in trace.links for row in _step_rows(step)],
    )
    for recording in trace.recordings:
        output.print_table(
            f"Steps of recording {recording['recording_id']}",
            ("step", "state", "details"),
            [row for step in recording["links"] for row in _step_rows(step)],
        )


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
