"""The cost and time of figures, at sample prices and paces."""

from datetime import date
from pathlib import Path

import pytest

from callarchive.planning.forecast.archived_days import ArchivedDay, Pace
from callarchive.planning.forecast.history import History
from callarchive.planning.forecast.models import Basis, Figure
from callarchive.planning.forecast.spending import api_calls, cost, requests, time_and_basis
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


def test_only_priced_items_cost_and_without_prices_there_is_no_cost() -> None:
    calls, asked, fetched = (
        Figure.likely(2000, 1000, 3000),
        Figure.counted(500, Basis.LANDING),
        Figure.likely(4e9, 4e9, 8e9),
    )

    def costs(prices: ForecastSettings, fetch_bytes: Figure = fetched) -> Figure | None:
        return cost(prices, calls=calls, requests=asked, fetch_bytes=fetch_bytes)

    assert costs(ForecastSettings()) is None
    assert costs(ForecastSettings(currency="USD")) is None
    per_gb = costs(ForecastSettings(price_per_gb=0.09))
    assert per_gb is not None
    assert (per_gb.value, per_gb.low, per_gb.high) == pytest.approx((0.36, 0.36, 0.72))
    every = costs(ForecastSettings(price_per_gb=0.09, price_per_1000_requests=0.4, price_per_1000_api_calls=1))
    assert every is not None
    assert (every.value, every.low, every.high) == pytest.approx((2.56, 1.56, 3.92))
    unknown = costs(ForecastSettings(price_per_gb=0.09, price_per_1000_requests=0.4), Figure.unknown())
    assert unknown is not None
    assert (unknown.value, unknown.low, unknown.high) == (None, pytest.approx(0.2), None)


def test_time_comes_from_measured_paces_below_the_cap(tmp_path: Path) -> None:
    account = configured(tmp_path).accounts[0]
    figures = {"look_ups": Figure.likely(1000, 800, 1200), "fetch_bytes": Figure.counted(6e6, Basis.LANDING)}
    unknown, basis = time_and_basis(account, History({}), figures)
    assert (unknown.value, unknown.low, unknown.high) == (None, 16, None)
    assert basis.startswith("50 lookups a second, the cap")
    fetching = Pace(2e6, 20, 1.0)
    slow, fast = Pace(40, 40, 4.0), Pace(400, 400, 4.0)  # 10 and 100 lookups a second
    known = [(1, slow), (2, slow), (3, fast)]
    days = {
        date(2026, 1, day): ArchivedDay(session_count=1, look_up_pace=pace, fetch_pace=fetching) for day, pace in known
    }
    time_s, basis = time_and_basis(account, History(days), figures)
    assert time_s.value == pytest.approx(1000 / 40 + 3)
    assert time_s.low == pytest.approx(800 / 50 + 3), "not faster than the cap"
    assert time_s.high == pytest.approx(1200 / 10 + 3)
    assert basis == "40 lookups a second, measured; the cap is 50; 2.00 MB a second fetched, measured"
