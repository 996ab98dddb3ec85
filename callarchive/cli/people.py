"""The options that say who does something and why. Both stay in the ledger."""

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from callarchive.domain.foreign_text import MASK, cleaned
from callarchive.domain.identifiers import ids_in
from callarchive.domain.mistakes import quoted

if TYPE_CHECKING:
    from callarchive.removal.holds import Person

log = logging.getLogger(__name__)

_LONGEST = 300

By = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="NAME", help="Who does it (default: the user of the operating system).", show_default=False
    ),
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        help="Why, such as the number of a case. It stays in the ledger, so give no names and no phone numbers.",
        show_default=False,
    ),
]


def person(by: str | None) -> "Person":
    """Return who runs the command. Raise BadParameter for an empty name."""
    from callarchive.removal.holds import Person
    from callarchive.runtime.users import current_user

    user = current_user()
    return Person(user) if by is None else Person(_kept(by, "--by"), user)


def given_reason(text: str | None) -> str:
    """Return the reason without phone numbers. Raise BadParameter if there is none, or if it has an id that may be erased."""
    if text is None:
        raise typer.BadParameter("give it, such as --reason 'case 17'", param_hint="--reason")
    kept = _kept(text, "--reason")
    if MASK in kept and MASK not in text:
        log.warning("what looks like a phone number is not stored: the reason is %r", kept)
    return kept


def _kept(text: str, option: str) -> str:
    kept = " ".join(cleaned(text, limit=_LONGEST + 1).split())
    if not kept:
        raise typer.BadParameter("it is empty", param_hint=option)
    if len(kept) > _LONGEST:
        raise typer.BadParameter(f"it has more than {_LONGEST} characters", param_hint=option)
    if ids_in(kept):
        raise typer.BadParameter(
            f"{quoted(ids_in(kept)[0])} may be an id that has to be erased, and this text stays in the ledger: leave it out",
            param_hint=option,
        )
    return kept
