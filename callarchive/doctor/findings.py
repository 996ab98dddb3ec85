"""What the doctor says of a link of the chain, and the words for it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from callarchive.errors import ArchiveError


class Verdict(StrEnum):
    """How a link is."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One link of the chain.

    Attributes:
        link: what was looked at, with the account where it concerns one.
        advice: what to do next; null where nothing needs doing.
    """

    link: str
    verdict: Verdict
    detail: str
    advice: str | None = None


def tried(link: str, work: Callable[[], str], advice: str) -> Finding:
    """OK with what the work says, or broken with its error and the advice."""
    try:
        return Finding(link, Verdict.OK, work())
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), advice)
