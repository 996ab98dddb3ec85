"""`callarchive hold`: legal holds, which forbid erasure and retention."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callarchive.cli.days import FirstDay, LastDay, check_order
from callarchive.cli.output import Output
from callarchive.cli.people import By, Reason, given_reason, person

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.custody.holds import Scope, Signature
    from callarchive.removal.holds import KnownHold

hold_app = typer.Typer(
    no_args_is_help=True,
    help="Forbid the erasure of recordings: legal holds.",
    rich_markup_mode=None,
)


@hold_app.command("add", short_help="Hold a session, a recording, or days of an account.")
def add(
    context: typer.Context,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Hold this session.", show_default=False)
    ] = None,
    recording: Annotated[
        str | None, typer.Option("--recording", metavar="ID", help="Hold this recording.", show_default=False)
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="ID", help="Hold this account's days --from --to.", show_default=False),
    ] = None,
    first: FirstDay = None,
    last: LastDay = None,
    reason: Reason = None,
    by: By = None,
) -> None:
    """Forbid erasure and retention of a session, a recording, or the days of an account; without --from or --to, of all days.

    What is held need not be archived yet. The hold is durable when the command ends with 0, and is recorded in the ledger.
    Repeating the command changes nothing. Where the archive's bucket has Object Lock, the objects get its legal hold too.

    \b
    Examples:
        callarchive hold add --session e35e3d0e-065a-11ec-b119-676cb2bc33ef --reason "case 17"
        callarchive hold add --account acme_sg --from 2026-10-01 --to 2026-10-31 --reason "case 17"
    """
    from callarchive.domain.errors import ArchiveError, ConfigurationError
    from callarchive.removal.hold_effects import effects_of, is_archived, other_kind, set_object_holds
    from callarchive.removal.holds import add_hold

    output: Output = context.obj
    kept_reason, who = given_reason(reason), person(by)
    with output.connections() as connections:
        scope = _scope(connections, session, recording, account, first, last)
        other = other_kind(scope)
        if other is not None and not is_archived(connections, scope) and is_archived(connections, other):
            raise ConfigurationError(f"it is no {scope.kind}, but {other}: hold add --{other.kind}")
        with connections.custody_lock():
            known = add_hold(connections, scope, reason=kept_reason, by=who)
            notes, failure = effects_of(connections, scope), None
            try:
                notes += filter(None, [set_object_holds(connections, scope)])
            except ArchiveError as err:
                failure = f"{known.hold_id} is in force, but {err}: then run the same command again"
    if output.json:
        output.print_json({**_document(known), "notes": notes})
    else:
        output.print_text(f"{known.hold_id}: {scope} is held until: callarchive hold release {known.hold_id}")
    if kept_reason != " ".join((reason or "").split()):
        output.print_note(f"the reason is kept as: {kept_reason}")
    for note in notes:
        output.print_note(note)
    if failure is not None:
        typer.echo(f"error: {failure}", err=True)
        raise typer.Exit(1)


@hold_app.command("list", short_help="List the holds in force.")
def list_holds(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also list released holds.")] = False,
) -> None:
    """List the holds in force, oldest first, also those whose objects in the archive were removed and the ledger still has.

    Exits with 1 if archive and ledger differ about one of them.
    """
    from callarchive.removal.holds import known_holds

    output: Output = context.obj
    with output.connections() as connections:
        found = [known for known in known_holds(connections) if every or known.is_in_force]
        problems = [what for known in found for _, what in known.contradictions()]
    readable = [known for known in found if known.is_readable]
    if output.json:
        output.print_json({"holds": [_document(known) for known in readable], "problems": problems})
    elif readable:
        output.print_table("Legal holds", ("hold", "covers", "reason", "added", "state"), map(_row, readable))
    else:
        output.print_text("no hold is in force" if not every else "there are no holds")
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


@hold_app.command("release", short_help="Release a hold.")
def release(
    context: typer.Context,
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID", help="Id that `hold add` printed.")],
    reason: Reason = None,
    by: By = None,
) -> None:
    """Release a hold. With holds.two_releasers, the first release only requests it, and another person must confirm.

    Nothing is erased by this. Exits with 3 if the person who requested the release confirms it.
    """
    from callarchive.domain.errors import ArchiveError
    from callarchive.removal.hold_effects import release_object_holds
    from callarchive.removal.holds import ReleasedError, release_hold

    output: Output = context.obj
    kept_reason, who = None if reason is None else given_reason(reason), person(by)
    failure: str | None = None
    with output.connections() as connections, connections.custody_lock():
        try:
            known = release_hold(connections, hold_id.strip().lower(), reason=kept_reason, by=who)
        except ReleasedError as err:  # a killed command may have left the legal hold of S3
            release_object_holds(connections, err.scope)
            raise
        try:
            if not known.is_in_force:
                release_object_holds(connections, known.hold.scope)
        except ArchiveError as err:
            failure = f"{known.hold_id} is released, but {err}: then run the same command again"
    if output.json:
        output.print_json(_document(known))
    elif known.is_in_force:
        confirm = f"callarchive hold release {known.hold_id} --by NAME"
        output.print_text(f"{known.hold_id}: requested by {who.name}; held until another person confirms: {confirm}")
    else:
        output.print_text(f"{known.hold_id}: {known.hold.scope} is no longer held by it")
    if failure is not None:
        typer.echo(f"error: {failure}", err=True)
        raise typer.Exit(1)


def _scope(
    connections: "Connections",
    session: str | None,
    recording: str | None,
    account: str | None,
    first: date | None,
    last: date | None,
) -> "Scope":
    """Return what the options name. Raise BadParameter, ConfigurationError."""
    from callarchive.cli.find import no_id
    from callarchive.custody.holds import Scope
    from callarchive.domain.errors import ConfigurationError, InvalidIdError
    from callarchive.domain.identifiers import parse_id, plain_id

    given = {"--session": session, "--recording": recording, "--account": account}
    if sum(value is not None for value in given.values()) != 1:
        raise typer.BadParameter("give one of them", param_hint="/".join(given))
    if account is not None:
        check_order(first, last)
        return Scope(subaccount_id=_account(connections, account.strip()), first=first, last=last)
    if first is not None or last is not None:
        raise typer.BadParameter(
            "they are for --account: a session or a recording is held whole", param_hint="--from/--to"
        )
    try:
        if session is not None:
            return Scope(session_id=parse_id(plain_id(session), kind="session id"))
        return Scope(recording_id=parse_id(plain_id(recording or ""), kind="recording id"))
    except InvalidIdError as err:
        raise ConfigurationError(no_id(session or recording or "")) from err


def _account(connections: "Connections", wanted: str) -> str:
    """Return the account, configured or with a folder in the archive. Raise ConfigurationError for any other."""
    from callarchive.cli.accounts import chosen_accounts
    from callarchive.domain.identifiers import path_segment

    if path_segment(wanted or "_") not in connections.archive.account_folders():
        chosen_accounts(connections, wanted)
    return wanted


def _document(known: "KnownHold") -> dict[str, Any]:
    scope = known.hold.scope
    return {
        "hold_id": known.hold_id,
        "state": _state(known),
        "kind": scope.kind,
        "session_id": scope.session_id,
        "session_hash": scope.facts().get("session_hash"),
        "recording_id": scope.recording_id,
        "subaccount_id": scope.subaccount_id,
        "from": scope.first,
        "to": scope.last,
        "reason": known.hold.reason,
        "added": known.hold.added,
        "release_requested": known.requested,
        "released": known.released,
    }


def _state(known: "KnownHold") -> str:
    if not known.is_in_force:
        return "released"
    return "in force" if known.requested is None else "release requested"


def _row(known: "KnownHold") -> tuple[str, ...]:
    hold, last = known.hold, known.released or known.requested
    state = _state(known) if last is None else f"{_state(known)} {_signed(last)}"
    return (known.hold_id, str(hold.scope), hold.reason, _signed(hold.added), state)


def _signed(signature: "Signature") -> str:
    return f"{signature.at:%Y-%m-%d} by {signature.by}"
