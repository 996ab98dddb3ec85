"""`callarchive webhooks`: list, register and remove webhooks at 8x8."""

import json
from typing import Any

from callarchive.simulator.faults import FOREVER, Fault
from callarchive.simulator.responses import Webhook

ELSEWHERE = "https://elsewhere.example/events"


def registered(set_up: Any, account: str = "acme_one") -> dict[str, tuple[str, bool, str]]:
    return {hook.type: (hook.url, hook.enabled, hook.http_auth_header) for hook in set_up.api.webhooks(account)}


def test_list_shows_problems_and_changes_nothing(set_up: Any) -> None:
    set_up.api._webhooks["acme_one", "VCA"] = Webhook("VCA", ELSEWHERE)
    set_up.api._webhooks["acme_one", "VRU"] = Webhook("VRU", ELSEWHERE, enabled=False)
    done = set_up.run("webhooks", "list", "--json")
    one, two = json.loads(done.stdout)["accounts"]
    assert {hook["type"]: (hook["ours"], hook["problems"]) for hook in one["webhooks"]} == {
        "VCA": (False, []),
        "VRU": (True, [f"sent to another URL than {set_up.url}", "disabled", "has no auth header"]),
        "VSS": (True, ["not registered"]),
    }
    assert two["webhooks"] == []
    assert "acme_two: not compared, because it has no [accounts.webhooks]" in done.stderr
    assert done.returncode == 0
    named = json.loads(set_up.run("webhooks", "list", "--type", "vss", "--json").stdout)["accounts"][0]["webhooks"]
    assert [(hook["type"], hook["ours"]) for hook in named] == [("VSS", True)]
    table = set_up.run("webhooks", "list").stdout
    assert "not ours" in table
    assert "not registered" in table
    assert set(set_up.methods()) == {"GET"}


def test_register_replaces_both_types_and_keeps_others(set_up: Any) -> None:
    set_up.api._webhooks["acme_one", "VCA"] = Webhook("VCA", ELSEWHERE)
    set_up.api._webhooks["acme_one", "VRU"] = Webhook("VRU", ELSEWHERE, enabled=False)
    asked = set_up.run("webhooks", "register")
    assert asked.returncode == 2
    assert f"acme_one: VRU currently goes to {ELSEWHERE}" in asked.stderr
    assert set(set_up.methods()) == {"GET"}
    done = set_up.run("webhooks", "register", "--yes", "-vv")
    assert done.returncode == 0, done.stderr
    assert "acme_two: skipped, because it has no [accounts.webhooks]" in done.stderr
    assert registered(set_up) == {
        "VCA": (ELSEWHERE, True, ""),
        "VRU": (set_up.url, True, set_up.header),
        "VSS": (set_up.url, True, set_up.header),
    }
    assert registered(set_up, "acme_two") == {}


def test_a_missing_auth_header_is_a_configuration_error_before_any_request(set_up: Any) -> None:
    del set_up.environment["HOOK_HEADER"]
    done = set_up.run("webhooks", "register", "--yes")
    assert (done.returncode, set_up.methods()) == (2, [])
    message = "accounts.0.webhooks.auth_header: the environment variable HOOK_HEADER is not set"
    assert f"configuration error: {message}\n" in done.stderr


def test_a_type_given_twice_is_registered_once(set_up: Any) -> None:
    assert set_up.run("webhooks", "register", "--type", "VRU", "--type", "vru", "--yes").returncode == 0
    assert [body["type"] for body in set_up.api.bodies] == ["VRU"]


def test_register_fails_if_8x8_then_reports_something_else(set_up: Any) -> None:
    hooks = [{"type": "VRU", "url": set_up.url, "enabled": "false", "httpAuthHeaderAvailable": True}]
    set_up.api.faults.add(Fault.answer(200, body={"webhooks": hooks}), match="GET", times=FOREVER)
    done = set_up.run("webhooks", "register", "--yes", "--json")
    assert done.returncode == 1
    (account,) = json.loads(done.stdout)["accounts"]
    assert {h["type"]: h["problems"] for h in account["webhooks"]} == {"VRU": ["disabled"], "VSS": ["not registered"]}
    assert "8x8 did not register the webhooks as configured" in done.stderr


def test_a_rejected_registration_never_shows_the_header(set_up: Any) -> None:
    message = {"errorId": "e-42", "statusCode": "1001", "statusMessage": f"bad httpAuthHeader {set_up.header}"}
    set_up.api.faults.add(Fault.answer(422, body=message), match="POST", times=FOREVER)
    done = set_up.run("webhooks", "register", "--yes", "-vv")
    assert done.returncode == 1
    assert "bad httpAuthHeader (hidden) (errorId e-42)" in done.stderr


def test_unregister_removes_only_webhooks_with_our_url(set_up: Any) -> None:
    set_up.api._webhooks["acme_one", "VCA"] = Webhook("VCA", set_up.url)
    set_up.api._webhooks["acme_one", "VRU"] = Webhook("VRU", set_up.url + "/")
    set_up.api._webhooks["acme_one", "VSS"] = Webhook("VSS", ELSEWHERE)
    set_up.api._webhooks["acme_two", "VSS"] = Webhook("VSS", ELSEWHERE)
    assert set_up.run("webhooks", "unregister").returncode == 2
    assert set(set_up.methods()) == {"GET"}
    done = set_up.run("webhooks", "unregister", "--yes")
    assert done.returncode == 0
    assert "acme_one VRU: removed" in done.stdout
    assert f"acme_one VSS: kept, because it goes to {ELSEWHERE}" in done.stdout
    assert set(registered(set_up)) == {"VCA", "VSS"}
    assert set(registered(set_up, "acme_two")) == {"VSS"}


def test_a_given_type_is_removed_whatever_its_url(set_up: Any) -> None:
    set_up.api._webhooks["acme_two", "VSS"] = Webhook("VSS", ELSEWHERE)
    done = set_up.run("webhooks", "unregister", "--account", "acme_two", "--type", "VSS", "--yes", "--json")
    assert json.loads(done.stdout)["webhooks"] == [
        {"subaccount_id": "acme_two", "type": "VSS", "removed": True, "left": None}
    ]
    assert registered(set_up, "acme_two") == {}


def test_an_unknown_event_type_is_a_usage_error(set_up: Any) -> None:
    assert set_up.run("webhooks", "register", "--type", "XYZ", "--yes").returncode == 2
    assert set_up.methods() == []


def test_an_account_without_the_section_is_a_usage_error_that_names_its_keys(set_up: Any) -> None:
    done = set_up.run("webhooks", "register", "--account", "acme_two", "--yes")
    assert done.returncode == 2
    assert "account acme_two has no [accounts.webhooks]: add it with url and" in done.stderr
