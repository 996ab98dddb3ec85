"""`python -m benchmarks.stages DAY [TABLE...]`: archive a day like the command line, or run single steps; print times as JSON.

The steps are timed from outside, without changes to the measured code. Their imports and the files that botocore reads for its
first client are loaded before the first step, so that they count as start-up, as elsewhere.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any
from unittest.mock import patch

from callarchive.cli import prepare_process

STAGES = {  # by the table that a step writes
    "session_ids": "find",
    "recording_metadata": "look up",
    "recording_files": "download",
    "sessions": "tables",
    "recordings": "tables",
    "status_stats": "tables",
    "duration_stats": "tables",
    "reconciliation": "reconcile",
}


class Stopwatch:
    """Wall and CPU seconds by stage. CPU is that of all threads of this process."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` wrapped so that its time is added to the stage."""

        def measured(*args: Any, **options: Any) -> Any:
            begun_at, cpu_s = time.perf_counter(), time.process_time()
            try:
                return work(*args, **options)
            finally:
                wall_before, cpu_before = self.spent.get(stage, (0.0, 0.0))
                wall_s = wall_before + time.perf_counter() - begun_at
                self.spent[stage] = (wall_s, cpu_before + time.process_time() - cpu_s)

        return measured


def main() -> None:
    """Archive the day, or run the given steps, and print `{stage: [wall_s, cpu_s]}`.

    For a whole day, "day" is the total; single steps are reported under the names of their tables.
    """
    prepare_process()  # like the command line, before any import
    from callarchive.archiving.connections import Connections
    from callarchive.archiving.steps import day_steps
    from callarchive.archiving.steps.day_steps import DAY_STEPS
    from callarchive.cli.day_results import archive_day
    from callarchive.runtime.memory import keep_pandas_out
    from callarchive.settings import load_settings

    keep_pandas_out()
    day, names = date.fromisoformat(sys.argv[1]), sys.argv[2:]
    watch = Stopwatch()
    with Connections(load_settings(None)) as connections:
        for account in connections.settings.accounts:
            connections.sources(account)
            connections.landings.of(account)
            if account.landing.startswith("s3:"):
                from callarchive.storage.s3 import clients as s3_clients

                s3_clients.s3_client(account.s3).close()
        if names:
            with connections.day_lock(day):
                for step in DAY_STEPS:
                    if step.table.name in names:
                        watch.timed(step.table.name, step.run)(connections, day)
        else:
            timed = tuple(replace(step, write=watch.timed(STAGES[step.table.name], step.write)) for step in DAY_STEPS)
            with patch.object(day_steps, "DAY_STEPS", timed):
                watch.timed("day", archive_day)(connections, day)
    json.dump(watch.spent, sys.stdout)


if __name__ == "__main__":
    main()
