"""What a forecast's figures take: API calls, S3 requests, money, time."""

from collections.abc import Mapping

from callarchive.planning.forecast.history import History
from callarchive.planning.forecast.models import Figure, sum_of
from callarchive.settings import AccountSettings, ForecastSettings, Settings

EXPORT_CALLS = 3
"""The least for a day's log export: start, status, download. While 8x8 prepares it, there are more status calls."""


def export_calls(account: AccountSettings, *, day_count: int) -> int:
    """Return the least number of calls for the account's log exports, one export a day."""
    has_export = any(source.kind == "log_export" for source in account.session_sources)
    return EXPORT_CALLS * day_count if has_export else 0


def api_calls(account: AccountSettings, look_ups: Figure, *, day_count: int) -> Figure:
    """Return a lookup per session plus the least for exports. Retries are extra."""
    return look_ups.scaled(1, plus=export_calls(account, day_count=day_count))


def requests(settings: Settings, account: AccountSettings, figures: Mapping[str, Figure]) -> Figure:
    """Return a GET per recording from an S3 landing and a PUT per recording into an S3 archive, without listings and tables."""
    places = (account.landing, settings.archive.url)
    return figures["fetch_count"].scaled(sum(place.startswith("s3://") for place in places))


def cost(prices: ForecastSettings, *, calls: Figure, requests: Figure, fetch_bytes: Figure) -> Figure | None:
    """Return the cost at the configured prices; None without prices."""
    parts = [
        figure.scaled(price)
        for figure, price in (
            (calls, _per(prices.price_per_1000_api_calls, 1000)),
            (requests, _per(prices.price_per_1000_requests, 1000)),
            (fetch_bytes, _per(prices.price_per_gb, 1e9)),
        )
        if price is not None
    ]
    if not parts:
        return None
    total = sum_of(parts)
    bases = dict(base for part in parts for base in part.bases)
    if any(part.value is None for part in parts):
        return Figure(None, total.low, None, tuple(bases.items()))
    return Figure(total.value, total.low, total.high, tuple(bases.items()))


def time_and_basis(account: AccountSettings, history: History, figures: Mapping[str, Figure]) -> tuple[Figure, str]:
    """Return the seconds of lookups and fetching, and their basis as text. Without a measured pace, only a lower bound."""
    cap = account.requests_per_second
    look_ups, fetch_bytes = figures["look_ups"], figures["fetch_bytes"]
    looking_up, fetching = history.look_ups_per_s, history.bytes_per_s
    per_s = cap if looking_up is None else min(cap, looking_up.value)
    slowest = cap if looking_up is None else min(cap, looking_up.low)
    quickest = cap if looking_up is None else min(cap, looking_up.high)
    basis = [
        f"{per_s:,.0f} lookups a second, "
        + ("the cap; not measured yet" if looking_up is None else f"measured; the cap is {cap:g}")
    ]
    look_up_s = _slowed(look_ups, per_s, slowest, quickest)
    if fetching is not None:
        basis.append(f"{fetching.value / 1e6:,.2f} MB a second fetched, measured")
        fetching_s = _slowed(fetch_bytes, fetching.value, fetching.low, fetching.high)
    elif fetch_bytes.value == 0 and fetch_bytes.high == 0:
        fetching_s = fetch_bytes
    else:
        basis.append("no measured pace for fetching: too few recordings")
        fetching_s = Figure.unknown()
    bases = look_ups.bases if look_ups.value is None else Figure.likely(0, 0, 0).bases
    low = (look_up_s.low or 0.0) + (fetching_s.low or 0.0)
    if look_up_s.value is None or fetching_s.value is None:
        return Figure(None, low if look_up_s.low is not None else None, None, Figure.unknown().bases), "; ".join(basis)
    high = (
        None
        if look_up_s.high is None or fetching_s.high is None or looking_up is None
        else look_up_s.high + fetching_s.high
    )
    return Figure(look_up_s.value + fetching_s.value, low, high, bases), "; ".join(basis)


def _slowed(amount: Figure, per_s: float, slowest: float, quickest: float) -> Figure:
    if amount.value is None:
        return amount
    low = None if amount.low is None else amount.low / quickest
    return Figure(amount.value / per_s, low, None if amount.high is None else amount.high / slowest, amount.bases)


def _per(price: float | None, count: float) -> float | None:
    return None if price is None else price / count
