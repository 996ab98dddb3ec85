"""`python -m benchmarks.stages DAY`: archives a day as the command line does, and tells how long each stage took, as JSON.

The steps are timed from outside, so the code that is measured knows nothing of it.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

from callarchive import steps
from callarchive.connections import Connections
from callarchive.main_job import archive_day
from callarchive.settings import load_settings

STAGES = {
    "find": ("find_sessions",),
    "look up": ("look_up_recordings",),
    "fetch": ("fetch_recordings",),
    "tables": ("write_sessions", "write_recordings", "write_status_stats", "write_duration_stats"),
}


class Stopwatch:
    """Wall and CPU seconds by stage; CPU of all threads of this process."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, with the time that it takes put down to the stage."""

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
    """Archives the day and prints `{stage: [wall_s, cpu_s]}`; "summary" is what follows the last table."""
    watch = Stopwatch()
    for stage, names in STAGES.items():
        for name in names:
            setattr(steps, name, watch.timed(stage, getattr(steps, name)))
    with Connections(load_settings(None)) as connections:
        watch.timed("all", archive_day)(connections, date.fromisoformat(sys.argv[1]))
    wall_s, cpu_s = watch.spent.pop("all")
    stages = watch.spent.values()
    watch.spent["summary"] = (wall_s - sum(wall for wall, _ in stages), cpu_s - sum(cpu for _, cpu in stages))
    json.dump(watch.spent, sys.stdout)


if __name__ == "__main__":
    main()
