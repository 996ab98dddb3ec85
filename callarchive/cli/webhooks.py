"""`callarchive webhooks`: show and change where 8x8 sends events, and run the receiver."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

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
from callarchive.cli.numbers import number_option
from callarchive.cli.output import Output
from callarchive.domain.mistakes import did_you_mean, quoted

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.settings import AccountSettings, WebhookSettings
    from callarchive.voice_api.account_setup import WebhookRegistration
    from callarchive.voice_api.webhook_registrations import WebhookDrift

webhooks_app = typer.Typer(
    no_args_is_help=True, help="Manage webhooks at 8x8, and run the receiver of their events.", rich_markup_mode=None
)

Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Event type; may be repeated (default: VRU, VSS).", show_default=False),
]


@webhooks_app.command("list", short_help="List the webhooks at 8x8 and their problems.")
def list_webhooks(context: typer.Context, account: Account = None, types: Types = None) -> None:
    """List the webhooks at 8x8 and how they differ from [accounts.webhooks]. Changes nothing."""
    from callarchive.voice_api.webhook_registrations import webhook_drift

    output: Output = context.obj
    chosen = _types(types)
    with output.connections() as connections:
        compared = [
            (a, webhook_drift(a.webhooks, connections.voice(a).setup.webhooks(), types=chosen))
            for a in chosen_accounts(connections, account)
        ]
    # With --type, the other types of the configuration would be shown as not ours.
    found = [(a, [hook for hook in drift if not types or hook.type in chosen]) for a, drift in compared]
    _print_webhooks(output, [(a.subaccount_id, drift) for a, drift in found])
    for a, _ in found:
        if a.webhooks is None:
            output.print_note(f"{a.subaccount_id}: not compared, because it has no [accounts.webhooks]")


@webhooks_app.command("register", short_help="Register the configured webhooks.")
def register(context: typer.Context, account: Account = None, types: Types = None, yes: Yes = False) -> None:
    """Register [accounts.webhooks] at 8x8, replacing webhooks of the same types, and read them back.

    8x8 never returns the auth header, so webhooks are registered even if nothing differs, in case the header is new.
    Exits with 1 if 8x8 then reports something else. The ledger records the change first; if it cannot, nothing is changed.
    """
    from callarchive.voice_api.webhook_registrations import register_webhooks

    output: Output = context.obj
    named = _types(types)
    done: list[tuple[str, list[WebhookDrift]]] = []
    with output.connections() as connections:
        chosen = list(_hooked(output, connections, account))
        require_secrets(connections, ((a, "webhooks.auth_header", wanted.auth_header) for a, wanted in chosen))
        try:
            for a, wanted in chosen:
                setup = connections.voice(a).setup
                if not yes:
                    _show_targets(a.subaccount_id, setup.webhooks(), named)
                confirm(f"Send events {', '.join(named)} of {a.subaccount_id} to {wanted.url}?", yes=yes)
                record_change(connections, a.subaccount_id, "webhook", "register", to=wanted.url)
                done.append((a.subaccount_id, register_webhooks(setup, wanted, types=named)))
        finally:  # also the accounts that were done before one failed
            if done:
                _print_webhooks(output, done)
    if any(hook.problems for _, drift in done for hook in drift):
        typer.echo("error: 8x8 did not register the webhooks as configured", err=True)
        raise typer.Exit(1)


@webhooks_app.command("unregister", short_help="Remove the configured webhooks.")
def unregister(context: typer.Context, account: Account = None, types: Types = None, yes: Yes = False) -> None:
    """Remove the VRU and VSS webhooks at 8x8 that have the URL of [accounts.webhooks].

    With --type, the webhooks of these types are removed, whatever their URL.
    """
    from callarchive.voice_api.webhook_registrations import goes_to

    output: Output = context.obj
    done: list[dict[str, object]] = []
    with output.connections() as connections, json_at_the_end(output, "webhooks", done):
        for a in chosen_accounts(connections, account):
            setup = connections.voice(a).setup
            there = {hook.type: hook for hook in setup.webhooks()}
            going = [t for t in _types(types) if t in there and (types or goes_to(a.webhooks, there[t].url))]
            if going:
                if not yes:
                    _show_targets(a.subaccount_id, there.values(), going)
                confirm(f"Stop events {', '.join(going)} of {a.subaccount_id}?", yes=yes)
                record_change(connections, a.subaccount_id, "webhook", "unregister")
            for type_ in _types(types):
                removed = type_ in going and setup.unregister_webhook(type_)
                left = there[type_].url if type_ in there and type_ not in going else None
                done.append({"subaccount_id": a.subaccount_id, "type": type_, "removed": removed, "left": left})
                result = "removed" if removed else "was not registered"
                if left is not None:
                    result = (
                        f"kept, because it goes to {left} and not to accounts.webhooks.url; --type {type_} removes it"
                    )
                if not output.json:
                    output.print_text(f"{a.subaccount_id} {type_}: {result}")


@webhooks_app.command("serve", short_help="Run the webhook receiver.")
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        number_option(
            "--port",
            "Port to listen on; 0 chooses a free one.",
            int,
            accepted="a port from 0 to 65535, such as 8080",
            accepts=lambda port: 0 <= port <= 65_535,
        ),
    ] = 8080,
) -> None:
    """Receive webhook events of all accounts at /webhooks/SUBACCOUNT_ID and store them in the inbox.

    Responds with 200 once an event is durable. /healthz reports whether the inbox accepts events, and /metrics has counters.
    Stops cleanly on SIGTERM or Ctrl-C. For TLS, put a reverse proxy in front and list it in receiver.trusted_proxies.

    \b
    Example:
        callarchive webhooks serve --host 127.0.0.1 --port 8080
    """
    from callarchive.events.receiver.serving import serve as serve_events

    output: Output = context.obj
    serve_events(output.settings(), host=host, port=port)


def _hooked(
    output: Output, connections: "Connections", wanted: str | None
) -> "list[tuple[AccountSettings, WebhookSettings]]":
    keys = 'url and auth_header = { env = "NAME" }'
    return accounts_with(
        output, lambda account: account.webhooks, connections, wanted, name="accounts.webhooks", keys=keys
    )


def _types(given: list[str] | None) -> Sequence[str]:
    from callarchive.voice_api.webhook_registrations import TYPES

    chosen = list(dict.fromkeys(type_.upper() for type_ in given or TYPES))
    known = ("VCS", "VCA", "VSS", "VRU", "VNU")
    unknown = [type_ for type_ in chosen if type_ not in known]
    if unknown:
        several = [word for word in unknown[0].split(",") if word in known]
        if len(several) > 1:
            raise typer.BadParameter(
                f"repeat it: {' '.join(f'--type {word}' for word in several)}", param_hint="--type"
            )
        raise typer.BadParameter(
            f"{quoted(unknown[0])} is not one of {', '.join(known)}{did_you_mean(unknown[0], known)}",
            param_hint="--type",
        )
    return chosen


def _show_targets(account: str, hooks: "Iterable[WebhookRegistration]", types: Sequence[str]) -> None:
    for hook in hooks:
        if hook.type in types:
            typer.echo(f"{account}: {hook.type} currently goes to {hook.url or 'no URL'}", err=True)


def _print_webhooks(output: Output, found: "Sequence[tuple[str, list[WebhookDrift]]]") -> None:
    if output.json:
        output.print_json({"accounts": [{"subaccount_id": name, "webhooks": drift} for name, drift in found]})
        return
    output.print_table(
        "Webhooks at 8x8",
        ("account", "type", "url", "enabled", "auth header", "compared with the configuration"),
        [_row(name, hook) for name, drift in found for hook in drift],
    )


def _row(name: str, hook: "WebhookDrift") -> tuple[object, ...]:
    verdict = ("; ".join(hook.problems) or "matches") if hook.ours else "not ours"
    enabled = "yes" if hook.enabled else "no"
    return (name, hook.type, hook.url or "", enabled, set_or_not(hook.has_auth_header), verdict)
