"""A day is held by one run at a time, which begins with what killed runs left unfinished cleared away."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event

import pytest

from callarchive.archiving.connections import Connections
from callarchive.archiving.landings import landing_root
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.catalog import schemas
from callarchive.domain.models import ArchiveStatus, Lookup, LookupStatus, RecordingFile
from callarchive.settings import load_settings

DAY, OTHER_DAY = date(2026, 11, 1), date(2026, 11, 2)
CONFIGURATION = """
start_date = 2026-01-01
[archive]
url = "archive"
[catalog]
url = "catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_key = { file = "key" }
landing = "s3://acme-recordings/my%20path/"
[[accounts.session_sources]]
kind = "log_export"
"""


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Connections]:
    (tmp_path / "key").write_text("hunter2", encoding="utf-8")
    (tmp_path / "callarchive.toml").write_text(CONFIGURATION, encoding="utf-8")
    with Connections(load_settings(tmp_path / "callarchive.toml")) as connections:
        yield connections


def write_everything(connections: Connections, day: date) -> None:
    """Every kind of file that a day has in the catalog."""
    for table in (*schemas.PUBLIC_TABLES, *schemas.STEP_TABLES):
        connections.catalog.replace_partition(table, day, [])
    journal = TransferJournal(connections.catalog, day, piece=1)
    journal.add(RecordingFile("acme_sg", "s", "r", ArchiveStatus.PENDING))
    lookup = Lookup("s", LookupStatus.NO_RECORDINGS, datetime(2026, 11, 3, tzinfo=UTC), body="[]")
    with connections.responses.journal(day, masks={}) as answers:
        answers.add("acme_sg", lookup)
    connections.responses.save_call_log(day, "acme_sg", [], lambda number: number)


def folders(tmp_path: Path, day: date) -> list[Path]:
    found = sorted(path for path in (tmp_path / "catalog").rglob(f"call_date={day}") if path.is_dir())
    tables = len(schemas.PUBLIC_TABLES) + len(schemas.STEP_TABLES)
    assert len(found) == tables + 3, "the tables, the journal, lookups and call logs"
    return found


def test_what_killed_runs_left_of_the_day_is_gone_and_nothing_else_is(tmp_path: Path, connections: Connections) -> None:
    for day in (DAY, OTHER_DAY):
        write_everything(connections, day)
        for folder in folders(tmp_path, day):
            (folder / ".0123456789abcdef.part").write_bytes(b"half")
    whole = sorted((tmp_path / "catalog").rglob("[!.]*"))
    with connections.day_lock(DAY):
        left = {path.parent.name for path in (tmp_path / "catalog").rglob("*.part")}
        assert left == {f"call_date={OTHER_DAY}"}, "another run may be at work on that one"
    assert [path for path in whole if not path.exists()] == []


def test_a_day_that_is_held_is_waited_for_and_another_is_not(connections: Connections) -> None:
    entered = Event()

    def enter() -> None:
        with connections.day_lock(DAY):
            entered.set()

    waiting = threading.Thread(target=enter)
    with connections.day_lock(DAY):
        waiting.start()
        with connections.day_lock(OTHER_DAY):
            assert not entered.wait(0.1)
    assert entered.wait(10)
    waiting.join(10)


def test_no_secret_is_in_the_repr(connections: Connections) -> None:
    assert "hunter2" not in repr(connections)
    assert os.fspath(connections.settings.path or "") in repr(connections)


def test_the_root_of_a_landing_is_its_decoded_path(connections: Connections) -> None:
    assert landing_root(connections.settings.accounts[0]) == "my path"
