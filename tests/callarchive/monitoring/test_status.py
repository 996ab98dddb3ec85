"""The days that `callarchive status` covers, and its output in a narrow terminal."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import spans_of

CONFIG = """
start_date = 2025-01-01
archive = {{ url = "file://{folder}/archive" }}
catalog = {{ url = "file://{folder}/catalog" }}
[[accounts]]
subaccount_id = "acme_singapore"
api_key = {{ env = "KEY" }}
landing = "s3://acme/x"
push_retention_hours = {hours}
session_sources = [{{ kind = "log_export" }}]
"""
STATES = ("UPLOAD_FAILED", "PROCESSING_FAILED", "UNKNOWN")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, commands: Any) -> Run:
    def started(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_"))}
        config = str(tmp_path / "callarchive.toml")
        done: subprocess.CompletedProcess[str] = commands.run(
            *words, environment={**inherited, "KEY": "k", "CALLARCHIVE_CONFIG": config, **environment}
        )
        return done

    return started


def archive(folder: Path, days: list[date], *, hours: float = 24, lacking: dict[date, int] | None = None) -> list[str]:
    """The days are in the catalog, with that many recordings that 8x8 could not push. Return their ids."""
    (folder / "callarchive.toml").write_text(CONFIG.format(folder=folder, hours=hours))
    catalog, ids = Catalog.open(folder / "catalog"), []
    for day in days:
        names = [str(UUID(int=(day.toordinal() << 40) + n + 1)) for n in range((lacking or {}).get(day, 0))]
        own = [{"subaccount_id": "acme_singapore", "session_id": name} for name in names]
        answers = {"lookup_status": "ok", "sources": ["log_export"], "recording_count": 1}
        outcome = {"archive_status": "not_uploaded", "error": "8x8 reports UPLOAD_FAILED"}
        catalog.replace_partition(schemas.SESSIONS, day, [{**row, **answers} for row in own])
        catalog.replace_partition(
            schemas.RECORDINGS,
            day,
            [
                {**row, **outcome, "recording_id": row["session_id"], "api_status": STATES[n % len(STATES)]}
                for n, row in enumerate(own)
            ],
        )
        ids += names
    return ids


def test_today_counts_once_it_was_archived(tmp_path: Path, run: Run) -> None:
    today = datetime.now(UTC).date()
    week = [today - timedelta(days=n) for n in range(7, 0, -1)]
    archive(tmp_path, week)
    before = run("status", "--json")
    archive(tmp_path, [*week, today], lacking={today: 1})
    after = run("status", "--json")
    if datetime.now(UTC).date() == today:  # at midnight the question is another one
        assert before.returncode == 0, before.stderr
        assert json.loads(before.stdout)["status"]["last"] == str(today - timedelta(days=1))
        document = json.loads(after.stdout)["status"]
        assert (document["first"], document["last"]) == (str(today - timedelta(days=6)), str(today))
        assert [item["call_date"] for item in document["at_risk"]] == [str(today)]
        assert after.returncode == 1


def test_recordings_that_8x8_may_still_have_are_shown_unless_days_are_given(tmp_path: Path, run: Run) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=n) for n in range(20, 0, -1)]
    archive(tmp_path, days, hours=24 * 15, lacking={days[0]: 1, days[8]: 1})  # 20 and 12 days ago
    document = json.loads(run("status", "--json").stdout)
    assert [item["call_date"] for item in document["status"]["at_risk"]] == [str(days[8])]
    assert document["status"]["first"] == str(today - timedelta(days=7))
    named = run("status", "--from", str(days[-3]), "--to", str(days[-1]))
    assert (named.returncode, "Nothing is at risk." in named.stdout) == (0, True)


@pytest.mark.parametrize("columns", [80, 120])
def test_ids_days_and_counts_stay_whole_in_a_narrow_terminal(tmp_path: Path, run: Run, columns: int) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=n) for n in range(3, 0, -1)]
    ids = archive(tmp_path, days, lacking={days[-1]: 25})
    words = ("status", "--from", str(days[0] - timedelta(days=2)), "--to", str(days[-1]))
    done = run(*words, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm", COLUMNS=str(columns))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    table = [line for line in shown.splitlines() if line.startswith(("│", "┃", "┏", "└"))]
    assert table
    assert {len(line) for line in table} <= set(range(columns + 1))
    assert sum(id_ in shown for id_ in ids) == 20
    assert "... and 5 more: --json lists all" in shown
    assert f"│ {days[-1]} │ acme_singapore │       25 │        0 │ not uploaded 25" in shown
    # Two days in a row that nobody archived are one line.
    gone = f"{days[0] - timedelta(days=2)} to {days[0] - timedelta(days=1)}: never archived"
    assert shown.count("never archived") == 1
    assert gone in shown
    # What to do stands there once for all that ask for the same.
    assert "  PROCESSING_FAILED; UNKNOWN: ask 8x8's support: callarchive status --support-text" in shown


def test_recordings_at_risk_are_shown_while_the_inbox_cannot_be_read(tmp_path: Path, run: Run) -> None:
    day = datetime.now(UTC).date() - timedelta(days=1)
    [at_risk] = archive(tmp_path, [day], lacking={day: 1})
    (tmp_path / "inbox.sqlite3").write_bytes(b"no database at all" * 100)
    named = ("--from", str(day), "--to", str(day))
    done = run("status", *named)
    assert done.returncode == 1
    assert at_risk in done.stdout
    assert "cannot determine the time of the last webhook event: inbox.url: " in done.stderr
    found = run("find", at_risk)
    assert found.returncode == 0, found.stderr
    assert "the inbox could not be read: inbox.url: " in found.stdout
    well = archive(tmp_path, [day])
    assert (well, run("status", *named).returncode) == ([], 1), "nothing at risk, but not all is well"
    (tmp_path / "inbox.sqlite3").unlink()
    assert run("status", *named).returncode == 0


def test_days_in_a_row_are_one_span() -> None:
    first = date(2026, 2, 27)
    days = [first + timedelta(days=n) for n in (0, 1, 2, 4, 6, 7)]
    assert [(str(a), str(b)) for a, b in spans_of(days)] == [
        ("2026-02-27", "2026-03-01"),
        ("2026-03-03", "2026-03-03"),
        ("2026-03-05", "2026-03-06"),
    ]
    assert list(spans_of([])) == []


def open_row(number: int, **more: str) -> dict[str, str]:
    subject = f"a/folder with spaces/{'x' * 150}-{number:03}.mp3"
    key = {"subaccount_id": "acme_singapore", "kind": "orphan_object", "subject": subject}
    return {**key, "reason": f"no session has it ({number})", "state": "open", **more}


def test_open_rows_of_reconciliation_are_listed_whole_by_the_command_that_status_names(
    tmp_path: Path, run: Run
) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=n) for n in (3, 2)]
    archive(tmp_path, days)
    catalog = Catalog.open(tmp_path / "catalog")
    call = {"kind": "connected_call_without_recording", "subject": str(UUID(int=7))}
    rows = [open_row(0, **call), open_row(1, state="resolved"), *map(open_row, range(2, 103))]
    catalog.replace_partition(schemas.RECONCILIATION, days[0], rows)
    catalog.replace_partition(schemas.RECONCILIATION, days[1], [open_row(1, **call)])
    span = ("--from", str(days[0]), "--to", str(today - timedelta(days=1)))
    status = run("status", *span).stdout
    counts = "connected_call_without_recording 2, orphan_object 101"
    named = "callarchive status --open all " + " ".join(span)
    assert f"Open in reconciliation: {counts}. List them: {named}\n" in status

    done = run("status", "--open", call["kind"], *span)
    lines = [f"{day}  acme_singapore  {call['kind']}  {call['subject']}" for day in days]
    assert done.returncode == 0
    assert done.stdout.splitlines()[::2] == lines
    assert done.stdout.splitlines()[1] == "    no session has it (0)"
    assert done.stderr == "1 day was never archived: callarchive status\n"

    every = run(*named.split()[1:], COLUMNS="40").stdout.splitlines()
    assert len(every) == 201
    assert every[2] == f"{days[0]}  acme_singapore  orphan_object  {open_row(2)['subject']}"
    assert every[-1] == "... and 3 more: --json lists all"
    document = json.loads(run("status", "--open", "orphan_object", *span, "--json").stdout)
    assert len(document["open"]) == 101
    assert {**document["open"][-1], "state": "open"} == {**open_row(102), "day": str(days[0])}

    wrong = run("status", "--open", "orphan_objects")
    assert wrong.returncode == 2
    assert "did you mean orphan_object?" in " ".join(wrong.stderr.split())
