"""`callarchive push-config`: show, compare and change where 8x8 pushes recordings."""

import sys
from typing import TYPE_CHECKING

import typer

from callarchive.cli.accounts import (
    Account,
    Yes,
    accounts_with,
    chosen_accounts,
    confirm,
    json_at_the_end,
    record_change,
    require_secrets,
    set_or_not,
)
from callarchive.cli.output import Output
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.settings import AccountSettings, PushSettings
    from callarchive.voice_api.account_setup import PushConfig
    from callarchive.voice_api.push_config import PushDifference

push_config_app = typer.Typer(
    no_args_is_help=True,
    help="Manage the recording push configuration: where 8x8 pushes recordings.",
    rich_markup_mode=None,
)


@push_config_app.command("show", short_help="Show the configuration at 8x8.")
def show(context: typer.Context, account: Account = None) -> None:
    """Show the recording push configuration at 8x8. 8x8 returns only whether a password is set."""
    output: Output = context.obj
    with output.connections() as connections:
        found = [
            (a.subaccount_id, connections.voice(a).setup.push_config()) for a in chosen_accounts(connections, account)
        ]
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "push_config": config} for name, config in found]})
        return
    headings = ("account", "protocol", "host", "port", "username", "password", "path")
    output.print_table("Recording push configuration at 8x8", headings, [_row(*item) for item in found])


@push_config_app.command("plan", short_help="Compare 8x8 with the configuration file.")
def plan(context: typer.Context, account: Account = None) -> None:
    """Show how the recording push configuration at 8x8 differs from [accounts.push]. Changes nothing."""
    from callarchive.voice_api.push_config import differs, push_differences

    output: Output = context.obj
    with output.connections() as connections:
        planned = [
            (a.subaccount_id, push_differences(wanted, connections.voice(a).setup.push_config()))
            for a, wanted in _pushing(output, connections, account)
        ]
    if output.json:
        accounts = [{"subaccount_id": name, "differs": differs(found), "settings": found} for name, found in planned]
        output.print_json({"accounts": accounts})
        return
    for name, differences in planned:
        _print_plan(output, name, differences)


@push_config_app.command("apply", short_help="Apply the configuration file at 8x8.")
def apply(context: typer.Context, account: Account = None, yes: Yes = False) -> None:
    """Apply [accounts.push] at 8x8, read it back, and compare.

    8x8 never returns the password, so the configuration is sent even if nothing else differs, in case the password is new.
    Exits with 1 if 8x8 then reports a different configuration. The ledger records the change first; if it cannot, nothing is
    changed.
    """
    from callarchive.voice_api.push_config import apply_push_config, differs, push_differences

    output: Output = context.obj
    done: list[dict[str, object]] = []
    failed = []
    with output.connections() as connections, json_at_the_end(output, "accounts", done):
        chosen = list(_pushing(output, connections, account))
        require_secrets(connections, ((a, "push.password", wanted.password) for a, wanted in chosen))
        for a, wanted in chosen:
            name, setup = a.subaccount_id, connections.voice(a).setup
            planned = push_differences(wanted, setup.push_config())
            if not output.json:
                _print_plan(output, name, planned)
            if (output.json or output.quiet) and not yes and sys.stdin.isatty():  # the question needs its subject
                for difference in planned:
                    if difference.differs is not False:
                        change = f"{difference.at_8x8 or 'not set'} becomes {difference.wanted}"
                        typer.echo(f"{name}: {difference.setting}: {change}", err=True)
            confirm(f"Apply this to {name}?", yes=yes)
            target = f"{wanted.protocol.lower()}://{wanted.host}/{wanted.path.lstrip('/')}"
            record_change(connections, name, "push_config", "set", to=target)
            differences = apply_push_config(setup, wanted)
            done.append({"subaccount_id": name, "applied": not differs(differences), "settings": differences})
            if differs(differences):
                failed.append(name)
            if output.json:
                continue
            if name in failed:
                _print_plan(output, name, differences)
            else:
                output.print_text(f"{name}: applied and confirmed by 8x8. To test it: callarchive doctor")
    if failed:
        typer.echo(f"error: 8x8 did not apply the configuration: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


@push_config_app.command("delete", short_help="Delete the configuration at 8x8.")
def delete(context: typer.Context, account: Account = None, yes: Yes = False) -> None:
    """Delete the recording push configuration at 8x8. New recordings are then not pushed anywhere."""
    output: Output = context.obj
    done: list[dict[str, object]] = []
    with output.connections() as connections, json_at_the_end(output, "accounts", done):
        for a in chosen_accounts(connections, account):
            name = a.subaccount_id
            confirm(f"Delete the push configuration of {name}? 8x8 will not push new recordings anywhere.", yes=yes)
            record_change(connections, name, "push_config", "delete")
            deleted = connections.voice(a).setup.delete_push_config()
            done.append({"subaccount_id": name, "deleted": deleted})
            if not output.json:
                output.print_text(f"{name}: {'deleted' if deleted else 'no configuration was set'}")


def _row(name: str, at: "PushConfig | None") -> tuple[object, ...]:
    if at is None:
        return (name, "not set", *[""] * 5)
    port = None if at.port is None else str(at.port)
    return (name, at.protocol, at.host, port, at.username, set_or_not(at.password_set), at.path)


def _pushing(
    output: Output, connections: "Connections", wanted: str | None
) -> "list[tuple[AccountSettings, PushSettings]]":
    keys = 'protocol, host, port, username, password = { env = "NAME" } and path'
    return accounts_with(output, lambda account: account.push, connections, wanted, name="accounts.push", keys=keys)


def _print_plan(output: Output, account: str, differences: "list[PushDifference]") -> None:
    changes = {True: "yes", False: "", None: "cannot be compared; apply sends it"}
    rows = [(d.setting, d.at_8x8 or "", d.wanted, changes[d.differs]) for d in differences]
    output.print_table(f"Recording push configuration of {account}", ("setting", "at 8x8", "wanted", "change"), rows)
    count = sum(bool(difference.differs) for difference in differences)
    differing = many(count, "setting differs", "settings differ")
    output.print_text(differing if count else "No setting that can be compared differs")
