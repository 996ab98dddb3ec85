"""`callarchive hold`: adding, listing and releasing holds, also of what is not archived, and after tampering."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from callarchive.archiving.connections import Connections
from callarchive.archiving.held_files import hold_new_files
from callarchive.catalog import schemas
from callarchive.custody.erasures import Erasure
from callarchive.custody.holds import Item
from callarchive.domain.errors import StoreError
from callarchive.ledger.notes import SigningKey
from callarchive.removal.holds import holds_in_force
from callarchive.runtime.users import current_user
from callarchive.settings import load_settings
from callarchive.storage.stores.s3 import S3Store

Run = Callable[..., tuple[int, str, str]]
SESSION, RECORDING = "e35e3d0e-065a-41ec-b119-676cb2bc33e0", "a35e3d0e-065a-41ec-b119-676cb2bc33e0"
DAY = date(2026, 11, 3)
ERASURE = Erasure(
    erasure_id="erasure-abcdefgh",
    subaccount_id="acme_one",
    call_date=DAY,
    reason="request 12",
    by="ann",
    session_ids=frozenset([SESSION]),
    recording_ids=frozenset([RECORDING]),
)


@pytest.fixture
def archived(recorded: Any) -> Any:
    recorded.call(SESSION, datetime(2026, 11, 3, 9, tzinfo=UTC), {"data": b"audio"})
    return recorded


def connections(recorded: Any) -> Connections:
    return Connections(load_settings(recorded.config))


def configure(recorded: Any, text: str) -> None:
    recorded.config.write_text(recorded.config.read_text().replace("\n[[accounts]]", f"\n{text}\n\n[[accounts]]"))


def entries(recorded: Any, *names: str) -> list[dict[str, Any]]:
    batches = connections(recorded).ledger.batches()
    found = [json.loads(line) for batch in batches for line in batch.lines]
    return [entry for entry in found if entry["event"].startswith(names or ("hold_",))]


def add(run: Run, *options: str) -> dict[str, Any]:
    code, out, err = run("hold", "add", *(options or ("--session", SESSION)), "--reason", "case 17", "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def listed(run: Run, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("hold", "list", "--json", *options)[1])["holds"]
    return found


def folder_of(recorded: Any, hold_id: str) -> Path:
    return Path(recorded.config).parent / "archive" / "_holds" / hold_id


def is_held(recorded: Any) -> bool:
    item = Item("acme_one", DAY, SESSION, RECORDING)
    with connections(recorded) as opened:
        return any(hold.scope.covers(item) for hold in holds_in_force(opened))


@pytest.mark.parametrize(
    ("options", "covers"),
    [
        (("--session", SESSION.upper()), f"session {SESSION}"),
        (("--session", f"{{{SESSION.replace('-', '')}}}"), f"session {SESSION}"),
        (("--recording", f" {RECORDING},"), f"recording {RECORDING}"),
        (("--account", "acme_one"), "account acme_one, all days"),
        (("--account", "acme_one", "--from", "2026-11-01", "--to", "2026-11-03"), "2026-11-01 to 2026-11-03"),
    ],
    ids=["upper case", "braces", "spreadsheet", "account", "range"],
)
def test_a_hold_is_in_force_until_it_is_released(archived: Any, run_here: Run, options: Any, covers: str) -> None:
    code, out, err = run_here("hold", "add", *options, "--reason", "case 17")
    hold_id = out.partition(":")[0]
    assert (code, err) == (0, "")
    assert covers in out
    assert f"callarchive hold release {hold_id}" in out
    assert is_held(archived)
    code, out, _ = run_here("hold", "release", hold_id, "--reason", "case closed")
    assert code == 0
    assert f"{hold_id}: " in out
    assert not is_held(archived)
    assert listed(run_here) == []
    [kept] = listed(run_here, "--all")
    assert (kept["state"], kept["released"]["by"]) == ("released", current_user())


def test_the_ledger_has_who_and_why_without_the_session_id(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here, "--session", SESSION, "--by", "Ann  Lee")["hold_id"]
    run_here("hold", "release", hold_id, "--reason", "closed", "--by", "Bob")
    added, released = entries(archived)
    assert added | {"at": ""} == {
        "at": "",
        "event": "hold_added",
        "hold": hold_id,
        "kind": "session",
        "session_hash": added["session_hash"],
        "reason": "case 17",
        "by": "Ann Lee",
        "user": current_user(),
    }
    assert len(added["session_hash"]) == 64
    assert (released["event"], released["hold"], released["by"]) == ("hold_released", hold_id, "Bob")
    assert released["reason"] == "closed"
    assert entries(archived, "started")  # what was archived before is taken in first


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--session", SESSION), 2, "--reason"),
        (("--session", SESSION, "--reason", " "), 2, "--reason"),
        (("--session", SESSION, "--reason", f"see {SESSION}"), 2, "stays in the ledger"),
        (("--session", SESSION, "--reason", "x", "--by", ""), 2, "--by"),
        (("--reason", "x"), 2, "give one of them"),
        (("--session", SESSION, "--recording", RECORDING, "--reason", "x"), 2, "give one of them"),
        (("--session", SESSION, "--from", "2026-11-01", "--reason", "x"), 2, "a recording is held whole"),
        (("--session", "1234", "--reason", "x"), 2, "is not a session or recording id"),
        (("--session", RECORDING, "--reason", "x"), 2, f"it is no session, but recording {RECORDING}"),
        (("--recording", SESSION, "--reason", "x"), 2, f"it is no recording, but session {SESSION}"),
        (("--account", "acme_onne", "--reason", "x"), 2, "did you mean acme_one"),
        (("--account", "acme_one", "--from", "2026-11-02", "--to", "2026-11-01", "--reason", "x"), 2, "is after"),
    ],
    ids=[
        "no reason",
        "empty reason",
        "id in reason",
        "empty name",
        "nothing",
        "both",
        "days of a session",
        "no id",
        "recording as session",
        "session as recording",
        "no account",
        "order",
    ],
)
def test_what_is_no_hold_is_refused(archived: Any, run_here: Run, words: Any, code: int, message: str) -> None:
    found, out, err = run_here("hold", "add", *words)
    assert (found, out) == (code, "")
    assert message in err
    assert not folder_of(archived, "").exists()


def test_a_phone_number_in_the_reason_is_masked_and_shown(archived: Any, run_here: Run) -> None:
    code, _, err = run_here("hold", "add", "--session", SESSION, "--reason", "call of +65 6123 4567")
    assert code == 0
    assert "the reason is kept as: call of ***" in err
    assert "6123" not in json.dumps(entries(archived))


def test_what_is_not_archived_yet_can_be_held(archived: Any, run_here: Run) -> None:
    other = f"{SESSION[:-1]}f"
    assert add(run_here, "--session", other)["notes"] == [
        f"nothing of session {other} is archived yet: what arrives later is held"
    ]
    assert add(run_here, "--account", "acme_one", "--from", "2030-01-01")["notes"] != []
    assert add(run_here, "--session", SESSION)["notes"] == []
    assert add(run_here, "--recording", RECORDING)["notes"] == []
    assert add(run_here, "--account", "acme_one")["notes"] == []


def test_the_same_command_completes_a_killed_one(archived: Any, run_here: Run) -> None:
    with connections(archived) as opened:  # killed between the archive and the ledger
        from callarchive.custody.holds import Scope

        hold = opened.holds.add(Scope(session_id=SESSION), reason="case 17", by=current_user(), at=opened.clock())
    assert is_held(archived)
    code, _, err = run_here("hold", "list")
    assert code == 1
    assert f"{hold.hold_id}: the ledger has no entry of it" in err
    assert add(run_here)["hold_id"] == hold.hold_id
    assert add(run_here)["hold_id"] == hold.hold_id
    assert len(entries(archived)) == len(listed(run_here)) == 1
    assert run_here("hold", "add", "--session", SESSION, "--reason", "case 18")[0] == 0
    assert len(listed(run_here)) == 2


def test_a_hold_whose_addition_was_killed_before_its_object_blocks_nothing(archived: Any, run_here: Run) -> None:
    left = folder_of(archived, "hold-abcdefgh") / ".0123456789abcdef.part"
    left.parent.mkdir(parents=True)
    left.write_text(f'{{"session_id": "{SESSION}"}}')
    assert run_here("hold", "list")[0] == 0
    assert run_here("hold", "release", add(run_here)["hold_id"])[0] == 0
    with connections(archived) as opened:
        assert holds_in_force(opened) == []
        opened.holds.forget_sessions([SESSION])
    assert not left.exists()


def test_a_hold_may_be_added_beside_one_that_cannot_be_read(archived: Any, run_here: Run) -> None:
    damaged = folder_of(archived, "hold-abcdefgh") / "hold.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    assert add(run_here)["hold_id"] != "hold-abcdefgh"


@pytest.mark.parametrize(
    ("old", "new"), [(SESSION, f"{SESSION[:-1]}f"), ("case 17", "case 99"), ('"by": "', '"by": "x')]
)
def test_the_same_command_restores_an_edited_hold(archived: Any, run_here: Run, old: str, new: str) -> None:
    hold_id = add(run_here)["hold_id"]
    file = folder_of(archived, hold_id) / "hold.json"
    file.write_text(file.read_text().replace(old, new))
    assert run_here("hold", "list")[0] == 1
    assert add(run_here)["hold_id"] == hold_id
    assert run_here("hold", "list")[0] == 0
    assert len(entries(archived)) == len(listed(run_here)) == 1


def test_a_release_that_was_killed_is_completed(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here)["hold_id"]
    with connections(archived) as opened:
        opened.recorder.record({"event": "hold_released", "hold": hold_id, "by": "ann"})
    assert is_held(archived)
    assert "callarchive hold release" in run_here("hold", "list")[2]
    assert run_here("hold", "release", hold_id)[0] == 0
    assert not is_held(archived)
    assert [entry["event"] for entry in entries(archived)] == ["hold_added", "hold_released"]
    assert listed(run_here, "--all")[0]["released"]["by"] == "ann"


def test_unknown_and_released_holds_are_named(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here)["hold_id"]
    code, _, err = run_here("hold", "release", f"{hold_id}x")
    assert (code, f"did you mean {hold_id}?" in err) == (2, True)
    assert run_here("hold", "release", hold_id)[0] == 0
    code, _, err = run_here("hold", "release", hold_id)
    assert code == 1
    assert f"{hold_id} was released on" in err
    assert f"by {current_user()}" in err


def test_two_people_release_a_hold(archived: Any, run_here: Run) -> None:
    configure(archived, "[holds]\ntwo_releasers = true")
    hold_id = add(run_here)["hold_id"]
    code, out, _ = run_here("hold", "release", hold_id, "--by", "Ann")
    assert code == 0
    assert f"callarchive hold release {hold_id} --by NAME" in out
    assert listed(run_here)[0]["state"] == "release requested"
    for same in ("Ann", "ann ", " ANN", "\uff21nn"):
        code, _, err = run_here("hold", "release", hold_id, "--by", same)
        assert code == 3
        assert "another person must confirm it" in err
    assert is_held(archived)
    assert run_here("hold", "release", hold_id, "--by", "Bob")[0] == 0
    assert not is_held(archived)
    events = [(entry["event"], entry["by"]) for entry in entries(archived)]
    assert events[1:] == [("hold_release_requested", "Ann"), ("hold_released", "Bob")]


@pytest.mark.parametrize("name", ["hold.json", ""], ids=["object", "folder"])
def test_removing_a_hold_does_not_end_it(archived: Any, run_here: Run, name: str) -> None:
    hold_id = add(run_here)["hold_id"]
    path = folder_of(archived, hold_id) / name
    path.unlink() if name else shutil.rmtree(path)
    assert is_held(archived)
    code, out, err = run_here("hold", "list", "--json")
    assert code == 1
    assert json.loads(out)["holds"][0]["hold_id"] == hold_id
    assert f"hold {hold_id}: its object is gone, but the ledger has it" in err
    assert add(run_here)["hold_id"] == hold_id  # the same command restores it
    assert listed(run_here)[0]["session_id"] == SESSION
    assert run_here("hold", "list")[0] == 0


def test_editing_or_releasing_a_hold_by_hand_does_not_end_it(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here)["hold_id"]
    kept = folder_of(archived, hold_id) / "hold.json"
    whole = kept.read_text()
    kept.write_text(whole.replace(SESSION, RECORDING))
    assert is_held(archived)
    assert "session_hash is" in run_here("hold", "list")[2]
    kept.write_text("{")
    assert is_held(archived)
    kept.write_text(whole)
    (kept.parent / "release.json").write_text('{"by": "mallory", "at": "2026-11-30T12:00:00+00:00"}')
    assert is_held(archived)
    code, _, err = run_here("hold", "list")
    assert code == 1
    assert "released by mallory in the archive, but the ledger has no release" in err
    assert run_here("hold", "release", hold_id)[0] == 0
    assert not is_held(archived)
    assert listed(run_here, "--all")[0]["released"]["by"] == current_user()


def test_holds_survive_the_loss_of_the_catalog(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here)["hold_id"]
    shutil.rmtree(archived.config.parent / "catalog")
    assert [hold["hold_id"] for hold in listed(run_here)] == [hold_id]
    assert is_held(archived)


def test_a_hold_says_what_it_is_too_late_for(archived: Any, run_here: Run) -> None:
    with connections(archived) as opened:
        opened.register.begin(ERASURE)
        opened.register.add(ERASURE)
        assert "was begun and has deleted nothing" in add(run_here)["notes"][-1]
        opened.register.begin(replace(ERASURE, deleting=True))
        for options in (("--session", SESSION), ("--recording", RECORDING), ("--account", "acme_one")):
            assert f"too late for {ERASURE.erasure_id}" in add(run_here, *options)["notes"][-1]
        opened.register.complete(ERASURE)
        for options in (("--session", SESSION), ("--recording", RECORDING), ("--account", "acme_one")):
            assert "too late for what was erased before of" in add(run_here, *options)["notes"][-1]
        assert add(run_here, "--account", "acme_one", "--from", "2026-11-04")["notes"][1:] == []


def test_a_hold_stands_where_the_ledger_cannot_be_signed(archived: Any, run_here: Run) -> None:
    key = SigningKey.generate("callarchive")
    (archived.config.parent / "key").write_text(key.private_text())
    configure(archived, '[ledger]\nsigning_key = { file = "key" }')
    with connections(archived) as opened:
        opened.recorder.start()
    archived.config.write_text(archived.config.read_text().replace("signing_key", f'public_keys = ["{key.public}"] #'))
    code, _, err = run_here("hold", "add", "--session", SESSION, "--reason", "case 17")
    assert code == 1
    assert (
        "is in force, but the ledger does not have it: the ledger is signed, and ledger.signing_key is not set" in err
    )
    assert is_held(archived)


def test_erased_sessions_are_forgotten_in_holds(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here)["hold_id"]
    with connections(archived) as opened:
        opened.holds.forget_sessions([SESSION])
    assert SESSION not in (folder_of(archived, hold_id) / "hold.json").read_text()
    assert run_here("hold", "list")[0] == 0
    assert is_held(archived)


def held_objects(recorded: Any, boto: Any) -> set[str]:
    """The keys of the archived objects whose versions all have the legal hold of S3."""
    bucket = recorded.archive.url.split("/")[2]
    found: dict[str, set[str]] = {}
    for version in boto.list_object_versions(Bucket=bucket, Prefix="archive/acme_one/").get("Versions", ()):
        place = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        found.setdefault(version["Key"], set()).add(boto.head_object(**place).get("ObjectLockLegalHoldStatus", "OFF"))
    return {key.removeprefix("archive/") for key, states in found.items() if states == {"ON"}}


@pytest.mark.parametrize("recorded", ["s3-locked"], indirect=True)
def test_objects_have_the_legal_hold_of_s3_while_a_hold_covers_them(archived: Any, run_here: Run, boto: Any) -> None:
    other = f"{SESSION[:-1]}f"
    archived.call(other, datetime(2026, 11, 3, 10, tzinfo=UTC), {"data": b"other"})
    mine, its = (archived.path(session, day="2026-11-03") for session in (SESSION, other))
    archived.archive.replace(mine, b"a second version of the object")
    session, whole = add(run_here)["hold_id"], add(run_here, "--account", "acme_one")["hold_id"]
    assert held_objects(archived, boto) == {mine, its}
    assert run_here("hold", "release", whole)[0] == 0
    assert held_objects(archived, boto) == {mine}
    assert run_here("hold", "release", session)[0] == 0
    assert held_objects(archived, boto) == set()


@pytest.mark.parametrize("recorded", ["s3-locked"], indirect=True)
def test_what_a_later_run_archives_under_a_hold_gets_the_legal_hold_of_s3(
    archived: Any, run_here: Run, boto: Any
) -> None:
    later = f"{SESSION[:-1]}f"
    add(run_here, "--session", later)
    archived.archive.create(path := archived.path(later, day="2026-11-03"), b"later")
    with connections(archived) as opened:
        known = opened.catalog.partition(schemas.RECORDING_FILES, DAY)
        row = known.to_pylist()[0] | {"session_id": later, "recording_id": f"a{later[1:]}", "archive_path": path}
        files = pa.concat_tables([known, pa.Table.from_pylist([row], schema=known.schema)])
        hold_new_files(opened.archive.store, opened.catalog, DAY, [files])
    assert held_objects(archived, boto) == {path}


@pytest.mark.parametrize("recorded", ["s3-locked"], indirect=True)
def test_a_hold_stands_if_s3_refuses_its_own(archived: Any, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("S3 refuses")

    monkeypatch.setattr(S3Store, "set_legal_hold", refuse)
    code, out, err = run_here("hold", "add", "--session", SESSION, "--reason", "case 17")
    assert code == 1
    hold_id = out.partition(":")[0]
    assert f"{hold_id} is in force, but the legal hold of 1 object in S3 was not set: S3 refuses" in err
    assert is_held(archived)
    code, out, err = run_here("hold", "release", hold_id)
    assert code == 1
    assert f"{hold_id} is released, but the legal hold of 1 object in S3 was not released" in err


def test_find_shows_the_holds_on_a_session(archived: Any, run_here: Run) -> None:
    hold_id = add(run_here, "--recording", RECORDING)["hold_id"]
    add(run_here, "--session", f"{SESSION[:-1]}f")
    code, out, _ = run_here("find", SESSION)
    assert code == 0
    assert f"Held by {hold_id} (recording {RECORDING}): case 17" in out
    document = json.loads(run_here("find", RECORDING, "--json")[1])
    assert [hold["hold_id"] for hold in document["found"][0]["holds"]] == [hold_id]
    (folder_of(archived, hold_id) / "hold.json").write_text("{")
    assert "warning: whether a hold covers it is not known: " in run_here("find", SESSION)[2]
