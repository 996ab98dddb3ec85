"""What figures take, at prices and paces set here."""

from datetime import date
from pathlib import Path

import pytest

from callarchive.planning.forecast.archived_days import ArchivedDay, Pace
from callarchive.planning.forecast.history import History
from callarchive.planning.forecast.models import Basis, Figure
from callarchive.planning.forecast.spending import api_calls, cost, requests, time_and_why
from callarchive.settings import ForecastSettings, Settings, load_settings

CONFIG = """
start_date = 2026-01-01
archive.url = "{archive}"
catalog.url = "catalog"
[[accounts]]
subaccount_id = "acme_sg"
api_key = {{ env = "KEY" }}
requests_per_second = 50
landing = "{landing}"
{more}
session_sources = [{{ kind = "{kind}", path = "x-{{day}}.csv" }}]
"""
S3, SFTP = "s3://acme-recordings/x", "sftp://user@host/x"


def configured(folder: Path, *, archive: str = "archive", landing: str = S3, kind: str = "files") -> Settings:
    file = folder / "callarchive.toml"
    more = 'sftp = { known_hosts = "k", password = { env = "P" } }' if landing == SFTP else ""
    text = CONFIG.format(archive=archive, landing=landing, kind=kind, more=more)
    file.write_text(text.replace(', path = "x-{day}.csv"', "") if kind == "log_export" else text)
    return load_settings(file)


@pytest.mark.parametrize(
    ("archive", "landing", "expected"),
    [("archive", S3, 20), ("s3://acme-archive/a", S3, 40), ("archive", SFTP, 0), ("s3://acme-archive/a", SFTP, 20)],
)
def test_a_recording_is_a_get_from_s3_and_a_put_into_it(
    tmp_path: Path, archive: str, landing: str, expected: int
) -> None:
    settings = configured(tmp_path, archive=archive, landing=landing)
    figures = {"fetch_count": Figure.counted(20, Basis.LANDING)}
    assert requests(settings, settings.accounts[0], figures).value == expected


def test_an_export_takes_three_calls_a_day_and_files_take_none(tmp_path: Path) -> None:
    look_ups = Figure.likely(100, 80, 120)
    account = configured(tmp_path, kind="log_export").accounts[0]
    calls = api_calls(account, look_ups, day_count=7)
    assert (calls.value, calls.low, calls.high) == (121, 101, 141)
    account = configured(tmp_path).accounts[0]
    assert api_calls(account, look_ups, day_count=7) == look_ups


def test_only_what_has_a_price_costs_and_without_any_price_nothing_is_told() -> None:
    calls, asked, fetched = (
        Figure.likely(2000, 1000, 3000),
        Figure.counted(500, Basis.LANDING),
        Figure.likely(4e9, 4e9, 8e9),
    )

    def told(prices: ForecastSettings, fetch_bytes: Figure = fetched) -> Figure | None:
        return cost(prices, calls=calls, requests=asked, fetch_bytes=fetch_bytes)

    assert told(ForecastSettings()) is None
    assert told(ForecastSettings(currency="USD")) is None
    per_gb = told(ForecastSettings(price_per_gb=0.09))
    assert per_gb is not None
    assert (per_gb.value, per_gb.low, per_gb.high) == pytest.approx((0.36, 0.36, 0.72))
    every = told(ForecastSettings(price_per_gb=0.09, price_per_1000_requests=0.4, price_per_1000_api_calls=1))
    assert every is not None
    assert (every.value, every.low, every.high) == pytest.approx((2.56, 1.56, 3.92))
    unknown = told(ForecastSettings(price_per_gb=0.09, price_per_1000_requests=0.4), Figure.unknown())
    assert unknown is not None
    assert (unknown.value, unknown.low, unknown.high) == (None, pytest.approx(0.2), None)


def test_time_is_told_of_measured_paces_below_the_cap_and_else_only_its_least(tmp_path: Path) -> None:
    account = configured(tmp_path).accounts[0]
    figures = {"look_ups": Figure.likely(1000, 800, 1200), "fetch_bytes": Figure.counted(6e6, Basis.LANDING)}
    unknown, why = time_and_why(account, History({}), figures)
    assert (unknown.value, unknown.low, unknown.high) == (None, 16, None)
    assert why.startswith("50 look-ups a second, the cap")
    fetching = Pace(2e6, 20, 1.0)
    slow, fast = Pace(40, 40, 4.0), Pace(400, 400, 4.0)  # 10 and 100 look-ups a second
    known = [(1, slow), (2, slow), (3, fast)]
    days = {
        date(2026, 1, day): ArchivedDay(session_count=1, look_up_pace=pace, fetch_pace=fetching) for day, pace in known
    }
    told, why = time_and_why(account, History(days), figures)
    assert told.value == pytest.approx(1000 / 40 + 3)
    assert told.low == pytest.approx(800 / 50 + 3), "not faster than the cap"
    assert told.high == pytest.approx(1200 / 10 + 3)
    assert why == "40 look-ups a second, measured; the cap is 50; 2.00 MB a second fetched, measured"
