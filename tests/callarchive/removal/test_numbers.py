"""Erasure by phone number: which calls are found, and that the number itself is written nowhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import ConfigurationError
from callarchive.removal.numbers import DroppedNumbersError, places_of_number
from callarchive.removal.search import Place
from callarchive.simulator.running import DEMO_ACCOUNTS

Start = Callable[..., Any]
KEEP = 'phone_numbers = "keep"'
IN_DEMO_S3 = 'subaccount_id = "demo_s3"'
HASH = 'phone_numbers = "hash"\nphone_hash_key = { env = "HASH_KEY" }'


def started(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, *, days: int = 1, sessions_per_day: int = 5, **numbers: str
) -> Any:
    """Archive days with these settings for phone numbers by account."""
    monkeypatch.setenv("HASH_KEY", "secret of the tests")
    trial = start_trial(days=days, sessions_per_day=sessions_per_day, accounts=DEMO_ACCOUNTS[: len(numbers)])
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


def test_a_call_that_only_a_neighbours_call_log_has_is_held_and_erased_on_its_own_day(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, document: Any
) -> None:
    trial = started(start_trial, monkeypatch, days=2, sessions_per_day=12, demo_s3="")
    first, second = trial.days
    trial.config.write_text(trial.config.read_text().replace(IN_DEMO_S3, f"{IN_DEMO_S3}\n{KEEP}"))
    trial.archive(first)  # its call log has calls of the second day, whose numbers were dropped
    recordings = {
        one["session_id"]: one
        for one in trial.tables()["recordings"]
        if one["archive_status"] == "archived" and one["call_date"] == second
    }
    with trial.connections() as connections:
        call, digits = next(
            (one, one.legs[0].source.digits)
            for one in calls_of(trial, "demo_s3")
            if one.session_id in recordings
            and Place("demo_s3", first, one.session_id) in places_of_number(connections, one.legs[0].source.digits)
        )
    row = recordings[call.session_id]
    file = Path(row["archive_uri"].removeprefix("file://"))
    words = ("--number", digits, "--reason", "case 17")
    day = ("--from", str(second), "--to", str(second))
    for scope in (("--recording", row["recording_id"]), ("--account", "demo_s3", *day)):
        hold = document(trial.run("hold", "add", *scope, "--reason", "case 18", "--json"))["hold_id"]
        for more in ((), ("--dry-run",)):
            assert trial.run("erase", *words, *more).returncode == 3
        assert file.exists()
        document(trial.run("hold", "release", hold, "--json"))
    done = document(trial.run("erase", *words, "--json"))
    of_call = [one for one in done["erased"] if call.session_id in one["session_ids"]]
    assert [one["call_date"] for one in of_call] == [str(second)]
    assert row["recording_id"] in of_call[0]["recording_ids"]
    assert not file.exists()
    assert any(f"no phone numbers are kept of {second}" in text for text in done["out_of_reach"])
    assert not any(f"no phone numbers are kept of {first}" in text for text in done["out_of_reach"])
    assert trial.run("verify").returncode == 0
