"""`callarchive audit`: who did what, from the ledger."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callarchive.cli.days import FirstDay, LastDay, check_order
from callarchive.cli.output import Output
from callarchive.domain.days import day_of, parse_timestamp
from callarchive.domain.mistakes import did_you_mean, quoted
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from callarchive.ledger.checking import Entry

_FIRST = ("at", "event", "by", "user", "subaccount_id", "reason")


def audit(
    context: typer.Context,
    first: FirstDay = None,
    last: LastDay = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="EVENT", help="Only this event; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """List who did what, oldest first: holds, erasures, retention, evidence, changes at 8x8, the start of the ledger.

    Events: configured, erased, erasure_withdrawn, evidence, hold_added, hold_release_requested, hold_released, started. The
    tables and `status` have what runs archived. The whole ledger is checked: exits with 1 if it is not intact, or if there is
    none. --from and --to are days of the events.

    \b
    Examples:
        callarchive audit --from 2026-11-01 --kind erased
        callarchive audit --json
    """
    from callarchive.domain.errors import LedgerError
    from callarchive.ledger.checking import NOTED
    from callarchive.monitoring.verification.witnessed import read_ledger

    check_order(first, last)
    for kind in kinds or ():
        if kind not in NOTED:
            known = ", ".join(sorted(NOTED))
            raise typer.BadParameter(
                f"{quoted(kind)} is not one of {known}{did_you_mean(kind, NOTED)}", param_hint="--kind"
            )
    output: Output = context.obj
    with output.connections() as connections:
        checked, zone = read_ledger(connections), connections.settings.zone
    if not checked.size:
        raise LedgerError(checked.problems[0])
    found = [
        entry
        for entry in checked.noted
        if entry.facts["event"] in (kinds or NOTED) and _is_between(first, last, entry.facts, zone)
    ]
    if output.json:
        output.print_json([_document(entry) for entry in found])
    elif found:
        headings = ("entry", "at", "event", "by", "about", "reason")
        output.print_table("Who did what, from the ledger", headings, [_row(entry, zone) for entry in found])
    else:
        output.print_text("the ledger has no entry of that kind in that time")
    for problem in checked.problems:
        typer.echo(f"error: the ledger is not intact: {problem}", err=True)
    if checked.problems:
        raise typer.Exit(1)


def _is_between(first: date | None, last: date | None, facts: dict[str, Any], zone: "ZoneInfo") -> bool:
    at = parse_timestamp(facts.get("at"))
    if at is None:
        return first is None and last is None
    return (first or date.min) <= day_of(at, zone) <= (last or date.max)


def _document(entry: "Entry") -> dict[str, Any]:
    facts = dict(entry.facts)
    return {"entry": entry.number, **{name: facts.pop(name, None) for name in _FIRST}, **facts}


def _row(entry: "Entry", zone: "ZoneInfo") -> tuple[str, ...]:
    facts = entry.facts
    at, user = parse_timestamp(facts.get("at")), facts.get("user")
    return (
        str(entry.number),
        "" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M}",
        str(facts["event"]).replace("_", " "),
        f"{facts.get('by', '')}{f' ({user})' if user else ''}",
        _about(facts),
        str(facts.get("reason", "")),
    )


def _about(facts: dict[str, Any]) -> str:
    """Return what an entry is about, without what only a program reads."""
    place = " ".join(str(facts[name]) for name in ("subaccount_id", "call_date") if name in facts)
    days = " ".join(f"{word} {facts[name]}" for word, name in (("from", "first"), ("to", "last")) if name in facts)
    match facts["event"]:
        case "erased":
            return (
                f"{place}: {many(len(facts.get('recording_ids', ())), 'recording', 'recordings')} ({facts.get('kind')})"
            )
        case "configured":
            return f"{place}: {facts.get('what')} {facts.get('action')} {facts.get('to', '')}".rstrip()
        case "started":
            return f"{many(int(facts.get('adopted_days', 0)), 'day', 'days')} from before the ledger"
        case _:
            session = "a session" if "session_hash" in facts else None
            named = (facts.get("hold"), facts.get("erasure"), session, facts.get("recording_id"), place, days)
            return " ".join(str(one) for one in named if one)
