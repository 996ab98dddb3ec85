"""Forecasts of days of the simulator, S3 and SFTP, compared with the simulated world and with the outcome."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from callarchive.planning.forecast.figures import CATALOG, HISTORY, Figure
from callarchive.planning.forecast.forecasting import AccountForecast, Forecast, forecast
from callarchive.simulator.landings import object_bytes
from callarchive.simulator.world import Recording
from callarchive.storage.landing import Listing
from callarchive.storage.landing.contents import recording_id_in
from callarchive.storage.landing.sftp.landing import SftpLanding

FIRST = date(2026, 1, 5)
SECOND, THIRD, LAST = (FIRST + timedelta(days=n) for n in (1, 2, 3))
ACCOUNTS = ("demo_s3", "demo_sftp")


def in_landing(trial: Any, account: str, *days: date) -> list[Recording]:
    """The recordings of these days' sessions that have a file."""
    now = trial.simulator.clock()
    sessions = [s for day in days for s in trial.simulator.world.sessions_on(day, subaccount_id=account)]
    return [recording for session in sessions for recording in session.recordings if recording.has_file(now)]


def size_of(recordings: list[Recording]) -> int:
    return sum(len(object_bytes(recording)) for recording in recordings)


def of(made: Forecast, account: str) -> AccountForecast:
    return next(found for found in (*made.accounts, made.total) if found.subaccount_id == account)


def certain(figure: Figure) -> float | None:
    """The figure's value, if nothing else is possible."""
    assert figure.low == figure.value == figure.high
    return figure.value


