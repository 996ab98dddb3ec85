"""The two ways to archive a day, Dagster's and the command line's, end in the same files and tables."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_dagster_and_the_command_line_give_the_same_tables_and_files(
    start_trial: Callable[..., Any], tmp_path: Path
) -> None:
    trial = start_trial(sessions_per_day=20)
    assert trial.run("archive", "--day", "2026-01-05", "--ignore-checks").returncode == 0
    by_command, files = trial.tables(), trial.files()
    for name in ("archive", "catalog"):
        shutil.rmtree(trial.config.parent / name)
    materialize = ("asset", "materialize", "-m", "pipelines.definitions", "--select", "*", "--partition", "2026-01-05")
    for _ in range(2):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("dagster")), *materialize],
            env={**trial.process_environment(), "DAGSTER_HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert trial.tables() == by_command
        assert trial.files() == files
    opened = len(trial.simulator.sftp.opened)
    trial.archive()
    assert len(trial.simulator.sftp.opened) == opened
    assert trial.tables() == by_command
