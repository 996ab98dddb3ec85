"""Answers of the user: from options, else from prompts on a terminal, each validated at once. Secrets are never echoed."""

import getpass
import sys
from collections.abc import Callable
from typing import TypeVar

import typer

from callarchive.domain.errors import ConfigurationError, UnavailableError

_REJECTED = (ConfigurationError, typer.BadParameter)

T = TypeVar("T")


def can_ask() -> bool:
    """Return whether there is a terminal to ask on."""
    return sys.stdin.isatty()


def answer(
    option: str, question: str, given: str | None, accept: Callable[[str], T], *, suggestion: str | None = None
) -> T:
    """Return what `accept` makes of the option's value, or of an answer. An answer that it rejects is asked for again.

    Without a terminal, the suggestion is the answer. `accept` raises ConfigurationError or BadParameter with the reason,
    or UnavailableError if a server cannot be reached, which another answer may mend.
    Raises ConfigurationError that names the option if there is neither a value nor a terminal nor a suggestion.
    """
    if given is not None:
        try:
            return accept(given)
        except _REJECTED as err:
            raise typer.BadParameter(_reason(err), param_hint=option) from err
    if not can_ask():
        if suggestion is None:
            raise ConfigurationError(f"{option} is missing, and there is no terminal to ask on")
        return accept(suggestion)
    while True:
        typer.echo(f"{question}{f' [{suggestion}]' if suggestion else ''}: ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            raise typer.Abort
        try:
            return accept(line.strip() or suggestion or "")
        except (*_REJECTED, UnavailableError) as err:
            typer.echo(f"  {_reason(err)}", err=True)


def _reason(err: Exception) -> str:
    return err.message if isinstance(err, typer.BadParameter) else str(err)


def secret(question: str, given: str | None, accept: Callable[[str], T], *, missing: str) -> T:
    """Return what `accept` makes of the secret in the environment, or of one that is typed without being shown.

    `missing` says how to give it where there is no terminal.
    """
    if given is not None or not can_ask():
        if given is None:
            raise ConfigurationError(f"{missing}: there is no terminal to ask on")
        return accept(given)
    while True:
        try:
            return accept(getpass.getpass(f"{question} (not shown): ", stream=sys.stderr))
        except ConfigurationError as err:
            typer.echo(f"  {err}", err=True)
        except EOFError:
            raise typer.Abort from None


def again(problem: str, what: str) -> bool:
    """Print the problem, and return whether the user wants to answer again rather than go on. Only for a terminal."""
    typer.echo(f"  {problem}", err=True)
    question = f"Enter {what} again? n: go on with it as it is [Y/n]"
    return answer("", question, None, lambda text: text.lower() not in ("n", "no"), suggestion="")


def agree(question: str) -> bool:
    """Return whether the user answers yes. Only for a terminal."""
    return answer("", f"{question} [y/N]", None, lambda text: text.lower() in ("y", "yes"), suggestion="")
