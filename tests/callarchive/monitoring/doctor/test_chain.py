"""The doctor finds each fault, starts with the outermost, and leaves nothing behind."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.monitoring.doctor import Finding, Verdict, conclusion, examine, likely_cause, machine
from callarchive.settings import load_settings
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.responses import PushConfig
from callarchive.simulator.running import api_key_name

Start = Callable[..., Any]
PASSWORD = "not-the-sftp-password"
PUSH = """
[accounts.push]
protocol = "{protocol}"
host = "{host}"
port = {port}
username = "{user}"
password = {{ env = "PUSH_PASSWORD" }}
path = "{path}"

"""


@pytest.fixture
def trial(start_trial: Start, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = start_trial(sessions_per_day=6)
    for name, value in found.simulator.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PUSH_PASSWORD", PASSWORD)
    return found


def found_by(trial: Any, **clock: Any) -> dict[str, Finding]:
    with Connections(load_settings(trial.config), **clock) as connections:
        return {finding.link: finding for finding in examine(connections)}


def with_account_section(trial: Any, account: str, section: str) -> None:
    head, marker, rest = trial.config.read_text().partition(f'subaccount_id = "{account}"')
    before, sources, after = rest.partition("[[accounts.session_sources]]")
    trial.config.write_text(head + marker + before + section + sources + after)


def sftp_push(trial: Any, **more: Any) -> str:
    sftp = trial.simulator.sftp
    return PUSH.format(
        **{"protocol": "SFTP", "host": sftp.host, "port": sftp.port, "user": sftp.user, "path": "/upload/", **more}
    )


def pushed_everywhere(trial: Any) -> None:
    configs = trial.simulator.api._push_configs
    configs["demo_s3"] = PushConfig("S3", "ap-southeast-1", 22, "pushuser", "/demo-recordings/my-recordings-path", "x")
    configs["demo_sftp"] = PushConfig("SFTP", "203.0.113.7", 22, "pushuser", "/upload", "x")


def test_quotes_kept_around_secrets_are_a_warning(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "secrets" not in found_by(trial)
    names = sorted(trial.simulator.environment)
    quoted = next(name for name in names if "SFTP" in name and "PASSWORD" in name)
    monkeypatch.setenv(quoted, f'"{trial.simulator.environment[quoted]}"')
    found = found_by(trial)
    assert found["secrets"].verdict is Verdict.WARNING
    assert (
        f"accounts.1.sftp.password: the value of {quoted} begins and ends with a quotation mark"
        in found["secrets"].detail
    )
    assert found["demo_sftp: landing"].verdict is Verdict.BROKEN
    assert f"the value of {quoted} begins and ends" in found["demo_sftp: landing"].detail


def test_without_faults_all_checks_pass(trial: Any) -> None:
    pushed_everywhere(trial)
    found = found_by(trial)
    assert {finding.verdict for finding in found.values()} == {Verdict.OK}
    assert likely_cause(list(found.values())) is None
    assert {"clock", "archive: disk space", "catalog: disk space", "demo_s3: log export"} <= set(found)
    done = trial.run("doctor")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "All checks passed.")


def test_a_missing_push_configuration_is_information_if_the_landing_has_recordings(trial: Any) -> None:
    finding = found_by(trial)["demo_s3: recording push configuration"]
    assert finding.verdict is Verdict.OK
    assert "it pushes no new recording; s3://demo-recordings/my-recordings-path has earlier ones" in finding.detail
    assert "add accounts.0.push, then callarchive push-config apply" in finding.detail


def test_an_empty_landing_beside_recordings_is_the_first_cause(trial: Any) -> None:
    text = trial.config.read_text()
    right = "s3://demo-recordings/my-recordings-path"
    for wrong in ("s3://demo-recordings/my-recording-path", "s3://demo-recordings/a/folder"):
        trial.config.write_text(text.replace(right, wrong))
        found = found_by(trial)
        landing, push = found["demo_s3: landing"], found["demo_s3: recording push configuration"]
        assert likely_cause(list(found.values())) is landing
        assert (landing.verdict, push.verdict) == (Verdict.WARNING, Verdict.WARNING)
        assert landing.detail == f"{wrong} can be listed and is empty; the bucket has objects below {right}/"
        assert landing.advice == "is accounts.0.landing right? Correct its prefix, then callarchive doctor"
        assert "so it pushes no recording" in push.detail
        assert "push-config apply" in (push.advice or "")


def test_an_outage_gets_advice_about_the_address_and_not_about_the_key(trial: Any) -> None:
    text = trial.config.read_text().replace(trial.simulator.api.url, "http://127.0.0.1:9")  # nothing listens there
    trial.config.write_text(text.replace(f":{trial.simulator.sftp.port}/", ":9/"))
    found = found_by(trial)
    for link, address in (("demo_s3: API key", "accounts.0.api_url"), ("demo_sftp: landing", "accounts.1.landing")):
        assert found[link].verdict is Verdict.BROKEN
        assert (found[link].advice or "").startswith(
            f"see whether the server is up, {address} is its address, and DNS,"
        )
    assert found["clock"].verdict is Verdict.NOT_CHECKED
    assert "http://127.0.0.1:9 cannot be reached (the connection failed: Connection refused)" in found["clock"].detail
    assert found["clock"].advice == "make it reachable: see demo_s3: API key"


def test_advice_about_a_secret_names_its_variable_and_the_file_that_sets_it(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.simulator.api.faults.add(Fault.answer(401, body={}), match="demo_s3", times=FOREVER)
    name = api_key_name(trial.simulator.world.accounts[0])
    env = trial.config.parent / ".env"
    assert f"accounts.0.api_key ({name}) and" in (found_by(trial)["demo_s3: API key"].advice or "")
    monkeypatch.delenv(name)
    broken_key = found_by(trial)["demo_s3: API key"]
    assert f"check accounts.0.api_key ({name} in {env}) and accounts.0.api_url" in (broken_key.advice or "")
    assert f"(read from {name} in {env})" in broken_key.detail


def test_unchecked_items_are_listed_at_the_end_and_never_count_as_passed(trial: Any) -> None:
    pushed_everywhere(trial)
    source = (
        '[[accounts.session_sources]]\nkind = "sql"\nurl = "sqlite:///b.sqlite3"\nquery = "select :start, :end"\n\n'
    )
    with_account_section(trial, "demo_s3", source)
    with_account_section(trial, "demo_sftp", source.replace('"sql"', '"inbox"').partition("url")[0] + "\n")
    for type_ in ("VRU", "VSS"):
        trial.simulator.api.faults.add(Fault.answer(200, body={"webhooks": hooks(type_)}), match="webhooks", times=1)
    found = found_by(trial)
    assert found["demo_s3: session ids from a database"].verdict is Verdict.NOT_CHECKED
    assert found["demo_sftp: webhooks at 8x8"].verdict is Verdict.WARNING
    assert "no VSS" in found["demo_sftp: webhooks at 8x8"].detail
    *_, last = conclusion(list(found.values()))
    assert last == "1 check not possible: demo_s3: session ids from a database."
    unchecked = [finding for finding in found.values() if finding.verdict in (Verdict.OK, Verdict.NOT_CHECKED)]
    assert conclusion(unchecked) == [f"All other checks passed, but {last}"]
    assert conclusion([]) == ["Nothing was checked."]


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (Fault.answer(403, body={}), Verdict.BROKEN, "demo_s3"),
        (Fault.answer(200, body={}), Verdict.WARNING, "returned HTTP 200 for an unknown export job"),
        (Fault.answer(404, body={"message": "no Route matched"}), Verdict.WARNING, "returned HTTP 404"),
        (Fault.answer(404, body=b"<html>not here</html>"), Verdict.WARNING, "returned HTTP 404"),
    ],
)
def test_exports_are_checked(trial: Any, answer: Any, verdict: Verdict, words: str) -> None:
    trial.simulator.api.faults.add(answer, match="exports", times=FOREVER)
    finding = found_by(trial)["demo_s3: log export"]
    assert finding.verdict is verdict, finding
    assert words in finding.detail


def test_a_rejected_key_and_unexpected_errors_leave_other_checks_running(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.simulator.api.faults.add(Fault.answer(401, body={}), match="demo_s3", times=FOREVER)
    monkeypatch.setattr(shutil, "disk_usage", broken)
    found = found_by(trial)
    assert found["demo_s3: what 8x8 knows"].verdict is Verdict.NOT_CHECKED
    assert found["archive: disk space"].verdict is Verdict.NOT_CHECKED
    assert found["clock"].verdict is Verdict.OK
    monkeypatch.setattr(machine, "_inbox", wrong)
    left = found_by(trial)["this machine: remaining checks"]
    assert (left.verdict, left.detail) == (Verdict.BROKEN, "not checked: KeyError during the check")


def broken(_: object) -> None:
    raise OSError(5, "Input/output error")


def wrong(_: object) -> None:
    raise KeyError("x")


def hooks(type_: str) -> list[dict[str, Any]]:
    return [{"type": type_, "url": "https://hooks.example/x", "enabled": True, "httpAuthHeaderAvailable": False}]


def test_the_destination_is_tested_with_the_pushed_password_and_left_unchanged(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_account_section(trial, "demo_sftp", sftp_push(trial))
    monkeypatch.setenv("PUSH_PASSWORD", trial.simulator.environment["SIMULATED_SFTP_PASSWORD"])
    folder = trial.simulator.directory / "sftp"
    before = sorted(str(path) for path in folder.rglob("*"))
    found = found_by(trial)
    destination = found["demo_sftp: destination with the pushed credentials"]
    assert destination.verdict is Verdict.OK, destination.detail
    assert sorted(str(path) for path in folder.rglob("*")) == before
    push = found["demo_sftp: recording push configuration"]
    assert (push.verdict, push.advice) == (Verdict.BROKEN, "callarchive push-config apply")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "cannot log in"),
        ({"path": "/nowhere/"}, "not write to /nowhere/"),
        ({"port": 9}, "cannot be reached"),
    ],
)
def test_a_destination_that_8x8_cannot_write_to_is_broken(
    trial: Any, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], words: str
) -> None:
    with_account_section(trial, "demo_sftp", sftp_push(trial, **more))
    right = trial.simulator.environment["SIMULATED_SFTP_PASSWORD"]
    monkeypatch.setenv("PUSH_PASSWORD", right if more else PASSWORD)
    if "port" in more:
        known = trial.simulator.directory / "known_hosts"
        port = trial.simulator.sftp.port
        known.write_text(known.read_text() + known.read_text().replace(f":{port} ", ":9 "))
    found = found_by(trial)
    destination = found["demo_sftp: destination with the pushed credentials"]
    assert destination.verdict is Verdict.BROKEN
    assert words in destination.detail
    assert not [finding for finding in found.values() if PASSWORD in finding.detail or right in finding.detail]


def test_no_password_is_sent_to_an_unknown_host(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_account_section(trial, "demo_sftp", sftp_push(trial, host="localhost"))
    monkeypatch.setenv("PUSH_PASSWORD", trial.simulator.environment["SIMULATED_SFTP_PASSWORD"])
    destination = found_by(trial)["demo_sftp: destination with the pushed credentials"]
    # 8x8's way in need not be ours.
    assert destination.verdict is Verdict.WARNING
    assert "another address than localhost" in destination.detail


@pytest.mark.parametrize(
    ("held", "verdict", "words"),
    [
        (PushConfig("SFTP", "203.0.113.7", 22, "pushuser", "/upload", "x"), Verdict.OK, "SFTP to 203.0.113.7"),
        (PushConfig("S3", "ap-southeast-1", 22, "pushuser", "/upload", "x"), Verdict.WARNING, "pushes by S3"),
        (PushConfig("SFTP", "203.0.113.7", 22, "pushuser", "/other", "x"), Verdict.WARNING, "pushes into /other"),
        (PushConfig("SFTP", "203.0.113.7", 22, "pushuser", "/upload", ""), Verdict.WARNING, "no password"),
    ],
)
def test_the_push_destination_is_compared_with_the_landing(
    trial: Any, held: PushConfig, verdict: Verdict, words: str
) -> None:
    trial.simulator.api._push_configs["demo_sftp"] = held
    finding = found_by(trial)["demo_sftp: recording push configuration"]
    assert finding.verdict is verdict
    assert words in finding.detail


def test_missing_webhooks_receiver_and_events_are_found(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "Bearer s3cret")
    section = '[accounts.webhooks]\nurl = "http://127.0.0.1:9/webhooks/demo_s3"\nauth_header = { env = "HOOK" }\n\n'
    with_account_section(trial, "demo_s3", section)
    found = found_by(trial)
    assert found["demo_s3: webhooks at 8x8"].detail == "VRU not registered; VSS not registered"
    assert found["demo_s3: receiver"].verdict is Verdict.BROKEN
    assert found["demo_s3: last event"].detail == "there is no inbox yet"
    cause = likely_cause(list(found.values()))
    assert cause is found["demo_s3: webhooks at 8x8"], "the outermost broken link"
    done = trial.run("doctor")
    assert done.returncode == 1
    assert "Start with demo_s3: webhooks at 8x8" in done.stdout
    assert "Next: callarchive webhooks register" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize(("off", "verdict"), [(30, Verdict.OK), (300, Verdict.WARNING), (1200, Verdict.BROKEN)])
def test_a_wrong_clock_is_found(trial: Any, off: int, verdict: Verdict) -> None:
    found = found_by(trial, clock=lambda: datetime.now(UTC) + timedelta(seconds=off))
    assert found["clock"].verdict is verdict


@pytest.mark.parametrize(("free", "verdict"), [(500, Verdict.OK), (50, Verdict.WARNING), (5, Verdict.BROKEN)])
def test_a_nearly_full_disk_is_found(trial: Any, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1000, used=1000 - free, free=free))
    assert found_by(trial)["archive: disk space"].verdict is verdict
