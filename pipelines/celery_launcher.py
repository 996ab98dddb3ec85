"""A run launcher for Celery that detects runs whose worker died. `dagster.yaml` names the class.

dagster-celery's own launcher asks the result backend for the state of a run's task. There a task whose worker was killed stays
STARTED, and the message that Redis redelivers ends as SUCCESS ("Ignoring a duplicate run"): both look healthy to run
monitoring, and the run would hang until `max_runtime_seconds`. This launcher asks the workers instead.
"""

import time
from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_ANSWER_S = 2.0
"""How long to wait for workers. Their main process answers, not the one that works on a run."""

_GOOD_FOR_S = 3.0
"""How long an answer is reused: run monitoring asks for one run after the other."""

_LOST_AFTER_S = 30
"""Longer than a worker needs to find Redis again."""


class WatchedCeleryRunLauncher(CeleryRunLauncher):
    """A CeleryRunLauncher whose runs are lost when no worker has them.

    Args:
        lost_after_seconds: how long no worker has a run that has started before it is lost.
        options: those of CeleryRunLauncher.
    """

    def __init__(self, *, lost_after_seconds: int = _LOST_AFTER_S, **options: Any) -> None:
        super().__init__(**options)
        self._lost_after_s = lost_after_seconds
        self._held: frozenset[str] = frozenset()
        self._asked_at: float | None = None
        self._missing_since: dict[str, float] = {}

    @classmethod
    def config_type(cls) -> Any:
        """Return the schema of the launcher's section in `dagster.yaml`."""
        lost_after = dg.Field(
            dg.IntSource,
            default_value=_LOST_AFTER_S,
            description="After how many seconds a run that no worker has is lost.",
        )
        options: Any = super().config_type()
        return {**options, "lost_after_seconds": lost_after}

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return RUNNING while a worker has the run's task, or may have it, and FAILED when none has had it for too long.

        Runs that were never sent to a worker, those from the command line, are always RUNNING: their state is not known.
        Dagster calls this for runs that have started, and reads a run's state again after FAILED, so that a run that has just
        ended, whose task no worker has, does no harm.
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
        """Cancel the run: its worker interrupts it; a worker that has not started it will not."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        # Without this the run would count as started until its worker reports back.
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)

    def _held_tasks(self) -> frozenset[str]:
        """Return the ids of the tasks that workers have."""
        if self._asked_at is None or time.monotonic() - self._asked_at > _GOOD_FOR_S:
            answers: list[dict[str, Any]] = self.celery.control.broadcast("active", reply=True, timeout=_ANSWER_S) or []
            self._held = frozenset(
                task["id"]
                for answer in answers
                for tasks in answer.values()
                if isinstance(tasks, list)  # otherwise it is the worker's error
                for task in tasks
            )
            self._asked_at = time.monotonic()
        return self._held
