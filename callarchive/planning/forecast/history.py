"""An account's archived days as a basis for forecasts: sessions by weekday, recordings per session, bytes, seconds, paces.

A ratio is computed over all days together, its range over single days.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from callarchive.planning.forecast.archived_days import NOTHING, ArchivedDay, Pace
from callarchive.planning.forecast.models import Figure

_ENOUGH = 10
"""The fewest recordings or responses for a pace. With fewer, connecting dominates."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two amounts: over all days together, and on the days with the lowest and highest."""

    value: float
    low: float
    high: float

    def of(self, figure: Figure) -> Figure:
        """Return the figure times the ratio, with the ranges of both. The figure's value must be known."""
        low, value, high = figure.low or 0.0, figure.value or 0.0, figure.high
        if high is None:
            return Figure(value * self.value, low * self.low, None, Figure.likely(0, 0, 0).bases)
        return Figure.likely(value * self.value, low * self.low, high * self.high)


class History:
    """An account's archived days, possibly none. Days before the account's first session are ignored."""

    def __init__(self, days: Mapping[date, ArchivedDay]) -> None:
        begun = min((day for day, outcome in days.items() if outcome.session_count), default=None)
        self._days = {day: outcome for day, outcome in sorted(days.items()) if begun is not None and day >= begun}
        outcomes = list(self._days.values())
        self.sessions_per_recorded = _ratio([(d.session_count, d.recorded_count) for d in outcomes])
        self.recordings_per_session = _ratio([(d.found_count, d.session_count) for d in outcomes])
        self.bytes_per_recording = _ratio([(d.size_bytes, d.found_count) for d in outcomes])
        self.seconds_per_byte = _ratio([(d.audio_s, d.size_bytes) for d in outcomes])
        self.bytes_per_s = _pace([d.fetch_pace for d in outcomes])
        self.look_ups_per_s = _pace([d.look_up_pace for d in outcomes])

    @property
    def description(self) -> str:
        """The days as text."""
        if not self._days:
            return "no archived day"
        first, last = min(self._days), max(self._days)
        return f"archived day {first}" if first == last else f"{len(self._days)} archived days, {first} to {last}"

    def sessions_on(self, day: date) -> Figure:
        """Return the sessions on this weekday, or on any day if no such weekday was archived."""
        counts = [outcome.session_count for other, outcome in self._days.items() if other.weekday() == day.weekday()]
        counts = counts or [outcome.session_count for outcome in self._days.values()]
        if not counts:
            return Figure.unknown()
        return Figure.likely(sum(counts) / len(counts), min(counts), max(counts))


def merge(days: Mapping[date, Mapping[str, ArchivedDay]], subaccount_id: str) -> History:
    """Return an account's history."""
    return History({day: accounts.get(subaccount_id, NOTHING) for day, accounts in days.items()})


def _ratio(pairs: list[tuple[float, float]]) -> Ratio | None:
    """Return the ratio; None if there is nothing to divide by."""
    counted = [(amount, per) for amount, per in pairs if per > 0]
    if not counted:
        return None
    each = [amount / per for amount, per in counted]
    return Ratio(sum(amount for amount, _ in counted) / sum(per for _, per in counted), min(each), max(each))


def _pace(paces: list[Pace]) -> Ratio | None:
    """Return the pace; None if too little was done."""
    done = [pace for pace in paces if pace.busy_s > 0 and pace.amount > 0]
    if sum(pace.count for pace in done) < _ENOUGH:
        return None
    return _ratio([(pace.amount, pace.busy_s) for pace in done])
