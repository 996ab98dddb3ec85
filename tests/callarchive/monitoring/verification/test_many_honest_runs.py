"""Nothing that honest runs leave behind is a finding: reruns, kills, failures, late and changed recordings, other settings."""

import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.catalog import schemas
from callarchive.custody.holds import Scope
from callarchive.domain.errors import ArchiveError
from callarchive.ledger.notes import SigningKey
from callarchive.monitoring.verification import days_in_range, unknown_names, verify_days
from callarchive.monitoring.verification.custody import compare_custody
from callarchive.monitoring.verification.witnessed import read_ledger
from callarchive.removal.holds import Person, add_hold, release_hold
from callarchive.runtime.worker_pool import NoProgress
from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.faults import Fault

_PARTS, _IN_A_PART = 12, 85
OPERATIONS: dict[str, tuple[int, Callable[["Honest", date], None]]] = {}


def operation(weight: int) -> Callable[[Callable[["Honest", date], None]], Callable[["Honest", date], None]]:
    def add(function: Callable[["Honest", date], None]) -> Callable[["Honest", date], None]:
        OPERATIONS[function.__name__] = weight, function
        return function

    return add


class Honest:
    """Days of two accounts. Some recordings are not in their landing before the operation that delivers them."""

    def __init__(self, trial: Any, rng: random.Random) -> None:
        self.trial, self.rng = trial, rng
        self.root = trial.config.parent
        self.configuration = trial.config.read_text()
        self.servers = {"demo_s3": trial.simulator.s3, "demo_sftp": trial.simulator.sftp}
        self.accounts = {account.subaccount_id: account for account in trial.simulator.world.accounts}
        self.late: list[tuple[str, str]] = []
        self.holds: list[str] = []
        for name, server in self.servers.items():
            paths = server.paths(self.accounts[name])
            for path in rng.sample(paths, min(3, len(paths))):
                server.delete(self.accounts[name], path)
                self.late.append((name, path))

    def archive(self, day: date) -> None:
        with suppress(ArchiveError):
            self.trial.archive(day)

    def start(self, *words: str) -> Any:
        with Path(os.devnull).open("wb") as nothing:
            return self.trial.commands.start(
                *words, environment=self.trial.process_environment(), out=nothing, err=nothing
            )

    def kill(self, process: Any) -> None:
        """Kill the process at a random moment of its work."""
        time.sleep(self.rng.random() * 0.5)
        process.kill()
        process.wait()

    def put(self, name: str, path: str) -> None:
        data = make_recording(
            shape=self.rng.choice(SHAPES), duration_s=self.rng.uniform(3, 20), seed=self.rng.getrandbits(20)
        )
        self.servers[name].put(self.accounts[name], path, data)

    def findings(self, *days: date) -> list[str]:
        with self.trial.connections() as connections:
            ledger = read_ledger(connections)
            known = [day for day in days_in_range(connections, ledger=ledger).known if not days or day in days]
            verified = list(verify_days(connections, known, ledger=ledger, progress=NoProgress()))
            custody, _ = compare_custody(connections, ledger)
            defects = [*unknown_names(connections), *custody, *(finding for day in verified for finding in day.defects)]
        return [*ledger.problems, *map(str, defects)]


@operation(8)
def run(honest: Honest, day: date) -> None:
    honest.archive(day)


@operation(16)
def a_killed_run(honest: Honest, day: date) -> None:
    honest.kill(honest.start("archive", "--day", str(day)))


@operation(8)
def some_steps_of_a_run(honest: Honest, day: date) -> None:
    with honest.trial.connections() as connections:
        for step in DAY_STEPS[: honest.rng.randrange(1, len(DAY_STEPS))]:
            with connections.day_lock(day):
                step.run(connections, day)


@operation(1)
def a_run_that_is_being_verified(honest: Honest, day: date) -> None:
    process = honest.start("archive", "--day", str(day))
    while process.poll() is None:
        assert honest.findings(day) == []


@operation(2)
def two_runs_at_once(honest: Honest, day: date) -> None:
    other = honest.rng.choice(honest.trial.days)
    for process in [honest.start("archive", "--day", str(one)) for one in (day, other)]:
        process.wait()


@operation(3)
def a_changed_recording(honest: Honest, day: date) -> None:
    name = honest.rng.choice([*honest.servers])
    if paths := honest.servers[name].paths(honest.accounts[name]):
        honest.put(name, honest.rng.choice(paths))
    honest.archive(day)


@operation(3)
def a_late_recording(honest: Honest, day: date) -> None:
    if honest.late:
        honest.put(*honest.late.pop())
    honest.archive(day)


@operation(1)
def something_that_is_no_audio(honest: Honest, day: date) -> None:
    if paths := honest.servers["demo_s3"].paths(honest.accounts["demo_s3"]):
        path = honest.rng.choice(paths)
        honest.servers["demo_s3"].put(honest.accounts["demo_s3"], path, honest.rng.randbytes(700))
    honest.archive(day)


@operation(2)
def a_removed_source(honest: Honest, day: date) -> None:
    name = honest.rng.choice([*honest.servers])
    if paths := honest.servers[name].paths(honest.accounts[name]):
        path = honest.rng.choice(paths)
        honest.servers[name].delete(honest.accounts[name], path)
        honest.late.append((name, path))
    honest.archive(day)


@operation(2)
def an_account_that_fails(honest: Honest, day: date) -> None:
    simulator = honest.trial.simulator
    simulator.api.faults.add(
        Fault.answer(401), match=honest.rng.choice(("recordings", "exports", "any")), times=honest.rng.randint(1, 9)
    )
    honest.archive(day)
    simulator.api.faults.clear()


