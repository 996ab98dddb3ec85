"""What a forecast's figures take: calls of 8x8's API, requests of S3, money, time."""

from collections.abc import Mapping

from callarchive.planning.forecast.history import History
from callarchive.planning.forecast.models import Figure, sum_of
from callarchive.settings import AccountSettings, ForecastSettings, Settings

EXPORT_CALLS = 3
"""Of a day's log export at least: it is started, asked for and downloaded. While 8x8 prepares it, it is asked for again."""


def export_calls(account: AccountSettings, *, day_count: int) -> int:
    """How many calls the account's log exports take at least, one a day."""
    has_export = any(source.kind == "log_export" for source in account.session_sources)
    return EXPORT_CALLS * day_count if has_export else 0


def api_calls(account: AccountSettings, look_ups: Figure, *, day_count: int) -> Figure:
    """A look-up a session and what exports take at least. Retries come on top."""
    return _scaled(look_ups, 1, plus=export_calls(account, day_count=day_count))


def requests(settings: Settings, account: AccountSettings, figures: Mapping[str, Figure]) -> Figure:
    """A GET for each recording from an S3 landing, a PUT for each into an S3 archive. Not listings, and not tables."""
    places = (account.landing, settings.archive.url)
    return _scaled(figures["fetch_count"], sum(place.startswith("s3://") for place in places))


def cost(prices: ForecastSettings, *, calls: Figure, requests: Figure, fetch_bytes: Figure) -> Figure | None:
    """What that costs at the configured prices; null without any."""
    parts = [
        _scaled(figure, price)
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


def time_and_why(account: AccountSettings, history: History, figures: Mapping[str, Figure]) -> tuple[Figure, str]:
    """Seconds of look-ups and of fetching, and what they rest on. Without a measured pace there is only a lower bound."""
    cap = account.requests_per_second
    look_ups, fetch_bytes = figures["look_ups"], figures["fetch_bytes"]
    asking, fetching = history.look_ups_per_s, history.bytes_per_s
    per_s = cap if asking is None else min(cap, asking.value)
    slowest = cap if asking is None else min(cap, asking.low)
    quickest = cap if asking is None else min(cap, asking.high)
    told = [
        f"{per_s:,.0f} look-ups a second, "
        + ("the cap; how fast they were is not known" if asking is None else f"measured; the cap is {cap:g}")
    ]
    asking_s = _slowed(look_ups, per_s, slowest, quickest)
    if fetching is not None:
        told.append(f"{fetching.value / 1e6:,.2f} MB a second fetched, measured")
        fetching_s = _slowed(fetch_bytes, fetching.value, fetching.low, fetching.high)
    elif fetch_bytes.value == 0 and fetch_bytes.high == 0:
        fetching_s = fetch_bytes
    else:
        told.append("how fast recordings are fetched is not known: too few were")
        fetching_s = Figure.unknown()
    bases = look_ups.bases if look_ups.value is None else Figure.likely(0, 0, 0).bases
    low = (asking_s.low or 0.0) + (fetching_s.low or 0.0)
    if asking_s.value is None or fetching_s.value is None:
        return Figure(None, low if asking_s.low is not None else None, None, Figure.unknown().bases), "; ".join(told)
    high = (
        None if asking_s.high is None or fetching_s.high is None or asking is None else asking_s.high + fetching_s.high
    )
    return Figure(asking_s.value + fetching_s.value, low, high, bases), "; ".join(told)


def _slowed(amount: Figure, per_s: float, slowest: float, quickest: float) -> Figure:
    if amount.value is None:
        return amount
    low = None if amount.low is None else amount.low / quickest
    return Figure(amount.value / per_s, low, None if amount.high is None else amount.high / slowest, amount.bases)


def _per(price: float | None, count: float) -> float | None:
    return None if price is None else price / count


def _scaled(figure: Figure, factor: float, *, plus: float = 0) -> Figure:
    if figure.value is None:
        return figure
    return Figure(
        figure.value * factor + plus,
        None if figure.low is None else figure.low * factor + plus,
        None if figure.high is None else figure.high * factor + plus,
        figure.bases,
    )
