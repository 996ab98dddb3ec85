"""The report: which targets count as met, and what becomes of a report that is already there."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.look_ups import busiest_second
from benchmarks.peers import Peers
from benchmarks.processes import Measured
from benchmarks.report import Circumstances, Section, at_least, at_most, in_proportion, run_table, write_report


@pytest.mark.parametrize(
    ("claim", "measured", "met"),
    [
        (at_most("x", [0.2, 0.3, 0.9], 0.3, "s"), "0.30 (0.20-0.90) s", True),
        (at_most("x", [0.2, 0.31, 0.9], 0.3, "s"), "0.31 (0.20-0.90) s", False),
        (at_least("x", [900, 1000, 1400], 1000, "/s"), "1,000 (900-1,400) /s", True),
        (at_least("x", [900, 999, 1400], 1000, "/s"), "999 (900-1,400) /s", False),
        (in_proportion("x", [1, 2, 3], [2, 2, 4], 1.0, "s5cmd"), "1.00 × (0.50-1.00)", True),
        (in_proportion("x", [1, 3, 3], [2, 2, 4], 1.0, "s5cmd"), "1.50 × (0.50-1.50)", False),
    ],
)
def test_a_target_is_met_by_the_median(claim: report.Claim, measured: str, met: bool) -> None:
    assert claim.measured == measured
    assert claim.met is met


def test_a_report_replaces_what_it_wrote_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "performance.md"
    place.write_text("# Performance\n\nBefore.\n", encoding="utf-8")
    monkeypatch.setattr(report, "REPORT", place)
    told = Circumstances("make bench", tmp_path, load=0.1, repeat=3, peers=Peers({}))
    runs = {"callarchive": [Measured(1.0, 2.0, 3_000_000, 0.5)] * 3}
    for wall_s in (7.0, 8.0):
        claim = at_most("S3", [wall_s], 7.5, "s")
        write_report([Section("S3 next door", "So it was.", (claim,), (run_table(runs, size_bytes=10**7),))], told)
    text = place.read_text(encoding="utf-8")

    assert text.startswith("# Performance\n\nBefore.\n")
    assert text.count("## S3 next door") == 1
    assert "| S3 | ≤ 7.5 s | 8.00 (8.00-8.00) s | **no** |" in text
    assert "7.00" not in text
    assert "| callarchive | 1.00 (1.00-1.00) | 2.00 (2.00-2.00) | 3 | 0.5 | 10 |" in text


def test_the_busiest_second_is_found_wherever_it_begins() -> None:
    assert busiest_second([0.0, 0.9, 1.0, 1.5, 1.89, 3.0]) == 4
    assert busiest_second([0.0]) == 1