@operation(2)
def a_refused_landing(honest: Honest, day: date) -> None:
    sftp = honest.trial.simulator.sftp
    sftp.deny_folder(honest.accounts["demo_sftp"], "")
    honest.archive(day)
    sftp.allow_all()


@operation(3)
def other_settings(honest: Honest, day: date) -> None:
    text = honest.configuration
    for old, new in (
        ('timezone   = "UTC"', 'timezone   = "Etc/UTC"'),
        ("[archive]", "[transfer]\nduration_tolerance_s = 9.5\n[archive]"),
        ("[archive]", "[reconciliation]\nlist_landing = false\n[archive]"),
        ("[[accounts]]", '[[accounts]]\nphone_numbers = "keep"'),
    ):
        if honest.rng.random() < 0.4:
            text = text.replace(old, new)
    honest.trial.config.write_text(text)
    honest.archive(day)


@operation(1)
def an_account_less(honest: Honest, day: date) -> None:
    head, _, _ = honest.configuration.rpartition("[[accounts]]")
    honest.trial.config.write_text(head)
    honest.archive(day)
    assert honest.findings(day) == []
    honest.trial.config.write_text(honest.configuration)


@operation(1)
def another_landing(honest: Honest, day: date) -> None:
    """The recordings are copied, and the account's landing is set to the copies."""
    sftp = honest.root / "sftp"
    shutil.copytree(sftp / "upload", sftp / "moved", dirs_exist_ok=True)
    honest.trial.config.write_text(honest.configuration.replace('/upload"', '/moved"'))
    honest.archive(day)
    assert honest.findings(day) == []
    honest.trial.config.write_text(honest.configuration)


@operation(1)
def an_upgrade_of_an_archive_without_ledger(honest: Honest, day: date) -> None:
    """Runs of the earlier version ended; it had neither holds nor erasures."""
    if any((honest.root / "archive" / name).exists() for name in ("_holds", "_erased")):
        return
    for one in honest.trial.days:
        honest.archive(one)
    shutil.rmtree(honest.root / "archive/_ledger")
    honest.archive(day)


@operation(1)
def a_doctor_and_evidence(honest: Honest, day: date) -> None:
    honest.start("doctor").wait()
    honest.archive(day)
    with honest.trial.connections() as connections:
        rows = connections.catalog.rows(schemas.RECORDINGS, day)
    name = next((row["recording_id"] for row in rows if row["archive_uri"]), "none")
    honest.start("evidence", name, "--output", str(honest.root / f"{name}.zip")).wait()


def a_recording_of(honest: Honest, day: date) -> dict[str, Any] | None:
    with honest.trial.connections() as connections:
        rows = connections.catalog.rows(schemas.RECORDINGS, day)
    return honest.rng.choice([row for row in rows if row["archive_status"] != "erased"] or [None])


@operation(1)
def a_hold(honest: Honest, day: date) -> None:
    if (row := a_recording_of(honest, day)) is not None:
        with honest.trial.connections() as connections, connections.custody_lock():
            scope = Scope(session_id=row["session_id"])
            honest.holds.append(add_hold(connections, scope, reason="case", by=Person("ann")).hold_id)


@operation(1)
def a_released_hold(honest: Honest, day: date) -> None:
    if honest.holds:
        with honest.trial.connections() as connections, connections.custody_lock():
            release_hold(connections, honest.holds.pop(), reason=None, by=Person("bob"))


@operation(1)
def a_killed_hold(honest: Honest, day: date) -> None:
    if (row := a_recording_of(honest, day)) is not None:
        honest.kill(honest.start("hold", "add", "--recording", row["recording_id"], "--reason", "case 2"))


@operation(2)
def an_erasure(honest: Honest, day: date) -> None:
    if (row := a_recording_of(honest, day)) is not None:
        kind = honest.rng.choice(("session", "recording"))
        honest.start("erase", f"--{kind}", row[f"{kind}_id"], "--reason", "request").wait()


@operation(3)
def a_killed_erasure(honest: Honest, day: date) -> None:
    if (row := a_recording_of(honest, day)) is not None:
        honest.kill(honest.start("erase", "--session", row["session_id"], "--reason", "request"))


@operation(1)
def a_continued_erasure(honest: Honest, day: date) -> None:
    honest.start("erase", "--continue").wait()
    honest.archive(day)


@pytest.mark.many
@pytest.mark.parametrize("part", [pytest.param(0, marks=pytest.mark.live), *range(1, _PARTS)])
def test_many_honest_operations_have_no_finding(start_trial: Callable[..., Any], part: int) -> None:
    honest = begun_days(start_trial, part)
    names = list(OPERATIONS)
    weights = [weight for weight, _ in OPERATIONS.values()]
    done: list[tuple[str, str]] = []
    for number in range(_IN_A_PART):
        [name] = honest.rng.choices(names, weights)
        day = honest.rng.choice(honest.trial.days)
        done.append((name, str(day)))
        OPERATIONS[name][1](honest, day)
        findings = honest.findings(*(() if number % 10 == 0 else (day,)))
        assert not findings, "\n".join([*findings, f"after {done}"])


def begun_days(start_trial: Callable[..., Any], seed: int) -> Honest:
    trial = start_trial(sessions_per_day=3, days=2, seed=seed + 3, export_polls=0)
    (trial.config.parent / "ledger.key").write_text(SigningKey.generate("callarchive").private_text())
    trial.configure('[ledger]\nsigning_key = { file = "ledger.key" }')
    trial.archive()
    return Honest(trial, random.Random(seed))
