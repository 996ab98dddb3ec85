"""`callarchive push-config`: where 8x8 pushes recordings, and where it should."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from callarchive.cli.accounts import (
    Account,
    Yes,
    ask,
    chosen_accounts,
    nobody_says,
    open_connections,
    require_secrets,
    set_or_not,
    telling_at_the_end,
)
from callarchive.cli.output import Output
from callarchive.domain.errors import ConfigurationError
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.settings import AccountSettings, PushSettings
    from callarchive.voice_api.push_config import PushDifference

push_config_app = typer.Typer(
    no_args_is_help=True, help="The recording push configuration: where 8x8 pushes recordings.", rich_markup_mode=None
)


@push_config_app.command("show", short_help="What 8x8 has.")
def show(context: typer.Context, account: Account = None) -> None:
    """Shows the recording push configuration that 8x8 has. The password is never told, only whether one is set."""
    output: Output = context.obj
    with open_connections(output) as connections:
        found = [
            (a.subaccount_id, connections.voice(a).setup.push_config()) for a in chosen_accounts(connections, account)
        ]
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "push_config": config} for name, config in found]})
        return
    rows = [
        (
            name,
            config.protocol,
            config.host,
            None if config.port is None else str(config.port),
            config.username,
            set_or_not(config.password_set),
            config.path,
        )
        if config is not None
        else (name, "none is set", "", "", "", "", "")
        for name, config in found
    ]
    headings = ("account", "protocol", "host", "port", "username", "password", "path")
    output.print_table("Recording push configuration at 8x8", headings, rows)


@push_config_app.command("plan", short_help="How that differs from the configuration.")
def plan(context: typer.Context, account: Account = None) -> None:
    """Shows how the recording push configuration at 8x8 differs from [accounts.push]. Changes nothing."""
    from callarchive.voice_api.push_config import differs, push_differences

    output: Output = context.obj
    with open_connections(output) as connections:
        planned = [
            (a.subaccount_id, push_differences(wanted, connections.voice(a).setup.push_config()))
            for a, wanted in _pushing(connections, account)
        ]
    if output.json:
        output.print_json(
            {
                "accounts": [
                    {"subaccount_id": name, "differs": differs(differences), "settings": differences}
                    for name, differences in planned
                ]
            }
        )
        return
    for name, differences in planned:
        _print_plan(output, name, differences)


@push_config_app.command("apply", short_help="Tell 8x8 what the configuration says.")
def apply(context: typer.Context, account: Account = None, yes: Yes = False) -> None:
    """Tells 8x8 what [accounts.push] says, reads it back, and compares.

    8x8 never tells the password, so it is sent even when nothing else differs: that is how a new one gets there.
    Exits 1 if 8x8 then says something else. What was done for one account is told also when a later one fails.
    """
    from callarchive.voice_api.push_config import apply_push_config, differs, push_differences

    output: Output = context.obj
    done: list[dict[str, object]] = []
    failed = []
    with open_connections(output) as connections, telling_at_the_end(output, "accounts", done):
        chosen = list(_pushing(connections, account))
        # Before anything is changed.
        require_secrets(connections, ((a, "push.password", wanted.password) for a, wanted in chosen))
        for a, wanted in chosen:
            name, setup = a.subaccount_id, connections.voice(a).setup
            if not output.json:
                _print_plan(output, name, push_differences(wanted, setup.push_config()))
            ask(f"Tell 8x8 so for {name}?", yes=yes)
            differences = apply_push_config(setup, wanted)
            done.append({"subaccount_id": name, "applied": not differs(differences), "settings": differences})
            if differs(differences):
                failed.append(name)
            if output.json:
                continue
            if name in failed:
                _print_plan(output, name, differences)
            else:
                output.print_text(f"{name}: applied; 8x8 says the same. callarchive doctor tries the whole chain")
    if failed:
        typer.echo(f"error: what 8x8 says afterwards is not what it was told: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


@push_config_app.command("delete", short_help="Delete it at 8x8.")
def delete(context: typer.Context, account: Account = None, yes: Yes = False) -> None:
    """Deletes the recording push configuration at 8x8: from then on recordings are pushed nowhere."""
    output: Output = context.obj
    done: list[dict[str, object]] = []
    with open_connections(output) as connections, telling_at_the_end(output, "accounts", done):
        for a in chosen_accounts(connections, account):
            name = a.subaccount_id
            ask(f"Delete where recordings of {name} are pushed? New ones would go nowhere.", yes=yes)
            deleted = connections.voice(a).setup.delete_push_config()
            done.append({"subaccount_id": name, "deleted": deleted})
            if not output.json:
                output.print_text(f"{name}: {'deleted' if deleted else 'none was set'}")


def _pushing(connections: "Connections", wanted: str | None) -> "Iterator[tuple[AccountSettings, PushSettings]]":
    """The accounts that say where to push. Raises ConfigurationError if none does, or the one that was named does not."""
    found = False
    for account in chosen_accounts(connections, wanted):
        if account.push is not None:
            found = True
            yield account, account.push
        elif wanted is None:
            typer.echo(f"{account.subaccount_id}: has no [accounts.push], so nothing is wanted", err=True)
    if not found:
        raise ConfigurationError(
            f"{nobody_says(wanted)} where 8x8 should push: add [accounts.push] with protocol, host, port, username, "
            'password = { env = "NAME" } and path'
        )


def _print_plan(output: Output, account: str, differences: "list[PushDifference]") -> None:
    changes = {True: "yes", False: "", None: "cannot be compared; apply sends it"}
    rows = [(d.setting, d.at_8x8 or "", d.wanted, changes[d.differs]) for d in differences]
    output.print_table(f"Recording push configuration of {account}", ("setting", "at 8x8", "wanted", "change"), rows)
    count = sum(bool(difference.differs) for difference in differences)
    differing = many(count, "setting differs", "settings differ")
    output.print_text(differing if count else "Nothing that can be compared differs")
