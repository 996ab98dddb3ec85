"""Where 8x8 pushes recordings, shown, compared and changed from the command line."""

import json
import os
import pty
import subprocess
from typing import Any

import pytest

from callarchive.simulator.answers import PushConfig
from callarchive.simulator.faults import FOREVER, Fault

AS_WANTED = PushConfig("SFTP", "203.0.113.7", 2222, "pushuser", "/upload/recordings/", "pass-word-of-push")


def on_a_terminal(set_up: Any, *words: str, answer: bytes) -> tuple[int, str]:
    """Exit code and output of a command whose question a person answers."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        set_up.command(*words), env=set_up.process_environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 4096):
                if b"[y/N]" not in said and b"[y/N]" in said + part:
                    os.write(ours, answer)
                said += part
        except OSError:  # how Linux tells that the other end of a terminal is closed
            pass
        finally:
            os.close(ours)
        set_up.no_secret_in(said.decode())
        return process.wait(timeout=60), said.decode()


def test_plan_shows_the_difference_and_changes_nothing(set_up: Any) -> None:
    held = PushConfig("sftp", "203.0.113.7", 22, "pushuser", "/upload/recordings", "x")
    set_up.api._push_configs["acme_one"] = held
    done = set_up.run("push-config", "plan", "--json")
    (account,) = json.loads(done.stdout)["accounts"]
    assert done.returncode == 0
    assert account["differs"]
    # Neither the protocol's case nor a slash at the path's end is a difference; the password cannot be compared.
    assert {s["setting"]: s["differs"] for s in account["settings"]} == {
        "protocol": False,
        "host": False,
        "port": True,
        "username": False,
        "path": False,
        "password": None,
    }
    assert "acme_two: has no [accounts.push]" in done.stderr
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
    assert "Nothing that can be compared differs" in set_up.run("push-config", "plan").stdout
    set_up.api._push_configs.clear()
    assert "6 settings differ" in set_up.run("push-config", "plan").stdout


def test_apply_asks_and_without_a_terminal_or_yes_changes_nothing(set_up: Any) -> None:
    done = set_up.run("push-config", "apply")
    assert done.returncode == 2
    assert "say --yes" in done.stderr
    assert set(set_up.methods()) == {"GET"}


def test_a_person_is_shown_the_plan_and_may_say_no(set_up: Any) -> None:
    code, said = on_a_terminal(set_up, "push-config", "apply", answer=b"n\n")
    assert code == 1
    assert said.index("6 settings differ") < said.index("[y/N]")
    assert set(set_up.methods()) == {"GET"}
    code, said = on_a_terminal(set_up, "push-config", "apply", answer=b"y\n")
    assert code == 0
    assert "8x8 says the same" in said
    assert set_up.api.push_config("acme_one") == AS_WANTED


def test_apply_tells_8x8_all_of_it_and_reads_it_back(set_up: Any) -> None:
    done = set_up.run("push-config", "apply", "--yes", "-vv")
    assert done.returncode == 0, done.stderr
    assert set_up.api.push_config("acme_one") == AS_WANTED
    assert set_up.methods() == ["GET", "POST", "GET"]
    assert set_up.api.push_config("acme_two") is None
    assert "Nothing that can be compared differs" in set_up.run("push-config", "plan").stdout


def test_a_new_password_gets_there_where_nothing_else_differs(set_up: Any) -> None:
    set_up.run("push-config", "apply", "--yes")
    set_up.environment["PUSH_PASSWORD"] = "rotated"
    done = set_up.run("push-config", "apply", "--yes", "--json")
    assert json.loads(done.stdout)["accounts"][0]["applied"] is True
    assert set_up.api.push_config("acme_one").password == "rotated"


def test_what_8x8_says_afterwards_is_compared(set_up: Any) -> None:
    other = {"subAccountId": "acme_one", "protocol": "SFTP", "host": "198.51.100.1", "passwordSet": True}
    set_up.api.faults.add(Fault.answer(200, body=other), match="GET", after=1)
    done = set_up.run("push-config", "apply", "--yes")
    assert done.returncode == 1
    assert "198.51.100.1" in done.stdout
    assert "not what it was told: acme_one" in done.stderr


def test_a_refusal_is_shown_with_its_words_and_its_id_and_never_the_password(set_up: Any) -> None:
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
def test_what_was_done_is_told_also_where_a_later_account_is_refused(set_up: Any, json_wanted: bool) -> None:
    text = set_up.config.read_text()
    push = text[text.index("[accounts.push]") : text.index("[accounts.webhooks]")]
    set_up.config.write_text(text + push)
    set_up.api.faults.add(Fault.answer(422, body={"statusMessage": "full"}), match="acme_two", times=FOREVER)
    done = set_up.run("push-config", "apply", "--yes", *(["--json"] if json_wanted else []))
    assert done.returncode == 1
    assert "account acme_two" in done.stderr
    assert set_up.api.push_config("acme_one") == AS_WANTED
    if json_wanted:
        told = json.loads(done.stdout)["accounts"]
        assert [(a["subaccount_id"], a["applied"]) for a in told] == [("acme_one", True)]
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
def test_what_8x8_would_not_take_is_refused_before_anything_is_asked(set_up: Any, old: str, new: str, key: str) -> None:
    set_up.replace(old, new)
    done = set_up.run("push-config", "apply", "--yes")
    assert done.returncode == 2
    assert f"accounts.0.push.{key}" in done.stderr
    assert set_up.methods() == []


def test_a_password_that_is_not_set_is_told_before_anything_is_asked(set_up: Any) -> None:
    del set_up.environment["PUSH_PASSWORD"]
    done = set_up.run("push-config", "apply", "--yes")
    assert (done.returncode, set_up.methods()) == (2, [])
    said = "accounts.0.push.password: the environment variable PUSH_PASSWORD is not set"
    assert f"configuration error: {said}\n" in done.stderr


def test_delete_asks_and_deletes(set_up: Any) -> None:
    set_up.api._push_configs["acme_one"] = AS_WANTED
    assert set_up.run("push-config", "delete").returncode == 2
    assert set_up.methods() == []
    done = set_up.run("push-config", "delete", "--yes", "--json")
    assert json.loads(done.stdout)["accounts"] == [
        {"subaccount_id": "acme_one", "deleted": True},
        {"subaccount_id": "acme_two", "deleted": False},
    ]
    assert set_up.api.push_config("acme_one") is None


def test_show_tells_of_each_account_what_8x8_has(set_up: Any) -> None:
    set_up.api._push_configs["acme_one"] = AS_WANTED
    done = set_up.run("push-config", "show", "--json")
    one, two = json.loads(done.stdout)["accounts"]
    assert (one["push_config"]["host"], one["push_config"]["password_set"]) == ("203.0.113.7", True)
    assert two == {"subaccount_id": "acme_two", "push_config": None}
    set_up.api.faults.add(Fault.answer(200, body={"protocol": "S3", "host": "eu-west-1"}))
    table = set_up.run("push-config", "show").stdout
    assert "eu-west-1" in table
    assert "none is set" in table
    assert "None" not in table


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault.answer(401, body={"message": "no"}), 3, "rejected the API key"),
        (Fault.answer(403, body={"message": "no"}), 3, "rejected the API key"),
        (Fault.answer(200, body=[1]), 1, "not a JSON object"),
    ],
)
def test_answers_that_are_none_are_one_clear_error(set_up: Any, fault: Fault, code: int, words: str) -> None:
    set_up.api.faults.add(fault, times=FOREVER)
    done = set_up.run("push-config", "show")
    assert done.returncode == code
    assert words in done.stderr
    assert len(set_up.methods()) == 1


def test_an_account_that_is_not_there_or_wants_nothing_is_a_usage_error(set_up: Any) -> None:
    done = set_up.run("push-config", "show", "--account", "nobody")
    assert done.returncode == 2
    assert "there are acme_one, acme_two" in done.stderr
    done = set_up.run("push-config", "plan", "--account", "acme_two")
    assert done.returncode == 2
    assert "account acme_two does not say where 8x8 should push: add [accounts.push]" in done.stderr
    assert set_up.methods() == []
