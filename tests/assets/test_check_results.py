from datetime import date

import dagster as dg

from assets.check_results import check_results, check_specs
from callarchive.catalog import schemas
from callarchive.domain.evidence import Outcome
from callarchive.monitoring.checks import CHECKS, CheckResult


def verdict(
    day: int,
    *,
    passed: bool = False,
    outcome: Outcome | None = None,
    name: str = "recordings_archived",
    examples: tuple[str, ...] = (),
) -> CheckResult:
    return CheckResult(
        check=next(check for check in CHECKS if check.name == name),
        day=date(2026, 1, day),
        outcome=outcome or (Outcome.PASSED if passed else Outcome.FAILED),
        summary=f"summary of {day}",
        numbers={"share": 0.25, "failed": 3},
        examples=examples,
    )


def test_every_check_hangs_on_its_table_and_blocks_as_it_says() -> None:
    specs = [spec for table in schemas.PUBLIC_TABLES for spec in check_specs(table)]
    assert {(spec.name, spec.asset_key.to_user_string(), spec.blocking) for spec in specs} == {
        (check.name, check.table.name, check.blocking) for check in CHECKS
    }
    assert all(spec.description for spec in specs)


def test_one_day_shows_its_numbers() -> None:
    (result,) = check_results([verdict(5, passed=True)])
    assert result.passed
    assert result.description == "summary of 5"
    assert {key: value.value for key, value in result.metadata.items()} == {"share": 0.25, "failed": 3.0}


def test_several_days_make_one_result_that_names_the_days_that_failed() -> None:
    (result,) = check_results([verdict(5, passed=True), verdict(6, passed=False), verdict(7, passed=False)])
    assert not result.passed
    assert result.description == "failed on 2 of 3 days: 2026-01-06, 2026-01-07"
    table = result.metadata["days"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [(record.data["day"], record.data["outcome"]) for record in table.records] == [
        ("2026-01-05", "passed"),
        ("2026-01-06", "failed"),
        ("2026-01-07", "failed"),
    ]


def test_a_check_that_was_not_done_fails_with_a_warning_and_says_why() -> None:
    unknown = verdict(5, outcome=Outcome.NOT_CHECKED)
    (one_day,) = check_results([unknown])
    assert not one_day.passed
    assert one_day.severity == dg.AssetCheckSeverity.WARN
    assert one_day.description == "summary of 5"
    (several,) = check_results([verdict(4, passed=True), unknown])
    assert several.severity == dg.AssetCheckSeverity.WARN
    assert several.description == "not checked: 1 of 2 days: 2026-01-05 (summary of 5)"
    (with_failure,) = check_results([verdict(4), unknown])
    assert with_failure.severity == dg.AssetCheckSeverity.ERROR


def test_a_check_that_passed_says_so() -> None:
    (result,) = check_results([verdict(5, passed=True), verdict(6, passed=True)])
    assert result.description == "passed on all 2 days"


def test_examples_are_bounded_and_stay_inside_their_backticks() -> None:
    examples = tuple(f"id-{number}: `broken`\nline" for number in range(30))
    (result,) = check_results([verdict(5, passed=False, examples=examples)])
    lines = str(result.metadata["examples"].value).splitlines()
    assert len(lines) == 20
    assert lines[0] == "- 2026-01-05: `id-0: 'broken' line`"


def test_examples_of_days_that_passed_give_way_to_those_of_days_that_failed() -> None:
    days = [verdict(5, passed=True, examples=("tolerated",)), verdict(6, passed=False, examples=("too much",))]
    (result,) = check_results(days)
    assert "too much" in str(result.metadata["examples"].value)
    assert "tolerated" not in str(result.metadata["examples"].value)


def test_missing_recordings_are_errors_and_odd_durations_are_warnings() -> None:
    lost, odd = check_results([verdict(5, passed=False), verdict(5, passed=False, name="durations_plausible")])
    assert lost.severity == dg.AssetCheckSeverity.ERROR
    assert odd.severity == dg.AssetCheckSeverity.WARN
