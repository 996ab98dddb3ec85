"""`callarchive push-config`: show, compare and change where 8x8 pushes recordings."""

import json
import os
import pty
import subprocess
from typing import Any

import pytest

from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.responses import PushConfig

WANTED = PushConfig("SFTP", "203.0.113.7", 2222, "pushuser", "/upload/recordings/", "pass-word-of-push")


def on_a_terminal(set_up: Any, *words: str, answer: bytes) -> tuple[int, str]:
    """Return the exit code and the output of a command that runs on a terminal and asks a question."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        set_up.command(*words), env=set_up.process_environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        output = b""
        try:
            while part := os.read(ours, 4096):
                if b"[y/N]" not in output and b"[y/N]" in output + part:
                    os.write(ours, answer)
                output += part
        except OSError:  # Linux raises it once the other end of the terminal is closed
            pass
        finally:
            os.close(ours)
        set_up.no_secret_in(output.decode())
        return process.wait(timeout=60), output.decode()


def test_plan_shows_the_difference_and_changes_nothing(set_up: Any) -> None:
    held = PushConfig("sftp", "203.0.113.7", 22, "pushuser", "/upload/recordings", "x")
    set_up.api._push_configs["acme_one"] = held
    done = set_up.run("push-config", "plan", "--json")
    (account,) = json.loads(done.stdout)["accounts"]
    assert done.returncode == 0
    assert account["differs"]
    # The case of the protocol and a trailing slash of the path are ignored; the password cannot be compared.
    assert {s["setting"]: s["differs"] for s in account["settings"]} == {
        "protocol": False,
        "host": False,
        "port": True,
        "username": False,
        "path": False,
        "password": None,
    }
    assert "acme_two: skipped, because it has no [accounts.push]" in done.stderr
    table = set_up.run("push-config", "plan").stdout
    assert "1 setting differs" in table
    assert "cannot be compared" in table
    assert set(set_up.methods()) == {"GET"}
    assert set_up.api.push_config("acme_one") == held


def test_the_port_of_s3_differs_only_where_the_configuration_names_one(set_up: Any) -> None:
    set_up.api._push_configs["acme_one"] = PushConfig(
        "S3", "ap-southeast-2", 13, "pushuser", "/upload/recordings/", "x"
    )
    set_up.replace('protocol = "SFTP"', 'protocol = "S3"')
    set_up.replace('host = "203.0.113.7"', 'host = "ap-southeast-2"')
    assert "1 setting differs" in set_up.run("push-config", "plan").stdout
    set_up.replace("port = 2222\n", "")
    assert "No setting that can be compared differs" in set_up.run("push-config", "plan").stdout
    set_up.api._push_configs.clear()
    assert "6 settings differ" in set_up.run("push-config", "plan").stdout


def test_apply_changes_nothing_without_a_terminal_or_yes(set_up: Any) -> None:
    done = set_up.run("push-config", "apply")
    assert done.returncode == 2
    assert "confirm with --yes" in done.stderr
    assert set(set_up.methods()) == {"GET"}


@pytest.mark.parametrize("flag", ["-q", "--json"])
def test_a_question_without_the_table_is_asked_after_what_would_change(set_up: Any, flag: str) -> None:
    set_up.api._push_configs["acme_one"] = PushConfig("SFTP", "203.0.113.7", 22, "pushuser", "/upload/recordings", "x")
    code, output = on_a_terminal(set_up, flag, "push-config", "apply", answer=b"n\n")
    assert code == 1
    assert output.index("acme_one: port: 22 becomes 2222") < output.index("[y/N]")
    assert "host" not in output
    assert "POST" not in set_up.methods()


def test_apply_shows_the_plan_and_asks_on_a_terminal(set_up: Any) -> None:
    code, output = on_a_terminal(set_up, "push-config", "apply", answer=b"n\n")
    assert code == 1
    assert output.index("6 settings differ") < output.index("[y/N]")
    assert set(set_up.methods()) == {"GET"}
    code, output = on_a_terminal(set_up, "push-config", "apply", answer=b"y\n")
    assert code == 0
    assert "applied and confirmed by 8x8" in output
    assert set_up.api.push_config("acme_one") == WANTED


def test_apply_sends_every_setting_and_reads_them_back(set_up: Any) -> None:
    done = set_up.run("push-config", "apply", "--yes", "-vv")
    assert done.returncode == 0, done.stderr
    assert set_up.api.push_config("acme_one") == WANTED
    assert set_up.methods() == ["GET", "POST", "GET"]
    assert set_up.api.push_config("acme_two") is None
    assert "No setting that can be compared differs" in set_up.run("push-config", "plan").stdout


def test_a_new_password_is_sent_even_if_nothing_else_differs(set_up: Any) -> None:
    set_up.run("push-config", "apply", "--yes")
    set_up.environment["PUSH_PASSWORD"] = "rotated"
    done = set_up.run("push-config", "apply", "--yes", "--json")
    assert json.loads(done.stdout)["accounts"][0]["applied"] is True
    assert set_up.api.push_config("acme_one").password == "rotated"


def test_apply_fails_if_8x8_then_reports_another_configuration(set_up: Any) -> None:
    other = {"subAccountId": "acme_one", "protocol": "SFTP", "host": "198.51.100.1", "passwordSet": True}
    set_up.api.faults.add(Fault.answer(200, body=other), match="GET", after=1)
    done = set_up.run("push-config", "apply", "--yes")
    assert done.returncode == 1
    assert "198.51.100.1" in done.stdout
    assert "8x8 did not apply the configuration: acme_one" in done.stderr


def test_a_rejection_is_shown_with_its_message_and_id_but_never_the_password(set_up: Any) -> None:
    refusal = {
        "errorId": "8c1f0d6e-1111-4222-8333-444455556666",
        "statusCode": "1001",
        "statusMessage": f"Invalid password {set_up.password}",
        "timestamp": "2026-01-05T00:00:00Z",
    }
    set_up.api.faults.add(Fault.answer(422, body=refusal), match="POST", times=FOREVER)
    done = set_up.run("push-config", "apply", "--yes", "-vv")
    assert done.returncode == 1
    assert "HTTP 422: Invalid password (hidden) (errorId 8c1f0d6e-1111-4222-8333-444455556666)" in done.stderr
    assert set_up.methods().count("POST") == 1


@pytest.mark.parametrize("json_wanted", [True, False])
def test_completed_changes_are_printed_even_if_a_later_account_is_rejected(set_up: Any, json_wanted: bool) -> None:
    text = set_up.config.read_text()
    push = text[text.index("[accounts.push]") : text.index("[accounts.webhooks]")]
    set_up.config.write_text(text + push)
    set_up.api.faults.add(Fault.answer(422, body={"statusMessage": "full"}), match="acme_two", times=FOREVER)
    done = set_up.run("push-config", "apply", "--yes", *(["--json"] if json_wanted else []))
    assert done.returncode == 1
    assert "account acme_two" in done.stderr
    assert set_up.api.push_config("acme_one") == WANTED
    if json_wanted:
        applied = json.loads(done.stdout)["accounts"]
        assert [(a["subaccount_id"], a["applied"]) for a in applied] == [("acme_one", True)]
    else:
        assert "acme_one: applied" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('protocol = "SFTP"', 'protocol = "ftp"', "protocol"),
        ('protocol = "SFTP"', 'protocol = "http"', "protocol"),
        ('host = "203.0.113.7"', 'host = ""', "host"),
        ('username = "pushuser"', 'username = ""', "username"),
        ('path = "/upload/recordings/"', 'path = ""', "path"),
        ('password = { env = "PUSH_PASSWORD" }', 'password = "pass-word-of-push"', "password"),
    ],
)
def test_a_setting_that_8x8_would_reject_is_a_configuration_error_before_any_request(
    set_up: Any, old: str, new: str, key: str
) -> None:
    set_up.replace(old, new)
    done = set_up.run("push-config", "apply", "--yes")
    assert done.returncode == 2
    assert f"accounts.0.push.{key}" in done.stderr
    assert set_up.methods() == []


def test_a_missing_password_is_a_configuration_error_before_any_request(set_up: Any) -> None:
    del set_up.environment["PUSH_PASSWORD"]
    done = set_up.run("push-config", "apply", "--yes")
    assert (done.returncode, set_up.methods()) == (2, [])
    output = "accounts.0.push.password: the environment variable PUSH_PASSWORD is not set"
    assert f"configuration error: {output}\n" in done.stderr


def test_delete_requires_confirmation(set_up: Any) -> None:
    set_up.api._push_configs["acme_one"] = WANTED
    assert set_up.run("push-config", "delete").returncode == 2
    assert set_up.methods() == []
    done = set_up.run("push-config", "delete", "--yes", "--json")
    assert json.loads(done.stdout)["accounts"] == [
        {"subaccount_id": "acme_one", "deleted": True},
        {"subaccount_id": "acme_two", "deleted": False},
    ]
    assert set_up.api.push_config("acme_one") is None


def test_show_prints_the_configuration_of_each_account(set_up: Any) -> None:
    set_up.api._push_configs["acme_one"] = WANTED
    done = set_up.run("push-config", "show", "--json")
    one, two = json.loads(done.stdout)["accounts"]
    assert (one["push_config"]["host"], one["push_config"]["password_set"]) == ("203.0.113.7", True)
    assert two == {"subaccount_id": "acme_two", "push_config": None}
    set_up.api.faults.add(Fault.answer(200, body={"protocol": "S3", "host": "eu-west-1"}))
    table = set_up.run("push-config", "show").stdout
    assert "eu-west-1" in table
    assert "not set" in table
    assert "None" not in table


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault.answer(401, body={"message": "no"}), 3, "rejected the API key"),
        (Fault.answer(403, body={"message": "no"}), 3, "rejected the API key"),
        (Fault.answer(200, body=[1]), 1, "not a JSON object"),
    ],
)
def test_an_invalid_response_is_one_clear_error(set_up: Any, fault: Fault, code: int, words: str) -> None:
    set_up.api.faults.add(fault, times=FOREVER)
    done = set_up.run("push-config", "show")
    assert done.returncode == code
    assert words in done.stderr
    assert len(set_up.methods()) == 1


def test_an_unknown_account_and_one_without_the_section_are_usage_errors(set_up: Any) -> None:
    done = set_up.run("push-config", "show", "--account", "nobody")
    assert done.returncode == 2
    assert "the configuration has acme_one, acme_two" in done.stderr
    done = set_up.run("push-config", "plan", "--account", "acme_two")
    assert done.returncode == 2
    assert "account acme_two has no [accounts.push]: add it with protocol" in done.stderr
    assert set_up.methods() == []
