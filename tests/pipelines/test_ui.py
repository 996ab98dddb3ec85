import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.instance.config import dagster_instance_config
from dagster._core.storage.tags import CODE_LOCATION_TAG

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.simulator.landings import free_port
from callarchive.simulator.running import Simulator
from pipelines import ui


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; no configuration is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALLARCHIVE_CONFIG", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts back the handlers that `ui.main` replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_shipped_instance_configuration_is_valid_and_phones_nobody() -> None:
    config, _ = dagster_instance_config(str(Path(ui.__file__).parent))
    assert config["telemetry"] == {"enabled": False}
    assert config["nux"] == {"enabled": False}
    assert config["run_monitoring"]["enabled"]
    assert config["run_retries"] == {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False}


def test_runs_from_the_command_line_take_no_place_in_the_queue() -> None:
    config, _ = dagster_instance_config(str(Path(ui.__file__).parent))
    runs = config["concurrency"]["runs"]
    # Dagster adds this tag to runs that it launches from a code location, and on no other.
    assert runs == {"max_concurrent_runs": -1, "tag_concurrency_limits": [{"key": CODE_LOCATION_TAG, "limit": 2}]}


def test_dagsters_home_is_made_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back afterwards
    assert ui.prepare_home(Path(".dagster")) == folder / ".dagster"
    assert os.environ["DAGSTER_HOME"] == str(folder / ".dagster")
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled


def test_an_instance_configuration_that_is_there_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("# mine\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", "home")
    assert ui.prepare_home(Path(".dagster")) == folder / "home"
    assert (folder / "home" / "dagster.yaml").read_text(encoding="utf-8") == "# mine\n"


@pytest.mark.usefixtures("signals")
def test_without_configuration_and_demo_it_says_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.main([]) == 2
    assert "run `make demo`, or set CALLARCHIVE_CONFIG" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("port", ["taken", "70000", "-1"])
def test_a_port_that_cannot_be_used_is_one_line_and_nothing_is_touched(
    folder: Path, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    (folder / ".demo").mkdir()
    (folder / ".demo" / "callarchive.toml").write_text("# of the running UI\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = str(other.getsockname()[1]) if port == "taken" else port
        assert ui.main([f"--port={number}"]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith(f"error: port {number} of 127.0.0.1 ")
    assert error.count("\n") == 1
    assert "UI_PORT=" in error
    assert sorted(path.name for path in folder.rglob("*")) == [".demo", "callarchive.toml"]


@pytest.mark.usefixtures("signals")
def test_a_second_ui_on_the_same_home_is_one_line_and_changes_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    ui.prepare_home(home)
    with ui._only_here(home):
        assert ui.main([f"--port={free_port()}"]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.splitlines() == [
        f"error: Dagster's home {home} is in use by process {os.getpid()}: use its UI, stop it (Ctrl-C), or set another"
        " DAGSTER_HOME"
    ]
    assert sorted(path.name for path in home.iterdir()) == ["dagster.yaml", "ui.lock"]
    with ui._only_here(home):
        pass


@pytest.mark.live
def test_the_demo_queues_one_run_of_its_latest_day(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    home = ui.prepare_home(Path(".dagster"))
    day = date(2026, 10, 25)
    Catalog.open(config.parent / "catalog").replace_partition(schemas.RECORDINGS, day, [])
    for _ in range(2):
        ui._report_days(home, with_a_run=True)
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        assert (run.job_name, run.tags["dagster/partition"]) == ("archive_day", str(day))
        assert run.status is dg.DagsterRunStatus.QUEUED
        assert run.remote_job_origin is not None, "the overview shows only runs of a code location"


def ask(port: int, query: str) -> dict[str, Any] | None:
    """What the UI's server answers to a GraphQL query, or null while it does not."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def test_the_ui_shows_the_demo_and_leaves_no_process_behind(folder: Path) -> None:
    day = date(2026, 10, 24)
    with Simulator.start(folder / ".demo", last_day=day, sessions_per_day=1) as made:
        catalog = made.directory / "catalog"
    Catalog.open(catalog).replace_partition(schemas.SESSIONS, day, [])
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.ui", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "AWS_PROFILE": "one-that-is-not-there"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    members: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 90
        query = "{ assetNodes { assetKey { path } partitionStats { numMaterialized } } }"
        while not (answer := ask(port, query)) or not answer["assetNodes"]:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the UI did not come up in time"
            time.sleep(0.2)
        members = psutil.Process(process.pid).children(recursive=True)
        running = [member.info["cmdline"] or [] for member in psutil.process_iter(["cmdline"]) if member in members]
        inner = [words for words in running if words[3:5] == ["api", "grpc"]]
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    materialized = {
        node["assetKey"]["path"][0]: node["partitionStats"]["numMaterialized"] for node in answer["assetNodes"]
    }
    assert len(materialized) == 8
    assert materialized["sessions"] == 1
    assert materialized["recordings"] == 0
    assert process.returncode == 0
    assert f"http://127.0.0.1:{port}" in output
    assert len(members) >= 3
    assert [words[words.index("--heartbeat-timeout") + 1] for words in inner] == ["600"]
    assert (folder / ".demo" / "dagster" / "catalog-url").read_text() == f"{catalog.as_uri()}\n"
    assert not (folder / ".dagster").exists(), "it is for the configured archive"
    _, left = psutil.wait_procs(members, timeout=20)
    assert left == []
