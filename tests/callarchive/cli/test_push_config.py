"""What 8x8 is told, shown, compared and changed from the command line, on the simulated API."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from callarchive.simulator.answers import PushConfig, Webhook
from callarchive.simulator.faults import FOREVER, Fault

PASSWORD, HEADER = "pass-word-of-push", "Bearer of-the-webhook"
URL = "https://hooks.acme.example/webhooks/demo_s3"
SECTIONS = f"""
[accounts.push]
protocol = "SFTP"
host = "203.0.113.7"
port = 2222
username = "pushuser"
password = {{ env = "PUSH_PASSWORD" }}
path = "/upload/recordings/"

[accounts.webhooks]
url = "{URL}"
auth_header = {{ env = "HOOK_HEADER" }}

"""
Start = Callable[..., Any]

TEXT = {"type": "string"}
TOLD = {"subAccountId": TEXT, "statusCode": {"type": ["integer", "string"]}, "statusMessage": TEXT}
PUSH_BODY = {
    "type": "object",
    "required": ["protocol", "host", "port", "username", "password", "path"],
    "additionalProperties": False,
    "properties": {
        "protocol": {"enum": ["S3", "SFTP"]},
        "host": TEXT,
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "username": TEXT,
        "password": TEXT,
        "path": TEXT,
    },
}
PUSH_ANSWER = {
    "type": "object",
    "properties": {
        **TOLD,
        "delete": {"type": "boolean"},
        "protocol": TEXT,
        "host": TEXT,
        "port": {"type": "integer"},
        "username": TEXT,
        "passwordSet": {"type": "boolean"},
        "path": TEXT,
    },
    "required": ["subAccountId", "protocol", "host", "port", "username", "passwordSet", "path"],
    "not": {"required": ["password"]},
}
WEBHOOK_BODY = {
    "type": "object",
    "required": ["type", "url"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["VCS", "VCA", "VSS", "VRU", "VNU"]},
        "url": TEXT,
        "httpAuthHeader": {"type": ["string", "null"]},
        "enabled": {"type": ["boolean", "null"]},
    },
}
WEBHOOKS_ANSWER = {
    "type": "object",
    "required": ["subAccountId", "count", "webhooks"],
    "properties": {
        **TOLD,
        "count": {"type": "integer"},
        "webhooks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "url", "enabled", "httpAuthHeaderAvailable"],
                "properties": {
                    "type": TEXT,
                    "url": TEXT,
                    "enabled": {"type": "boolean"},
                    "httpAuthHeaderAvailable": {"type": "boolean"},
                },
                "additionalProperties": False,
            },
        },
    },
}


@pytest.fixture
def trial(start_trial: Start, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A trial whose first account says where to push and where events go; every exchange is held to 8x8's shapes."""
    found = start_trial(sessions_per_day=1)
    head, marker, rest = found.config.read_text().partition("[[accounts.session_sources]]")
    found.config.write_text(head + SECTIONS + marker + rest)
    monkeypatch.setenv("PUSH_PASSWORD", PASSWORD)
    monkeypatch.setenv("HOOK_HEADER", HEADER)
    original = found.simulator.api.answer

    def checked(method: str, target: str, *, authorization: str | None, body: bytes) -> Any:
        reply = original(method, target, authorization=authorization, body=body)
        for route, asked, told in (
            ("recording-push-config", PUSH_BODY, PUSH_ANSWER),
            ("webhooks", WEBHOOK_BODY, WEBHOOKS_ANSWER),
        ):
            if target.endswith(route):
                if method == "POST":
                    jsonschema.validate(json.loads(body), asked)
                if reply.status == 200 and reply.fault is None:
                    jsonschema.validate(json.loads(reply.body), told)
        return reply

    monkeypatch.setattr(found.simulator.api, "answer", checked)
    found.simulator.api._server.answer = checked
    return found


def methods(trial: Any) -> list[str]:
    return [request.method for request in trial.simulator.api.requests]


def no_secret_in(*done: Any) -> None:
    for one in done:
        for secret in (PASSWORD, HEADER, "of-the-webhook"):
            assert secret not in one.stdout + one.stderr


def test_plan_shows_the_difference_and_changes_nothing(trial: Any) -> None:
    held = PushConfig("sftp", "203.0.113.7", 22, "pushuser", "/upload/recordings", "x")
    trial.simulator.api._push_configs["demo_s3"] = held
    done = trial.run("push-config", "plan", "--json")
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
    assert set(methods(trial)) == {"GET"}
    assert trial.simulator.api.push_config("demo_s3") == held
    no_secret_in(done, trial.run("push-config", "plan"), trial.run("push-config", "show"))


def test_apply_asks_and_without_a_terminal_or_yes_changes_nothing(trial: Any) -> None:
    done = trial.run("push-config", "apply")
    assert done.returncode == 2
    assert "say --yes" in done.stderr
    assert set(methods(trial)) == {"GET"}


def test_apply_tells_8x8_all_of_it_and_reads_it_back(trial: Any) -> None:
    done = trial.run("push-config", "apply", "--yes")
    assert done.returncode == 0, done.stderr
    assert trial.simulator.api.push_config("demo_s3") == PushConfig(
        "SFTP", "203.0.113.7", 2222, "pushuser", "/upload/recordings/", PASSWORD
    )
    assert methods(trial) == ["GET", "POST", "GET"]
    assert trial.simulator.api.push_config("demo_sftp") is None
    plan = trial.run("push-config", "plan")
    assert "Nothing that can be compared differs" in plan.stdout
    no_secret_in(done, plan)


