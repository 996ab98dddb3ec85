"""`callarchive evidence`, and a stranger who checks what it wrote with the commands of its page and nothing else."""

import hashlib
import json
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import geteuid
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import pyarrow.parquet as pq
import pytest

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.ledger.batches import Batch
from callarchive.ledger.notes import Checkpoint, SigningKey
from callarchive.settings import load_settings
from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.running import DEMO_ACCOUNTS

PROGRAMS = ("base64", "cat", "cut", "head", "openssl", "sha256sum", "tail")
OTHER_KEY = SigningKey("callarchive", bytes(32))
SESSION, CALLED = "e35e3d0e-065a-41ec-b119-676cb2bc33e0", "e35e3d0e-065a-41ec-b119-676cb2bc33e1"
AT = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
SIGNED = """\
[ledger]
signing_key = { file = "ledger.key" }
[ledger.anchor]
url = "anchor"
"""
Run = Callable[..., tuple[int, str, str]]


@dataclass
class Stranger:
    """A person with a folder and the programs that the page names."""

    folder: Path

    def unpack(self, file: Path) -> Path:
        """Unpack the file into an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "bin").mkdir(parents=True)
        for name in PROGRAMS:
            (self.folder / "bin" / name).symlink_to(shutil.which(name) or name)
        unpacked = self.folder / "unpacked"
        with ZipFile(file) as bundle:
            bundle.extractall(unpacked)
        return unpacked

    def check(self, shell: str = "sh") -> tuple[bool, str]:
        """Run the commands of the page, and return whether all succeeded, and what they printed."""
        unpacked = self.folder / "unpacked"
        lines = (unpacked / "how-to-check.txt").read_text().splitlines()
        script = "\n".join(line[4:] for line in lines if line.startswith("    "))
        command = [shutil.which(shell) or shell, "-e", "-c", script]
        done = subprocess.run(
            command, cwd=unpacked, env={"PATH": str(self.folder / "bin")}, capture_output=True, text=True, check=False
        )
        return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    return Stranger(tmp_path / "stranger")


@pytest.fixture(scope="module")
def trial(start_shared_trial: Callable[..., Any]) -> Any:
    """An archived day with a signed and anchored ledger, phone numbers, and a recording in two versions."""
    trial = start_shared_trial(sessions_per_day=4, accounts=DEMO_ACCOUNTS[:1])
    made = trial.run("ledger", "keygen", "--output", str(trial.config.parent / "ledger.key"))
    assert made.returncode == 0, made.stderr
    trial.public_key = made.stdout.strip()
    trial.configure(SIGNED)
    configured(
        trial, trial.config.name, 'subaccount_id = "demo_s3"', 'subaccount_id = "demo_s3"\nphone_numbers = "keep"'
    )
    trial.archive()
    trial.kept, changed, *_ = [row for row in trial.tables()["recordings"] if row["archive_status"] == "archived"]
    path = changed["source_uri"].removeprefix("s3://demo-recordings/my-recordings-path/")
    other = make_recording(shape=SHAPES[0], duration_s=33.0, seed=99)
    trial.simulator.s3.put(trial.simulator.world.accounts[0], path, other)
    trial.archive()
    [trial.changed] = [r for r in trial.tables()["recordings"] if r["recording_id"] == changed["recording_id"]]
    trial.bundle = write(trial, trial.kept["recording_id"])
    return trial


def configured(trial: Any, name: str, *changes: str) -> Path:
    """Write the configuration with changes, each an old and a new text, into another file, and return its path."""
    text = trial.config.read_text()
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    path: Path = trial.config.with_name(name)
    path.write_text(text)
    return path


def evidence(trial: Any, wanted: str, file: Path, *options: str, config: Path | None = None) -> Any:
    where = ("--config", str(config or trial.config))
    return trial.run(*where, "evidence", wanted, "--output", str(file), *options)


def write(trial: Any, wanted: str, *options: str, name: str = "evidence.zip", config: Path | None = None) -> Path:
    file: Path = trial.config.parent / name
    done = evidence(trial, wanted, file, *options, config=config)
    assert done.returncode == 0, done.stderr
    return file


def content(file: Path, name: str) -> str:
    with ZipFile(file) as bundle:
        return bundle.read(name).decode()


def ledger_files(trial: Any) -> list[Path]:
    return sorted((trial.config.parent / "archive" / "_ledger" / "entries").iterdir())


def lines_swapped(data: bytes, first: int, second: int) -> bytes:
    lines = data.split(b"\n")
    lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
    return b"\n".join(lines)


def other_size(note: bytes) -> bytes:
    size = Checkpoint.parse(note.decode()).size
    return note.replace(f"\n{size}\n".encode(), f"\n{size + 1}\n".encode())


def signed_by_another(note: bytes) -> bytes:
    return OTHER_KEY.sign(Checkpoint.parse(note.decode()).text()).encode()


@pytest.mark.needs(*PROGRAMS)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_stranger_can_check_it(trial: Any, stranger: Stranger, shell: str) -> None:
    stranger.unpack(trial.bundle)
    passed, printed = stranger.check(shell)
    assert passed, printed
    assert [line for line in printed.splitlines() if line.endswith((" OK", " FAILED"))] == [
        "1a OK",
        "1b OK",
        "1c OK",
        "2a OK",
        "2b OK",
    ]
    assert trial.kept["sha256"] in printed


@pytest.mark.needs(*PROGRAMS)
@pytest.mark.parametrize(
    ("file", "change", "failed"),
    [
        ("{id}.mp3", lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "1a FAILED"),
        ("{id}.mp3", lambda data: data + b"\0", "1a FAILED"),
        (
            "entry.json",
            lambda data: data.replace(b'"call_date":"2026-01-05"', b'"call_date":"2026-01-06"'),
            "1b FAILED",
        ),
        ("entry.json", lambda data: data.replace(b'"source_evidence":"md5"', b'"source_evidence":"ssh"'), "1b FAILED"),
        ("entry.json", lambda data: data + b"\n", "1b FAILED"),
        ("proof.tlog-proof", lambda data: lines_swapped(data, 3, 4), "1b FAILED"),
        ("proof.tlog-proof", lambda data: b"\n".join(data.split(b"\n")[:2]), "1b FAILED"),
        ("anchored-proof.tlog-proof", lambda data: lines_swapped(data, 3, 4), "1c FAILED"),
        ("anchored-checkpoint.txt", other_size, "1c FAILED"),
        ("checkpoint.txt", other_size, "1b FAILED"),
        ("checkpoint.txt", signed_by_another, "2a FAILED"),
        ("checkpoint.txt", lambda data: data.replace(b"callarchive\n", b"callarchiv3\n", 1), "2a FAILED"),
        ("public-key.pem", lambda data: OTHER_KEY.public.pem().encode(), "2a FAILED"),
        ("public-key.txt", lambda data: f"{OTHER_KEY.public}\n".encode(), "2b FAILED"),
    ],
    ids=[
        "a bit of the recording",
        "a byte after the recording",
        "the day in the entry",
        "a fact in the entry",
        "a line feed after the entry",
        "two hashes of the proof",
        "no hashes in the proof",
        "two hashes of the earlier proof",
        "the size in the earlier checkpoint",
        "the size in the checkpoint",
        "the signature",
        "the name of the ledger",
        "the key in PEM",
        "the key as text",
    ],
)
def test_a_stranger_sees_each_change(
    trial: Any, stranger: Stranger, file: str, change: Callable[[bytes], bytes], failed: str
) -> None:
    path = stranger.unpack(trial.bundle) / file.format(id=trial.kept["recording_id"])
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    passed, printed = stranger.check()
    assert (passed, failed in printed) == (False, True), printed


@pytest.mark.needs(*PROGRAMS)
def test_an_earlier_checkpoint_with_a_valid_signature_does_not_fit(trial: Any, stranger: Stranger) -> None:
    earlier = min((trial.config.parent / "anchor" / "checkpoints").iterdir())
    path = stranger.unpack(trial.bundle) / "checkpoint.txt"
    path.write_bytes(earlier.read_bytes())
    passed, printed = stranger.check()
    assert (passed, "1b FAILED" in printed) == (False, True), printed


def test_the_file_has_the_recording_as_archived_and_all_that_proves_it(trial: Any) -> None:
    name = f"{trial.kept['recording_id']}.mp3"
    assert stat.S_IMODE(trial.bundle.stat().st_mode) == 0o600
    with ZipFile(trial.bundle) as bundle:
        assert bundle.namelist() == [
            name,
            "entry.json",
            "proof.tlog-proof",
            "anchored-proof.tlog-proof",
            "checkpoint.txt",
            "anchored-checkpoint.txt",
            "public-key.pem",
            "public-key.txt",
            "facts.json",
            "how-to-check.txt",
        ]
        assert {info.compress_type for info in bundle.infolist()} == {ZIP_STORED}
        assert {info.date_time for info in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        [file] = (trial.config.parent / "archive").rglob(name)
        assert bundle.read(name) == file.read_bytes()
    entry, facts = json.loads(content(trial.bundle, "entry.json")), json.loads(content(trial.bundle, "facts.json"))
    assert (entry["event"], entry["sha256"]) == ("archived", trial.kept["sha256"])
    assert facts["recordings"]["source_uri"] == trial.kept["source_uri"]
    assert facts["sessions"]["session_id"] == trial.kept["session_id"]
    assert facts["columns"]["recordings"]["size_bytes"] == "size of the archived file, bytes"
    assert {"name": "file in the archive", "state": "ok"}.items() <= facts["life"]["recording"][3].items()
    assert [e["event"] for e in facts["ledger_entries"]] == ["archived"]
    assert content(trial.bundle, "public-key.txt").strip() == trial.public_key
    assert trial.public_key in content(trial.bundle, "how-to-check.txt")


def test_phone_numbers_are_in_it_only_on_request(trial: Any) -> None:
    [session] = [row for row in trial.tables()["sessions"] if row["session_id"] == trial.kept["session_id"]]
    number = session["source_number"]
    assert number.isdecimal()
    assert number.encode() not in trial.bundle.read_bytes()
    facts = json.loads(content(write(trial, trial.kept["recording_id"], "--with-numbers", name="n.zip"), "facts.json"))
    assert facts["sessions"]["source_number"] == number


def test_holds_that_concern_the_recording_are_among_the_facts(trial: Any) -> None:
    for what, value in (("--session", trial.kept["session_id"]), ("--recording", trial.changed["recording_id"])):
        assert trial.run("hold", "add", what, value, "--reason", f"case of {what}").returncode == 0
    facts = json.loads(content(write(trial, trial.kept["recording_id"], name="held.zip"), "facts.json"))
    assert [(entry["event"], entry["reason"]) for entry in facts["holds"]] == [("hold_added", "case of --session")]


def test_each_version_has_its_own_proof(trial: Any, stranger: Stranger) -> None:
    file = write(trial, trial.changed["recording_id"], name="versions.zip")
    names = ZipFile(file).namelist()
    assert [name for name in names if name.startswith(("entry", "proof"))] == [
        "entry.json",
        "proof.tlog-proof",
        "entry-2.json",
        "proof-2.tlog-proof",
    ]
    hashes = [json.loads(content(file, name))["sha256"] for name in ("entry.json", "entry-2.json")]
    assert hashes[0] == trial.changed["sha256"] != hashes[1]
    unpacked = stranger.unpack(file)
    passed, printed = stranger.check()
    assert passed, printed
    assert [line for line in printed.splitlines() if line.endswith(" OK")] == [
        *("1a OK", "1b OK", "1c OK", "2a OK", "2b OK", "2c OK", "3a OK", "3b OK")
    ]
    version = unpacked / names[1]
    version.write_bytes(version.read_bytes()[:-1])
    assert "2a FAILED" in stranger.check()[1]


def test_the_ledger_has_who_wrote_it_and_the_anchor_has_its_checkpoint(trial: Any) -> None:
    file = trial.config.parent / "again.zip"
    done = evidence(trial, trial.kept["recording_id"], file, "--json")
    assert done.returncode == 0, done.stderr
    document, note = json.loads(done.stdout), content(file, "checkpoint.txt")
    assert (document["signed_by"], document["not_witnessed"]) == ("callarchive", [])
    assert note == Batch.decode(ledger_files(trial)[-1].read_bytes()).note
    anchored = max((trial.config.parent / "anchor" / "checkpoints").iterdir())
    page = content(file, "how-to-check.txt")
    assert (anchored.read_text(), f"checkpoint.txt: {anchored.as_uri()}\n" in page) == (note, True)
    number = document["entries"][0]
    earlier = next(path for path in sorted(anchored.parent.iterdir()) if int(path.stem) > number)
    assert earlier != anchored
    assert content(file, "anchored-checkpoint.txt") == earlier.read_text()
    assert f"anchored-checkpoint.txt: {earlier.as_uri()}\n" in page
    entry = json.loads(ledger_files(trial)[-1].read_text().splitlines()[-1])
    assert entry.pop("at").startswith("20")
    assert entry == {
        "event": "evidence",
        "subaccount_id": "demo_s3",
        "recording_id": trial.kept["recording_id"],
        "call_date": "2026-01-05",
        "by": pwd.getpwuid(geteuid()).pw_name,
    }
    done = trial.run("verify")
    assert done.returncode == 0, done.stdout


def refused(trial: Any, wanted: str, *, code: int = 1, config: Path | None = None) -> str:
    """Return the message of a command that writes neither the file nor an entry."""
    before, file = ledger_files(trial), trial.config.parent / "refused.zip"
    done = evidence(trial, wanted, file, config=config)
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    assert not [path for path in file.parent.iterdir() if "refused.zip" in path.name]
    assert ledger_files(trial) == before
    return " ".join(done.stderr.split())


def test_a_changed_or_removed_recording_is_refused(trial: Any) -> None:
    [file] = (trial.config.parent / "archive").rglob(f"{trial.kept['recording_id']}.mp3")
    data = file.read_bytes()
    try:
        file.write_bytes(data[:-1] + b"x")
        assert "are not those that were archived: restore it from a backup" in refused(
            trial, trial.kept["recording_id"]
        )
        file.unlink()
        assert "is gone: restore it from a backup" in refused(trial, trial.kept["recording_id"])
    finally:
        file.write_bytes(data)


def test_an_edited_table_is_refused(trial: Any) -> None:
    [table] = (trial.config.parent / "catalog" / "status_stats").rglob("*.parquet")
    data = table.read_bytes()
    table.write_bytes(data + b" ")
    try:
        assert "the tables of 2026-01-05 are not those in the ledger" in refused(trial, trial.kept["recording_id"])
    finally:
        table.write_bytes(data)


def test_a_file_and_its_rows_that_were_changed_together_are_refused(trial: Any) -> None:
    """The ledger has the hash of the file before."""
    [file] = (trial.config.parent / "archive").rglob(f"{trial.kept['recording_id']}.mp3")
    [table] = (trial.config.parent / "catalog" / "_steps" / "recording_files").rglob("*.parquet")
    audio, rows = file.read_bytes(), table.read_bytes()
    file.write_bytes(audio[:-1] + b"x")
    changed = hashlib.sha256(file.read_bytes()).hexdigest()
    part = pq.ParquetFile(table).read()
    hashes = [changed if sha256 == trial.kept["sha256"] else sha256 for sha256 in part["sha256"].to_pylist()]
    pq.write_table(part.set_column(part.schema.get_field_index("sha256"), "sha256", [hashes]), table)
    try:
        assert "the tables disagree about its hash" in refused(trial, trial.kept["recording_id"])
    finally:
        file.write_bytes(audio)
        table.write_bytes(rows)


def test_an_edited_ledger_is_refused(trial: Any) -> None:
    file = next(path for path in ledger_files(trial) if b'"source_evidence":"md5"' in path.read_bytes())
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"source_evidence":"md5"', b'"source_evidence":"ssh"'))
    try:
        assert "the ledger proves nothing: " in refused(trial, trial.kept["recording_id"])
    finally:
        file.write_bytes(data)


def test_where_the_key_is_absent_nothing_is_added_to_a_signed_ledger(trial: Any) -> None:
    config = configured(trial, "keyless.toml", 'signing_key = { file = "ledger.key" }', "")
    message = refused(trial, trial.kept["recording_id"], code=2, config=config)
    assert "ledger.signing_key is not set here: run it where recordings are archived" in message


def test_without_an_anchor_that_keeps_the_checkpoint_there_is_no_file(trial: Any) -> None:
    (trial.config.parent / "taken").mkdir()
    (trial.config.parent / "taken" / "checkpoints").touch()
    config = configured(trial, "unanchored.toml", 'url = "anchor"', 'url = "taken"')
    done = evidence(trial, trial.kept["recording_id"], trial.config.parent / "unanchored.zip", config=config)
    assert done.returncode == 1, done.stderr
    assert not [path for path in trial.config.parent.iterdir() if "unanchored.zip" in path.name]


def test_an_existing_file_is_replaced_only_with_force(trial: Any) -> None:
    file = trial.config.parent / "existing.zip"
    file.write_text("mine")
    done = evidence(trial, trial.kept["recording_id"], file)
    assert (done.returncode, file.read_text()) == (2, "mine")
    assert "exists: give another name, or replace it with --force" in done.stderr
    assert evidence(trial, trial.kept["recording_id"], file, "--force").returncode == 0
    assert "how-to-check.txt" in ZipFile(file).namelist()


@pytest.mark.needs(*PROGRAMS)
def test_a_recording_from_before_the_ledger_is_not_witnessed_and_a_checkpoint_without_signature_proves_little(
    trial: Any, stranger: Stranger
) -> None:
    folder = trial.config.parent.as_uri()
    shutil.copytree(trial.config.parent / "archive", trial.config.parent / "early", ignore=lambda *_: ["_ledger"])
    config = configured(trial, "early.toml", SIGNED, "", f"{folder}/archive", f"{folder}/early")
    wanted = trial.kept["recording_id"]
    assert "there is no ledger: it begins with the next run" in refused(trial, wanted, config=config)
    with Connections(load_settings(config)) as connections:
        connections.recorder.start()
    file = trial.config.parent / "adopted.zip"
    done = evidence(trial, wanted, file, config=config)
    assert done.returncode == 0, done.stderr
    assert "was archived before the ledger began: nothing shows what happened to it before" in done.stderr
    assert "the checkpoint is not signed" in done.stderr
    page = content(file, "how-to-check.txt")
    assert f"- NOT WITNESSED: {wanted}.mp3 was in the archive before the ledger began." in page
    assert "This checkpoint is NOT signed." in page
    assert "public-key.pem" not in ZipFile(file).namelist()
    stranger.unpack(file)
    passed, printed = stranger.check()
    assert (passed, printed.count(" OK")) == (True, 2), printed


@pytest.mark.needs(*PROGRAMS)
def test_a_recording_in_s3_is_proven_too(trial: Any, stranger: Stranger) -> None:
    folder = trial.config.parent
    bucket = f's3://demo-recordings/kept"\n[archive.s3]\nendpoint_url = "{trial.simulator.s3.endpoint_url}'
    config = configured(trial, "s3.toml", f"{folder.as_uri()}/archive", bucket)
    with Connections(load_settings(config)) as connections:
        for path in (path for path in (folder / "archive").rglob("*") if path.is_file()):
            connections.archive.store.create(str(path.relative_to(folder / "archive")), path.read_bytes())
    stranger.unpack(write(trial, trial.kept["recording_id"], name="s3.zip", config=config))
    passed, printed = stranger.check()
    assert passed, printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nope",), 2, "'nope' is not a session or recording id"),
        ((SESSION,), 1, f"the catalog has no recording of {SESSION}: callarchive find {SESSION}"),
        ((f"a{CALLED[1:]}",), 1, "there is no ledger: it begins with the next run, or it was removed"),
        ((f"b{CALLED[1:]}",), 1, "is not archived (erased: on request): it cannot be restored"),
        (
            (f"c{CALLED[1:]}",),
            1,
            "is not archived (pending: not yet): to try again: callarchive archive --day 2026-11-03",
        ),
        ((f"a{CALLED[1:]}", "--with-numbers"), 2, f"the catalog has no phone numbers of session {CALLED}"),
        ((CALLED,), 2, f"a file proves one recording, and the session has 3: give one of a{CALLED[1:]}, "),
        ((SESSION, "--output", "absent/x.zip"), 2, "there is no folder absent"),
    ],
)
def test_a_mistake_has_a_message_and_an_exit_code(
    recorded: Any, run_here: Run, words: tuple[str, ...], code: int, message: str
) -> None:
    erased, pending = (
        {"archive_status": "erased", "error": "on request"},
        {"archive_status": "pending", "error": "not yet"},
    )
    recorded.call(CALLED, AT, {"data": b"audio"}, erased, pending)
    found, out, err = run_here("evidence", *words)
    assert (found, out) == (code, "")
    assert message in " ".join(err.split())
    assert not list(Path().glob("*.zip"))


@pytest.mark.parametrize(
    ("sha256", "message"),
    [
        (None, "no run recorded {uri} in the ledger, so nothing proves it: callarchive verify lists all"),
        ("0" * 64, f"the hash of {{uri}} in the catalog is {{sha256}}, but {'0' * 64} in the ledger (entry 1)"),
    ],
    ids=["no entry", "another hash"],
)
def test_a_file_without_an_entry_or_with_another_hash_in_the_ledger_is_refused(
    recorded: Any, run_here: Run, sha256: str | None, message: str
) -> None:
    day, path = AT.date(), recorded.path(CALLED, day="2026-11-03")
    facts = {"event": "archived", "subaccount_id": "acme_one", "recording_id": f"a{CALLED[1:]}", "call_date": str(day)}
    digest = hashlib.sha256(b"audio").hexdigest()
    with Connections(load_settings(recorded.config)) as connections:
        connections.recorder.start()
        if sha256 is not None:
            connections.recorder.record({**facts, "archive_path": path, "sha256": sha256})
        recorded.call(CALLED, AT, {"data": b"audio"})
        with connections.day_lock(day):
            for table in schemas.PUBLIC_TABLES:
                rows = connections.catalog.partition(table, day)
                connections.catalog.store.delete(table.partition_path(day))  # a file with the same rows is not replaced
                connections.recorder.publish(table, day, rows)
    code, out, err = run_here("evidence", f"a{CALLED[1:]}")
    assert (code, out) == (1, "")
    expected = message.format(uri=recorded.archive.uri(path), sha256=digest)
    assert expected in " ".join(err.split())
    with Connections(load_settings(recorded.config)) as connections:
        connections.recorder.record({**facts, "archive_path": path, "sha256": digest})
    code, _, err = run_here("evidence", f"a{CALLED[1:]}")
    assert code == 0, err
    is_mentioned = "An earlier entry of the ledger has another hash" in content(
        Path("evidence.zip"), "how-to-check.txt"
    )
    assert is_mentioned == (sha256 is not None)
