"""Alerts on a real HTTP sink and a real SMTP sink, recordings at risk, and `callarchive status`."""

import http.server
import json
import logging
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from callarchive.monitoring.alerts import Alert, Alerts
from callarchive.monitoring.at_risk import at_risk, support_text
from callarchive.settings import AlertSettings
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.faults import FOREVER, Fault
from callarchive.storage.stores.opening import open_store

TOKEN = "tok-en-in-the-url"
Start = Callable[..., Any]


class Http(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.posted: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posted.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(outer.status)
                if outer.status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{outer.server_port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        super().__init__(("127.0.0.1", 0), Handler)


class Smtp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 sink\r\n")
                while line := self.rfile.readline().decode().strip():
                    word = line.split()[0].upper()
                    if word == "DATA":
                        self.wfile.write(b"354 go\r\n")
                        lines = []
                        while (text := self.rfile.readline().decode()) != ".\r\n":
                            lines.append(text)
                        outer.mails.append("".join(lines))
                    self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
                    if word == "QUIT":
                        return

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def sinks() -> Iterator[tuple[Http, Smtp]]:
    with Http() as web, Smtp() as post:
        threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in (web, post)]
        for thread in threads:
            thread.start()
        yield web, post
        for server in (web, post):
            server.shutdown()
        for thread in threads:
            thread.join()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(datetime(2026, 11, 20, 12, tzinfo=UTC))


def alerts(sinks: tuple[Http, Smtp], folder: Path, clock: MovableClock, **more: Any) -> Alerts:
    web, post = sinks
    smtp = {"host": "127.0.0.1", "port": post.server_address[1], "security": "none"}
    settings = AlertSettings.model_validate(
        {
            "webhook": {"url": f"http://127.0.0.1:{web.server_port}/{TOKEN}"},
            "smtp": {**smtp, "sender": "a@acme.example", "recipients": ["b@acme.example"]},
            **more,
        }
    )
    return Alerts(settings, store=open_store(f"file://{folder}/catalog"), clock=clock)


def alert(key: str = "2026-11-19", *lines: str) -> Alert:
    return Alert("checks_failed", key, f"{key}: 2 checks fail", lines or ("lookups_succeeded: 3 of 9",))


def test_an_alert_reaches_both_channels_once(sinks: Any, tmp_path: Path, clock: MovableClock) -> None:
    web, post = sinks
    alerts_ = alerts(sinks, tmp_path, clock)
    assert alerts_.send(alert())
    ((path, headers, body),) = web.posted
    assert path == f"/{TOKEN}"
    assert "Authorization" not in headers
    assert body["title"] == "2026-11-19: 2 checks fail"
    assert body["lines"] == ["lookups_succeeded: 3 of 9"]
    (mail,) = post.mails
    assert "Subject: callarchive: 2026-11-19: 2 checks fail" in mail
    assert "lookups_succeeded: 3 of 9" in mail
    sent_at = parsedate_to_datetime(message_from_string(mail)["Date"])
    assert abs(datetime.now(UTC) - sent_at) < timedelta(minutes=5)
    # Another process has another object, and the same memory.
    assert not alerts(sinks, tmp_path, clock).send(alert())
    assert len(web.posted) == len(post.mails) == 1
    clock.advance(timedelta(hours=24, minutes=1))
    assert alerts_.send(alert())
    assert len(web.posted) == 2


def test_too_many_are_held_back_and_counted(sinks: Any, tmp_path: Path, clock: MovableClock) -> None:
    web, _ = sinks
    alerts_ = alerts(sinks, tmp_path, clock, max_per_hour=3)
    assert [alerts_.send(alert(f"day {n}")) for n in range(6)] == [True] * 3 + [False] * 3
    clock.advance(timedelta(minutes=61))
    assert alerts_.send(alert("day 9"))
    assert "3 alerts before this one were held back." in web.posted[-1][2]["text"]
    # The last one before the limit announces that more may be held back.
    notes = ["More within the hour are held back" in body["text"] for _, _, body in web.posted]
    assert notes == [False, False, True, False]


def test_an_alert_with_a_new_item_is_sent_at_once_and_one_with_fewer_is_not(
    sinks: Any, tmp_path: Path, clock: MovableClock
) -> None:
    web, _ = sinks
    alerts_ = alerts(sinks, tmp_path, clock)

    def sent(*about: str) -> bool:
        return alerts_.send(Alert("countdown", "2026-11-19", f"{len(about)} at risk", (), about))

    assert sent("a", "b")
    assert not sent("b", "a")
    assert not sent("b"), "a was saved"
    assert sent("b", "c")
    clock.advance(timedelta(hours=23))
    assert not sent("c")
    assert sent(*map(str, range(1500)))
    assert not sent(*map(str, range(1400))), "of very many, by and by fewer"
    assert sent(*map(str, range(3000)))
    assert len(web.posted) == 4
    clock.advance(timedelta(hours=2))
    assert sent("c"), "a day later"


def test_a_channel_that_fails_blocks_nothing_and_gets_the_alert_later(
    sinks: Any, tmp_path: Path, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    web, post = sinks
    web.status = 500
    alerts_ = alerts(sinks, tmp_path, clock)
    with caplog.at_level(logging.INFO):
        assert alerts_.send(alert())
    assert len(post.mails) == 1
    assert "alerts.webhook: HTTP 500" in caplog.text
    assert TOKEN not in caplog.text
    web.status, web.posted = 200, []
    assert alerts_.send(alert())
    assert (len(web.posted), len(post.mails)) == (1, 1)


def test_redirects_are_not_followed(sinks: Any, tmp_path: Path, clock: MovableClock) -> None:
    web, _ = sinks
    web.status = 302
    outcome = alerts(sinks, tmp_path, clock).send_test(alert())
    assert outcome == {"webhook": "alerts.webhook: HTTP 302", "smtp": None}
    assert {path for path, _, _ in web.posted} == {f"/{TOKEN}"}


def test_mail_is_not_sent_without_starttls(sinks: Any, tmp_path: Path, clock: MovableClock) -> None:
    _, post = sinks
    smtp = {"host": "127.0.0.1", "port": post.server_address[1], "sender": "a@b", "recipients": ["c@d"]}
    alerts_ = Alerts(
        AlertSettings.model_validate({"smtp": smtp}), store=open_store(f"file://{tmp_path}/c"), clock=clock
    )
    assert alerts_.send_test(alert())["smtp"] == "alerts.smtp: 127.0.0.1 rejected the mail: SMTPNotSupportedError"
    assert post.mails == []


def test_phone_numbers_are_masked(sinks: Any, tmp_path: Path, clock: MovableClock) -> None:
    web, post = sinks
    alerts(sinks, tmp_path, clock).send(
        Alert("test", "x", "call +65 9123 4567", ("of 6591234567", "session e35e3d0e-065a-11ec-b119-676cb2bc33ef"))
    )
    text = json.dumps(web.posted[0][2]) + post.mails[0]
    assert "9123" not in text
    assert "e35e3d0e-065a-11ec-b119-676cb2bc33ef" in text


def test_without_channels_nothing_is_sent_and_nothing_written(tmp_path: Path, clock: MovableClock) -> None:
    alerts_ = Alerts(AlertSettings(), store=open_store(f"file://{tmp_path}/catalog"), clock=clock)
    assert not alerts_.send(alert())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def day_after(start_trial: Start) -> Any:
    """A day of many outcomes, archived ten hours after its end."""
    clock = MovableClock(datetime(2026, 1, 6, 10, tzinfo=UTC))
    trial = start_trial(sessions_per_day=40, clock=clock)
    trial.simulator.api.faults.add(
        Fault.answer(500, body={}), match=trial.simulator.world.sessions[3].session_id, times=FOREVER
    )
    trial.configure("[lookups]\ndeadline_s = 1\n")
    trial.archive()
    return trial


def test_what_has_the_least_time_left_is_first_and_what_has_none_is_last(day_after: Any) -> None:
    with day_after.connections() as connections:
        now = day_after.simulator.clock()
        items = at_risk(connections.catalog, connections.settings, now=now)
        hours = [item.hours_left for item in items]
        assert any(left >= 0 for left in hours)
        assert any(left < 0 for left in hours)
        split = next(n for n, left in enumerate(hours) if left < 0)
        assert hours[:split] == sorted(hours[:split])
        assert hours[split:] == sorted(hours[split:], reverse=True)
        world = day_after.simulator.world
        for item in items:
            session = world.session(item.session_id)
            # Of a session that only the account's own list names no end is known: its start counts.
            assert session.started_at <= item.call_ended_at <= session.ended_at + timedelta(seconds=1)
            assert item.deadline_at == item.call_ended_at + timedelta(hours=24)
        unknown = [item for item in items if item.recording_id is None]
        assert [item.session_id for item in unknown] == [world.sessions[3].session_id]
        states = {row["recording_id"]: row["archive_status"] for row in day_after.tables()["recordings"]}
        lacking = {id_ for id_, state in states.items() if state in ("pending", "missing", "failed", "not_uploaded")}
        assert {item.recording_id for item in items} - {None} == lacking
        text = support_text(items)
        assert all(item.session_id in text for item in items)
        assert not [n for s in world.sessions for leg in s.legs for n in (leg.source.digits,) if n in text]


def test_status_shows_what_is_at_risk_and_which_days_were_never_archived(day_after: Any) -> None:
    done = day_after.run("status", "--from", "2026-01-05", "--to", "2026-01-06", "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert not document["is_well"]
    assert document["status"]["never_archived"] == ["2026-01-06"]
    assert {day["subaccount_id"] for day in document["status"]["days"]} == {"demo_s3", "demo_sftp"}
    assert sum(day["session_count"] for day in document["status"]["days"]) == 80
    assert document["support_text"].startswith("Hello")
    shown = day_after.run("status", "--from", "2026-01-05", "--to", "2026-01-06")
    assert "2026-01-06: never archived. callarchive archive --day 2026-01-06" in shown.stdout
    counts = [row["kind"] for row in day_after.tables()["reconciliation"] if row["state"] == "open"]
    assert document["status"]["open_rows"] == {kind: counts.count(kind) for kind in sorted(set(counts))}
    assert f"{max(counts)} {counts.count(max(counts))}" in shown.stdout
    pasted = day_after.run("status", "--support-text", "--from", "2026-01-05", "--to", "2026-01-05")
    assert pasted.stdout.startswith("Hello,")
    assert "never archived" not in pasted.stderr
    unknown = day_after.run("status", "--support-text", "--from", "2026-01-06", "--to", "2026-01-06")
    assert unknown.returncode == 1
    assert unknown.stdout == "No recording needs 8x8's support.\n"
    assert "1 day was never archived, so recordings at risk there are unknown" in unknown.stderr
    assert day_after.run("status", "--from", "2026-01-06", "--to", "2026-01-05").returncode == 2


def test_a_day_without_trouble_is_well(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=1, clock=MovableClock(datetime(2026, 1, 6, 10, tzinfo=UTC)))
    trial.archive()
    done = trial.run("status", "--from", "2026-01-05", "--to", "2026-01-05")
    assert done.returncode == 0, done.stdout
    assert "Nothing is at risk." in done.stdout


def test_a_day_with_problems_raises_alerts_once(start_trial: Start, sinks: Any) -> None:
    web, _ = sinks
    trial = start_trial(sessions_per_day=40, clock=MovableClock(datetime(2026, 1, 6, 10, tzinfo=UTC)))
    trial.configure(f'[alerts.webhook]\nurl = "http://127.0.0.1:{web.server_port}/x"\n')
    trial.archive()
    kinds = [body["kind"] for _, _, body in web.posted]
    assert "checks_failed" in kinds
    assert "countdown" in kinds
    trial.archive()
    assert len(web.posted) == len(kinds)
    everything = json.dumps([body for _, _, body in web.posted])
    numbers = {leg.source.digits for session in trial.simulator.world.sessions for leg in session.legs}
    assert not [number for number in numbers if number in everything]


def test_checks_without_a_result_raise_an_alert_unless_turned_off(start_trial: Start, sinks: Any) -> None:
    web, _ = sinks
    trial = start_trial(sessions_per_day=4, clock=MovableClock(datetime(2026, 1, 6, 10, tzinfo=UTC)))
    trial.configure(
        f'[alerts.webhook]\nurl = "http://127.0.0.1:{web.server_port}/x"\n\n[reconciliation]\nlist_landing = false\n'
    )
    trial.archive()
    assert [body for _, _, body in web.posted if body["kind"] == "not_checked"] == []
    trial.simulator.sftp.kill()
    trial.archive()
    (alert,) = [body for _, _, body in web.posted if body["kind"] == "not_checked"]
    assert any("demo_sftp was not archived by the latest run" in line for line in alert["lines"])


@pytest.mark.parametrize("seed", [4, 5])
def test_alerts_have_no_personal_data_even_if_numbers_are_kept(start_trial: Start, sinks: Any, seed: int) -> None:
    """Nor where servers and file names are full of them."""
    web, post = sinks
    trial = start_trial(sessions_per_day=30, seed=seed, clock=MovableClock(datetime(2026, 1, 6, 10, tzinfo=UTC)))
    world = trial.simulator.world
    numbers = {n.digits for s in world.sessions for leg in s.legs for n in (leg.source, leg.destination) if n}
    assert len(numbers) > 30
    spoken = min(numbers)
    for session in world.sessions[:4]:
        body = {"message": f"no route to +{spoken}, {spoken} or call_{spoken}"}
        trial.simulator.api.faults.add(Fault.answer(500, body=body), match=session.session_id, times=FOREVER)
    landing = (
        trial.config.parent
        / "sftp"
        / "upload"
        / next(
            s.session_id for s in world.sessions if (trial.config.parent / "sftp" / "upload" / s.session_id).is_dir()
        )
    )
    for number, file in enumerate((f"call_{spoken}.mp3", f"{spoken}.mp3", "jane-doe.mp3")):
        (landing / file).write_bytes(b"x" * (number + 1))
    trial.configure(
        f"""[lookups]
deadline_s = 1
[alerts]
countdown_hours = 24
[alerts.webhook]
url = "http://127.0.0.1:{web.server_port}/x"
[alerts.smtp]
host = "127.0.0.1"
port = {post.server_address[1]}
security = "none"
sender = "a@acme.example"
recipients = ["b@acme.example"]
"""
    )
    trial.config.write_text(
        trial.config.read_text().replace("[[accounts]]\n", '[[accounts]]\nphone_numbers = "keep"\n')
    )
    (summary,) = trial.archive()
    assert {"lookups_succeeded", "landing_objects_known"} <= {
        check.name for check in summary.checks if not check.passed
    }
    kinds = [body["kind"] for _, _, body in web.posted]
    assert {"checks_failed", "countdown"} <= set(kinds)
    assert len(post.mails) == len(kinds)
    shown = trial.run("status", "--from", "2026-01-05", "--to", "2026-01-05", "--support-text")
    everything = json.dumps([body for _, _, body in web.posted]) + "".join(post.mails) + shown.stdout
    assert "landing_objects_known" in everything
    assert not [personal for personal in (*numbers, "jane") if personal in everything]


def test_a_failed_run_raises_an_alert(start_trial: Start, sinks: Any) -> None:
    web, _ = sinks
    trial = start_trial(sessions_per_day=1)
    trial.configure(f'[alerts.webhook]\nurl = "http://127.0.0.1:{web.server_port}/x"\n')
    trial.simulator.api.faults.add(Fault.answer(401, body={}), times=FOREVER)
    assert trial.run("archive", "--day", "2026-01-05").returncode == 3
    assert [(body["kind"], body["key"]) for _, _, body in web.posted] == [("run_failed", "2026-01-05")]


def test_a_test_alert_reports_its_outcome(start_trial: Start, sinks: Any) -> None:
    web, _ = sinks
    trial = start_trial(sessions_per_day=1)
    assert trial.run("alerts", "test").returncode == 2
    trial.configure(f'[alerts.webhook]\nurl = "http://127.0.0.1:{web.server_port}/x"\n')
    assert trial.run("alerts", "test").stdout == "webhook: sent\n"
    web.status = 404
    failed = trial.run("alerts", "test", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["channels"] == {"webhook": "alerts.webhook: HTTP 404"}
