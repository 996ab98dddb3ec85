"""Forecasts of days of the simulator, S3 and SFTP, compared with the simulated world and with the outcome."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from callarchive.domain.errors import ArchiveError
from callarchive.planning.forecast.comparing import compare, compare_day
from callarchive.planning.forecast.forecasting import forecast
from callarchive.planning.forecast.keeping import keep_forecast
from callarchive.planning.forecast.models import ALL, AccountForecast, Basis, Figure, Forecast
from callarchive.simulator.landings import object_bytes
from callarchive.simulator.world import Recording

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
    written = sorted(str(path.relative_to(trial.config.parent)) for path in trial.config.parent.glob("catalog/**/*.*"))
    assert written == [f"catalog/_forecasts/{SECOND}_{THIRD}.json"]
    assert not (trial.config.parent / "archive").exists()


def test_a_backfill_matches_its_forecast_from_listing_and_history(
    start_trial: Callable[..., Any],
) -> None:
    trial = start_trial(days=4, sessions_per_day=10, export_polls=0)
    world = trial.simulator.world
    trial.archive(FIRST, SECOND)
    with trial.connections() as connections:
        made = forecast(connections, SECOND, LAST)
        assert made.archived_days == (SECOND,)
        assert keep_forecast(connections.catalog, made)
    for account in ACCOUNTS:
        result, history = of(made, account), in_landing(trial, account, FIRST, SECOND)
        known, new = in_landing(trial, account, SECOND), in_landing(trial, account, THIRD, LAST)
        assert certain(result.figures["recordings"]) == len(known) + len(new)
        assert certain(result.figures["size_bytes"]) == size_of(known) + size_of(new)
        assert certain(result.figures["fetch_count"]) == len(new)
        assert certain(result.figures["fetch_bytes"]) == size_of(new)
        assert result.settled_share == pytest.approx(len(known) / (len(known) + len(new)))
        # An open day has as many sessions for each in its landing as the two archived days had.
        heard = [len({r.session_id for r in in_landing(trial, account, day)}) for day in (FIRST, SECOND)]
        seen = len({recording.session_id for recording in new})
        sessions = result.figures["sessions"]
        assert sessions.value == pytest.approx(10 + seen * 20 / sum(heard))
        assert sessions.low == pytest.approx(10 + seen * 10 / max(heard))
        assert sessions.high == pytest.approx(10 + seen * 10 / min(heard))
        assert sessions.bases == ((Basis.CATALOG, 1), (Basis.HISTORY, 2))
        rows = [row for row in trial.tables()["recordings"] if row["subaccount_id"] == account]
        heard_s = {str(day): 0.0 for day in (FIRST, SECOND)}
        for row in rows:
            if row["archive_status"] == "archived":
                heard_s[str(row["call_date"])] += row["duration_s"]
        per_byte = sum(heard_s.values()) / size_of(history)
        assert result.figures["audio_s"].value == pytest.approx(heard_s[str(SECOND)] + per_byte * size_of(new))
        assert result.history == f"2 archived days, {FIRST} to {SECOND}"
        assert result.time_s.value is not None
        assert "measured" in result.time_basis

    asked = trial.look_up_count(), len(trial.simulator.api.requests)
    second, third, last = trial.archive(SECOND, THIRD, LAST)
    total = of(made, ALL)
    assert third.fetched_count + last.fetched_count == certain(total.figures["fetch_count"])
    assert third.fetched_bytes + last.fetched_bytes == certain(total.figures["fetch_bytes"])
    assert second.fetched_count == 0
    # What the archived day has left to ask is counted, and 10 sessions of each account come on both open days.
    again = sum(certain(of(made, account).days[0].look_ups) or 0 for account in ACCOUNTS)
    assert trial.look_up_count() - asked[0] == again + 4 * 10
    calls = of(made, "demo_s3").api_calls
    assert calls.value == pytest.approx((of(made, "demo_s3").figures["look_ups"].value or 0) + 3 * 3)

    with trial.connections() as connections:
        compared = compare(connections, SECOND, LAST)
        by_name = {(item.subaccount_id, item.name): item for item in compared.figures}
        today = {item.name: item for item in compare_day(connections, THIRD)}
        assert compare_day(connections, SECOND) == [], "that day was archived when the forecast was made"
    assert (compared.days, compared.open_days) == ((SECOND, THIRD, LAST), ())
    for name in ("recordings", "size_bytes", "fetch_count", "fetch_bytes"):
        for account in (*ACCOUNTS, ALL):
            item = by_name[account, name]
            assert item.actual == item.forecast.value, (account, name)
            assert (item.off, item.in_range) == (0, True)
    assert by_name[ALL, "sessions"].actual == sum(
        s.exported or s.listed for day in (SECOND, THIRD, LAST) for s in world.sessions_on(day)
    )
    assert by_name[ALL, "api_calls"].actual <= len(trial.simulator.api.requests) - asked[1]
    assert by_name[ALL, "time_s"].actual > 0
    assert today["recordings"].actual == sum(len(in_landing(trial, account, THIRD)) for account in ACCOUNTS)
    assert today["recordings"].subaccount_id == ALL
    assert "time_s" not in today


def test_a_forecast_made_halfway_does_not_replace_the_earlier_one(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(days=2, sessions_per_day=4)
    with trial.connections() as connections:
        with pytest.raises(ArchiveError, match=f"no forecast of {FIRST} to {SECOND} is stored"):
            compare(connections, FIRST, SECOND)
        assert keep_forecast(connections.catalog, forecast(connections, FIRST, SECOND, listing=False))
        before = forecast(connections, FIRST, SECOND)
        assert keep_forecast(connections.catalog, before), "nothing was archived since the first"
        trial.archive(FIRST)
        halfway = trial.run("forecast", "--from", str(FIRST), "--to", str(SECOND))
        assert halfway.returncode == 0, halfway.stderr
        assert "The earlier forecast of these days stays stored" in halfway.stdout
        assert "2 days, 1 of them archived" in halfway.stdout
        compared = compare(connections, FIRST, SECOND)
        assert compared.made_at == before.made_at
        assert (compared.days, compared.open_days) == ((FIRST,), (SECOND,))
        (fetched,) = [f for f in compared.figures if (f.subaccount_id, f.name) == ("demo_s3", "fetch_count")]
        assert fetched.actual == certain(fetched.forecast) == len(in_landing(trial, "demo_s3", FIRST))
        kept = trial.config.parent / f"catalog/_forecasts/{FIRST}_{SECOND}.json"
        kept.write_bytes(kept.read_bytes()[:-9])
        with pytest.raises(ArchiveError, match="no forecast"):  # a spoilt one is as good as none
            compare(connections, FIRST, SECOND)
        assert compare_day(connections, FIRST) == []


def test_future_days_are_forecast_from_history(start_trial: Callable[..., Any]) -> None:
    trial = start_trial(days=2, sessions_per_day=5)
    trial.archive()
    with trial.connections() as connections:
        made = forecast(connections, date(2027, 2, 1), date(2027, 2, 7))  # a week; history has only Monday and Tuesday
    result = of(made, "demo_s3")
    assert result.figures["sessions"] == Figure(35, 35, 35, ((Basis.HISTORY, 7),))
    found = len(in_landing(trial, "demo_s3", FIRST, SECOND))
    assert result.figures["recordings"].value == pytest.approx(35 * found / 10)
    assert result.figures["size_bytes"].value == pytest.approx(
        3.5 * size_of(in_landing(trial, "demo_s3", FIRST, SECOND))
    )


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
