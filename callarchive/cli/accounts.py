"""What the commands that set up accounts share: choosing accounts, confirmation, and JSON output that survives errors."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from callarchive.cli.output import Output
from callarchive.domain.errors import ArchiveError, ConfigurationError, LedgerError
from callarchive.domain.mistakes import did_you_mean, quoted

if TYPE_CHECKING:
    from callarchive.archiving.connections import Connections
    from callarchive.settings import AccountSettings, Secret

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

_Section = TypeVar("_Section")


def chosen_accounts(connections: "Connections", wanted: str | None) -> "list[AccountSettings]":
    """Return all accounts, or only the wanted one. Raise ConfigurationError if it does not exist."""
    accounts = list(connections.settings.accounts)
    if wanted is None:
        return accounts
    chosen = [account for account in accounts if account.subaccount_id == wanted]
    if not chosen:
        known = [account.subaccount_id for account in accounts]
        raise ConfigurationError(
            f"--account {quoted(wanted)}: no such account; the configuration has {', '.join(known)}"
            f"{did_you_mean(wanted, known)}"
        )
    return chosen


def accounts_with(
    output: Output,
    section: "Callable[[AccountSettings], _Section | None]",
    connections: "Connections",
    wanted: str | None,
    *,
    name: str,
    keys: str,
) -> "list[tuple[AccountSettings, _Section]]":
    """Return the chosen accounts that have an optional section, with the section. `keys` are its keys, for messages.

    Raises:
        ConfigurationError: no account has it, or the wanted one does not.
    """
    found = []
    for account in chosen_accounts(connections, wanted):
        value = section(account)
        if value is not None:
            found.append((account, value))
        elif wanted is None:
            output.print_note(f"{account.subaccount_id}: skipped, because it has no [{name}]")
    if not found:
        who = "no account has" if wanted is None else f"account {wanted} has no"
        raise ConfigurationError(f"{who} [{name}]: add it with {keys}")
    return found


def require_secrets(
    connections: "Connections", secrets: "Iterable[tuple[AccountSettings, str, Secret | None]]"
) -> None:
    """Raise ConfigurationError with the key of every secret that is not set. A secret comes with its account and key."""
    from callarchive.settings import unset_secrets

    settings = connections.settings
    lacking = unset_secrets((settings.key_of(account, key), secret) for account, key, secret in secrets)
    if lacking:
        raise ConfigurationError("\n".join(lacking))


def confirm(question: str, *, yes: bool) -> None:
    """Return if the user agrees. Exit with 1 if not, and with 2 if there is no terminal to ask on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Cannot ask without a terminal: confirm with --yes")
    typer.confirm(question, abort=True, err=True)


def record_change(connections: "Connections", account: str, what: str, action: str, *, to: str | None = None) -> None:
    """Record in the ledger what is about to be changed at 8x8, and where recordings or events will go.

    Raises LedgerError if the ledger cannot record it: then nothing must be changed. Before the first run there is no ledger.
    """
    from callarchive.domain.foreign_text import cleaned, without_credentials
    from callarchive.runtime.users import current_user

    facts = {"event": "configured", "what": what, "action": action, "subaccount_id": account, "by": current_user()}
    if to is not None:
        facts["to"] = cleaned(without_credentials(to))
    try:
        if connections.ledger.head() is not None:
            connections.recorder.record(facts)
    except ArchiveError as err:
        raise LedgerError(f"{account}: nothing was changed at 8x8, because the ledger cannot record it: {err}") from err


@contextmanager
def json_at_the_end(output: Output, name: str, done: list[dict[str, object]]) -> "Iterator[None]":
    """With --json, print the completed changes when the block ends, even if a later account fails."""
    try:
        yield
    except BaseException:
        if output.json and done:
            output.print_json({name: done})
        raise
    if output.json:
        output.print_json({name: done})


def set_or_not(is_set: bool) -> str:
    """Return how a table shows whether a secret is set."""
    return "set" if is_set else "not set"
