"""`tools/try_deployment.py` finds recordings and sessions that a deployment lost or duplicated."""

import os
from datetime import date
from typing import Any

import pytest

from callarchive.simulator.running import Recipe
from callarchive.simulator.world import Answer
from tools import try_deployment

DAY = date(2026, 3, 4)
WORLD = Recipe(seed=8, last_day=DAY, sessions_per_day=12).world()


def complete() -> dict[str, Any]:
    sessions = [s for s in WORLD.sessions_on(DAY) if s.exported or s.listed]
    recordings = [r for s in sessions if s.answer is Answer.RECORDINGS for r in s.recordings]
    archived = [r.recording_id for r in recordings if r.file not in try_deployment.REJECTED]
    return {
        "sessions": [[s.session_id] for s in sessions],
        "recordings": [[i, "archived"] for i in archived] + [["of another status", "missing"]],
        "files": [f"{i}.mp3" for i in archived],
    }


def test_a_complete_day_has_no_differences() -> None:
    assert try_deployment.differences(WORLD, [DAY], complete()) == []


@pytest.mark.parametrize(
    ("table", "lost", "twice"),
    [
        ("sessions", "session {} is missing", "session {} is in the catalog 2 times"),
        ("recordings", "archived recording {} is missing", "archived recording {} is in the catalog 2 times"),
    ],
)
def test_what_was_lost_or_duplicated_is_named(table: str, lost: str, twice: str) -> None:
    found = complete()
    row = found[table].pop(0)
    assert lost.format(row[0]) in try_deployment.differences(WORLD, [DAY], found)
    found[table] += [row, row]
    assert twice.format(row[0]) in try_deployment.differences(WORLD, [DAY], found)


def test_an_archived_file_without_a_row_is_a_difference() -> None:
    found = complete()
    found["files"].append("more.mp3")
    [problem] = try_deployment.differences(WORLD, [DAY], found)
    assert problem.startswith(f"the archive has {len(found['files'])} mp3 files")


def test_without_its_programs_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert try_deployment.main([]) == 2
    assert "podman, runc, conmon, iptables, debootstrap not found: apt-get install" in capsys.readouterr().err
