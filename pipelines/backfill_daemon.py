"""How often Dagster's daemon checks backfills: it starts their runs, and notices that they ended, only then.

Dagster has no setting for it, and checks every 30 s: a backfill of a few minutes waited a minute of them.
"""

from typing import Any

from dagster._core.scheduler import DagsterDaemonScheduler
from dagster._daemon import controller

CHECK_EVERY_S = 5


class SchedulerWithPromptBackfills(DagsterDaemonScheduler):
    """Dagster's default scheduler: `dagster.yaml` names it, and the daemon creates it before it starts its loops."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        controller.DEFAULT_DAEMON_INTERVAL_SECONDS = CHECK_EVERY_S
