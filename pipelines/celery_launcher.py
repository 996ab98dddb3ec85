"""Runs on Celery workers, watched: a worker that dies takes no run with it for ever. `dagster.yaml` names the class here.

dagster-celery's own launcher asks the result backend how a run's task fares. There a task whose worker was killed stays
STARTED, and the message that Redis hands out again ends as SUCCESS ("Ignoring a duplicate run"): either way run monitoring
sees nothing wrong, and the run would hang until `max_runtime_seconds`. Here the workers themselves are asked.
"""

import time
from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_ANSWER_S = 2.0
"""So long workers are given to answer. Their main process does, not the one that works on a run."""

_GOOD_FOR_S = 3.0
"""Run monitoring asks for one run after the other: so long one answer does for all of them."""

_LOST_AFTER_S = 30
"""Longer than a worker needs to find Redis again."""


class WatchedCeleryRunLauncher(CeleryRunLauncher):
    """A CeleryRunLauncher, configured as that one, whose runs are known to be lost when no worker has them.

    Args:
        lost_after_seconds: so long no worker has had a run that has begun.
    """

    def __init__(self, *, lost_after_seconds: int = _LOST_AFTER_S, **options: Any) -> None:
        super().__init__(**options)
        self._lost_after_s = lost_after_seconds
        self._held: frozenset[str] = frozenset()
        self._asked_at: float | None = None
        self._missing_since: dict[str, float] = {}

    @classmethod
    def config_type(cls) -> Any:
        """What may stand in `dagster.yaml`."""
        lost_after = dg.Field(
            dg.IntSource, default_value=_LOST_AFTER_S, description="A run that no worker has had for so long is lost."
        )
        return {**super().config_type(), "lost_after_seconds": lost_after}

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """RUNNING as long as a worker has the run's task, or may have; FAILED when none has had it for too long.

        Runs that were never sent to a worker, those from the command line, are always RUNNING: nobody can tell. Dagster asks
        this of runs that have begun, and reads a run's state again before it believes FAILED: so it does no harm that the
        task of a run which has just ended is nowhere.
        """
        task_id, now = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG), time.monotonic()
        if task_id is None or task_id in self._held_tasks():
            self._missing_since.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        missing_s = now - self._missing_since.setdefault(run.run_id, now)
        if missing_s < self._lost_after_s:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        del self._missing_since[run.run_id]
        return CheckRunHealthResult(WorkerStatus.FAILED, f"no Celery worker has had the run for {missing_s:.0f} s")

    def terminate(self, run_id: str) -> bool:
        """The run is being canceled: its worker interrupts it; one that it still waits for will leave it alone."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(
            run
        )  # without it the run would count as started until its worker is heard of
        return super().terminate(run_id)

    def _held_tasks(self) -> frozenset[str]:
        """Ids of the tasks that workers are at."""
        if self._asked_at is None or time.monotonic() - self._asked_at > _GOOD_FOR_S:
            answers: list[dict[str, Any]] = self.celery.control.broadcast("active", reply=True, timeout=_ANSWER_S) or []
            self._held = frozenset(
                task["id"]
                for answer in answers
                for tasks in answer.values()
                if isinstance(tasks, list)  # else it is an error that the worker tells of
                for task in tasks
            )
            self._asked_at = time.monotonic()
        return self._held
