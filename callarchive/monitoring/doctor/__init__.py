"""Goes along the chain from the configuration to the catalog and says of each link whether it holds, and what to do if not.

The links of an account are in `accounts`, those of this machine and its stores in `machine`, days and time
zones in `calendar`. Reads a little; writes one object
of a few bytes into the archive, the catalog, and where 8x8 pushes if its credentials are known, and removes them again.
"""

from collections.abc import Iterator, Sequence

from callarchive.archiving.connections import Connections
from callarchive.domain.plurals import many
from callarchive.monitoring.doctor import accounts, calendar, machine
from callarchive.monitoring.doctor.findings import Finding, Verdict, to_the_end

__all__ = ["Finding", "Verdict", "conclusion", "examine", "likely_cause"]


def examine(connections: Connections) -> Iterator[Finding]:
    """Every link's finding, as they are made, from the outside in."""
    settings = connections.settings
    yield Finding("configuration", Verdict.OK, f"{settings.path}, {len(settings.accounts)} accounts, secrets are set")
    for account in settings.accounts:
        yield from to_the_end(f"{account.subaccount_id}: remaining checks", accounts.findings(connections, account))
    yield from to_the_end("this machine: remaining checks", machine.findings(connections))
    yield from to_the_end("days: remaining checks", calendar.findings(connections))


def likely_cause(findings: Sequence[Finding]) -> Finding | None:
    """The finding to begin with: the outermost broken link, for what lies behind it cannot hold; else the first warning."""
    broken = [finding for finding in findings if finding.verdict is Verdict.BROKEN]
    doubtful = [finding for finding in findings if finding.verdict is Verdict.WARNING]
    return next(iter([*broken, *doubtful]), None)


def conclusion(findings: Sequence[Finding]) -> list[str]:
    """Return the lines that end the report: where to begin, and whether everything was checked.

    "All checks passed" is said only where every link was checked and is in order.
    """
    lines = []
    cause = likely_cause(findings)
    if cause is not None:
        lines += [f"Begin with {cause.link}: {cause.detail}", f"Next: {cause.advice}"]
    unknown = [finding for finding in findings if finding.verdict is Verdict.NOT_CHECKED]
    if unknown:
        count = f"{many(len(unknown), 'check', 'checks')} could not be made: {', '.join(f.link for f in unknown)}."
        lines.append(f"{'Every other check passed, but ' if cause is None else ''}{count}")
    if not findings:
        lines.append("Nothing was checked.")
    return lines or ["All checks passed."]
