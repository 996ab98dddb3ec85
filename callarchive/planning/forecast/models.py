"""A forecast: figures with range and source, by account and day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from callarchive.domain.plurals import many

ALL = "all"
"""The name for all accounts together."""


class Basis(StrEnum):
    """The source of a figure."""

    CATALOG = "counted in the catalog"
    LANDING = "counted in the landing"
    LEAST_LANDING = "at least, counted in the landing"
    LEAST_CATALOG = "at least, counted in the catalog"
    HISTORY = "from history"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Figure:
    """A forecast number.

    Attributes:
        value: None if unknown.
        low: lower bound by history; None if unknown.
        high: upper bound; None without one.
        bases: its sources, with the number of days from each.
    """

    value: float | None
    low: float | None
    high: float | None
    bases: tuple[tuple[Basis, int], ...]

    @classmethod
    def counted(cls, value: float, basis: Basis) -> "Figure":
        """Return a day's certain figure."""
        return cls(value, value, value, ((basis, 1),))

    @classmethod
    def unknown(cls) -> "Figure":
        """Return a day's unknown figure."""
        return cls(None, None, None, ((Basis.UNKNOWN, 1),))

    @classmethod
    def least(cls, value: float, basis: Basis) -> "Figure":
        """Return a day's figure with only a lower bound."""
        return cls(value, value, None, ((basis, 1),))

    @classmethod
    def likely(cls, value: float, low: float, high: float) -> "Figure":
        """Return a day's figure from history."""
        return cls(value, min(low, value), max(high, value), ((Basis.HISTORY, 1),))

    @property
    def source(self) -> str:
        """Its sources as text, with the number of days if there are several."""
        if len(self.bases) == 1:
            return self.bases[0][0].value
        return "; ".join(f"{basis.value}: {many(count, 'day', 'days')}" for basis, count in self.bases)

    def scaled(self, factor: float, *, plus: float = 0) -> "Figure":
        """Return the figure times `factor` plus `plus`; an unknown one unchanged."""
        if self.value is None:
            return self
        low, high = (None if bound is None else bound * factor + plus for bound in (self.low, self.high))
        return Figure(self.value * factor + plus, low, high, self.bases)

    def holds(self, actual: float) -> bool | None:
        """Return whether the actual number is in the range; None if there is no bound to compare with."""
        if self.low is None:
            return None
        slack = 1e-9 * abs(actual)  # sums of seconds depend on their order
        if actual < self.low - slack:
            return False
        return None if self.high is None else actual <= self.high + slack


def sum_of(figures: Iterable[Figure]) -> Figure:
    """Return the sum. With unknown days it has no upper bound; if all are unknown, no value."""
    listed = list(figures)
    days: dict[Basis, int] = {}
    for figure in listed:
        for basis, count in figure.bases:
            days[basis] = days.get(basis, 0) + count
    known = [figure.value for figure in listed if figure.value is not None]
    lows = [figure.low for figure in listed if figure.low is not None]
    highs = [figure.high for figure in listed if figure.high is not None]
    bases = tuple((basis, days[basis]) for basis in Basis if basis in days)
    if listed and not known:
        return Figure(None, sum(lows) if lows else None, None, bases)
    return Figure(sum(known), sum(lows), sum(highs) if len(highs) == len(listed) else None, bases)


@dataclass(frozen=True, slots=True)
class DayForecast:
    """An account's day.

    Attributes:
        sessions: that the session sources will list.
        look_ups: sessions that will be looked up at 8x8's API.
        recordings: with a file in the landing or the archive.
        settled_count: those that are archived already, or are not audio.
        fetch_count, fetch_bytes: recordings left to fetch.
        size_bytes, audio_s: of all recordings.
    """

    sessions: Figure
    look_ups: Figure
    recordings: Figure
    settled_count: int
    fetch_count: Figure
    fetch_bytes: Figure
    size_bytes: Figure
    audio_s: Figure


FIGURES = ("sessions", "look_ups", "recordings", "fetch_count", "fetch_bytes", "size_bytes", "audio_s")


@dataclass(frozen=True, slots=True)
class AccountForecast:
    """An account's range, or that of all accounts together.

    Attributes:
        days: in order; empty for all accounts together.
        settled_share: of `recordings`, from 0 to 1; None if there are none or their number is unknown.
        api_calls: lookups, and the least that log exports need.
        requests: of S3: a GET per recording from an S3 landing, a PUT per recording into an S3 archive.
        time_s: one day after the other, without waiting for exports and listings.
        time_basis, history: the sources as text.
        notes: further remarks.
    """

    subaccount_id: str
    days: tuple[DayForecast, ...]
    figures: dict[str, Figure]
    settled_count: int
    settled_share: float | None
    api_calls: Figure
    requests: Figure
    cost: Figure | None
    time_s: Figure
    time_basis: str
    history: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a range of days, both included."""

    first: date
    last: date
    made_at: datetime
    archived_days: tuple[date, ...]
    accounts: tuple[AccountForecast, ...]
    total: AccountForecast
    currency: str = ""

    @property
    def day_count(self) -> int:
        """The number of days in the range."""
        return (self.last - self.first).days + 1
