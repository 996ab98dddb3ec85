"""Goes along the chain from the configuration to the catalog and says of each link whether it holds, and what to do if not.

The links of an account are in `accounts`, those of this machine and its stores in `machine`, days and time
zones in `calendar`. Reads a little; writes one object
of a few bytes into the archive, the catalog, and where 8x8 pushes if its credentials are known, and removes them again.
"""

from collections.abc import Iterator, Sequence

from callarchive.connections import Connections
from callarchive.doctor import accounts, calendar, machine
from callarchive.doctor.findings import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine", "likely_cause"]


def examine(connections: Connections) -> Iterator[Finding]:
    """Every link's finding, as they are made, from the outside in."""
    settings = connections.settings
    yield Finding("configuration", Verdict.OK, f"{settings.path}, {len(settings.accounts)} accounts, secrets are set")
    for account in settings.accounts:
        yield from accounts.findings(connections, account)
    yield from machine.findings(connections)
    yield from calendar.findings(connections)


def likely_cause(findings: Sequence[Finding]) -> Finding | None:
    """The finding to begin with: the outermost broken link, for what lies behind it cannot hold; else the first warning."""
    broken = [finding for finding in findings if finding.verdict is Verdict.BROKEN]
    doubtful = [finding for finding in findings if finding.verdict is Verdict.WARNING]
    return next(iter([*broken, *doubtful]), None)
