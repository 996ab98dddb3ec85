"""The simulated stores, used with boto3 and paramiko."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import paramiko
import psutil
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from callarchive.domain.errors import ConfigurationError, UnavailableError
from callarchive.simulator.landings import free_port, object_bytes, require
from callarchive.simulator.s3 import SimulatedS3
from callarchive.simulator.sftp import SimulatedSftp
from callarchive.simulator.world import AccountPlan, FileState, World

NOW = datetime(2026, 4, 1, tzinfo=UTC)
PASSWORD = "opensesame"


@pytest.fixture(scope="module")
def s3() -> Iterator[SimulatedS3]:
    with SimulatedS3() as running:
        yield running


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SimulatedSftp]:
    with SimulatedSftp(tmp_path / "served", password=PASSWORD) as running:
        yield running


def connect(sftp: SimulatedSftp, known_hosts: Path, *, password: str = PASSWORD) -> paramiko.SSHClient:
    known_hosts.write_text(sftp.host_key_line + "\n")
    client = paramiko.SSHClient()
    client.load_host_keys(str(known_hosts))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.connect(
            sftp.host,
            port=sftp.port,
            username=sftp.user,
            password=password,
            allow_agent=False,
            look_for_keys=False,
            timeout=10,
        )
    except BaseException:
        client.close()
        raise
    return client


def expected_paths(world: World, subaccount_id: str) -> list[str]:
    return sorted(
        recording.path
        for session in world.sessions_of(subaccount_id)
        for recording in session.recordings
        if recording.file is not FileState.ABSENT
    )


def few_days(world: World) -> World:
    """Return the first two days of the world, which are enough to test filling."""
    days = [datetime(2026, 3, day, tzinfo=UTC).date() for day in (2, 3)]
    return World(accounts=world.accounts, sessions=tuple(s for day in days for s in world.sessions_on(day)))


def test_s3_is_filled_with_the_recordings_that_8x8_would_have_pushed(world: World, s3: SimulatedS3) -> None:
    short = few_days(world)
    account = world.account("acme_sg")
    put = s3.fill(short, now=NOW)
    assert s3.paths(account) == expected_paths(short, "acme_sg")
    assert len(put) == len(s3.paths(account))
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
    )
    recording = next(each for each in short.recordings if each.recording_id == put[0])
    answer = client.get_object(Bucket="acme-test-recordings", Key=f"pushed/here/{recording.path}")
    assert answer["Body"].read() == object_bytes(recording)
    assert ":" in recording.path
    client.close()
    assert s3.fill(short, now=NOW, exclude=put) == []


def test_s3_objects_can_be_put_overwritten_and_deleted(s3: SimulatedS3) -> None:
    account = AccountPlan("other", "s3", "other-bucket")
    s3.put(account, "a/b.mp3", b"one")
    s3.put(account, "a/b.mp3", b"two")
    assert s3.client.get_object(Bucket="other-bucket", Key="a/b.mp3")["Body"].read() == b"two"
    s3.delete(account, "a/b.mp3")
    assert s3.paths(account) == []


def test_s3_frees_its_port_and_loses_its_buckets_when_it_closes() -> None:
    account = AccountPlan("fleeting", "s3", "fleeting-bucket/p")
    port = free_port()
    with SimulatedS3(port=port) as first:
        first.put(account, "x", b"x")
        assert first.endpoint_url == f"http://127.0.0.1:{port}"
        client = first.client
    with pytest.raises(EndpointConnectionError):
        client.list_buckets()
    with SimulatedS3(port=port) as second, pytest.raises(ClientError, match="NoSuchBucket"):
        second.client.list_objects_v2(Bucket="fleeting-bucket")


def test_sftp_is_filled_with_the_recordings_that_8x8_would_have_pushed(
    world: World, sftp: SimulatedSftp, tmp_path: Path
) -> None:
    short = few_days(world)
    account = world.account("b&b.asia")
    put = sftp.fill(short, now=NOW)
    assert sftp.paths(account) == expected_paths(short, "b&b.asia")
    recording = next(each for each in short.recordings if each.recording_id == put[-1])
    with connect(sftp, tmp_path / "known_hosts") as client, client.open_sftp() as files:
        assert files.file(f"/upload/{recording.path}").read() == object_bytes(recording)
    assert sftp.opened == [f"/upload/{recording.path}"]
    assert sftp.fill(short, now=NOW, exclude=put) == []


def test_sftp_files_can_be_put_overwritten_and_deleted(sftp: SimulatedSftp, tmp_path: Path) -> None:
    account = AccountPlan("other", "sftp", "up/load")
    sftp.put(account, "a/b.mp3", b"one")
    sftp.put(account, "a/b.mp3", b"two")
    with connect(sftp, tmp_path / "known_hosts") as client, client.open_sftp() as files:
        assert files.file("/up/load/a/b.mp3").read() == b"two"
        assert files.listdir("/up/load") == ["a"]
        with pytest.raises(OSError, match=r"."):
            files.stat("/../" + str(tmp_path))
    sftp.delete(account, "a/b.mp3")
    assert sftp.paths(account) == []


def test_sftp_requires_its_password(sftp: SimulatedSftp, tmp_path: Path) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        connect(sftp, tmp_path / "known_hosts", password="guess")


def test_sftp_stores_its_key_in_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    lines = []
    for _ in range(2):
        with SimulatedSftp(tmp_path / "served", password=PASSWORD, host_key=key) as running:
            lines.append(running.host_key_line.split()[1:])
    assert lines[0] == lines[1]
    assert key.stat().st_mode & 0o777 == 0o600
    with SimulatedSftp(tmp_path / "served", password=PASSWORD) as another:
        assert another.host_key_line.split()[1:] != lines[0]


def test_sftp_can_be_killed_and_restarted_on_its_port(sftp: SimulatedSftp, tmp_path: Path) -> None:
    account = AccountPlan("other", "sftp", "up")
    sftp.put(account, "a.mp3", b"x")
    port = sftp.port
    with connect(sftp, tmp_path / "known_hosts") as client:
        files = client.open_sftp()
        sftp.kill()
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            files.stat("/up/a.mp3")
        files.close()
    with pytest.raises(paramiko.ssh_exception.NoValidConnectionsError):
        connect(sftp, tmp_path / "known_hosts")
    sftp.restart()
    assert sftp.port == port
    with connect(sftp, tmp_path / "known_hosts") as client, client.open_sftp() as files:
        assert files.stat("/up/a.mp3").st_size == 1


def test_a_missing_library_is_named_with_the_extra_to_install() -> None:
    with pytest.raises(ConfigurationError, match=r"no_such_module.*callarchive\[simulator\]"):
        require("no_such_module")


def test_a_wanted_port_is_returned_if_free_and_another_one_if_not() -> None:
    port = free_port()
    assert free_port(port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert free_port(port) != port


def test_nothing_is_left_running(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    children = set(psutil.Process().children())
    with SimulatedSftp(tmp_path, password=PASSWORD), SimulatedS3():
        assert set(threading.enumerate()) > before
        assert set(psutil.Process().children()) > children
    assert set(threading.enumerate()) <= before
    assert set(psutil.Process().children()) == children


def test_s3_ends_when_its_parent_is_killed() -> None:
    program = (
        "from callarchive.simulator.s3 import SimulatedS3\n"
        "import time\n"
        "with SimulatedS3() as s3:\n"
        "    print(s3.port, s3._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, pid = map(int, parent.stdout.readline().split())
        moto = psutil.Process(pid)
        parent.kill()
    gone, _ = psutil.wait_procs([moto], timeout=20)
    assert gone
    assert free_port(port) == port


def test_two_s3_servers_do_not_share_buckets(s3: SimulatedS3) -> None:
    account = AccountPlan("twin", "s3", "twin-bucket")
    s3.put(account, "a.mp3", b"one")
    with SimulatedS3() as other:
        other.put(account, "b.mp3", b"two")
        assert (s3.paths(account), other.paths(account)) == (["a.mp3"], ["b.mp3"])


def test_a_port_in_use_is_an_error_of_s3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=str(port)):
            SimulatedS3(port=port).start()
