"""`callarchive webhooks`: where 8x8 sends events, and where it should. The receiver itself is in `serving`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.settings import AccountSettings, WebhookSettings
    from callarchive.voice_api.account_setup import WebhookRegistration
    from callarchive.voice_api.webhook_registrations import WebhookDrift

webhooks_app = typer.Typer(
    no_args_is_help=True, help="Webhooks: where 8x8 sends events, and the receiver for them.", rich_markup_mode=None
)

Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Event types; VRU and VSS by default.", show_default=False),
]


@webhooks_app.command("list", short_help="What 8x8 has, and what is wrong with it.")
def list_webhooks(context: typer.Context, account: Account = None, types: Types = None) -> None:
    """Lists the webhooks that 8x8 has, and how they differ from [accounts.webhooks]. Changes nothing."""
    from callarchive.voice_api.webhook_registrations import webhook_drift

    output: Output = context.obj
    chosen = _types(types)
    with open_connections(output) as connections:
        compared = [
            (a, webhook_drift(a.webhooks, connections.voice(a).setup.webhooks(), types=chosen))
            for a in chosen_accounts(connections, account)
        ]
    # Where types were named, another one that the configuration wants too would be shown as not ours.
    found = [(a, [hook for hook in drift if not types or hook.type in chosen]) for a, drift in compared]
    _print_webhooks(output, [(a.subaccount_id, drift) for a, drift in found])
    for a, _ in found:
        if a.webhooks is None:
            typer.echo(f"{a.subaccount_id}: has no [accounts.webhooks], so nothing is compared", err=True)


@webhooks_app.command("register", short_help="Register those that the configuration wants.")
def register(context: typer.Context, account: Account = None, types: Types = None, yes: Yes = False) -> None:
    """Registers the webhooks of [accounts.webhooks] at 8x8, in place of those of the same types, and reads them back.

    8x8 never tells the auth header, so they are registered even when nothing differs: that is how a new one gets there.
    Exits 1 if 8x8 then says something else.
    """
    from callarchive.voice_api.webhook_registrations import register_webhooks

    output: Output = context.obj
    named = _types(types)
    done: list[tuple[str, list[WebhookDrift]]] = []
    with open_connections(output) as connections:
        chosen = list(_hooked(connections, account))
        # Before anything is changed.
        require_secrets(connections, ((a, "webhooks.auth_header", wanted.auth_header) for a, wanted in chosen))
        try:
            for a, wanted in chosen:
                setup = connections.voice(a).setup
                if not yes:
                    _say_where_they_go(a.subaccount_id, setup.webhooks(), named)
                ask(f"Send events {', '.join(named)} of {a.subaccount_id} to {wanted.url}?", yes=yes)
                done.append((a.subaccount_id, register_webhooks(setup, wanted, types=named)))
        finally:  # also what was done before a later account failed
            if done:
                _print_webhooks(output, done)
    if any(hook.problems for _, drift in done for hook in drift):
        typer.echo("error: what 8x8 says afterwards is not what it was told", err=True)
        raise typer.Exit(1)


@webhooks_app.command("unregister", short_help="Remove them.")
def unregister(context: typer.Context, account: Account = None, types: Types = None, yes: Yes = False) -> None:
    """Removes our webhooks at 8x8: VRU and VSS that go to the URL of [accounts.webhooks]. No other is touched.

    A type that is named with --type is removed wherever it goes.
    """
    from callarchive.voice_api.webhook_registrations import goes_to

    output: Output = context.obj
    done: list[dict[str, object]] = []
    with open_connections(output) as connections, telling_at_the_end(output, "webhooks", done):
        for a in chosen_accounts(connections, account):
            setup = connections.voice(a).setup
            there = {hook.type: hook for hook in setup.webhooks()}
            going = [t for t in _types(types) if t in there and (types or goes_to(a.webhooks, there[t].url))]
            if going:
                if not yes:
                    _say_where_they_go(a.subaccount_id, there.values(), going)
                ask(f"Stop events {', '.join(going)} of {a.subaccount_id}?", yes=yes)
            for type_ in _types(types):
                removed = type_ in going and setup.unregister_webhook(type_)
                left = there[type_].url if type_ in there and type_ not in going else None
                done.append({"subaccount_id": a.subaccount_id, "type": type_, "removed": removed, "left": left})
                said = "removed" if removed else "was not registered"
                if left is not None:
                    said = f"left as it is: it goes to {left}, not to accounts.webhooks.url; --type {type_} removes it"
                if not output.json:
                    output.print_text(f"{a.subaccount_id} {type_}: {said}")


@webhooks_app.command("serve", short_help="Run the receiver of events.")
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8080,
) -> None:
    """Receives webhook events of all accounts at /webhooks/SUBACCOUNT_ID and keeps them in the inbox.

    Answers 200 when an event is durable. /healthz tells whether the inbox takes events, /metrics what was counted. Stops
    cleanly at SIGTERM or Ctrl-C. TLS is up to a proxy before it: name it in receiver.trusted_proxies.

    \b
    Example:
        callarchive webhooks serve --host 127.0.0.1 --port 8080
    """
    from callarchive.events.receiver.serving import serve as serve_events

    output: Output = context.obj
    serve_events(output.settings(), host=host, port=port)


def _hooked(connections: "Connections", wanted: str | None) -> "Iterator[tuple[AccountSettings, WebhookSettings]]":
    found = False
    for account in chosen_accounts(connections, wanted):
        if account.webhooks is not None:
            found = True
            yield account, account.webhooks
        elif wanted is None:
            typer.echo(f"{account.subaccount_id}: has no [accounts.webhooks], so nothing is wanted", err=True)
    if not found:
        raise ConfigurationError(
            f"{nobody_says(wanted)} where 8x8 should send events: add [accounts.webhooks] with url and"
            ' auth_header = { env = "NAME" }'
        )


def _types(given: list[str] | None) -> Sequence[str]:
    from callarchive.voice_api.webhook_registrations import TYPES

    chosen = list(dict.fromkeys(type_.upper() for type_ in given or TYPES))
    unknown = [type_ for type_ in chosen if type_ not in ("VCS", "VCA", "VSS", "VRU", "VNU")]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of VCS, VCA, VSS, VRU, VNU", param_hint="--type")
    return chosen


def _say_where_they_go(account: str, hooks: "Iterable[WebhookRegistration]", types: Sequence[str]) -> None:
    for hook in hooks:
        if hook.type in types:
            typer.echo(f"{account}: {hook.type} goes to {hook.url or 'no URL'} now", err=True)


def _print_webhooks(output: Output, found: "Sequence[tuple[str, list[WebhookDrift]]]") -> None:
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "webhooks": drift} for name, drift in found]})
        return
    rows = [
        (
            name,
            hook.type,
            hook.url or "",
            "yes" if hook.enabled else "no",
            set_or_not(hook.has_auth_header),
            _verdict(hook),
        )
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
