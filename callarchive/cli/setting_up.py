"""`callarchive push-config` and `callarchive webhooks`: what 8x8 is told about an account, and what it should be told."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.output import Output
from callarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from callarchive.connections import Connections
    from callarchive.push_config import PushDifference
    from callarchive.settings import AccountSettings, PushSettings, WebhookSettings
    from callarchive.webhook_registrations import WebhookDrift

push_config_app = typer.Typer(
    no_args_is_help=True, help="The recording push configuration: where 8x8 pushes recordings.", rich_markup_mode=None
)
webhooks_app = typer.Typer(
    no_args_is_help=True, help="Webhooks: where 8x8 sends events, and the receiver for them.", rich_markup_mode=None
)

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="One account only.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Event types; VRU and VSS by default.", show_default=False),
]


@push_config_app.command("show", short_help="What 8x8 has.")
def show(context: typer.Context, account: Account = None) -> None:
    """Shows the recording push configuration that 8x8 has. The password is never told, only whether one is set."""
    output: Output = context.obj
    with _connections(output) as connections:
        found = [(a.subaccount_id, connections.voice(a).setup.push_config()) for a in _accounts(connections, account)]
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "push_config": config} for name, config in found]})
        return
    rows = [
        (name, config.protocol, config.host, str(config.port), config.username, _set(config.password_set), config.path)
        if config is not None
        else (name, "none is set", "", "", "", "", "")
        for name, config in found
    ]
    headings = ("account", "protocol", "host", "port", "username", "password", "path")
    output.print_table("Recording push configuration at 8x8", headings, rows)


@push_config_app.command("plan", short_help="How that differs from the configuration.")
def plan(context: typer.Context, account: Account = None) -> None:
    """Shows how the recording push configuration at 8x8 differs from [accounts.push]. Changes nothing."""
    from callarchive.push_config import differs, push_differences

    output: Output = context.obj
    with _connections(output) as connections:
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
    Exits 1 if 8x8 then says something else.
    """
    from callarchive.push_config import apply_push_config, differs, push_differences

    output: Output = context.obj
    done = []
    with _connections(output) as connections:
        chosen = list(_pushing(connections, account))
        for _, wanted in chosen:
            wanted.password.reveal()  # before anything is changed
        for a, wanted in chosen:
            setup = connections.voice(a).setup
            if not output.json:
                _print_plan(output, a.subaccount_id, push_differences(wanted, setup.push_config()))
            _ask(f"Tell 8x8 so for {a.subaccount_id}?", yes=yes)
            done.append((a.subaccount_id, apply_push_config(setup, wanted)))
    failed = [name for name, differences in done if differs(differences)]
    if output.json:
        output.print_json(
            {
                "accounts": [
                    {"subaccount_id": name, "applied": name not in failed, "settings": differences}
                    for name, differences in done
                ]
            }
        )
    for name, differences in () if output.json else done:
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
    done = []
    with _connections(output) as connections:
        for a in _accounts(connections, account):
            _ask(f"Delete where recordings of {a.subaccount_id} are pushed? New ones would go nowhere.", yes=yes)
            done.append((a.subaccount_id, connections.voice(a).setup.delete_push_config()))
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "deleted": deleted} for name, deleted in done]})
        return
    for name, deleted in done:
        output.print_text(f"{name}: {'deleted' if deleted else 'none was set'}")


@webhooks_app.command("list", short_help="What 8x8 has, and what is wrong with it.")
def list_webhooks(context: typer.Context, account: Account = None, types: Types = None) -> None:
    """Lists the webhooks that 8x8 has, and how they differ from [accounts.webhooks]. Changes nothing."""
    from callarchive.webhook_registrations import webhook_drift

    output: Output = context.obj
    with _connections(output) as connections:
        found = [
            (a, webhook_drift(a.webhooks, connections.voice(a).setup.webhooks(), types=_types(types)))
            for a in _accounts(connections, account)
        ]
    _print_webhooks(output, [(a.subaccount_id, drift) for a, drift in found])
    for a, _ in found:
        if a.webhooks is None:
            typer.echo(f"{a.subaccount_id}: has no [accounts.webhooks], so nothing is compared", err=True)


@webhooks_app.command("register", short_help="Register those that the configuration wants.")
def register(context: typer.Context, account: Account = None, types: Types = None, yes: Yes = False) -> None:
    """Registers the webhooks of [accounts.webhooks] at 8x8, in place of those of the same types, and reads them back.

    Exits 1 if 8x8 then says something else.
    """
    from callarchive.webhook_registrations import register_webhooks

    output: Output = context.obj
    done = []
    with _connections(output) as connections:
        chosen = list(_hooked(connections, account))
        for _, wanted in chosen:
            if wanted.auth_header is not None:
                wanted.auth_header.reveal()  # before anything is changed
        for a, wanted in chosen:
            _ask(f"Send events {', '.join(_types(types))} of {a.subaccount_id} to {wanted.url}?", yes=yes)
            done.append((a.subaccount_id, register_webhooks(connections.voice(a).setup, wanted, types=_types(types))))
    _print_webhooks(output, done)
    if any(hook.problems for _, drift in done for hook in drift):
        typer.echo("error: what 8x8 says afterwards is not what it was told", err=True)
        raise typer.Exit(1)


