"""Checks of the setup, from the configuration to the catalog, each with advice if it fails.

Writes and removes an object of a few bytes in the archive, the catalog, and the push destination if its login is known.
"""

from collections.abc import Iterator, Sequence

from callarchive.archiving.connections import Connections
from callarchive.domain.plurals import many
from callarchive.monitoring.doctor import accounts, calendar, machine
from callarchive.monitoring.doctor.findings import Finding, Verdict, to_the_end

__all__ = ["Finding", "Verdict", "conclusion", "examine", "likely_cause"]


def examine(connections: Connections) -> Iterator[Finding]:
    """Yield the finding of each check, from 8x8 inwards."""
    settings = connections.settings
    accounts_text = many(len(settings.accounts), "account", "accounts")
    yield Finding("configuration", Verdict.OK, f"{settings.path}, {accounts_text}, secrets are set")
    if doubts := settings.doubtful_secrets():
        advice = "remove them, unless they belong to the secret; docker --env-file, for one, keeps quotation marks"
        yield Finding("secrets", Verdict.WARNING, "; ".join(doubts), advice)
    for account in settings.accounts:
        yield from to_the_end(f"{account.subaccount_id}: remaining checks", accounts.findings(connections, account))
    yield from to_the_end("this machine: remaining checks", machine.findings(connections))
    yield from to_the_end("days: remaining checks", calendar.findings(connections))


def likely_cause(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding to start with: the first broken check, on which later ones depend; else the first warning."""
    for verdict in (Verdict.BROKEN, Verdict.WARNING):
        for finding in findings:
            if finding.verdict is verdict:
                return finding
    return None


def conclusion(findings: Sequence[Finding]) -> list[str]:
    """Return the last lines of the report: where to start, and what was not checked."""
    lines = []
    cause = likely_cause(findings)
    if cause is not None:
        lines += [f"Start with {cause.link}: {cause.detail}", f"Next: {cause.advice}"]
    unknown = [finding.link for finding in findings if finding.verdict is Verdict.NOT_CHECKED]
    if unknown:
        count = f"{many(len(unknown), 'check', 'checks')} not possible: {', '.join(unknown)}."
        lines.append(f"{'All other checks passed, but ' if cause is None else ''}{count}")
    return lines or ["All checks passed." if findings else "Nothing was checked."]
