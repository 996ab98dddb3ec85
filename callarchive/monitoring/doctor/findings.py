"""The findings of doctor."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from callarchive.domain.errors import ArchiveError, HostKeyError, RejectedRequestError, UnavailableError

log = logging.getLogger(__name__)

_PIN = (
    "ask the server's owner about the fingerprint, pin the key with the command of the finding, then callarchive doctor"
)
_REACH = (
    "see whether the server is up, {} is its address, and DNS, a proxy or a firewall lets this machine reach it; then"
    " callarchive doctor"
)


class Verdict(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """The result of a check: what was checked, what was found (or why it was not checked), and the next step, if any."""

    link: str
    verdict: Verdict
    detail: str
    advice: str | None = None

    @classmethod
    def of(cls, link: str, result: "Result") -> "Finding":
        """Return the result of a check as its finding."""
        return cls(link, Verdict.OK, result) if isinstance(result, str) else cls(link, *result)


Result = str | tuple[Verdict, str, str]
"""What a check found: the detail if all is well, else verdict, detail and advice."""


def to_the_end(link: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings. An error becomes one more, BROKEN, so that the checks of other links still run."""
    try:
        yield from findings
    except Exception as err:
        why = str(err) if isinstance(err, ArchiveError) else f"{type(err).__name__} during the check"
        yield Finding(link, Verdict.BROKEN, f"not checked: {why}", "callarchive -vv doctor shows the cause")
        log.debug("%s", link, exc_info=err)


def tried(link: str, check: Callable[[], Result], advice: str, *, address: str | None = None) -> Finding:
    """Return the result of the check, or BROKEN with its error and the advice; see `broken`."""
    try:
        return Finding.of(link, check())
    except ArchiveError as err:
        return broken(link, err, advice, address=address)


def broken(link: str, error: ArchiveError, advice: str, *, address: str | None = None) -> Finding:
    """Return BROKEN with the error and the advice; a host key's error needs its own.

    So does an outage if `address`, the key with the server's address, is given.
    """
    if isinstance(error, HostKeyError):
        advice = _PIN
    elif address is not None and isinstance(error, UnavailableError) and not isinstance(error, RejectedRequestError):
        advice = _REACH.format(address)
    return Finding(link, Verdict.BROKEN, str(error), advice)
