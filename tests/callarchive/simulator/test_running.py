"""All simulators together: the files that they write, and the state that the next start reuses."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from callarchive.domain.errors import ConfigurationError
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.generation import generate_world
from callarchive.simulator.landings import free_port, object_bytes
from callarchive.simulator.running import DEMO_ACCOUNTS, Simulator
from callarchive.simulator.world import FileState, World

LAST_DAY = date(2026, 3, 8)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    clock = MovableClock(datetime(2026, 3, 3, 6, tzinfo=UTC))  # nothing that takes 8x8 thirty hours is ready yet
    with Simulator.start(tmp_path_factory.mktemp("demo"), last_day=LAST_DAY, clock=clock) as running:
        yield running


def configuration(simulator: Simulator) -> dict[str, Any]:
    return tomllib.loads(simulator.config.read_text())


def small_world() -> World:
    return generate_world(seed=5, accounts=DEMO_ACCOUNTS, first_day=LAST_DAY, last_day=LAST_DAY, sessions_per_day=4)


def test_the_servers_listen_on_the_host_that_the_configuration_names(tmp_path: Path) -> None:
    with Simulator.start(tmp_path, world=small_world(), host="127.0.0.2") as simulator:
        on_s3, on_sftp = configuration(simulator)["accounts"]
        assert on_sftp["landing"] == f"sftp://demo@127.0.0.2:{simulator.sftp.port}/upload"
        assert simulator.sftp.host_key_line.startswith("[127.0.0.2]:")
        urls = (on_s3["api_url"], on_s3["s3"]["endpoint_url"])
        assert all(url.startswith("http://127.0.0.2:") for url in urls)
        assert requests.get(f"{urls[0]}/api/v1/subaccounts/demo_s3/webhooks", timeout=5).status_code == 401
        assert requests.get(urls[1], timeout=5).status_code == 200
        with socket.create_connection(("127.0.0.2", simulator.sftp.port), timeout=5) as connection:
            assert connection.recv(4) == b"SSH-"


def test_the_configuration_points_to_the_running_servers(demo: Simulator) -> None:
    written = configuration(demo)
    assert written["timezone"] == "UTC"
    assert written["start_date"] == LAST_DAY - timedelta(days=6)
    on_s3, on_sftp = written["accounts"]
    assert (on_s3["subaccount_id"], on_sftp["subaccount_id"]) == ("demo_s3", "demo_sftp")
    assert on_s3["landing"] == "s3://demo-recordings/my-recordings-path"
    assert on_s3["s3"]["endpoint_url"] == demo.s3.endpoint_url
    assert [each["kind"] for each in on_s3["session_sources"]] == ["log_export"]
    assert on_sftp["landing"] == f"sftp://demo@127.0.0.1:{demo.sftp.port}/upload"
    assert [each["kind"] for each in on_sftp["session_sources"]] == ["log_export", "files"]
    for account in (on_s3, on_sftp):
        key = demo.environment[account["api_key"]["env"]]
        answer = requests.get(
            f"{account['api_url']}/api/v1/subaccounts/{account['subaccount_id']}/webhooks",
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
        )
        assert answer.status_code == 200


def test_the_configuration_has_no_secret_and_env_is_private(demo: Simulator) -> None:
    env_file = demo.directory / ".env"
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert dict(line.split("=", 1) for line in env_file.read_text().splitlines()) == demo.environment
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DEMO_S3_API_KEY"} <= set(demo.environment)
    written = demo.config.read_text() + (demo.directory / "simulator.json").read_text()
    assert not [name for name, value in demo.environment.items() if value in written]


def test_known_hosts_has_the_key_of_the_server(demo: Simulator) -> None:
    host, kind, key = (demo.directory / "known_hosts").read_text().split()
    assert host == f"[127.0.0.1]:{demo.sftp.port}"
    assert f"{host} {kind} {key}" == demo.sftp.host_key_line


def test_session_files_list_sessions_under_their_day(demo: Simulator) -> None:
    listed = {}
    for file in sorted((demo.directory / "inbox").iterdir()):
        found = re.fullmatch(r"sessions-(\d{4}-\d\d-\d\d)\.csv", file.name)
        assert found
        for row in csv.DictReader(file.read_text().splitlines()):
            assert row["started_at"].startswith(found[1])
            listed[row["session_id"]] = found[1]
    assert listed == {s.session_id: s.started_at.date().isoformat() for s in demo.world.sessions if s.listed}
    assert listed


def test_the_demos_week_is_small_enough_to_start_in_seconds(demo: Simulator) -> None:
    files = [each for each in demo.world.recordings if each.file is not FileState.ABSENT]
    assert 250 <= len(demo.world.sessions) <= 400
    assert sum(len(object_bytes(each)) for each in files) < 150_000_000


def test_late_files_are_delivered_once_they_are_ready(demo: Simulator) -> None:
    clock = demo.clock
    assert isinstance(clock, MovableClock)
    late = [each for each in demo.world.recordings if each.ready_at is not None]
    on_s3, on_sftp = demo.world.accounts
    before = {*demo.s3.paths(on_s3), *demo.sftp.paths(on_sftp)}
    assert late
    assert not before & {each.path for each in late}
    assert demo.deliver() == 0
    clock.advance(timedelta(days=8))
    assert demo.deliver() == len(late)
    assert {*demo.s3.paths(on_s3), *demo.sftp.paths(on_sftp)} == before | {each.path for each in late}


def test_the_next_start_in_the_same_directory_is_the_same(tmp_path: Path) -> None:
    with Simulator.start(tmp_path, last_day=LAST_DAY, sessions_per_day=2, seed=4) as first:
        written = {name: (tmp_path / name).read_text() for name in ("callarchive.toml", ".env", "known_hosts")}
    first.config.write_text(written["callarchive.toml"] + "# edited\n")
    with Simulator.start(tmp_path) as second:
        assert second.world == first.world
        assert second.environment == first.environment
        assert second.config.read_text() == written["callarchive.toml"] + "# edited\n"
        assert (tmp_path / "known_hosts").read_text() == written["known_hosts"]


def test_a_port_in_use_is_replaced_and_stored(tmp_path: Path) -> None:
    with Simulator.start(tmp_path, world=small_world()):
        ports = json.loads((tmp_path / "simulator.json").read_text())["ports"]
    with socket.create_server(("127.0.0.1", ports["s3"])), Simulator.start(tmp_path, world=small_world()) as again:
        assert again.s3.port != ports["s3"]
        assert (again.api.port, again.sftp.port) == (ports["api"], ports["sftp"])
        assert configuration(again)["accounts"][0]["s3"]["endpoint_url"] == again.s3.endpoint_url


def test_days_and_ports_can_be_chosen_and_are_kept(tmp_path: Path) -> None:
    with Simulator.start(tmp_path, last_day=LAST_DAY, days=31, sessions_per_day=1, ports={"api": free_port()}) as first:
        assert {s.started_at.date() for s in first.world.sessions} == {LAST_DAY - timedelta(days=n) for n in range(31)}
        port = first.api.port
    assert tomllib.loads(first.config.read_text())["start_date"] == date(2026, 2, 6)
    with Simulator.start(tmp_path, ports={"s3": free_port()}) as second:
        assert (second.world, second.api.port) == (first.world, port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {number} of the simulated sftp is not free"):
            Simulator.start(tmp_path, ports={"sftp": number})


def test_a_second_simulator_in_the_directory_is_refused_and_changes_nothing(demo: Simulator) -> None:
    before = {file: file.read_bytes() for file in demo.directory.iterdir() if file.is_file()}
    with pytest.raises(ConfigurationError, match=rf"in use by process {os.getpid()}: stop it"):
        Simulator.start(demo.directory)
    assert {file: file.read_bytes() for file in demo.directory.iterdir() if file.is_file()} == before


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "simulator.json").write_text("{")
    with pytest.raises(Exception, match=r"simulator\.json"):
        Simulator.start(tmp_path)


def test_the_command_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "callarchive.simulator", "--directory", str(tmp_path), "--sessions-per-day", "1"]
    command += ["--days", "2", "--api-port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = {}
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
            name, _, place = line.strip().rpartition(" ")
            printed[name.strip()] = place
        try:
            assert printed["8x8 API"] == f"http://127.0.0.1:{command[-1]}"
            assert printed["configuration"] == str(tmp_path / "callarchive.toml")
            assert requests.get(f"{printed['8x8 API']}/", timeout=10).status_code == 401
        finally:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.needs("ffmpeg")
def test_whole_recordings_decode_to_their_full_duration(demo: Simulator) -> None:
    by_shape = {each.shape: each for each in demo.world.recordings if each.file is FileState.WHOLE}
    assert len(by_shape) > 1
    ffmpeg = shutil.which("ffmpeg", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin")
    assert ffmpeg is not None
    for recording in by_shape.values():
        decoded = subprocess.run(
            [ffmpeg, "-v", "error", "-i", "-", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"],
            input=object_bytes(recording),
            capture_output=True,
            check=True,
            timeout=30,
        )
        assert len(decoded.stdout) / 16000 == pytest.approx(recording.duration_s, abs=0.3), recording.shape