@webhooks_app.command("unregister", short_help="Remove them.")
def unregister(context: typer.Context, account: Account = None, types: Types = None, yes: Yes = False) -> None:
    """Removes the webhooks at 8x8: VRU and VSS, or the types that are named. No other is touched."""
    output: Output = context.obj
    done = []
    with _connections(output) as connections:
        for a in _accounts(connections, account):
            _ask(f"Stop events {', '.join(_types(types))} of {a.subaccount_id}?", yes=yes)
            done += [
                {"subaccount_id": a.subaccount_id, "type": type_, "removed": removed}
                for type_ in _types(types)
                for removed in [connections.voice(a).setup.unregister_webhook(type_)]
            ]
    if output.json:
        output.print_json({"webhooks": done})
        return
    for hook in done:
        output.print_text(
            f"{hook['subaccount_id']} {hook['type']}: {'removed' if hook['removed'] else 'was not registered'}"
        )


def _connections(output: Output) -> "Connections":
    from callarchive.connections import Connections

    return Connections(output.settings())


def _accounts(connections: "Connections", wanted: str | None) -> "list[AccountSettings]":
    """All accounts, or the one that was named. Raises ConfigurationError if there is none of that name."""
    accounts = list(connections.settings.accounts)
    if wanted is None:
        return accounts
    chosen = [account for account in accounts if account.subaccount_id == wanted]
    if not chosen:
        known = ", ".join(account.subaccount_id for account in accounts)
        raise ConfigurationError(f"--account {ascii(wanted)[1:-1]}: there is no such account; there are {known}")
    return chosen


def _pushing(connections: "Connections", wanted: str | None) -> "Iterator[tuple[AccountSettings, PushSettings]]":
    """The accounts that say where to push. Raises ConfigurationError if none does, or the one that was named does not."""
    found = False
    for account in _accounts(connections, wanted):
        if account.push is not None:
            found = True
            yield account, account.push
    if not found:
        raise ConfigurationError(
            "no account says where 8x8 should push: add [accounts.push] with protocol, host, port, username, "
            'password = { env = "NAME" } and path'
        )


def _hooked(connections: "Connections", wanted: str | None) -> "Iterator[tuple[AccountSettings, WebhookSettings]]":
    found = False
    for account in _accounts(connections, wanted):
        if account.webhooks is not None:
            found = True
            yield account, account.webhooks
    if not found:
        raise ConfigurationError(
            'no account says where 8x8 should send events: add [accounts.webhooks] with url and auth_header = { env = "NAME" }'
        )


def _types(given: list[str] | None) -> Sequence[str]:
    from callarchive.webhook_registrations import TYPES

    chosen = [type_.upper() for type_ in given or TYPES]
    unknown = [type_ for type_ in chosen if type_ not in ("VCS", "VCA", "VSS", "VRU", "VNU")]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of VCS, VCA, VSS, VRU, VNU", param_hint="--type")
    return chosen


def _ask(question: str, *, yes: bool) -> None:
    """The user has agreed. Exits 1 if not, and 2 where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask on: say --yes")
    typer.confirm(question, abort=True, err=True)


def _print_plan(output: Output, account: str, differences: "list[PushDifference]") -> None:
    changes = {True: "change", False: "", None: "cannot be compared; apply sends it"}
    rows = [(d.setting, d.at_8x8 or "", d.wanted, changes[d.differs]) for d in differences]
    output.print_table(f"Recording push configuration of {account}", ("setting", "at 8x8", "wanted", ""), rows)
    count = sum(bool(difference.differs) for difference in differences)
    output.print_text(f"{count} settings differ" if count else "Nothing that can be compared differs")


def _print_webhooks(output: Output, found: "Sequence[tuple[str, list[WebhookDrift]]]") -> None:
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "webhooks": drift} for name, drift in found]})
        return
    rows = [
        (name, hook.type, hook.url or "", "yes" if hook.enabled else "no", _set(hook.has_auth_header), _verdict(hook))
        for name, drift in found
        for hook in drift
    ]
    output.print_table(
        "Webhooks at 8x8", ("account", "type", "url", "enabled", "auth header", "compared with the configuration"), rows
    )


def _verdict(hook: "WebhookDrift") -> str:
    if not hook.ours:
        return "not ours"
    return "; ".join(hook.problems) or "as it should be"


def _set(is_set: bool) -> str:
    return "set" if is_set else "not set"
