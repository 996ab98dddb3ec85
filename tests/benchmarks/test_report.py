"""The report: which targets are met, and how an existing report is updated."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.lookups import busiest_second
from benchmarks.peers import Peers
from benchmarks.processes import Measured
from benchmarks.report import Conditions, Section, at_least, at_most, ratio_at_most, run_table, write_report


@pytest.mark.parametrize(
    ("claim", "measured", "met"),
    [
        (at_most("x", [0.2, 0.3, 0.9], 0.3, "s"), "0.30 (0.20-0.90) s", True),
        (at_most("x", [0.2, 0.31, 0.9], 0.3, "s"), "0.31 (0.20-0.90) s", False),
        (at_least("x", [900, 1000, 1400], 1000, "/s"), "1,000 (900-1,400) /s", True),
        (at_least("x", [900, 999, 1400], 1000, "/s"), "999 (900-1,400) /s", False),
        (ratio_at_most("x", [1, 2, 3], [2, 2, 4], 1.0, "s5cmd"), "1.00 × (0.50-1.00)", True),
        (ratio_at_most("x", [1, 3, 3], [2, 2, 4], 1.0, "s5cmd"), "1.50 × (0.50-1.50)", False),
    ],
)
def test_the_median_decides_whether_a_target_is_met(claim: report.Claim, measured: str, met: bool) -> None:
    assert claim.measured == measured
    assert claim.met is met


def test_a_new_report_replaces_only_the_generated_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nBefore.\n", encoding="utf-8")
    monkeypatch.setattr(report, "REPORT", page)
    conditions = Conditions("make bench", tmp_path, load=0.1, repeat=3, peers=Peers({}))
    runs = {"callarchive": [Measured(1.0, 2.0, 3_000_000, 0.5)] * 3}
    for wall_s in (7.0, 8.0):
        claim = at_most("S3", [wall_s], 7.5, "s")
        write_report([Section("Local S3", "Prose.", (claim,), (run_table(runs, size_bytes=10**7),))], conditions)
    text = page.read_text(encoding="utf-8")

    assert text.startswith("# Performance\n\nBefore.\n")
    assert text.count("## Local S3") == 1
    assert "| S3 | ≤ 7.5 s | 8.00 (8.00-8.00) s | **no** |" in text
    assert "7.00" not in text
    assert "| callarchive | 1.00 (1.00-1.00) | 2.00 (2.00-2.00) | 3 | 0.5 | 10 |" in text


def test_the_busiest_second_may_start_at_any_arrival() -> None:
    assert busiest_second([0.0, 0.9, 1.0, 1.5, 1.89, 3.0]) == 4
    assert busiest_second([0.0]) == 1
