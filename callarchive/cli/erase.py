"""`callarchive erase`: remove sessions or recordings, and everything that names them."""

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.erasure_output import show_done, show_plan
from callarchive.cli.find import no_id
from callarchive.cli.output import Output
from callarchive.cli.people import By, Reason, given_reason, person
from callarchive.domain.errors import ArchiveError, ConfigurationError, InvalidIdError
from callarchive.domain.foreign_text import MASK
from callarchive.domain.identifiers import parse_id, plain_id

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.removal.erasing import Erasing
    from callarchive.removal.homes import Targets
    from callarchive.removal.plan import Planned

BypassGovernance = Annotated[
    bool,
    typer.Option("--bypass-governance", help="Also delete what S3 Object Lock retains in governance mode."),
]


def erase(
    context: typer.Context,
    reason: Reason = None,
    sessions: Annotated[
        list[str] | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="A session, with all of its recordings. May be repeated.",
            show_default=False,
        ),
    ] = None,
    recordings: Annotated[
        list[str] | None,
        typer.Option("--recording", metavar="ID", help="A single recording. May be repeated.", show_default=False),
    ] = None,
    number: Annotated[
        str | None,
        typer.Option(
            "--number",
            metavar="NUMBER",
            help="All sessions of a phone number, where the catalog keeps numbers or their hashes; - for standard input.",
            show_default=False,
        ),
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ACCOUNT", help="Only this account's.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")] = False,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Only continue what killed commands began; needs no --reason.")
    ] = False,
    by: By = None,
    delete_at_landing: Annotated[
        bool, typer.Option("--delete-at-landing", help="Also delete the objects that 8x8 pushed to the landing.")
    ] = False,
    bypass_governance: BypassGovernance = False,
) -> None:
    """Erase sessions or recordings: files in all versions, rows, stored responses, events, entries of the ledger.

    A row with the ids of each recording stays, with the state "erased", and no run downloads it again. The ledger
    records that, when, by whom and why. What a killed command began is continued first. Exits with 3 under a legal hold, and
    with 1 if nothing knows the id. At the end, it lists what is out of reach. docs/erasure.md has the details.

    \b
    Examples:
        callarchive erase --session e35e3d0e-065a-11ec-b119-676cb2bc33ef --reason "case 17" --dry-run
        callarchive erase --number +6561234567 --reason "case 17"
    """
    from callarchive.removal.erasing import Erasing, Order
    from callarchive.removal.homes import Target, Targets, at_home
    from callarchive.removal.numbers import days_without_numbers
    from callarchive.removal.obstacles import HeldError

    output: Output = context.obj
    if sum(1 for given in (sessions, recordings, number, go_on) if given) != 1:
        raise typer.BadParameter("give one of them", param_hint="--session, --recording, --number or --continue")
    if number == "-":  # so that neither the list of processes nor the shell's history has it
        number = sys.stdin.readline().strip()
    if number:
        reason = reason and reason.replace(number, MASK)
    kind, given = ("session_id", sessions) if sessions else ("recording_id", recordings)
    wanted = [_id(text) for text in given or ()]
    who = person(by)
    order = Order(
        reason="" if go_on else given_reason(reason),
        by=who.name,
        user=who.user,
        delete_at_landing=delete_at_landing,
        bypass_governance=bypass_governance,
    )
    with output.connections() as connections:
        if account is not None and account not in {one.subaccount_id for one in connections.settings.accounts}:
            output.print_note(f"{account} is not in the configuration")
        erasing = Erasing(connections)
        begun = connections.register.begun()
        done = [] if dry_run else erasing.continue_begun(order)
        if done:
            erasing.finish()
        continued = {one for item in done for one in item.erasure.ids.all}
        found: Targets = defaultdict(Target)
        if number is not None:
            _find_number(connections, number, account, found)
            erasing.out_of_reach.update(days_without_numbers(connections, account=account))
        for erasure, err in erasing.failures:
            if go_on or not erasure.ids.all.isdisjoint(wanted):
                raise err
        earlier = [
            _already_erased(connections, one, kind, account)
            for one in wanted
            if not _find(connections, one, kind, account, found) and one not in continued
        ]
        targets = at_home(connections, found)
        if dry_run:
            plans = _plans(connections, erasing, targets)
            show_plan(output, plans, earlier, begun_count=len(begun), out_of_reach=erasing.out_of_reach)
            if held := list(dict.fromkeys(hold for plan in plans for hold in plan.holds)):
                raise HeldError(held)
            return
        for (owner, day), target in targets.items():
            erasing.refuse_held(owner, day, target.sessions, target.recordings)
        for (owner, day), target in sorted(targets.items()):
            result = erasing.erase(owner, day, order, sessions=target.sessions, recordings=target.recordings)
            if result is not None:
                done.append(result)
        erasing.finish()
        if earlier:
            erasing.erase_from_dagster(connections.register.ids_erased_with(wanted))
    show_done(output, order, done, earlier, erasing.out_of_reach, is_number=number is not None)


def _id(text: str) -> str:
    try:
        return parse_id(plain_id(text), kind="session or recording id")
    except InvalidIdError as err:
        raise ConfigurationError(no_id(text)) from err


def _find(connections: "Connections", wanted: str, kind: str, account: str | None, targets: "Targets") -> bool:
    """Add the places of the id to the targets, and return whether there is one."""
    from callarchive.removal.search import places_of

    places = [place for place in places_of(connections, wanted, kind=kind) if account in (None, place.subaccount_id)]
    for place in places:
        target = targets[place.subaccount_id, place.call_date]
        if kind == "session_id":
            target.sessions.add(wanted)
        else:
            target.recordings[wanted] = place.session_id
    return bool(places)


def _find_number(connections: "Connections", number: str, account: str | None, targets: "Targets") -> None:
    from callarchive.removal.numbers import places_of_number

    for place in places_of_number(connections, number, account=account):
        targets[place.subaccount_id, place.call_date].sessions.add(place.session_id)


def _already_erased(connections: "Connections", wanted: str, kind: str, account: str | None) -> str:
    """Return when the id was erased. Raises ArchiveError if nothing knows it."""
    from callarchive.removal.search import places_of

    if found := [one for one in connections.register.find(wanted) if account in (None, one.subaccount_id)]:
        at = found[-1].at[:10]
        return f"{wanted}, of {found[-1].call_date}: already erased{f' on {at}' if at else ''}"
    other, option = ("recording_id", "--recording") if kind == "session_id" else ("session_id", "--session")
    if places_of(connections, wanted, kind=other):
        raise ArchiveError(f"{wanted} is not a {kind.removesuffix('_id')}: use {option} {wanted}")
    of_account = "" if account is None else f" of {account}"
    raise ArchiveError(
        f"nothing{of_account} knows {wanted}: the tables and stored responses of all days, the inbox, the archive's folders "
        "and what was erased were searched"
    )


def _plans(connections: "Connections", erasing: "Erasing", targets: "Targets") -> "list[Planned]":
    from callarchive.removal.plan import planned

    holds = erasing.holds()
    return [
        planned(connections, owner, day, holds, sessions=frozenset(found.sessions), recordings=found.recordings)
        for (owner, day), found in sorted(targets.items())
    ]