def test_what_8x8_says_afterwards_is_compared(trial: Any) -> None:
    other = {
        "subAccountId": "demo_s3",
        "protocol": "SFTP",
        "host": "198.51.100.1",
        "passwordSet": True,
        "statusCode": 0,
    }
    trial.simulator.api.faults.add(Fault.answer(200, body=other), match="GET", after=1)
    done = trial.run("push-config", "apply", "--yes")
    assert done.returncode == 1
    assert "198.51.100.1" in done.stdout
    assert "not what it was told" in done.stderr


def test_a_refusal_is_shown_with_its_words_and_its_id_and_never_the_password(trial: Any) -> None:
    refusal = {
        "errorId": "8c1f0d6e-1111-4222-8333-444455556666",
        "statusCode": "1001",
        "statusMessage": f"Invalid password {PASSWORD}",
        "timestamp": "2026-01-05T00:00:00Z",
    }
    trial.simulator.api.faults.add(Fault.answer(422, body=refusal), match="POST", times=FOREVER)
    done = trial.run("push-config", "apply", "--yes", "-vv")
    assert done.returncode == 1
    assert "HTTP 422: Invalid password (hidden) (errorId 8c1f0d6e-1111-4222-8333-444455556666)" in done.stderr
    no_secret_in(done)


@pytest.mark.parametrize("protocol", ["ftp", "FTP", "http", ""])
def test_an_unknown_protocol_is_refused_before_anything_is_asked(trial: Any, protocol: str) -> None:
    trial.config.write_text(trial.config.read_text().replace('protocol = "SFTP"', f'protocol = "{protocol}"'))
    done = trial.run("push-config", "apply", "--yes")
    assert done.returncode == 2
    assert "accounts.0.push.protocol" in done.stderr
    assert methods(trial) == []


def test_a_password_that_is_not_set_is_told_before_anything_is_asked(
    trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PUSH_PASSWORD")
    done = trial.run("push-config", "apply", "--yes")
    assert (done.returncode, methods(trial)) == (2, [])
    assert "PUSH_PASSWORD is not set" in done.stderr


def test_delete_asks_and_deletes(trial: Any) -> None:
    trial.run("push-config", "apply", "--yes")
    assert trial.run("push-config", "delete").returncode == 2
    done = trial.run("push-config", "delete", "--yes", "--json")
    assert json.loads(done.stdout)["accounts"] == [
        {"subaccount_id": "demo_s3", "deleted": True},
        {"subaccount_id": "demo_sftp", "deleted": False},
    ]
    assert trial.simulator.api.push_config("demo_s3") is None


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault.answer(401, body={"message": "no"}), 3, "refuses the API key"),
        (Fault.answer(403, body={"message": "no"}), 3, "refuses the API key"),
        (Fault.answer(200, body="<html>welcome</html>"), 1, "not a JSON object"),
        (Fault.answer(200, body=[1]), 1, "not a JSON object"),
    ],
)
def test_answers_that_are_none_are_one_clear_error(trial: Any, fault: Fault, code: int, words: str) -> None:
    trial.simulator.api.faults.add(fault, times=FOREVER)
    done = trial.run("push-config", "show")
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_account_that_is_not_there_is_a_usage_error(trial: Any) -> None:
    done = trial.run("push-config", "show", "--account", "nobody")
    assert done.returncode == 2
    assert "there are demo_s3, demo_sftp" in done.stderr
    assert trial.run("push-config", "plan", "--account", "demo_sftp").returncode == 2


def test_register_makes_both_webhooks_right_and_leaves_others(trial: Any) -> None:
    api = trial.simulator.api
    api._webhooks["demo_s3", "VCA"] = Webhook("VCA", "https://elsewhere.example/vca")
    api._webhooks["demo_s3", "VRU"] = Webhook("VRU", "https://elsewhere.example/vru", enabled=False)
    listed = json.loads(trial.run("webhooks", "list", "--json").stdout)["accounts"][0]["webhooks"]
    assert {hook["type"]: hook["problems"] for hook in listed} == {
        "VCA": [],
        "VRU": [f"goes to another URL than {URL}", "disabled", "has no auth header"],
        "VSS": ["not registered"],
    }
    assert set(methods(trial)) == {"GET"}
    assert trial.run("webhooks", "register").returncode == 2
    done = trial.run("webhooks", "register", "--yes")
    assert done.returncode == 0, done.stderr
    assert {hook.type: (hook.url, hook.enabled, hook.http_auth_header) for hook in api.webhooks("demo_s3")} == {
        "VCA": ("https://elsewhere.example/vca", True, ""),
        "VRU": (URL, True, HEADER),
        "VSS": (URL, True, HEADER),
    }
    gone = trial.run("webhooks", "unregister", "--yes", "--account", "demo_s3")
    assert gone.returncode == 0
    assert [hook.type for hook in api.webhooks("demo_s3")] == ["VCA"]
    no_secret_in(done, gone)


def test_a_type_that_8x8_does_not_have_is_a_usage_error(trial: Any) -> None:
    assert trial.run("webhooks", "register", "--type", "XYZ", "--yes").returncode == 2
    assert "POST" not in methods(trial)
