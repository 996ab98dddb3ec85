"""Dagster's own way to launch runs on one machine, and what it lacks: to notice a run that is gone with its code server.

A code server reports a run whose process died. When the machine, or a service with all its processes, goes down, nobody is left
to report: the run would stand as started for as long as a run may take, keep its place in the queue, and a backfill would wait.
"""

import json
import math
import time

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

_LOOKS = 2
"""So many looks of the run monitoring in a row must find a run gone: a server may be busy for a moment."""
_LOOKS_FOR_SERVICE = 40
"""For a code server at a port, a service that is started again at the same place: until it is there the run could not be
started once more, and Dagster tries that only once.
"""
_ANSWER_WITHIN_S = 10
_BETWEEN_TICKS_S = 2.25
"""What starts failed runs once more looks for them every 5 s, in the same moments as run monitoring: it would read of the
failure before the run is marked as failed, and never look again.
"""


class WatchedRunLauncher(dg.DefaultRunLauncher):
    """Launches runs by code servers, as the default does, and asks those servers whether they still have them.

    `run_monitoring` of the instance does the rest: it marks a run as failed that is gone and frees its slots, and `run_retries`
    starts it once more.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._gone: dict[str, int] = {}
        self._waited_at = -math.inf

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: that is what it is for."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """RUNNING while the code server that started the run has it; FAILED when that was not so for some looks.

        Runs that no code server started, those from the command line, are always RUNNING: nobody can tell.
        """
        why, enough = self._why_gone(run)
        if why is None:
            self._gone.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        count = self._gone[run.run_id] = self._gone.get(run.run_id, 0) + 1
        if count < enough:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"{why}; looked {count} times")
        del self._gone[run.run_id]
        if time.monotonic() - self._waited_at > 1:  # several that are lost together are told in one pause
            time.sleep(_BETWEEN_TICKS_S)
        self._waited_at = time.monotonic()
        return CheckRunHealthResult(WorkerStatus.FAILED, why)

    def _why_gone(self, run: dg.DagsterRun) -> tuple[str | None, int]:
        """Why the run may be gone, null where it is not, and how many looks make that sure."""
        from dagster._grpc.client import DagsterGrpcClient

        told = run.tags.get(GRPC_INFO_TAG)
        if told is None:
            return None, 0
        server = json.loads(told)
        client = DagsterGrpcClient(
            host=server.get("host"),
            port=server.get("port"),
            socket=server.get("socket"),
            use_ssl=bool(server.get("use_ssl")),
        )
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_ANSWER_WITHIN_S)
        except DagsterUserCodeUnreachableError:
            is_service = server.get("port") is not None
            return "the code server that started it is gone", _LOOKS_FOR_SERVICE if is_service else _LOOKS
        has_it = deserialize_value(answer, CanCancelExecutionResult).can_cancel
        return None if has_it else "the code server was started anew since, and does not know it", _LOOKS
