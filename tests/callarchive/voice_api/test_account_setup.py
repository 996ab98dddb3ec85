"""The account's configuration at 8x8, with correct and incorrect responses of the API."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from callarchive.domain.errors import AccessDeniedError, UnavailableError
from callarchive.settings import PushSettings, Secret, WebhookSettings
from callarchive.voice_api.account_setup import AccountSetup, PushConfig, RejectedError, WebhookRegistration
from callarchive.voice_api.push_config import differs, push_differences
from callarchive.voice_api.webhook_registrations import register_webhooks, webhook_drift

Server = Any
Make = Callable[..., Any]
PASSWORD = "pässwort+6591234567 of push"
ROUTE = "/api/v1/subaccounts/acme_sg"
WANTED: dict[str, Any] = {"protocol": "SFTP", "host": "203.0.113.7", "port": 22, "username": "push", "path": "/upload"}


@pytest.fixture
def setup(make_client: Make) -> AccountSetup:
    found: AccountSetup = make_client(deadline_s=5).setup
    return found


def respond(server: Server, reply: Any, body: Any, status: int = 200) -> None:
    server.reply_with(reply(status, body))


@pytest.mark.parametrize("code", [0, "0", None])
def test_a_push_config_is_read_with_any_form_of_success(
    server: Server, reply: Any, setup: AccountSetup, code: Any
) -> None:
    body = {**WANTED, "subAccountId": "acme_sg", "passwordSet": True, "statusMessage": "ok", "region": {"new": 1}}
    respond(server, reply, body if code is None else {**body, "statusCode": code})
    assert setup.push_config() == PushConfig("SFTP", "203.0.113.7", 22, "push", True, "/upload")
    assert [(ask.method, ask.path, ask.body) for ask in server.received] == [
        ("GET", f"{ROUTE}/recording-push-config", b"")
    ]


def test_fields_of_the_wrong_type_count_as_absent(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(
        server, reply, {"protocol": 7, "host": None, "port": "22", "username": ["a"], "passwordSet": "yes", "path": ""}
    )
    assert setup.push_config() == PushConfig(None, None, 22, None, False, None)
    respond(server, reply, {"host": "h", "port": True})
    assert setup.push_config() == PushConfig(None, "h", None, None, False, None)


def test_a_lone_surrogate_in_a_response_can_be_printed(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(server, reply, b'{"host": "\\ud800", "path": "/upload"}')
    found = setup.push_config()
    assert found is not None
    assert str(found.host).encode() == "\ufffd".encode()


def test_a_404_to_a_read_or_removal_means_none(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(server, reply, {"errorId": "x", "statusCode": "1404", "statusMessage": "not found"}, 404)
    assert setup.push_config() is None
    assert setup.delete_push_config() is False
    assert setup.webhooks() == []
    assert setup.unregister_webhook("VRU") is False
    assert [(ask.method, ask.path) for ask in server.received] == [
        ("GET", f"{ROUTE}/recording-push-config"),
        ("DELETE", f"{ROUTE}/recording-push-config"),
        ("GET", f"{ROUTE}/webhooks"),
        ("DELETE", f"{ROUTE}/webhooks/VRU"),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"<html>404 Not Found</html>", {"message": "no Route matched"}, {"code": 404, "message": "no"}]
)
def test_another_404_proves_nothing_about_the_account(
    server: Server, reply: Any, setup: AccountSetup, body: Any
) -> None:
    respond(server, reply, body, 404)
    for ask in (setup.push_config, setup.delete_push_config, setup.webhooks, lambda: setup.unregister_webhook("VRU")):
        with pytest.raises(UnavailableError, match=r"HTTP 404.* not .*8x8.*; check accounts\.api_url"):
            ask()


@pytest.mark.parametrize("body", ['{"statusCode": null}', '{"statusCode": 0, "statuscode": 0}', "{}"])
def test_a_success_without_content_or_status_code_0_does_not_mean_none(
    server: Server, reply: Any, setup: AccountSetup, body: str
) -> None:
    server.reply_with(reply(body=body))
    for ask in (setup.push_config, setup.webhooks):
        with pytest.raises(UnavailableError, match=r"check accounts\.api_url"):
            ask()


def test_a_404_to_a_change_is_a_rejection(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(server, reply, {"statusMessage": "Resource not found"}, 404)
    with pytest.raises(RejectedError, match="HTTP 404: Resource not found"):
        setup.set_push_config(**WANTED, password=PASSWORD)
    with pytest.raises(RejectedError, match="HTTP 404: Resource not found"):
        setup.register_webhook(type_="VRU", url="https://a.example", auth_header=None)


def test_an_empty_response_to_a_change_is_a_success(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(server, reply, b"", 204)
    setup.set_push_config(**WANTED, password=PASSWORD)
    assert setup.delete_push_config() is True
    assert json.loads(server.received[0].body) == {**WANTED, "password": PASSWORD}


@pytest.mark.parametrize("returned", [{"statusCode": 1001, "statusMessage": "no"}, {"statusCode": "1001"}])
def test_an_error_inside_a_200_is_a_rejection(server: Server, reply: Any, setup: AccountSetup, returned: Any) -> None:
    respond(server, reply, returned)
    with pytest.raises(RejectedError, match="1001"):
        setup.set_push_config(**WANTED, password=PASSWORD)


@pytest.mark.parametrize(
    "said",
    [
        f"Invalid password {PASSWORD}",
        f"Invalid password {json.dumps(PASSWORD)[1:-1]}",
        "x" * 190 + PASSWORD,
        "x" * 290 + PASSWORD,
    ],
)
@pytest.mark.parametrize("field", ["statusMessage", "message", "errorId", "statusCode"])
@pytest.mark.parametrize("status", [422, 200])
def test_an_echoed_password_is_hidden(
    server: Server, reply: Any, setup: AccountSetup, said: str, field: str, status: int
) -> None:
    respond(server, reply, {"statusCode": "1001", field: said, "password": PASSWORD}, status)
    with pytest.raises(RejectedError) as caught:
        setup.set_push_config(**WANTED, password=PASSWORD)
    for part in ("pässw", "p\\xe4ssw", "p\\u00e4ssw", "6591234567", "of push"):
        assert part not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_echoed_header_without_its_scheme_is_hidden(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(server, reply, {"statusMessage": "bad header t0ken-of-hook, Bearer t0ken-of-hook", "errorId": "e-1"}, 422)
    with pytest.raises(RejectedError, match="errorId e-1") as caught:
        setup.register_webhook(type_="VRU", url="https://a.example", auth_header="Bearer t0ken-of-hook")
    assert "t0ken" not in str(caught.value)


def test_attempts_are_limited(server: Server, reply: Any, make_client: Make, slept: list[float]) -> None:
    respond(server, reply, {"statusMessage": "down"}, 500)
    setup = make_client(deadline_s=100).setup
    with pytest.raises(UnavailableError, match=r"POST recording-push-config: HTTP 500 \(6 attempts\)"):
        setup.set_push_config(**WANTED, password=PASSWORD)
    assert len(server.received) == 6
    assert len(slept) == 5


def test_a_web_page_is_retried_and_then_reported(
    server: Server, reply: Any, make_client: Make, slept: list[float]
) -> None:
    server.reply_with(reply(200, b"<html>welcome</html>"))
    setup = make_client(deadline_s=100).setup
    with pytest.raises(
        UnavailableError, match=r"GET webhooks: the response is not a JSON object; check accounts.api_url"
    ):
        setup.webhooks()
    assert (len(server.received), len(slept)) == (6, 5)


@pytest.mark.parametrize("body", [{"webhooks": {"VRU": {}}, "statusCode": 0}, {"hello": 1}, {"webhooks": "none"}])
def test_an_unreadable_list_is_not_an_empty_one(server: Server, reply: Any, setup: AccountSetup, body: Any) -> None:
    respond(server, reply, body)
    with pytest.raises(UnavailableError, match="has no list of webhooks"):
        setup.webhooks()


def test_a_success_without_fields_means_none_and_another_object_does_not(
    server: Server, reply: Any, setup: AccountSetup
) -> None:
    respond(server, reply, {"subAccountId": "acme_sg", "statusCode": 0, "statusMessage": "ok"})
    assert setup.push_config() is None
    respond(server, reply, {"hello": 1})
    with pytest.raises(UnavailableError, match="has neither a push configuration nor status code 0"):
        setup.push_config()


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_costs_one_request(
    server: Server, reply: Any, setup: AccountSetup, key: str, status: int
) -> None:
    respond(server, reply, {}, status)
    for _ in range(3):
        with pytest.raises(AccessDeniedError) as caught:
            setup.webhooks()
        assert key not in str(caught.value)
    assert len(server.received) == 1


def test_a_change_does_not_follow_redirects(
    server: Server, other_server: Server, reply: Any, setup: AccountSetup
) -> None:
    server.reply_with(reply(307, headers={"Location": f"{other_server.url}/elsewhere"}))
    with pytest.raises(UnavailableError, match="redirect that is not followed"):
        setup.set_push_config(**WANTED, password=PASSWORD)
    assert other_server.received == []


def test_webhooks_are_read_with_enabled_or_active(server: Server, reply: Any, setup: AccountSetup) -> None:
    url = "https://hooks.example/x"
    hooks: list[Any] = [
        {"type": "VSS", "url": url, "active": False, "httpAuthHeaderAvailable": True, "id": 1},
        {"type": "vru", "url": url, "enabled": True},
        {"type": "VCA"},
        {"type": "VCS", "url": url, "enabled": "False", "httpAuthHeaderAvailable": "true"},
        "nonsense",
    ]
    respond(server, reply, {"count": 9, "webhooks": hooks, "statusCode": "0"})
    assert setup.webhooks() == [
        WebhookRegistration("VCA", "", True, False),
        WebhookRegistration("VCS", url, False, True),
        WebhookRegistration("VRU", url, True, False),
        WebhookRegistration("VSS", url, False, True),
    ]
    respond(server, reply, {"webhooks": None, "statusCode": 0})
    assert setup.webhooks() == []


def test_a_webhook_is_registered_without_a_header(server: Server, reply: Any, setup: AccountSetup) -> None:
    respond(server, reply, {"statusCode": 0, "webhooks": []})
    wanted = WebhookSettings(url="https://hooks.example/x/")
    drift = register_webhooks(setup, wanted)
    assert [json.loads(ask.body) for ask in server.received if ask.method == "POST"] == [
        {"type": type_, "url": wanted.url, "enabled": True} for type_ in ("VRU", "VSS")
    ]
    assert [hook.problems for hook in drift] == [("not registered",), ("not registered",)]


def push(**more: Any) -> PushSettings:
    return PushSettings(**{**WANTED, "password": {"env": "PUSH"}, **more})


@pytest.mark.parametrize(
    ("setting", "at_8x8", "differing"),
    [
        ("protocol", "sftp", False),
        ("protocol", "S3", True),
        ("host", "203.0.113.8", True),
        ("port", 2222, True),
        ("port", None, True),
        ("username", "Push", True),
        ("path", "/upload/", False),
        ("path", "/Upload", True),
        ("path", None, True),
    ],
)
def test_only_values_with_another_meaning_differ(setting: str, at_8x8: Any, differing: bool) -> None:
    found = PushConfig(**{**WANTED, "password_set": True, setting: at_8x8})
    differences = push_differences(push(), found)
    assert differs(differences) is differing
    assert [d.setting for d in differences if d.differs] == ([setting] if differing else [])
    assert [d.setting for d in differences] == ["protocol", "host", "port", "username", "path", "password"]


def test_a_password_is_either_absent_or_unknown() -> None:
    assert push_differences(push(), PushConfig(**WANTED, password_set=True))[-1].differs is None
    assert push_differences(push(), PushConfig(**WANTED, password_set=False))[-1].differs is True
    assert all(difference.differs for difference in push_differences(push(), None))


URL = "https://hooks.example/webhooks/acme_sg"


@pytest.mark.parametrize(
    ("hook", "header", "problems"),
    [
        (WebhookRegistration("VRU", URL, True, True), True, ()),
        (WebhookRegistration("VRU", URL + "/", True, True), True, ()),
        (WebhookRegistration("VRU", "https://other.example", True, True), True, (f"sent to another URL than {URL}",)),
        (WebhookRegistration("VRU", URL, False, True), True, ("disabled",)),
        (WebhookRegistration("VRU", URL, True, False), True, ("has no auth header",)),
        (
            WebhookRegistration("VRU", URL, True, True),
            False,
            ("has an auth header, but accounts.webhooks has none",),
        ),
    ],
)
def test_drift_is_described(hook: WebhookRegistration, header: bool, problems: tuple[str, ...]) -> None:
    wanted = WebhookSettings(url=URL, auth_header=Secret(env="HOOK") if header else None)
    (drift,) = webhook_drift(wanted, [hook], types=["VRU"])
    assert (drift.ours, drift.problems) == (True, problems)


def test_a_webhook_of_another_type_has_no_problems() -> None:
    hook = WebhookRegistration("VRU", "https://other.example", False, False)
    (drift,) = webhook_drift(None, [hook])
    assert (drift.ours, drift.problems) == (False, ())
