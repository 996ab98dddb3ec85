"""What the doctor says of a link of the chain, and the words for it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from callarchive.domain.errors import ArchiveError

log = logging.getLogger(__name__)


class Verdict(StrEnum):
    """How a link is."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One link of the chain.

    Attributes:
        link: what was looked at, with the account where it concerns one.
        detail: what was found; of a link that was not checked, why not.
        advice: what to do next; `None` where nothing needs doing.
    """

    link: str
    verdict: Verdict
    detail: str
    advice: str | None = None


def to_the_end(link: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings; an error of any kind is one more, so that it does not keep the other links from being checked."""
    try:
        yield from findings
    except Exception as err:
        why = str(err) if isinstance(err, ArchiveError) else f"{type(err).__name__} while it was checked"
        yield Finding(link, Verdict.NOT_CHECKED, why, "callarchive -vv doctor shows where")
        log.debug("%s", link, exc_info=err)


def tried(link: str, work: Callable[[], str], advice: str) -> Finding:
    """OK with what the work says, or broken with its error and the advice."""
    try:
        return Finding(link, Verdict.OK, work())
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), advice)
