"""`docs/checks.md` and the checks in the code agree."""

import re
from pathlib import Path

import pytest

from assets import newest_day, past_time
from callarchive.monitoring.checks import CHECKS, RECONCILIATION_CHECKS, Check
from callarchive.settings import CheckSettings, ReconciliationLimits

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
KINDS = {check.name: kind.value for kind, check in RECONCILIATION_CHECKS.items()}


def test_every_check_has_a_section_and_every_section_a_check() -> None:
    assert list(SECTIONS) == [*(check.name for check in CHECKS), newest_day.NAME, past_time.NAME]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_section_has_level_meaning_and_next_step(check: Check) -> None:
    paragraphs = SECTIONS[check.name].strip().split("\n\n")
    assert paragraphs[0] == f"{check.level}, on `{check.table.name}`"
    assert paragraphs[1].startswith("**Means:** ")
    assert paragraphs[2].startswith("**Do:** ")


def test_a_section_has_the_limit_and_its_default() -> None:
    documented = {
        name: limit.group(1, 2)
        for name, section in SECTIONS.items()
        if (limit := re.search(r"^\*\*Limit:\*\* `([a-z_.]+)`, (.+) by default\.$", section, flags=re.MULTILINE))
    }
    limits, reconciliation = CheckSettings(), ReconciliationLimits()
    shares = {
        "lookups_succeeded": "max_failed_lookup_share",
        "recordings_archived": "max_failed_recording_share",
        "durations_plausible": "max_duration_mismatch_share",
        "recordings_audible": "max_silent_share",
        "negative_answers_usual": "max_negative_share_rise",
    }
    expected = {check: (f"checks.{name}", f"{100 * getattr(limits, name):g} %") for check, name in shares.items()}
    expected["sources_complete"] = ("checks.max_missing_sessions", str(limits.max_missing_sessions))
    for check, name in KINDS.items():
        limit = getattr(reconciliation, name)
        expected[check] = (name, "none" if limit is None else str(limit))
    assert documented == expected


def test_the_readme_leads_to_the_page() -> None:
    assert "(docs/checks.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
