"""A forecast: figures with their range and where they come from, by account and day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from callarchive.domain.plurals import many

ALL = "all"
"""What all accounts together are called."""


class Basis(StrEnum):
    """Where a figure comes from."""

    CATALOG = "counted in the catalog"
    LANDING = "counted in the landing"
    LEAST_LANDING = "at least, counted in the landing"
    LEAST_CATALOG = "at least, counted in the catalog"
    HISTORY = "from history"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is told before it is known.

    Attributes:
        value: null where nothing tells it.
        low: it is not less than this, as far as history tells; null as `value`.
        high: nor more; null where nothing bounds it.
        bases: where it comes from, and of how many days it comes from there.
    """

    value: float | None
    low: float | None
    high: float | None
    bases: tuple[tuple[Basis, int], ...]

    @classmethod
    def counted(cls, value: float, basis: Basis) -> "Figure":
        """A day's, without a doubt."""
        return cls(value, value, value, ((basis, 1),))

    @classmethod
    def unknown(cls) -> "Figure":
        """A day's, of which nothing is known."""
        return cls(None, None, None, ((Basis.UNKNOWN, 1),))

    @classmethod
    def least(cls, value: float, basis: Basis) -> "Figure":
        """A day's, of which only a part is known."""
        return cls(value, value, None, ((basis, 1),))

    @classmethod
    def likely(cls, value: float, low: float, high: float) -> "Figure":
        """A day's, as other days were."""
        return cls(value, min(low, value), max(high, value), ((Basis.HISTORY, 1),))

    @property
    def told(self) -> str:
        """Where it comes from, in words; of how many days where that differs."""
        if len(self.bases) == 1:
            return self.bases[0][0].value
        return "; ".join(f"{basis.value}: {many(count, 'day', 'days')}" for basis, count in self.bases)

    def holds(self, actual: float) -> bool | None:
        """Whether the number that came is in the range; null where the range has no bound to hold it to."""
        if self.low is None:
            return None
        slack = 1e-9 * abs(actual)  # seconds are summed in another order
        if actual < self.low - slack:
            return False
        return None if self.high is None else actual <= self.high + slack


def sum_of(figures: Iterable[Figure]) -> Figure:
    """The sum. What is not known on some days leaves it without an upper bound, what is known on none without a value."""
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
        sessions: that the session sources will name.
        look_ups: sessions for which 8x8's API will be asked.
        recordings: whose files lie in the landing or in the archive.
        settled_count: of these, the ones that are archived, or were found to be no audio: nothing is left to do.
        fetch_count, fetch_bytes: recordings that are left to fetch.
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
        settled_share: of `recordings`, from 0 to 1; null where there are none or they are not known.
        api_calls: look-ups, and what log exports take at least.
        requests: of S3: a GET for each recording from an S3 landing, a PUT for each into an S3 archive.
        time_s: one day after the other, without waiting for exports and listings.
        time_told, history_told: what these rest on, in words.
        notes: what else to know.
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
    time_told: str
    history_told: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """A range of days, both included, as it looked when the forecast was made."""

    first: date
    last: date
    made_at: datetime
    archived_days: tuple[date, ...]
    accounts: tuple[AccountForecast, ...]
    total: AccountForecast
    currency: str = ""

    @property
    def day_count(self) -> int:
        return (self.last - self.first).days + 1
