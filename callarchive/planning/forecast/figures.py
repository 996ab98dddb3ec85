"""A number of a forecast: its value, its range, and its source on each day."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add, or_
from typing import Any

CATALOG = "counted in the catalog"
LANDING = "counted in the landing"
LEAST_CATALOG = "at least, counted in the catalog"
LEAST_LANDING = "at least, counted in the landing"
HISTORY = "from history"
UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Figure:
    """A forecast number.

    Attributes:
        value: None if unknown.
        low, high: None without that bound.
        days: the number of days by source.
    """

    value: float | None
    low: float | None
    high: float | None
    days: Mapping[str, int]

    def times(self, ratio: "Ratio | None") -> "Figure":
        """Return the figure times a ratio from history, with the ranges of both."""
        count = sum(self.days.values())
        if self.value is None or self.high == 0:
            return self
        if ratio is None:
            return Figure(None, None, None, {UNKNOWN: count})
        low, high = ((self.low or 0) * ratio.low, None if self.high is None else self.high * ratio.high)
        return Figure(self.value * ratio.value, low, high, {HISTORY: count})

    def scaled(self, factor: float, *, plus: float = 0) -> "Figure":
        """Return the figure times `factor` plus `plus`; what is unknown stays unknown."""
        value, low, high = (
            None if number is None else number * factor + plus for number in (self.value, self.low, self.high)
        )
        return Figure(value, low, high, self.days)

    def document(self) -> dict[str, Any]:
        """Return the figure for JSON; `from` counts the days by source."""
        return {"value": self.value, "low": self.low, "high": self.high, "from": self.days}


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two amounts: over all days together, and on the days with the lowest and highest."""

    value: float
    low: float
    high: float


def counted(value: float, source: str) -> Figure:
    """Return a day's certain figure."""
    return Figure(value, value, value, {source: 1})


def at_least(value: float, source: str) -> Figure:
    """Return a day's figure without an upper bound."""
    return Figure(value, value, None, {source: 1})


def unknown() -> Figure:
    """Return a day's unknown figure."""
    return Figure(None, None, None, {UNKNOWN: 1})


def total(figures: Iterable[Figure], *, partial: bool = True) -> Figure:
    """Return the sum. With an unknown figure it has no upper bound.

    Args:
        partial: whether the figures are of different days, and those that are known have a sum without the others. Otherwise
            they are parts of the same days.
    """
    listed = list(figures)
    values, lows, highs = (
        [number for number in numbers if number is not None]
        for numbers in zip(*((figure.value, figure.low, figure.high) for figure in listed), strict=True)
    )
    known = len(values) == len(listed) or (partial and values)
    return Figure(
        value=sum(values) if known else None,
        low=sum(lows) if lows else None,
        high=sum(highs) if len(highs) == len(listed) else None,
        days=reduce(add if partial else or_, (Counter(figure.days) for figure in listed)),
    )
