"""What the commands that set an account up share: which accounts, asking first, and telling what was done."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.cli.output import Output
from callarchive.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.settings import AccountSettings, Secret

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="One account only.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def open_connections(output: Output) -> "Connections":
    """To what the configuration names. Nothing has been contacted or made."""
    from callarchive.archiving.connections import Connections

    return Connections(output.settings())


def chosen_accounts(connections: "Connections", wanted: str | None) -> "list[AccountSettings]":
    """All accounts, or the one that was named. Raises ConfigurationError if there is none of that name."""
    accounts = list(connections.settings.accounts)
    if wanted is None:
        return accounts
    chosen = [account for account in accounts if account.subaccount_id == wanted]
    if not chosen:
        known = ", ".join(account.subaccount_id for account in accounts)
        raise ConfigurationError(f"--account {ascii(wanted)[1:-1]}: there is no such account; there are {known}")
    return chosen


def nobody_says(wanted: str | None) -> str:
    """The beginning of an error about a section that is not there."""
    return "no account says" if wanted is None else f"account {wanted} does not say"


def require_secrets(
    connections: "Connections", secrets: "Iterable[tuple[AccountSettings, str, Secret | None]]"
) -> None:
    """Each of these secrets, by its account and its key there, is set. Raises ConfigurationError with every key otherwise."""
    from callarchive.settings import unset_secrets

    settings = connections.settings
    lacking = unset_secrets((settings.key_of(account, key), secret) for account, key, secret in secrets)
    if lacking:
        raise ConfigurationError("\n".join(lacking))


def ask(question: str, *, yes: bool) -> None:
    """The user has agreed. Exits 1 if not, and 2 where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask on: say --yes")
    typer.confirm(question, abort=True, err=True)


@contextmanager
def telling_at_the_end(output: Output, name: str, done: list[dict[str, object]]) -> "Iterator[None]":
    """With --json, what was done is printed at the end, also where a later account fails."""
    try:
        yield
    except BaseException:
        if output.json and done:
            output.print_json({name: done})
        raise
    if output.json:
        output.print_json({name: done})


def set_or_not(is_set: bool) -> str:
    return "set" if is_set else "not set"
