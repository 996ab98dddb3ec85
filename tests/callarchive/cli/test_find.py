"""The verdict with which `callarchive find` starts, and how to open the file."""

from datetime import date
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callarchive.cli.find import _print_verdict, next_step
from callarchive.cli.output import Output
from callarchive.monitoring.trace import Trace
from callarchive.monitoring.trace_steps import NO_EVENTS, Step, StepState, verdict_on
from callarchive.settings.stores import ArchiveSettings

URI = "s3://acme archive/a.mp3"
FILE = {"archive_uri": URI, "sha256": "ab", "quarantine_uri": None, "source_uri": "sftp://acme/a.mp3"}
NO_FILE = dict.fromkeys(FILE)


def recording(status: str, *steps: Step, error: str | None = None, **more: Any) -> dict[str, Any]:
    return {"recording_id": "one", "archive_status": status, "error": error, "links": steps, **more}


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (recording("archived", Step("audio", StepState.OK, "47 s")), "archived, whole"),
        (
            recording("archived", Step("audio", StepState.BROKEN, "audio is truncated: 3 s")),
            "archived, but audio is truncated: 3 s",
        ),
        (
            recording("archived", Step("durations", StepState.BROKEN, "they disagree: 1, 2")),
            "archived, but durations: they disagree: 1, 2",
        ),
        (recording("missing", error="no object"), "not archived: missing: no object"),
        (recording("rejected", error="an HTML page"), "not archived: rejected: an HTML page"),
        (recording("erased"), "erased"),
    ],
)
def test_the_verdict_says_whether_a_recording_is_archived_and_whole(row: dict[str, Any], verdict: str) -> None:
    assert verdict_on(row) == verdict


def test_the_wanted_recording_comes_first_with_the_command_that_downloads_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = (recording("archived", **FILE), recording("pending", error="not yet", **NO_FILE) | {"recording_id": "two"})
    session = {"session_id": "s", "subaccount_id": "acme"}
    trace = Trace(date(2026, 1, 5), session, None, (Step("events", StepState.ABSENT, "none"),), rows, "two: not yet")
    settings: Any = SimpleNamespace(accounts=())
    settings.archive = ArchiveSettings.model_validate(
        {"url": "s3://acme-archive", "s3": {"endpoint_url": "http://127.0.0.1:9", "profile": "acme"}}
    )
    output = Output(config=None, json=False, quiet=False)
    _print_verdict(output, trace, settings, wanted="two")
    assert capsys.readouterr().out.splitlines() == [
        "Recording two: not archived: pending: not yet",
        "Recording one: archived, whole",
        f"  file: aws s3 cp --endpoint-url http://127.0.0.1:9 --profile acme '{URI}' .",
        "  SHA-256: ab",
        "  object: sftp://acme/a.mp3",
        "Session s of acme, 2026-01-05",
        "  events (absent): none",
        "Broken at: two: not yet",
    ]


@pytest.mark.parametrize("expected", [True, False])
def test_that_there_are_no_events_is_shown_only_where_they_are_expected(
    capsys: pytest.CaptureFixture[str], expected: bool
) -> None:
    session = {"session_id": "s", "subaccount_id": "acme"}
    trace = Trace(date(2026, 1, 5), session, None, (NO_EVENTS,), (), None)
    accounts = [SimpleNamespace(subaccount_id="acme", expects_events=expected)]
    settings: Any = SimpleNamespace(archive=None, accounts=accounts)
    _print_verdict(Output(config=None, json=False, quiet=False), trace, settings, wanted="s")
    assert ("events (absent): the inbox has none" in capsys.readouterr().out) is expected


@pytest.mark.parametrize(
    ("archived", "advice"),
    [
        (date(2021, 8, 27), "2021-08-27 is archived, but neither its session sources nor 8x8 list it"),
        (date(2021, 8, 26), "archive that day first: callarchive archive --day 2021-08-27"),
    ],
)
def test_the_advice_about_an_unknown_id_depends_on_its_day_in_the_archives_zone(archived: date, advice: str) -> None:
    connections: Any = SimpleNamespace(
        settings=SimpleNamespace(zone=ZoneInfo("Pacific/Kiritimati")), catalog=SimpleNamespace(days=lambda: [archived])
    )
    assert advice in next_step("e35e3d0e-065a-11ec-b119-676cb2bc33ef", connections)
