"""The files in `deploy/` for several machines are valid for Dagster, Celery and Compose."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.launcher import WorkerStatus
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from pipelines.celery_launcher import WatchedCeleryRunLauncher

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = {"celery", "dagster", "dagster-daemon", "dagster-webserver"}


def shipped(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


def home_with(tmp_path: Path, config: dict[str, Any]) -> str:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    return str(tmp_path)


def without_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str) -> str:
    """A DAGSTER_HOME with the shipped instance and data in SQLite."""
    monkeypatch.setenv("DAGSTER_CELERY_BROKER_URL", f"{broker}/0")
    monkeypatch.setenv("DAGSTER_CELERY_BACKEND_URL", f"{broker}/1")
    return home_with(tmp_path, {k: v for k, v in shipped("celery/dagster.yaml").items() if k != "storage"})


def test_a_worker_uses_the_celery_settings_of_the_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", without_database(tmp_path, monkeypatch, "redis://127.0.0.1:1"))
    from pipelines.celery_worker import app

    assert app.conf.broker_url == "redis://127.0.0.1:1/0"
    assert app.conf.result_backend == "redis://127.0.0.1:1/1"
    assert (app.conf.worker_prefetch_multiplier, app.conf.task_acks_late) == (1, True)
    assert app.conf.broker_transport_options == {"visibility_timeout": 3600}
    assert "execute_job" in app.tasks


def test_a_worker_of_an_instance_without_celery_reports_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", without_database(tmp_path, monkeypatch, "redis://127.0.0.1:1"))
    from pipelines.celery_worker import worker_app

    monkeypatch.setenv("DAGSTER_HOME", home_with(tmp_path, {"telemetry": {"enabled": False}}))
    with pytest.raises(Exception, match=r"launches runs by DefaultRunLauncher: workers have nothing to do"):
        worker_app()


@pytest.mark.needs("redis-server")
def test_a_run_is_lost_only_after_no_worker_has_had_it_for_a_while(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(Path(without_database(tmp_path, monkeypatch, redis_url), "dagster.yaml").read_text())
    config["run_launcher"]["config"]["lost_after_seconds"] = 1
    run = dg.DagsterRun(job_name="archive_day", tags={DAGSTER_CELERY_TASK_ID_TAG: "a task that nobody has"})
    with dg.DagsterInstance.from_config(home_with(tmp_path, config)) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, WatchedCeleryRunLauncher)
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        time.sleep(1.1)
        lost = launcher.check_run_worker_health(run)
        assert lost.status is WorkerStatus.FAILED
        assert "no Celery worker has had the run" in str(lost.msg)
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING  # the count starts again
        from_command_line = dg.DagsterRun(job_name="archive_day")
        for _ in range(2):
            assert launcher.check_run_worker_health(from_command_line).status is WorkerStatus.RUNNING
            time.sleep(1.1)


def test_every_instance_detects_and_restarts_dead_runs(tmp_path: Path) -> None:
    kubernetes = shipped("kubernetes/values.yaml")["additionalInstanceConfig"]
    celery = {k: v for k, v in shipped("celery/dagster.yaml").items() if k not in ("storage", "run_launcher")}
    for name, config in (("kubernetes", kubernetes), ("celery", celery)):
        (tmp_path / name).mkdir()
        with dg.DagsterInstance.from_config(home_with(tmp_path / name, config)) as instance:
            assert instance.run_monitoring_enabled
            assert instance.run_monitoring_max_runtime_seconds > 0
            assert instance.get_settings("run_retries")["enabled"]
            assert instance.get_settings("run_retries")["max_retries"] > 0
            assert not instance.get_settings("run_retries")["retry_on_asset_or_op_failure"]
            queue = instance.get_concurrency_config().run_queue_config
            assert queue is not None
            assert queue.max_concurrent_runs > 0
            assert queue.max_user_code_failure_retries * queue.user_code_failure_retry_delay == 30 * 60


def test_backfills_wait_for_the_code_server_with_every_daemon() -> None:
    name = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
    assert f"\nEnvironment={name}=1\n" in (DEPLOY / "dagster" / "callarchive-daemon.service").read_text()
    assert shipped("compose/compose.yaml")["services"]["daemon"]["environment"][name] == "1"
    assert {"name": name, "value": "1"} in shipped("kubernetes/values.yaml")["dagsterDaemon"]["env"]


def test_the_pod_settings_in_the_helm_values_are_valid_for_dagster() -> None:
    values = shipped("kubernetes/values.yaml")
    said = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    snake = {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name): value for name, value in said.items()}
    taken = UserDefinedDagsterK8sConfig.from_dict(snake)
    assert taken.container_config["resources"]["limits"] == {"memory": "2Gi"}
    assert taken.pod_spec_config == {"termination_grace_period_seconds": 120}
    [code] = values["dagster-user-deployments"]["deployments"]
    assert code["image"] == values["dagsterWebserver"]["image"] == values["dagsterDaemon"]["image"]
    mounted = {mount["name"] for mount in code["volumeMounts"]}
    assert mounted == {volume["name"] for volume in code["volumes"]}


def test_compose_starts_one_worker_per_concurrent_run() -> None:
    services = shipped("compose/compose.yaml")["services"]
    workers = [s["command"] for s in services.values() if s.get("command", [""])[0] == "celery"]
    assert len(workers) == shipped("celery/dagster.yaml")["concurrency"]["runs"]["max_concurrent_runs"]
    assert len({command[command.index("--hostname") + 1] for command in workers}) == len(workers)
    unit = (DEPLOY / "celery" / "callarchive-worker@.service").read_text()
    [line] = re.findall(r"^ExecStart=(.*)$", unit, flags=re.MULTILINE)
    words = shlex.split(line.replace("%%", "%"))
    assert Path(words[0]).name == "celery"
    for command in workers:
        assert command[1 : command.index("--hostname")] == words[1 : words.index("--hostname")]


def test_compose_mounts_existing_files_and_waits_for_existing_services() -> None:
    composed = shipped("compose/compose.yaml")
    given = {"config"}  # provided by the user, see the comment at the top of the file
    for service in composed["services"].values():
        assert set(service.get("depends_on", ())) <= composed["services"].keys()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert Path(source).name in given or (DEPLOY / "compose" / source).exists(), source
            else:
                assert source in composed["volumes"]
    ours = [s for s in composed["services"].values() if s["image"] == "callarchive"]
    assert {service["command"][0] for service in ours} == PROGRAMS
    assert all(str(p).startswith("127.0.0.1:") for s in ours for p in s.get("ports", ()))
    [location] = shipped("compose/workspace.yaml")["load_from"]
    assert location["grpc_server"]["host"] in composed["services"]
    assert str(location["grpc_server"]["port"]) in composed["services"][location["grpc_server"]["host"]]["command"]


def test_the_image_installs_what_its_programs_need_in_the_tested_versions() -> None:
    """The lock of the image is a part of the lock that the tests run with, and has no program for tests."""
    pinned, tested = (
        set(re.findall(r"^\S+==[^ ]+|^    --hash=\S+", file.read_text(), flags=re.MULTILINE))
        for file in (DEPLOY / "requirements.lock", DEPLOY.parent / "requirements.lock")
    )
    assert pinned <= tested
    names = {re.split(r"[\[=]", line)[0] for line in pinned}
    assert names >= {
        "dagster",
        "dagster-webserver",
        "dagster-celery",
        "dagster-k8s",
        "dagster-postgres",
        "psycopg-binary",
    }
    assert names.isdisjoint({"pytest", "mypy", "moto", "ipykernel", "playwright"})


def test_files_beside_the_configuration_are_mounted_with_it() -> None:
    """An account on SFTP needs known_hosts, and secrets may be files."""
    for path in ("compose/compose.yaml", "receiver/compose.yaml"):
        for service in shipped(path)["services"].values():
            if service["image"] == "callarchive":
                assert "./config:/etc/callarchive:ro" in service["volumes"]
