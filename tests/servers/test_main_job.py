"""The main job against every server: a day, a rerun that downloads nothing, a changed file, a refused one, a wrong password."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callarchive.simulator.landings import object_bytes
from tests.servers.day import DAY, Day, day_at
from tests.servers.running import Place


@pytest.fixture
def day(place: Place, tmp_path: Path) -> Iterator[Day]:
    place.files.remove("marker.txt")
    with day_at(place, tmp_path) as day:
        yield day


def test_a_day_is_archived_whole_and_a_rerun_downloads_nothing(day: Day) -> None:
    result = day.run("archive", "--day", str(DAY))
    assert result.returncode == 0, result.stdout + result.stderr
    assert day.files() == {f"{name}.mp3": digest for name, digest in day.expected.items()}
    summary, rows = day.again()
    assert (summary.fetched_count, summary.unchanged_count) == (0, len(day.expected))
    assert {name: row["sha256"] for name, row in rows.items()} == day.expected
    assert {row["archive_status"] for row in rows.values()} == {"archived"}


def test_a_changed_file_becomes_a_version_and_a_new_one_is_archived(day: Day) -> None:
    late, changed, other = day.recordings[:3]
    day.place.files.remove(late.path)
    _, rows = day.again()
    assert rows[late.recording_id]["archive_status"] in ("missing", "pending")
    before = day.files()
    assert before.keys() == {f"{name}.mp3" for name in day.expected.keys() - {late.recording_id}}
    time.sleep(1.1)  # servers report whole seconds
    bytes_now = object_bytes(other)
    day.place.files.put(changed.path, bytes_now)
    day.place.files.put(late.path, object_bytes(late))
    summary, rows = day.again()
    assert summary.fetched_count == 2
    digest = hashlib.sha256(bytes_now).hexdigest()
    new = {f"{late.recording_id}.mp3": day.expected[late.recording_id]}
    assert day.files() == before | new | {f"{changed.recording_id}.{digest[:16]}.mp3": digest}


@pytest.mark.refusing("file")
def test_a_refused_file_fails_alone(day: Day) -> None:
    refused = day.recordings[0]
    day.place.files.refuse(refused.path)
    _, rows = day.again()
    row = rows.pop(refused.recording_id)
    assert row["archive_status"] == "failed"
    assert "denies permission" in row["error"]
    assert {name: row["sha256"] for name, row in rows.items()} == {
        name: digest for name, digest in day.expected.items() if name != refused.recording_id
    }


def test_wrong_credentials_end_the_run_in_a_line_with_the_next_step(place: Place, tmp_path: Path) -> None:
    if place.wrong_credentials is None:
        pytest.skip("this server lets everybody in")
    section, environment = place.wrong_credentials
    with day_at(Place(place.landing, section, place.files), tmp_path) as day:
        result = day.run("archive", "--day", str(DAY), **{**os.environ, **environment})
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert ("account acme_sg" if place.kind == "sftp" else place.landing) in result.stderr
    assert not list(tmp_path.rglob("*.mp3"))
