"""The instances and services in `deploy/dagster/` are valid for Dagster and archive a day."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines import ui

SHIPPED = Path(__file__).parents[2] / "deploy" / "dagster"
SERVICES = sorted(SHIPPED.glob("*.service"))


def single(home: Path) -> Path:
    """A DAGSTER_HOME for one machine."""
    home.mkdir()
    (home / "dagster.yaml").write_bytes((SHIPPED / "dagster.yaml").read_bytes())
    return home


def server(home: Path) -> Path:
    """A DAGSTER_HOME for PostgreSQL, set up as documented."""
    home.mkdir()
    with (home / "dagster.yaml").open("wb") as whole:
        subprocess.run(["cat", SHIPPED / "dagster.yaml", SHIPPED / "postgresql.yaml"], stdout=whole, check=True)
    return home


@pytest.fixture
def database(postgresql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL database for the test, configured where the shipped instance expects it."""
    where = {
        "HOST": "127.0.0.1",
        "PORT": str(postgresql.port),
        "DB": postgresql.user,
        "USERNAME": postgresql.user,
        "PASSWORD": postgresql.password,
    }
    for name, value in where.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)


def dagster(*words: str, home: Path, environment: dict[str, str] | None = None) -> str:
    """Run `dagster` and return its output."""
    done = subprocess.run(
        [Path(sys.executable).with_name("dagster"), *words],
        env={**(environment or os.environ), **pg_environment(), "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def pg_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("DAGSTER_PG_")}


def test_make_ui_and_a_single_machine_use_the_same_instance() -> None:
    assert (SHIPPED / "dagster.yaml").resolve() == Path(ui.__file__).with_name("dagster.yaml").resolve()


def test_a_server_and_a_single_machine_differ_only_in_their_storage(tmp_path: Path) -> None:
    one = yaml.safe_load((single(tmp_path / "single") / "dagster.yaml").read_text())
    other = yaml.safe_load((server(tmp_path / "server") / "dagster.yaml").read_text())
    assert other.pop("storage").keys() == {"postgres"}
    assert one == other


def test_the_instance_for_a_single_machine_loads_without_telemetry(tmp_path: Path) -> None:
    with dg.DagsterInstance.from_config(str(single(tmp_path / "home"))) as instance:
        assert type(instance.run_launcher).__name__ == "WatchedRunLauncher"
        assert "Sqlite" in instance.info_str()
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_retries_enabled


@pytest.mark.needs("initdb", "pg_ctl")
@pytest.mark.usefixtures("database")
def test_the_instance_for_a_server_archives_a_day_and_stores_its_runs_in_postgresql(
    tmp_path: Path, start_trial: Callable[..., Any]
) -> None:
    home = server(tmp_path / "home")
    info = dagster("instance", "info", home=home)
    assert "WatchedRunLauncher" in info
    assert os.environ["DAGSTER_PG_PASSWORD"] not in info
    trial = start_trial(sessions_per_day=3)
    (day,) = trial.days
    words = ["asset", "materialize", "-m", "pipelines.definitions", "--select", "*", "--partition", day.isoformat()]
    dagster(*words, home=home, environment=trial.process_environment())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert instance.get_materialized_partitions(dg.AssetKey("recordings")) == {day.isoformat()}
        # PostgreSQL also stores the pool limits, which can be changed (dagster issue 33552 is about default limits).
        dagster("instance", "concurrency", "set", "landing", "4", home=home)
        assert instance.event_log_storage.get_concurrency_info("landing").slot_count == 4
        for limit in (1, 3, 2):
            instance.event_log_storage.set_concurrency_slots("landing", limit)
            assert instance.event_log_storage.get_concurrency_info("landing").slot_count == limit
    assert trial.tables()["recordings"]
    assert not list(home.rglob("*.db"))


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_service_starts_an_installed_program_with_valid_options(unit: Path) -> None:
    command = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    assert command is not None
    program, *words = shlex.split(command.group(1))
    own = Path(sys.executable).with_name(Path(program).name)
    commands = [word for word in words[:2] if not word.startswith("-")]
    usage = subprocess.run([own, *commands, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    options = [word for word in words if word.startswith("-")]
    assert options
    assert all(re.search(rf"(^|[\s,]){re.escape(option)}[\s,]", usage) for option in options), usage


def test_dagster_listens_on_loopback_only() -> None:
    text = "\n".join(unit.read_text() for unit in SERVICES)
    assert len(SERVICES) == 3
    assert set(re.findall(r"--host (\S+)", text)) == {"127.0.0.1"}
    (place,) = yaml.safe_load((SHIPPED / "workspace.yaml").read_text())["load_from"]
    assert f"--port {place['grpc_server']['port']}" in text


def test_only_the_code_server_gets_the_secrets_of_accounts() -> None:
    assert [unit.stem for unit in SERVICES if "secrets.env" in unit.read_text()] == ["callarchive-code"]


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_services_without_warnings(unit: Path, tmp_path: Path) -> None:
    others = "\n".join(line for line in unit.read_text().splitlines() if not line.startswith("ExecStart="))
    copy = tmp_path / unit.name
    copy.write_text(others.replace("[Service]", "[Service]\nExecStart=/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
