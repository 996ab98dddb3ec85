"""What the doctor finds where its own trials go wrong halfway, and what it hears from a real receiver."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncssh
import pytest

from callarchive.archiving.connections import Connections
from callarchive.events.inbox.events import read_event
from callarchive.events.inbox.inbox import Inbox
from callarchive.monitoring.doctor import Finding, Verdict, examine, likely_cause
from callarchive.settings import load_settings
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.responses import PushConfig

Start = Callable[..., Any]
HEADER = "Bearer of-the-receiver"
PUSH = """
[accounts.push]
protocol = "{protocol}"
host = "{host}"
port = {port}
username = "{user}"
password = {{ env = "PUSH_PASSWORD" }}
path = "/upload"

"""


@pytest.fixture
def trial(start_trial: Start, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = start_trial(sessions_per_day=2)
    monkeypatch.setenv("PUSH_PASSWORD", found.simulator.environment["SIMULATED_SFTP_PASSWORD"])
    monkeypatch.setenv("HOOK_HEADER", HEADER)
    return found


def found_by(trial: Any, **more: Any) -> dict[str, Finding]:
    with Connections(load_settings(trial.config), **more) as connections:
        found = {finding.link: finding for finding in examine(connections)}
    text = "".join(f"{finding.detail}{finding.advice}" for finding in found.values())
    secrets = [v for k, v in trial.simulator.environment.items() if k != "AWS_ACCESS_KEY_ID"]
    assert not [secret for secret in (*secrets, HEADER, "of-the-receiver") if secret in text]
    return found


def with_section(trial: Any, account: str, section: str) -> None:
    head, marker, rest = trial.config.read_text().partition(f'subaccount_id = "{account}"')
    before, sources, after = rest.partition("[[accounts.session_sources]]")
    trial.config.write_text(head + marker + before + section + sources + after)


def sftp_push(trial: Any, **more: Any) -> str:
    sftp = trial.simulator.sftp
    return PUSH.format(**{"protocol": "SFTP", "host": sftp.host, "port": sftp.port, "user": sftp.user, **more})


def hooks(port: int) -> str:
    url = f"http://127.0.0.1:{port}/webhooks/demo_s3"
    return f'[accounts.webhooks]\nurl = "{url}"\nauth_header = {{ env = "HOOK_HEADER" }}\n\n'


def refused(*_: Any) -> None:
    raise asyncssh.SFTPPermissionDenied("no")


def test_a_partly_written_file_is_removed(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_section(trial, "demo_sftp", sftp_push(trial))
    monkeypatch.setattr(asyncssh.SFTPServer, "write", refused)
    destination = found_by(trial)["demo_sftp: destination with the pushed credentials"]
    assert destination.verdict is Verdict.BROKEN
    assert "not write to /upload" in destination.detail
    assert not list((trial.simulator.directory / "sftp").rglob(".callarchive-doctor-*"))


def test_without_delete_permission_the_finding_names_the_left_object(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_section(trial, "demo_sftp", sftp_push(trial))
    monkeypatch.setattr(asyncssh.SFTPServer, "remove", refused)
    destination = found_by(trial)["demo_sftp: destination with the pushed credentials"]
    assert destination.verdict is Verdict.OK
    [left] = (trial.simulator.directory / "sftp").rglob(".callarchive-doctor-*")
    assert f"/upload/{left.name} could not be removed" in destination.detail


def test_a_wrong_host_key_is_the_first_cause(trial: Any) -> None:
    with_section(trial, "demo_sftp", sftp_push(trial))
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[1]
    known = trial.simulator.directory / "known_hosts"
    known.write_text(re.sub(r"(ssh-ed25519) \S+", rf"\1 {other}", known.read_text()))
    trial.simulator.api._push_configs["demo_sftp"] = PushConfig(
        "SFTP", trial.simulator.sftp.host, trial.simulator.sftp.port, trial.simulator.sftp.user, "/upload", "x"
    )
    found = found_by(trial)
    for link in ("demo_sftp: host key", "demo_sftp: destination with the pushed credentials"):
        assert found[link].verdict is Verdict.BROKEN
        assert "ssh-keyscan" in found[link].detail
        assert "pin the key" in (found[link].advice or "")
    assert "demo_sftp: landing" not in found, "nothing is sent to a server that may be another"
    assert likely_cause(list(found.values())) is found["demo_sftp: host key"]


def test_a_missing_bucket_is_a_fault_of_the_landing(trial: Any) -> None:
    key = trial.simulator.environment["AWS_ACCESS_KEY_ID"]
    with_section(trial, "demo_s3", sftp_push(trial, protocol="S3", host="us-east-1", port=22, user=key))
    trial.simulator.api._push_configs["demo_s3"] = PushConfig("S3", "us-east-1", 22, key, "/upload", "x")
    trial.config.write_text(trial.config.read_text().replace("s3://demo-recordings/", "s3://other-recordings/"))
    found = found_by(trial)
    assert found["demo_s3: destination with the pushed credentials"].verdict is Verdict.BROKEN
    cause = likely_cause(list(found.values()))
    assert cause is found["demo_s3: landing"]
    assert cause.advice == "check accounts.0.landing, then callarchive doctor"


def test_a_landing_whose_oldest_objects_are_in_glacier_is_usable(trial: Any) -> None:
    account = next(account for account in trial.simulator.world.accounts if account.landing == "s3")
    trial.simulator.s3.client.put_object(
        Bucket=account.bucket, Key=f"{account.prefix}/2020-01-01/a.mp3", Body=b"x", StorageClass="GLACIER"
    )
    landing = found_by(trial)["demo_s3: landing"]
    assert landing.verdict is Verdict.WARNING
    assert "storage class GLACIER" in landing.detail


def test_rejected_pushed_credentials_are_named(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_section(trial, "demo_sftp", sftp_push(trial))
    monkeypatch.setenv("PUSH_PASSWORD", "of-nobody")
    found = found_by(trial)
    destination = found["demo_sftp: destination with the pushed credentials"]
    assert destination.verdict is Verdict.BROKEN
    assert "cannot log in with accounts.push.password: " in destination.detail
    assert "accounts.sftp" not in destination.detail
    assert found["demo_sftp: host key"].verdict is Verdict.OK
    assert found["demo_sftp: landing"].verdict is Verdict.OK


def test_an_s3_destination_is_tested_and_left_unchanged(trial: Any) -> None:
    region, key = "us-east-1", trial.simulator.environment["AWS_ACCESS_KEY_ID"]
    with_section(trial, "demo_s3", sftp_push(trial, protocol="S3", host=region, user=key))
    account = trial.simulator.world.accounts[0]
    before = trial.simulator.s3.paths(account)
    destination = found_by(trial)["demo_s3: destination with the pushed credentials"]
    assert destination.verdict is Verdict.OK, destination.detail
    assert trial.simulator.s3.paths(account) == before
    trial.config.write_text(trial.config.read_text().replace("s3://demo-recordings/", "s3://other-recordings/"))
    destination = found_by(trial)["demo_s3: destination with the pushed credentials"]
    assert destination.verdict is Verdict.BROKEN
    assert "s3://other-recordings" in destination.detail


def test_a_rejected_key_is_the_first_cause(trial: Any) -> None:
    with_section(trial, "demo_s3", hooks(9))
    trial.simulator.api.faults.add(Fault.answer(401, body={}), match="demo_s3", times=FOREVER)
    found = found_by(trial)
    assert found["demo_s3: API key"].verdict is Verdict.BROKEN
    assert "demo_s3: webhooks at 8x8" not in found, "it needs the key"
    assert likely_cause(list(found.values())) is found["demo_s3: API key"]
    assert found["demo_sftp: API key"].verdict is Verdict.OK


@pytest.mark.parametrize("name", ["archive", "catalog"])
def test_an_unwritable_store_is_found(trial: Any, name: str) -> None:
    (trial.config.parent / name).write_bytes(b"")
    found = found_by(trial)[f"{name}: write"]
    advice = f"check {name}.url and its permissions, then callarchive doctor"
    assert (found.verdict, found.advice) == (Verdict.BROKEN, advice)


def test_the_write_test_leaves_nothing_in_archive_and_catalog(trial: Any) -> None:
    found_by(trial)
    left = [path for name in ("archive", "catalog") for path in (trial.config.parent / name).rglob("*")]
    assert [path for path in left if path.is_file()] == []


def test_an_unusable_inbox_is_found(trial: Any) -> None:
    with_section(trial, "demo_s3", hooks(9))
    (trial.config.parent / "inbox.sqlite3").write_bytes(b"no database at all" * 100)
    found = found_by(trial)
    for link in ("demo_s3: last event", "inbox"):
        assert (found[link].verdict, found[link].advice) == (Verdict.BROKEN, "check inbox.url, then callarchive doctor")


def drop(trial: Any, session: str, *, at: datetime) -> None:
    inbox = Inbox.open(f"sqlite:///{trial.config.parent}/inbox.sqlite3", clock=lambda: at)
    payload = f'{{"sessionId": "{session}", "recordingId": "{session}", "status": "UPLOAD_COMPLETED"}}'
    body = f'{{"eventType": "CALL_RECORDING_STATUS", "payload": {payload}}}'.encode()
    inbox.add([("demo_s3", read_event(body, subaccount_id="demo_s3", mask=lambda number: number))])
    inbox.close()


def test_silence_and_unarchived_events_are_found_after_a_while(trial: Any) -> None:
    with_section(trial, "demo_s3", hooks(9))
    now = datetime.now(UTC)
    session = trial.simulator.world.sessions[0].session_id
    drop(trial, session, at=now)
    for later, last, lag in (
        (timedelta(minutes=29), Verdict.OK, Verdict.OK),
        (timedelta(minutes=31), Verdict.OK, Verdict.WARNING),
        (timedelta(hours=25), Verdict.WARNING, Verdict.WARNING),
    ):
        found = found_by(trial, clock=lambda later=later: now + later)
        assert (found["demo_s3: last event"].verdict, found["inbox: lag"].verdict) == (last, lag), later
    trial.archive()
    found = found_by(trial, clock=lambda: now + timedelta(hours=2))
    assert found["inbox: lag"].detail == "0 of the last 1 events wait for a run"
    # A table that cannot be read is a finding, and not the end of the examination.
    [part] = (trial.config.parent / "catalog" / "sessions").rglob("*.parquet")
    part.write_bytes(b"no parquet")
    found = found_by(trial)
    assert found["inbox: lag"].verdict is Verdict.BROKEN
    assert "is damaged" in found["inbox: lag"].detail
    assert "clock" in found


@contextmanager
def receiver(trial: Any, **environment: str) -> Iterator[int]:
    """The port of a real receiver with this configuration."""
    log = trial.config.parent / "receiver.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "from callarchive.cli import main; main()", "webhooks", "serve", "--port", "0"],
            env={**trial.process_environment(), **environment},
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 60
        while (found := re.search(r"127\.0\.0\.1:(\d+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(30)


def test_the_receiver_is_tested_with_the_configured_header(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_section(trial, "demo_s3", hooks(9))
    text = trial.config.read_text()
    with receiver(trial) as port:
        for path, header, verdict, words in (
            ("demo_s3", HEADER, Verdict.OK, "responds and accepts the header"),
            ("demo_s3", "Bearer another", Verdict.BROKEN, "rejects the header"),
            ("demo_nobody", HEADER, Verdict.BROKEN, "does not know the account"),
        ):
            monkeypatch.setenv("HOOK_HEADER", header)
            trial.config.write_text(text.replace(":9/webhooks/demo_s3", f":{port}/webhooks/{path}"))
            finding = found_by(trial)["demo_s3: receiver"]
            assert finding.verdict is verdict
            assert words in finding.detail
            if header != HEADER:
                assert finding.advice is not None
                assert "with the secret of accounts.0.webhooks.auth_header" in finding.advice
    with Connections(load_settings(trial.config)) as connections:
        inbox = connections.inbox()
        assert inbox is not None
        assert inbox.latest_number() == 0, "the test adds no event"
