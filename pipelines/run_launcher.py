"""Dagster's default run launcher for one machine, extended to detect a run that is lost with its code server.

A code server reports a run whose process died. If the machine, or a service with all its processes, goes down, nothing reports
it: the run would count as started until its maximum runtime, keep its slot in the queue, and a backfill would wait.
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

_CHECKS = 2
"""How many checks of run monitoring in a row must miss a run: a server may be busy for a moment."""
_CHECKS_OF_SERVICE = 40
"""For a code server at a port, a service that restarts at the same address: before that the run could not be restarted, and
Dagster tries that only once.
"""
_ANSWER_WITHIN_S = 10
_BETWEEN_TICKS_S = 2.25
"""Dagster's run retries poll every 5 s, at the same moments as run monitoring: they would read the failure event before the run
is marked as failed, and never read it again.
"""


class WatchedRunLauncher(dg.DefaultRunLauncher):
    """Launches runs by code servers, like the default, and asks those servers whether they still have them.

    The instance's `run_monitoring` marks a lost run as failed and frees its slots, and `run_retries` restarts it.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._gone: dict[str, int] = {}
        self._waited_at = -math.inf

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Always true."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return RUNNING while the code server that started the run has it, and FAILED after it was missing for some checks.

        Runs that no code server started, those from the command line, are always RUNNING: their state is not known.
        """
        why, enough = self._why_gone(run)
        if why is None:
            self._gone.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        count = self._gone[run.run_id] = self._gone.get(run.run_id, 0) + 1
        if count < enough:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"{why}; checked {count} times")
        del self._gone[run.run_id]
        if time.monotonic() - self._waited_at > 1:  # one pause for several that are lost together
            time.sleep(_BETWEEN_TICKS_S)
        self._waited_at = time.monotonic()
        return CheckRunHealthResult(WorkerStatus.FAILED, why)

    def _why_gone(self, run: dg.DagsterRun) -> tuple[str | None, int]:
        """Return why the run may be lost, None if it is not, and how many checks confirm that."""
        from dagster._grpc.client import DagsterGrpcClient

        tag = run.tags.get(GRPC_INFO_TAG)
        if tag is None:
            return None, 0
        server = json.loads(tag)
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
            return "the code server that started it is gone", _CHECKS_OF_SERVICE if is_service else _CHECKS
        has_it = deserialize_value(answer, CanCancelExecutionResult).can_cancel
        return None if has_it else "the code server was restarted and does not have it", _CHECKS
