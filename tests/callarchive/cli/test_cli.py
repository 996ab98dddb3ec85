"""Help, exit codes and output streams of the command line. What the commands do is tested in the other rooms."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMANDS = ("init", "archive", "forecast", "doctor", "find", "verify", "demo")


def run(*words: str, cwd: Path | None = None, code: str = "from callarchive.cli import main; main()") -> Any:
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False, cwd=cwd
    )


def test_help_lists_every_command_and_each_has_an_example() -> None:
    top = run("--help")
    assert top.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in top.stdout
        shown = run(command, "--help")
        assert shown.returncode == 0
        assert f"      callarchive {command}" in shown.stdout
    names = re.findall(r"^  ([a-z-]+)  ", top.stdout.partition("Commands:")[2], flags=re.MULTILINE)
    custody = ["verify", "ledger", "evidence", "hold", "erase", "retention", "audit"]
    assert names[names.index("verify") : names.index("demo")] == custody


def test_help_does_not_import_the_libraries_of_the_commands() -> None:
    code = (
        "import sys\nfrom callarchive.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([n for n in ('pandas', 'pyarrow', 'boto3', 'paramiko', 'duckdb', 'requests', 'dagster') if n in sys.modules])"
    )
    assert run("archive", "--help", code=code).stdout.endswith("[]\n")


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has this policy")
def test_commands_run_as_batch_jobs() -> None:
    code = (
        "import os, sys\nfrom callarchive.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(os.sched_getscheduler(0) == os.SCHED_BATCH)"
    )
    assert run("--version", code=code).stdout.endswith("True\n")


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callarchive", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert done.stdout == run("--help").stdout


def test_the_version_is_that_of_the_package() -> None:
    pyproject = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    version = next(line.split('"')[1] for line in pyproject.splitlines() if line.startswith("version ="))
    assert run("--version").stdout == f"callarchive {version}\n"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("archive",),
        ("archive", "--day", "2026-01-05", "--from", "2026-01-05", "--to", "2026-01-06"),
        ("archive", "--from", "2026-01-06", "--to", "2026-01-05"),
        ("archive", "--from", "2026-01-06"),
        ("archive", "--day", "05.01.2026"),
        ("archive", "--no-such-option"),
        ("forecast",),
        ("forecast", "--from", "2026-01-06", "--to", "2026-01-05"),
        ("forecast", "--from", "0001-01-01", "--to", "9999-12-31"),
        ("no-such-command",),
        ("verify", "--sample", "0"),
        ("verify", "--sample", "2"),
        ("find",),
    ],
)
def test_a_usage_error_exits_with_2_and_prints_to_stderr(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr or not words


def test_without_a_configuration_every_command_names_the_missing_file(tmp_path: Path) -> None:
    for words in (("archive", "--day", "2026-01-05"), ("doctor",), ("find", "x"), ("verify",)):
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert f"no configuration at {tmp_path}/callarchive.toml" in done.stderr
        assert "Traceback" not in done.stderr


def test_stdout_has_only_json_at_any_verbosity_and_position_of_the_flags(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(sessions_per_day=4)
    done = trial.run("archive", "-vv", "--day", "2026-01-05", "--json")
    assert done.returncode == 4, done.stderr
    (day,) = json.loads(done.stdout)["days"]
    assert day["day"] == "2026-01-05"
    assert day["session_count"] == sum(day["lookups"].values())
    assert {check["name"] for check in day["checks"]} >= {"every_session_accounted_for", "recordings_archived"}
    assert "\x1b" not in done.stderr  # no progress bar and no colour off a terminal


def test_quiet_prints_only_failures_to_stderr(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(sessions_per_day=4)
    done = trial.run("-q", "archive", "--day", "2026-01-05")
    assert done.returncode == 4
    failed = "recordings_archived, recordings_have_files"
    assert done.stderr == f"2 checks failed (and 1 warning): {failed} (see docs/checks.md)\n"
    assert done.stdout == ""
    shown = trial.run("archive", "--day", "2026-01-05", "--ignore-checks")
    assert shown.stderr == ""
    levels = re.findall(r"│ 2026-01-05 │ (\w+) +│ (\w+) +│", shown.stdout.partition("Failed checks")[2])
    assert sorted(level for level, _ in levels) == ["error", "error", "warning"]


def test_a_day_that_has_not_begun_is_a_usage_error(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(sessions_per_day=2)
    done = trial.run("archive", "--day", "2199-01-01")
    assert done.returncode == 2
    assert "has not begun" in done.stderr


def test_the_demo_archives_a_week_and_prints_where_everything_is(tmp_path: Path) -> None:
    done = run("demo", "--directory", str(tmp_path / "demo"), "--sessions", "12", "--last-day", "2026-03-01")
    assert done.returncode == 0, done.stderr
    for text in (
        "2026-02-23",
        "2026-03-01",
        f"{tmp_path}/demo/catalog/",
        f"{tmp_path}/demo/callarchive.toml",
        "quantile_cont",
        "demo_sftp",
        "make ui",
        "more: --json lists up to 200 per day",
    ):
        assert text in done.stdout
    attention = done.stdout.partition("Needs attention\n")[2].partition("...")[0]
    assert len(re.findall(r"(?m)^│ ?2026-0[23]-[0-9]{2}", attention)) == 10
    file = next((tmp_path / "demo" / "archive").rglob("*.mp3"))
    found = run("--config", f"{tmp_path}/demo/callarchive.toml", "find", file.stem.upper())
    assert found.stdout.startswith(f"Recording {file.stem}: archived, ")
    assert found.stdout.splitlines()[1] == f"  file: {file}"


@pytest.mark.live
def test_a_second_run_of_the_demo_downloads_nothing(tmp_path: Path) -> None:
    words = ("--json", "-q", "demo", "--directory", str(tmp_path), "--sessions", "3", "--last-day", "2026-03-01")
    fetched = [sum(day["fetched_count"] for day in json.loads(run(*words).stdout)["days"]) for _ in range(2)]
    assert fetched[0] > 0
    assert fetched[1] == 0


def test_an_unexpected_error_is_one_line_without_secrets_and_frames_are_printed_on_request(tmp_path: Path) -> None:
    (tmp_path / "callarchive.toml").write_text("")
    code = (
        "import callarchive.settings\nfrom callarchive.cli import main\n"
        "def fail(*_): raise {error}\n"
        "callarchive.settings.load_settings = fail\nmain()"
    )
    for error, words in (
        ("KeyError('s3cret')", "error: unexpected: KeyError"),
        ("RuntimeError('https://user:s3cret@host')", "error: unexpected: RuntimeError"),
        ("OSError(28, 'No space left on device', '/srv/x')", "error: unexpected: No space left on device: /srv/x"),
    ):
        done = run("verify", cwd=tmp_path, code=code.format(error=error))
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(words)
        assert "use -vv for a traceback" in done.stderr
        more = run("-vv", "verify", cwd=tmp_path, code=code.format(error=error))
        assert more.returncode == 1
        assert 'File "' in more.stderr
        assert "s3cret" not in done.stderr + more.stderr
