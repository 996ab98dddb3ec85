"""The findings of doctor."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from callarchive.domain.errors import ArchiveError

log = logging.getLogger(__name__)


class Verdict(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        link: what was checked, with its account if it has one.
        detail: what was found, or why it was not checked.
        advice: the next step; None if there is none.
    """

    link: str
    verdict: Verdict
    detail: str
    advice: str | None = None


def to_the_end(link: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings. An error becomes one more finding, so that the remaining checks still run."""
    try:
        yield from findings
    except Exception as err:
        why = str(err) if isinstance(err, ArchiveError) else f"{type(err).__name__} during the check"
        yield Finding(link, Verdict.NOT_CHECKED, why, "callarchive -vv doctor shows the cause")
        log.debug("%s", link, exc_info=err)


def tried(link: str, work: Callable[[], str], advice: str) -> Finding:
    """Return OK with the result of `work`, or BROKEN with its error and the advice."""
    try:
        return Finding(link, Verdict.OK, work())
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), advice)
