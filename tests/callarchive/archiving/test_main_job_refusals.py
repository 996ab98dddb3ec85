"""One object or folder of a landing is refused: that one thing is not known, is named once, and the rest of the day goes on."""

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, FileState, Recording, World

Start = Callable[..., Any]
DAY = date(2026, 1, 5)
S3 = (AccountPlan("acme_s3", "s3", "acme-recordings/calls"),)
SFTP = (AccountPlan("acme_sftp", "sftp", "upload", layout="dated"),)


@contextmanager
def refusing_proxy(endpoint_url: str, is_refused: Callable[[str, str], bool]) -> Iterator[str]:
    """A proxy before an S3 server that answers 403 where `is_refused(method, path with query)`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            refused = is_refused(self.command, unquote(self.path))
            if refused:
                status, headers = 403, {"Content-Type": "application/xml"}
                body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            else:
                length = int(self.headers.get("Content-Length") or 0)
                request = urllib.request.Request(
                    endpoint_url + self.path,
                    data=self.rfile.read(length) if length else None,
                    method=self.command,
                    headers={k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")},
                )
                try:
                    with urllib.request.urlopen(request, timeout=20) as answer:
                        status, headers, body = answer.status, dict(answer.headers), answer.read()
                except urllib.error.HTTPError as err:
                    with err:
                        status, headers, body = err.code, dict(err.headers), err.read()
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            size = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", size)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def world_of(accounts: tuple[AccountPlan], *, sessions_per_day: int = 30) -> World:
    """A day on which one file was never pushed though 8x8 says so."""
    world = generate_world(seed=3, accounts=accounts, first_day=DAY, last_day=DAY, sessions_per_day=sessions_per_day)
    lost = [r for r in world.recordings if r.file is FileState.WHOLE and r.ready_at is None][-1]
    return world.altered(lost, file=FileState.ABSENT, status="UPLOAD_COMPLETED")


def whole(trial: Any) -> list[Recording]:
    """Return the recordings whose file is in the landing, by their time."""
    return [
        r for r in trial.simulator.world.recordings if r.file is FileState.WHOLE and r.has_file(trial.simulator.clock())
    ]


def rows(trial: Any) -> dict[str, dict[str, Any]]:
    return {row["recording_id"]: row for row in trial.tables()["recordings"]}


def states(trial: Any) -> dict[str, str]:
    return {id_: row["archive_status"] for id_, row in rows(trial).items()}


def warnings_of(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and text in r.getMessage()]


def undisturbed_states(trial: Any) -> dict[str, str]:
    """The states of a run in which nothing is refused; what it archived is gone again."""
    trial.archive()
    found = states(trial)
    for name in ("archive", "catalog"):
        (trial.config.parent / name).rename(trial.config.parent / f"{name}-undisturbed")
    return found


def test_s3_objects_that_are_refused_are_failed_rows_named_once_and_the_others_are_archived(
    start_trial: Start, caplog: pytest.LogCaptureFixture
) -> None:
    trial = start_trial(sessions_per_day=10, accounts=S3)
    undisturbed = undisturbed_states(trial)
    one, other = whole(trial)[:2]
    refused = {one.recording_id, other.recording_id}
    with refusing_proxy(
        trial.simulator.s3.endpoint_url,
        lambda method, path: "list-type" not in path and any(id_ in path for id_ in refused),
    ) as url:
        endpoint = trial.simulator.s3.endpoint_url
        trial.config.write_text(trial.config.read_text().replace(endpoint, url))
        trial.archive()
        assert {id_: state for id_, state in states(trial).items() if id_ not in refused} == {
            id_: state for id_, state in undisturbed.items() if id_ not in refused
        }
        for recording in (one, other):
            row = rows(trial)[recording.recording_id]
            assert row["archive_status"] == "failed"
            assert recording.recording_id in row["error"]
            assert "could not be looked into" in row["error"]
            assert len(warnings_of(caplog, f"{recording.path.rpartition('/')[2]} could not be looked into")) == 1

        refused.clear()
        (summary,) = trial.archive()
        assert (states(trial), summary.fetched_count) == (undisturbed, 2)
        refused.add(whole(trial)[2].recording_id)
        caplog.clear()
        (summary,) = trial.archive()
        assert (states(trial), summary.fetched_count) == (undisturbed, 0)


def test_a_kept_file_whose_source_may_not_be_looked_at_stays_archived_and_is_not_compared(
    start_trial: Start, caplog: pytest.LogCaptureFixture
) -> None:
    trial = start_trial(sessions_per_day=10, accounts=SFTP)
    trial.archive()
    before = trial.tables()
    session = whole(trial)[0]
    kept = [r for r in trial.simulator.world.recordings if r.session_id == session.session_id]
    trial.simulator.sftp.deny_folder(SFTP[0], session.path.rpartition("/")[0])
    caplog.set_level(logging.INFO)
    (summary,) = trial.archive()
    assert summary.fetched_count == 0
    assert trial.tables()["recordings"] == before["recordings"]
    count = sum(states(trial)[r.recording_id] == "archived" for r in kept)
    assert f"{count} not compared with the landing" in caplog.text
    (line,) = warnings_of(caplog, "could not be looked into")
    assert f"/upload/{session.path.rpartition('/')[0]} could not be looked into" in line
    assert "denies permission" in line


def test_a_refused_folder_of_one_session_spoils_nothing_for_the_other_sessions(
    start_trial: Start, caplog: pytest.LogCaptureFixture
) -> None:
    trial = start_trial(world=world_of(SFTP))
    undisturbed = undisturbed_states(trial)
    assert {"missing", "not_uploaded", "archived"} <= set(undisturbed.values())
    behind = next(r for r in whole(trial) if undisturbed[r.recording_id] == "archived")
    affected = {r.recording_id for r in trial.simulator.world.recordings if r.session_id == behind.session_id}
    trial.simulator.sftp.deny_folder(SFTP[0], behind.path.rpartition("/")[0])
    trial.simulator.sftp.put(SFTP[0], "lost+found/x", b"")
    trial.simulator.sftp.deny_folder(SFTP[0], "lost+found")
    trial.archive()
    now = states(trial)
    assert {id_: s for id_, s in now.items() if id_ not in affected} == {
        id_: s for id_, s in undisturbed.items() if id_ not in affected
    }
    row = rows(trial)[behind.recording_id]
    assert row["archive_status"] == "failed"
    assert f"{behind.path.rpartition('/')[0]} could not be looked into" in row["error"]
    assert len(warnings_of(caplog, f"{behind.session_id} could not be looked into")) == 1
    trial.simulator.sftp.allow_all()
    trial.archive()
    assert states(trial) == undisturbed


def test_a_refused_date_folder_does_not_hide_the_next_and_only_recordings_found_nowhere_else_are_failed(
    start_trial: Start, caplog: pytest.LogCaptureFixture
) -> None:
    trial = start_trial(world=world_of(SFTP))
    undisturbed = undisturbed_states(trial)
    sftp = trial.simulator.sftp
    for path in sftp.paths(SFTP[0]):
        folder, _, rest = path.partition("/")
        if folder == str(DAY):
            file = sftp._file(SFTP[0], path)
            sftp.put(SFTP[0], f"2026-01-06/{rest}", file.read_bytes())
    sftp.deny_folder(SFTP[0], str(DAY))
    trial.archive()
    now = states(trial)
    changed = {id_ for id_ in now if now[id_] != undisturbed[id_]}
    assert {undisturbed[id_] for id_ in changed} == {"missing"}
    assert {now[id_] for id_ in changed} == {"failed"}
    assert all(f"/upload/{DAY} could not be looked into" in rows(trial)[id_]["error"] for id_ in changed)
    assert "not_uploaded" in now.values()
    assert len(warnings_of(caplog, "could not be looked into")) == 1


@pytest.mark.parametrize("landing", ["s3", "sftp"])
def test_a_landing_that_is_refused_as_a_whole_ends_its_account(start_trial: Start, landing: str) -> None:
    trial = start_trial(sessions_per_day=6, accounts=S3 if landing == "s3" else SFTP)
    if landing == "sftp":
        trial.simulator.sftp._closed.add("/upload/")
        done = trial.run("archive", "--day", str(DAY))
    else:
        with refusing_proxy(trial.simulator.s3.endpoint_url, lambda *_: True) as url:
            trial.config.write_text(trial.config.read_text().replace(trial.simulator.s3.endpoint_url, url))
            done = trial.run("archive", "--day", str(DAY))
    assert done.returncode == 3, done.stderr
    assert not [name for name in trial.files() if name.endswith(".mp3")]
