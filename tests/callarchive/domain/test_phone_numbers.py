"""Phone numbers anywhere in a payload are dropped, hashed or kept as the account says."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from callarchive.domain.errors import ConfigurationError
from callarchive.domain.phone_numbers import mask_json, phone_number_mask
from callarchive.settings import AccountSettings

NUMBER = "+65 6123-4567"


def account(phone_numbers: str, **more: object) -> AccountSettings:
    return AccountSettings.model_validate(
        {
            "subaccount_id": "acme_sg",
            "api_key": {"env": "ACME_SG_API_KEY"},
            "landing": "s3://acme-recordings",
            "session_sources": [{"kind": "log_export"}],
            "phone_numbers": phone_numbers,
            **more,
        }
    )


@pytest.fixture
def hashing(tmp_path: Path) -> AccountSettings:
    """An account whose numbers are hashed with the key `pepper`."""
    (tmp_path / "key").write_text("pepper\n", encoding="utf-8")
    return account("hash", phone_hash_key={"file": str(tmp_path / "key")})


def test_a_dropped_number_is_none() -> None:
    assert phone_number_mask(account("drop"))(NUMBER) is None
    assert phone_number_mask(account("drop"))(None) is None


def test_a_kept_number_is_unchanged() -> None:
    mask = phone_number_mask(account("keep"))
    assert (mask(NUMBER), mask(""), mask(None)) == (NUMBER, None, None)


def test_a_hashed_number_is_the_keyed_hash_of_its_digits(hashing: AccountSettings) -> None:
    mask = phone_number_mask(hashing)
    expected = hmac.new(b"pepper", b"6561234567", hashlib.sha256).hexdigest()[:32]
    assert mask(NUMBER) == mask("6561234567") == mask("(65) 61 23 45 67") == f"hmac-sha256:{expected}"
    assert mask("6561234568") != mask("6561234567")
    assert (mask(""), mask(None), mask("anonymous")) == (None, None, None)


def test_a_hash_without_its_key_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        phone_number_mask(account("hash", phone_hash_key={"file": str(tmp_path / "absent")}))


EVENT = {
    "eventType": "SESSION_SUMMARY",
    "payload": {
        "sessionId": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "callCount": 2,
        "details": {
            "callA": {"callId": "x", "source": "6561234567", "destination": 6561234567, "callDuration": 12},
            "callB": {"sourceMsisdn": "6561234567", "legs": [{"to": "+6561234567"}]},
        },
        "phoneNumbers": ["6561234567", 6561234567, {"value": "6561234567"}],
        "caller": {"display": "6561234567", "tries": [["6561234567"]]},
        "endpoint": 6561234567.0,
        "from": True,
        "number": None,
    },
}


def test_no_number_is_left_anywhere_in_a_masked_event() -> None:
    masked = mask_json(EVENT, phone_number_mask(account("drop")))
    assert "61234567" not in json.dumps(masked)


def test_everything_else_is_left_in_a_masked_event() -> None:
    before = json.dumps(EVENT)
    payload = mask_json(EVENT, phone_number_mask(account("drop")))["payload"]
    assert payload["sessionId"] == "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    assert payload["callCount"] == 2
    assert payload["details"]["callA"] == {"callId": "x", "source": None, "destination": None, "callDuration": 12}
    assert (payload["from"], payload["number"]) == (True, None)
    assert json.dumps(EVENT) == before, "the event itself is unchanged"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("startTime", "2026-01-05T10:00:00.123456+08:00"),
        ("endTime", "2026-01-05 10:00:00.123456789 +0800"),
        (
            "filePath",
            "upload/1234/20260105/f81d4fae-7dec-11d0-a765-00a0c91e6bf6/x_2026-01-05T10:00:00.123456+08:00.mp3",
        ),
    ],
)
def test_times_and_file_paths_are_unchanged_however_many_digits_they_have(name: str, text: str) -> None:
    mask = phone_number_mask(account("drop"))
    assert mask_json({"payload": {name: text}}, mask) == {"payload": {name: text}}
    assert "61234567" not in mask_json({"note": f"{text} 6561234567"}, mask)["note"]
    assert mask_json({"startTime": "6561234567"}, mask) == {"startTime": "***"}


def test_all_spellings_in_an_event_become_one_hash(hashing: AccountSettings) -> None:
    mask = phone_number_mask(hashing)
    payload = mask_json(EVENT, mask)["payload"]
    call_a, call_b = payload["details"]["callA"], payload["details"]["callB"]
    assert (
        call_a["source"] == call_a["destination"] == call_b["sourceMsisdn"] == call_b["legs"][0]["to"] == mask(NUMBER)
    )
    assert payload["phoneNumbers"][:2] == [mask(NUMBER)] * 2
    assert payload["endpoint"] == mask(NUMBER)
