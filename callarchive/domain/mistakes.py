"""What messages about mistyped values share: how a value is quoted, and what was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 60


def quoted(text: object) -> str:
    """Return the value in quotation marks, in ASCII, and cut to 60 characters."""
    shown = ascii(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever its case; None if no name is near."""
    names = {name.casefold(): name for name in sorted(known)}
    near = get_close_matches(given.strip().casefold()[:_LONGEST], names, n=1, cutoff=0.6)
    return names[near[0]] if near else None


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return "; did you mean NAME?" with the name that was probably meant, else an empty string."""
    near = nearest(given, known)
    return "" if near is None else f"; did you mean {near}?"
