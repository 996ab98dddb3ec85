"""The checks of `callarchive.monitoring` as Dagster asset checks: their specs, and one result each per run."""

from collections.abc import Iterable, Sequence

import dagster as dg

from callarchive.catalog.schemas import Table
from callarchive.domain.evidence import Outcome
from callarchive.monitoring.checks import CHECKS, CheckResult, Level

_EXAMPLES = 20


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """Return the specs of all checks on the table."""
    return [
        dg.AssetCheckSpec(check.name, asset=table.name, description=check.description, blocking=check.blocking)
        for check in CHECKS
        if check.table is table
    ]


def check_results(verdicts: Iterable[CheckResult]) -> list[dg.AssetCheckResult]:
    """Return one result per check: passed if it passed on every day, else with the days on which it did not.

    Dagster keeps one result per check and run, not one per partition. It has no third outcome: a check that was not evaluated
    fails with severity WARN and the description "not checked: reason".
    """
    by_name: dict[str, list[CheckResult]] = {}
    for verdict in verdicts:
        by_name.setdefault(verdict.name, []).append(verdict)
    return [_result(name, days) for name, days in by_name.items()]


def check_evaluations(verdicts: Iterable[CheckResult]) -> list[dg.AssetCheckEvaluation]:
    """Return the same results as events, to log where no step of the asset can return them."""
    verdicts = list(verdicts)
    tables = {verdict.name: verdict.table.name for verdict in verdicts}
    return [
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(tables[result.check_name]),
            check_name=result.check_name,
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
        )
        for result in check_results(verdicts)
        if result.check_name is not None
    ]


def _result(name: str, days: Sequence[CheckResult]) -> dg.AssetCheckResult:
    not_passed = [day for day in days if not day.passed]
    is_error = days[0].check.level is not Level.WARNING and any(day.failed for day in days)
    examples = [(day.day, example) for day in (not_passed or days) for example in day.examples]
    metadata: dict[str, dg.MetadataValue] = {}
    if len(days) == 1:
        described = days[0].summary
        metadata |= {key: dg.MetadataValue.float(round(float(number), 4)) for key, number in days[0].numbers.items()}
    else:
        described = _described(days)
        metadata["days"] = dg.MetadataValue.table(
            [dg.TableRecord({"day": str(d.day), "outcome": d.outcome.value, "summary": d.summary}) for d in days]
        )
    if examples:
        lines = [f"- {day}: `{_code(example)}`" for day, example in examples[:_EXAMPLES]]
        metadata["examples"] = dg.MetadataValue.md("\n".join(lines))
    return dg.AssetCheckResult(
        check_name=name,
        passed=not not_passed,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=described,
        metadata=metadata,
    )


def _described(days: Sequence[CheckResult]) -> str:
    """Return one sentence about several days that names those that did not pass."""
    parts = []
    for outcome, verb in ((Outcome.FAILED, "failed on"), (Outcome.NOT_CHECKED, "not checked:")):
        affected = [day for day in days if day.outcome is outcome]
        if affected:
            parts.append(f"{verb} {len(affected)} of {len(days)} days: {', '.join(str(d.day) for d in affected)}")
            if outcome is Outcome.NOT_CHECKED:
                parts[-1] += f" ({affected[-1].summary.removeprefix('not checked: ')})"
    return "; ".join(parts) or f"passed on all {len(days)} days"


def _code(text: str) -> str:
    """Return text that stays inside its Markdown backticks: reasons quote untrusted text."""
    return text.replace("`", "'").replace("\n", " ")[:300]
