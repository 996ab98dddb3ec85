"""What an account's archived days tell of others: sessions by day of the week, recordings a session, bytes, seconds, paces.

A ratio is that of all days together, its range that of the single days.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from callarchive.planning.forecast.archived_days import NOTHING, ArchivedDay, Pace
from callarchive.planning.forecast.models import Figure

_ENOUGH = 10
"""So many recordings or answers make a pace. Fewer tell of connecting more than of working."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """So much of one thing for each of another, on all days together, on the day with the least and with the most."""

    value: float
    low: float
    high: float

    def of(self, figure: Figure) -> Figure:
        """As much as there is for that figure, with what both leave open. The figure's value is known."""
        low, value, high = figure.low or 0.0, figure.value or 0.0, figure.high
        if high is None:
            return Figure(value * self.value, low * self.low, None, Figure.likely(0, 0, 0).bases)
        return Figure.likely(value * self.value, low * self.low, high * self.high)


class History:
    """An account's archived days, of which there may be none.

    Args:
        days: from the first on which the account had a session.
    """

    def __init__(self, days: Mapping[date, ArchivedDay]) -> None:
        begun = min((day for day, told in days.items() if told.session_count), default=None)
        self._days = {day: told for day, told in sorted(days.items()) if begun is not None and day >= begun}
        told = list(self._days.values())
        self.sessions_per_heard = _ratio([(d.session_count, d.heard_count) for d in told])
        self.recordings_per_session = _ratio([(d.found_count, d.session_count) for d in told])
        self.bytes_per_recording = _ratio([(d.size_bytes, d.found_count) for d in told])
        self.seconds_per_byte = _ratio([(d.audio_s, d.size_bytes) for d in told])
        self.bytes_per_s = _pace([d.fetch_pace for d in told])
        self.look_ups_per_s = _pace([d.look_up_pace for d in told])

    @property
    def told(self) -> str:
        """Which days these are, in words."""
        if not self._days:
            return "no archived day"
        first, last = min(self._days), max(self._days)
        return f"archived day {first}" if first == last else f"{len(self._days)} archived days, {first} to {last}"

    def sessions_on(self, day: date) -> Figure:
        """Sessions on such a day of the week; where no such day was archived, on any day."""
        counts = [told.session_count for other, told in self._days.items() if other.weekday() == day.weekday()]
        counts = counts or [told.session_count for told in self._days.values()]
        if not counts:
            return Figure.unknown()
        return Figure.likely(sum(counts) / len(counts), min(counts), max(counts))


def merge(days: Mapping[date, Mapping[str, ArchivedDay]], subaccount_id: str) -> History:
    """One account's history."""
    return History({day: accounts.get(subaccount_id, NOTHING) for day, accounts in days.items()})


def _ratio(pairs: list[tuple[float, float]]) -> Ratio | None:
    """Null where there was nothing to count by."""
    counted = [(amount, per) for amount, per in pairs if per > 0]
    if not counted:
        return None
    each = [amount / per for amount, per in counted]
    return Ratio(sum(amount for amount, _ in counted) / sum(per for _, per in counted), min(each), max(each))


def _pace(paces: list[Pace]) -> Ratio | None:
    """Null where too little was done to tell."""
    done = [pace for pace in paces if pace.busy_s > 0 and pace.amount > 0]
    if sum(pace.count for pace in done) < _ENOUGH:
        return None
    return _ratio([(pace.amount, pace.busy_s) for pace in done])
