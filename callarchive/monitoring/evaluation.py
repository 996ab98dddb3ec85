"""Evaluation of the checks on a day. See `checks` for the catalogue and `verdicts` for the function of each check."""

from collections.abc import Sequence
from datetime import date
from heapq import nsmallest

from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.domain.evidence import Outcome
from callarchive.monitoring.checked_day import CheckedDay
from callarchive.monitoring.checks import CHECKS, CheckResult
from callarchive.monitoring.verdicts import VERDICTS, Verdict
from callarchive.settings import Settings

_EXAMPLES = 20
_REASONS = 3


def run_checks(catalog: Catalog, day: date, settings: Settings, *, table: Table | None = None) -> list[CheckResult]:
    """Return the result of every check on the day, or of the checks on one table."""
    checks = [check for check in CHECKS if table is None or check.table is table]
    if not checks:
        return []
    checked_day = CheckedDay(catalog, day, settings)
    results = []
    for check in checks:
        verdict = VERDICTS[check.name](checked_day)
        outcome, summary = _outcome(verdict, checked_day.unknown_reasons(check))
        examples = tuple(nsmallest(_EXAMPLES, verdict.examples))
        results.append(CheckResult(check, day, outcome, summary, verdict.numbers, examples))
    return results


def _outcome(verdict: Verdict, unknown_reasons: Sequence[str]) -> tuple[Outcome, str]:
    """Return outcome and summary. Unknowns turn "passed" into "not checked"; a failure stays a failure."""
    if not unknown_reasons:
        return (Outcome.PASSED if verdict.passed else Outcome.FAILED), verdict.summary
    more = f" (and {len(unknown_reasons) - _REASONS} more reasons)" if len(unknown_reasons) > _REASONS else ""
    why = f"{'; '.join(unknown_reasons[:_REASONS])}{more}"
    if verdict.passed:
        return Outcome.NOT_CHECKED, f"not checked: {why}"
    return Outcome.FAILED, f"{verdict.summary}; partly not checked: {why}"