def test_without_a_catalog_landings_are_counted_and_the_rest_is_unknown(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(days=3, sessions_per_day=6)
    done = trial.run("forecast", "--from", str(SECOND), "--to", str(THIRD), "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)["forecast"]
    every: list[Recording] = []
    for account in result["accounts"]:
        recordings = in_landing(trial, account["subaccount_id"], SECOND, THIRD)
        every += recordings
        figures = account["figures"]
        for name, expected in (
            ("recordings", len(recordings)),
            ("fetch_count", len(recordings)),
            ("fetch_bytes", size_of(recordings)),
            ("size_bytes", size_of(recordings)),
        ):
            at = {"value": expected, "low": expected, "high": expected, "from": {"counted in the landing": 2}}
            assert figures[name] == at, name
        heard = len({recording.session_id for recording in recordings})
        least = {"value": heard, "low": heard, "high": None, "from": {"at least, counted in the landing": 2}}
        assert figures["sessions"] == figures["look_ups"] == least
        assert figures["audio_s"] == {"value": None, "low": None, "high": None, "from": {"not known": 2}}
        assert figures["time_s"]["value"] is None
        assert figures["time_s"]["low"] == pytest.approx(heard / 100)  # the cap of requests_per_second
        assert "cost" not in figures
        assert account["history"] == "no archived day"
        assert account["archived_share"] == 0
    assert result["total"]["figures"]["size_bytes"]["value"] == size_of(every)
    assert list(trial.simulator.api.requests) == [], "8x8's API is not asked"
    assert not list(trial.config.parent.glob("catalog/**/*.*")), "nothing is written"
    assert not (trial.config.parent / "archive").exists()
    short, long = (
        trial.run("forecast", "--from", str(SECOND), "--to", str(THIRD), *more).stdout for more in ((), ("-v",))
    )
    assert "2 days, none of them archived" in short
    assert [line.split()[1] for line in short.splitlines() if line.startswith("│")] == [*ACCOUNTS, "all"]
    assert "counted in the landing: 2 days" in long
    assert "counted in the landing" not in short


def test_a_backfill_matches_its_forecast_from_listing_and_history(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(days=4, sessions_per_day=10, export_polls=0)
    trial.archive(FIRST, SECOND)
    with trial.config.open("a") as file:
        file.write("[forecast]\nprice_per_gb = 0.09\nprice_per_1000_api_calls = 500\n")
    with trial.connections() as connections:
        made, archived_day = forecast(connections, SECOND, LAST), forecast(connections, SECOND, SECOND)
        assert made.archived_days == (SECOND,)
    for account in ACCOUNTS:
        result, history = of(made, account), in_landing(trial, account, FIRST, SECOND)
        known, new = in_landing(trial, account, SECOND), in_landing(trial, account, THIRD, LAST)
        assert certain(result.figures["recordings"]) == len(known) + len(new)
        assert certain(result.figures["size_bytes"]) == size_of(known) + size_of(new)
        assert certain(result.figures["fetch_count"]) == len(new)
        assert certain(result.figures["fetch_bytes"]) == size_of(new)
        assert result.archived_share == pytest.approx(len(known) / (len(known) + len(new)))
        # An open day has as many sessions for each in its landing as the two archived days had.
        heard = [len({r.session_id for r in in_landing(trial, account, day)}) for day in (FIRST, SECOND)]
        seen = len({recording.session_id for recording in new})
        sessions = result.figures["sessions"]
        assert sessions.value == pytest.approx(10 + seen * 20 / sum(heard))
        assert sessions.low == pytest.approx(10 + seen * 10 / max(heard))
        assert sessions.high == pytest.approx(10 + seen * 10 / min(heard))
        assert sessions.days == {CATALOG: 1, HISTORY: 2}
        rows = [row for row in trial.tables()["recordings"] if row["subaccount_id"] == account]
        heard_s = {str(day): 0.0 for day in (FIRST, SECOND)}
        for row in rows:
            if row["archive_status"] == "archived":
                heard_s[str(row["call_date"])] += row["duration_s"]
        per_byte = sum(heard_s.values()) / size_of(history)
        assert result.figures["audio_s"].value == pytest.approx(heard_s[str(SECOND)] + per_byte * size_of(new))
        assert result.history == f"2 archived days, {FIRST} to {SECOND}"
        assert result.figures["time_s"].value is not None
        assert result.time_rests_on == "lookups as measured, up to the cap; downloads as measured"

    asked = trial.look_up_count()
    second, third, last = trial.archive(SECOND, THIRD, LAST)
    total = of(made, "all")
    assert third.fetched_count + last.fetched_count == certain(total.figures["fetch_count"])
    assert third.fetched_bytes + last.fetched_bytes == certain(total.figures["fetch_bytes"])
    assert second.fetched_count == 0
    # What the archived day has left to ask is counted, and 10 sessions of each account come on both open days.
    due = sum(certain(of(archived_day, account).figures["look_ups"]) or 0 for account in ACCOUNTS)
    assert trial.look_up_count() - asked == due + 4 * 10
    figures = of(made, "demo_s3").figures
    assert figures["api_calls"] == figures["look_ups"].scaled(1, plus=3 * 3), "three for each day of the log export"
    assert figures["requests"] == figures["fetch_count"], "a GET for each; the archive is a folder"
    calls, fetched = figures["api_calls"], certain(figures["fetch_bytes"]) or 0
    assert figures["cost"].value == pytest.approx((calls.value or 0) * 0.5 + fetched * 0.09 / 1e9)
    assert "requests" in of(made, "demo_sftp").figures, "S3 has no price here, and SFTP has no requests"
    assert certain(of(made, "demo_sftp").figures["requests"]) == 0


def test_future_days_are_forecast_from_history(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(days=2, sessions_per_day=5)
    trial.archive()
    with trial.connections() as connections:
        made = forecast(connections, date(2027, 2, 1), date(2027, 2, 7))  # a week; history has only Monday and Tuesday
    result = of(made, "demo_s3")
    assert result.figures["sessions"] == Figure(35, 35, 35, {HISTORY: 7})
    found = len(in_landing(trial, "demo_s3", FIRST, SECOND))
    assert result.figures["recordings"].value == pytest.approx(35 * found / 10)
    assert result.figures["size_bytes"].value == pytest.approx(
        3.5 * size_of(in_landing(trial, "demo_s3", FIRST, SECOND))
    )


def test_bytes_of_recordings_without_a_size_are_estimated_or_unknown_but_never_zero(
    start_trial: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(days=2, sessions_per_day=10)
    recordings = in_landing(trial, "demo_sftp", SECOND)
    smaller = sorted(recordings, key=lambda recording: recording.recording_id)[: len(recordings) // 2]
    ids, pages = {recording.recording_id for recording in smaller}, SftpLanding.pages
    nothing = dict.fromkeys(("value", "low", "high"))

    def without_sizes(landing: SftpLanding, folder: str, **more: Any) -> Iterator[Listing]:
        for page in pages(landing, folder, **more):
            objects = [o if recording_id_in(o.path) in ids else replace(o, size_bytes=None) for o in page.objects]
            yield replace(page, objects=objects)

    monkeypatch.setattr(SftpLanding, "pages", without_sizes)
    note = f"does not report the size of {len(recordings) - len(smaller)} mp3s: their bytes are"
    with trial.connections() as connections:
        made = of(forecast(connections, SECOND, SECOND), "demo_sftp")
        for name in ("size_bytes", "fetch_bytes"):
            figure = made.figures[name]
            assert (figure.value, figure.low, figure.high) == (size_of(smaller), size_of(smaller), None)
        assert any(f"{note} unknown" in found for found in made.notes)
        ids.clear()
        assert (
            of(forecast(connections, SECOND, SECOND), "demo_sftp").figures["size_bytes"].document().items()
            >= nothing.items()
        )
        ids |= {recording.recording_id for recording in smaller}
        trial.archive(FIRST)
        made = of(forecast(connections, SECOND, SECOND), "demo_sftp")
    before = in_landing(trial, "demo_sftp", FIRST)
    estimate = size_of(smaller) + (len(recordings) - len(smaller)) * size_of(before) / len(before)
    assert made.figures["size_bytes"].value == made.figures["fetch_bytes"].value == pytest.approx(estimate)
    assert any(f"{note} estimated" in found for found in made.notes)


def test_an_unknown_host_key_refuses_a_forecast_but_not_one_without_listing(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(sessions_per_day=2)
    named = ("--from", str(FIRST), "--to", str(FIRST))
    (trial.config.parent / "known_hosts").write_text("")
    refused = trial.run("forecast", *named)
    assert (refused.returncode, refused.stdout) == (3, "")
    alone = trial.run("forecast", *named, "--no-listing")
    assert alone.returncode == 0, alone.stderr
    assert "demo_sftp: the landing was not listed" in alone.stdout
