"""The checks of `callarchive.monitoring.checks` as Dagster asset checks: their specs, and one result each per run."""

from collections.abc import Iterable, Sequence

import dagster as dg

from callarchive.catalog.schemas import Table
from callarchive.domain.evidence import Outcome
from callarchive.monitoring.checks import CHECKS, CheckResult, Level

_EXAMPLES = 20


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """The specs of all checks on the table."""
    return [
        dg.AssetCheckSpec(check.name, asset=table.name, description=check.description, blocking=check.blocking)
        for check in CHECKS
        if check.table is table
    ]


def check_results(verdicts: Iterable[CheckResult]) -> list[dg.AssetCheckResult]:
    """Return one result per check: passed if it passed on every day, with the days on which it did not.

    Dagster keeps one result per check and run, not one per partition. It knows no third outcome: a check that was not
    done fails with severity WARN, and says "not checked: why".
    """
    by_name: dict[str, list[CheckResult]] = {}
    for verdict in verdicts:
        by_name.setdefault(verdict.name, []).append(verdict)
    return [_result(name, days) for name, days in by_name.items()]


def check_evaluations(verdicts: Iterable[CheckResult]) -> list[dg.AssetCheckEvaluation]:
    """The same results as events, for where there is no step of the asset to return them from."""
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
    bad = [day for day in days if not day.passed]
    failed = [day for day in days if day.failed]
    examples = [(day.day, example) for day in (bad or days) for example in day.examples]
    metadata: dict[str, dg.MetadataValue] = {}
    if len(days) == 1:
        described = days[0].summary
        metadata |= {key: dg.MetadataValue.float(float(number)) for key, number in days[0].numbers.items()}
    else:
        described = _described(days)
        metadata["days"] = dg.MetadataValue.table(
            [dg.TableRecord({"day": str(d.day), "outcome": d.outcome.value, "summary": d.summary}) for d in days]
        )
    if examples:
        lines = [f"- {day}: `{_code(example)}`" for day, example in examples[:_EXAMPLES]]
        metadata["examples"] = dg.MetadataValue.md("\n".join(lines))
    warning = not failed or days[0].check.level is Level.WARNING
    return dg.AssetCheckResult(
        check_name=name,
        passed=not bad,
        severity=dg.AssetCheckSeverity.WARN if warning else dg.AssetCheckSeverity.ERROR,
        description=described,
        metadata=metadata,
    )


def _described(days: Sequence[CheckResult]) -> str:
    """Return one sentence about several days, the days that did not pass named."""
    parts = []
    for outcome, verb in ((Outcome.FAILED, "failed on"), (Outcome.NOT_CHECKED, "not checked:")):
        concerned = [day for day in days if day.outcome is outcome]
        if concerned:
            parts.append(f"{verb} {len(concerned)} of {len(days)} days: {', '.join(str(d.day) for d in concerned)}")
            if outcome is Outcome.NOT_CHECKED:
                parts[-1] += f" ({concerned[-1].summary.removeprefix('not checked: ')})"
    return "; ".join(parts) or f"passed on all {len(days)} days"


def _code(text: str) -> str:
    """Text that stays inside its Markdown backticks: reasons quote what came from outside."""
    return text.replace("`", "'").replace("\n", " ")[:300]
