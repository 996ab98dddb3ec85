import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from callarchive.simulator.landings import free_port
from pipelines import ui
from pipelines.run_launcher import WatchedRunLauncher


def run_of(server: dict[str, object] | None) -> dg.DagsterRun:
    """A run with the tags of one that this code server started."""
    tags = {} if server is None else {GRPC_INFO_TAG: json.dumps(server)}
    return dg.DagsterRun(job_name="archive_day", status=dg.DagsterRunStatus.STARTED, tags=tags)


@pytest.fixture(scope="module")
def code_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """Dagster's own, of a location without runs."""
    folder = tmp_path_factory.mktemp("location")
    (folder / "location.py").write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    port = free_port()
    words = ["-m", "dagster", "api", "grpc", "--python-file", str(folder / "location.py"), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, *words, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                DagsterGrpcClient(host="127.0.0.1", port=port).ping("")
                break
            except dg.DagsterError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield {"host": "127.0.0.1", "port": port}
    finally:
        process.kill()
        process.wait()


def looks_until_failed(launcher: WatchedRunLauncher, run: dg.DagsterRun) -> int:
    for count in range(1, 100):
        if (found := launcher.check_run_worker_health(run)).status != WorkerStatus.RUNNING:
            assert found.status == WorkerStatus.FAILED
            assert found.msg == "the code server that started it is gone"
            return count
    raise AssertionError("it stays RUNNING")


def test_a_run_whose_code_server_is_gone_has_failed_when_it_was_looked_for_twice(tmp_path: Path) -> None:
    launcher, run = WatchedRunLauncher(), run_of({"host": "localhost", "socket": str(tmp_path / "gone")})
    other = run_of({"host": "localhost", "socket": str(tmp_path / "other")})
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(other).status == WorkerStatus.RUNNING
    assert looks_until_failed(launcher, run) == 2


def test_a_code_server_that_is_a_service_is_waited_for_to_come_back() -> None:
    run = run_of({"host": "127.0.0.1", "port": free_port()})
    assert looks_until_failed(WatchedRunLauncher(), run) == 40


def test_a_run_that_its_code_server_does_not_know_has_failed_too(code_server: dict[str, object]) -> None:
    launcher, run = WatchedRunLauncher(), run_of(code_server)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    found = launcher.check_run_worker_health(run)
    assert found.status == WorkerStatus.FAILED
    assert found.msg == "the code server was restarted and does not have it"


def test_a_run_of_the_command_line_is_left_alone() -> None:
    launcher = WatchedRunLauncher()
    assert {launcher.check_run_worker_health(run_of(None)).status for _ in range(3)} == {WorkerStatus.RUNNING}


def test_a_code_server_that_hangs_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.run_launcher._ANSWER_WITHIN_S", 1)
    launcher = WatchedRunLauncher()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run = run_of({"host": "127.0.0.1", "port": silent.getsockname()[1]})
        found = launcher.check_run_worker_health(run)
    assert (found.status, found.msg) == (
        WorkerStatus.RUNNING,
        "the code server that started it is gone; checked 1 times",
    )


def test_the_shipped_instance_launches_runs_with_it(tmp_path: Path) -> None:
    shutil.copy(Path(ui.__file__).with_name("dagster.yaml"), tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        assert instance.run_monitoring_enabled
