"""Tables on a narrow terminal, and the command after which the shell finds callarchive."""

import re
import subprocess
from pathlib import Path

import pytest

from callarchive.cli.output import Output


def test_days_and_numbers_stay_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": "98", "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    states = ("archived", "pending", "missing", "rejected", "failed", "not uploaded")
    headings = ("day", "sessions", *states, "MB", "hours", "downloaded", "lookups failed")
    rows = [
        ("2026-01-05", 1044, 25, 0, 2, 0, 0, 2, 12.3, 1.0, 25, 0),
        ("all", 2088, 50, 0, 4, 0, 0, 4, 24.6, 2.0, 50, 0),
    ]
    Output(config=None, json=False, quiet=False).print_table("Archived days", headings, rows)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 98
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [row[:2] for row in cells] == [["2026-01-05", "1,044"], ["all", "2,088"]]
    assert [row[8] for row in cells] == ["12.3", "24.6"]


def test_the_hint_makes_the_shell_find_callarchive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    output = Output(config=None, json=False, quiet=False)
    output.print_path_hint()
    command = capsys.readouterr().err.partition(":  ")[2].strip()
    done = subprocess.run(
        ["bash", "-c", f"{command} && command -v callarchive"], capture_output=True, text=True, check=True
    )
    found = Path(done.stdout.strip())
    assert found.is_absolute()
    monkeypatch.setenv("PATH", f"{found.parent}:/usr/bin:/bin")
    output.print_path_hint()
    assert capsys.readouterr().err == ""
