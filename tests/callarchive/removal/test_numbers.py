"""Erasure by phone number: which calls are found, and that the number itself is written nowhere."""

from collections.abc import Callable
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import ConfigurationError
from callarchive.removal.numbers import DroppedNumbersError, places_of_number
from callarchive.simulator.running import DEMO_ACCOUNTS

Start = Callable[..., Any]
KEEP = 'phone_numbers = "keep"'
HASH = 'phone_numbers = "hash"\nphone_hash_key = { env = "HASH_KEY" }'


def started(start_trial: Start, monkeypatch: pytest.MonkeyPatch, **numbers: str) -> Any:
    """Archive a day with these settings for phone numbers by account."""
    monkeypatch.setenv("HASH_KEY", "secret of the tests")
    trial = start_trial(sessions_per_day=5, accounts=DEMO_ACCOUNTS[: len(numbers)])
    text = trial.config.read_text()
    for account, setting in numbers.items():
        line = f'subaccount_id = "{account}"'
        assert line in text
        text = text.replace(line, f"{line}\n{setting}")
    trial.config.write_text(text)
    trial.archive()
    return trial


def calls_of(trial: Any, account: str) -> Any:
    return [one for one in trial.simulator.world.sessions if one.subaccount_id == account and one.legs]


@pytest.mark.parametrize("setting", [KEEP, HASH], ids=["kept", "hashed"])
def test_the_calls_of_both_ends_of_every_leg_are_found_however_the_number_is_written(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    trial = started(start_trial, monkeypatch, demo_s3=setting)
    with trial.connections() as connections:
        for call in calls_of(trial, "demo_s3"):
            for digits in {number.digits for leg in call.legs for number in (leg.source, leg.destination)}:
                expected = {
                    one.session_id
                    for one in calls_of(trial, "demo_s3")
                    for leg in one.legs
                    if digits in (leg.source.digits, leg.destination.digits)
                }
                for written in (digits, f"+{digits[:2]} {digits[2:6]}-{digits[6:]}", f"00{digits}"):
                    assert {one.session_id for one in places_of_number(connections, written)} == expected
        assert places_of_number(connections, "+19995550123") == set()


def test_accounts_that_drop_numbers_are_named_with_the_next_step(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = started(start_trial, monkeypatch, demo_s3=KEEP, demo_sftp="")
    with trial.connections() as connections:
        with pytest.raises(DroppedNumbersError, match=r"demo_sftp: .* add --account demo_s3 .* --session") as refused:
            places_of_number(connections, "+6561234567")
        assert "6561234567" not in str(refused.value)
        assert places_of_number(connections, "+6561234567", account="demo_s3") == set()
        with pytest.raises(ConfigurationError, match="no account other"):
            places_of_number(connections, "+6561234567", account="other")


def test_an_amount_or_a_part_of_an_id_is_no_number(start_trial: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = started(start_trial, monkeypatch, demo_s3=KEEP)
    catalog = Catalog.open(trial.config.parent / "catalog")
    sizes = catalog.arrow(schemas.RECORDINGS)["size_bytes"].drop_null().to_pylist()
    with trial.connections() as connections:
        for size in sizes:
            assert places_of_number(connections, str(size)) == set()


def test_the_number_that_was_erased_is_nowhere(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, places_with: Any, document: Any
) -> None:
    trial = started(start_trial, monkeypatch, demo_s3=KEEP)
    call = calls_of(trial, "demo_s3")[0]
    digits = call.legs[0].source.digits
    folder = trial.config.parent
    assert places_with(folder / "catalog", [digits])
    words = ("--number", f"+{digits}", "--reason", f"asked by +{digits} and {digits}", "--json")
    planned = trial.run("erase", *words, "--dry-run")
    assert document(planned)["would_erase"]
    done = trial.run("erase", *words)
    erased = {one for item in document(done)["erased"] for one in item["session_ids"]}
    assert call.session_id in erased
    assert not places_with(folder / "catalog", [digits])
    assert not places_with(folder / "archive", [digits])
    assert digits not in done.stdout + done.stderr + planned.stdout + planned.stderr
    assert trial.run("verify").returncode == 0
