"""A session's legs, combined row by row. Values that cannot be used are reported; `gathering` keeps the reports."""

from datetime import UTC, datetime
from decimal import Decimal

from callarchive.domain.days import parse_timestamp
from callarchive.domain.identifiers import EARLIEST_PLAUSIBLE_AT
from callarchive.sources import row_values
from callarchive.sources.call_log_csv import LegFacts

_FAR = datetime.max.replace(tzinfo=UTC)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_UNSET_BEFORE = datetime(1971, 1, 1, tzinfo=UTC)  # 8x8 and others write a time that was never set as 0, or as -1 ms
_FEW_CALLS = 8
_PRICE_STEP = Decimal("0.000001")
_PRICE_LIMIT = Decimal(10**12)  # the catalog stores prices with 12 digits before the point and 6 after it
_NO_FACTS = LegFacts()[3:]


class Legs:
    """What is known of a session so far, and its first row. Mutable and small: there may be a million."""

    __slots__ = (
        "_bad_price",
        "_call_count",
        "_calls",
        "_currency",
        "_first",
        "_last",
        "_leg_count",
        "_price",
        "duration_s",
        "ended_at",
        "file",
        "line",
        "mos",
        "numbers",
        "status",
    )

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.line = line
        self._first = (_FAR, "\U0010ffff")
        self._last = (_LONG_AGO, _LONG_AGO, "")
        self.ended_at: datetime | None = None
        self.numbers = ("", "")
        self.status: str | None = None
        self._calls: list[str] | set[str] = []
        self._leg_count = 0
        self._call_count: int | None = None
        self.duration_s: float | None = None
        self.mos: float | None = None
        self._price: Decimal | None = None
        self._currency: str | None = None
        self._bad_price = False

    @property
    def started_at(self) -> datetime | None:
        """Return when the first leg was initiated; `None` if no row has a start."""
        return None if self._first[0] is _FAR else self._first[0]

    @property
    def call_count(self) -> int | None:
        """Return the number of calls that a row gives, else of the call ids."""
        return self._call_count if self._call_count is not None else self._leg_count or None

    @property
    def price(self) -> tuple[Decimal | None, str | None]:
        """Return the sum of the legs' prices and its currency; `None` if it is unknown."""
        if self._bad_price or self._price is None or abs(self._price) >= _PRICE_LIMIT:
            return None, None
        return self._price.quantize(_PRICE_STEP), self._currency or None

    def add(self, facts: LegFacts, *, latest: datetime) -> tuple[str, ...] | list[str]:
        """Add a leg, and return why any of its values could not be used. A call id counts once."""
        _, call, _, start, end, status, count, duration, price, _, source, destination, mos = facts
        values = facts[3:]
        if call:
            if not self._is_new(call):
                return ()
            self._leg_count += 1
        if values == _NO_FACTS:
            return ()
        if not call:
            # Rows without a call id are duplicates only if all of their values are equal.
            call = "\0".join(values)
            if not self._is_new(call):
                return ()
        problems: list[str] = []
        started = _time(start, "start (InitiatedAt or started_at)", latest, problems) if start else None
        ended = _time(end, "end (DisconnectedAt or ended_at)", latest, problems) if end else None
        first = (started or _FAR, call)
        if first < self._first:
            self._first = first
            self.numbers = (source, destination)
        if ended is not None and (self.ended_at is None or ended > self.ended_at):
            self.ended_at = ended
        if status:
            self._add_status(status, (started or _LONG_AGO, ended or _LONG_AGO, call), problems)
        if duration:
            self._add_duration(duration, problems)
        if price:
            self._add_price(price, facts.price_currency, problems)
        if count:
            self._add_count(count, problems)
        if mos:
            self._add_mos(mos, problems)
        return problems

    def _is_new(self, call: str) -> bool:
        calls = self._calls
        if call in calls:
            return False
        if isinstance(calls, set):
            calls.add(call)
        else:
            calls.append(call)
            if len(calls) > _FEW_CALLS:
                self._calls = set(calls)
        return True

    def _add_status(self, text: str, last: tuple[datetime, datetime, str], problems: list[str]) -> None:
        """Keep the status of the last leg that has one."""
        status = row_values.parse_status(text)
        if status is None:
            if text.strip():
                problems.append(f"SessionStatus is not a word: {row_values.shown(text)}")
        elif last >= self._last:
            self._last, self.status = last, status

    def _add_duration(self, text: str, problems: list[str]) -> None:
        seconds = row_values.parse_number(text)
        if seconds is None or not 0 <= seconds <= 31 * 86400:
            problems.append(f"DurationInSec is not a duration: {row_values.shown(text)}")
        elif self.duration_s is None or seconds > self.duration_s:
            self.duration_s = seconds

    def _add_price(self, text: str, currency: str, problems: list[str]) -> None:
        """Add to the sum; a price in another currency, or an unreadable one, makes the sum unknown."""
        currency = currency.strip().upper()
        price = row_values.parse_price(text)
        if price is None or len(currency) > 10:
            if text.strip():
                self._bad_price = True
                problems.append(f"TotalPriceOfCall is not a price: {row_values.shown(text)}")
            return
        if not price and not currency:
            self._price = self._price or price
            return
        self._bad_price |= self._currency is not None and self._currency != currency
        self._currency = currency
        self._price = price if self._price is None else self._price + price

    def _add_count(self, text: str, problems: list[str]) -> None:
        count = row_values.parse_number(text)
        if count is None or not 0 <= count <= 1_000_000 or count != int(count):
            problems.append(f"call_count is not a number of calls: {row_values.shown(text)}")
        else:
            self._call_count = max(self._call_count or 0, int(count))

    def _add_mos(self, text: str, problems: list[str]) -> None:
        """Keep the lowest score: one bad leg spoils a call."""
        score = row_values.parse_mos(text)
        if score is not None:
            self.mos = score if self.mos is None else min(self.mos, score)
        elif text.strip():
            problems.append(f"MOS is not a score from 1 to 5: {row_values.shown(text)}")


def _time(text: str, what: str, latest: datetime, problems: list[str]) -> datetime | None:
    at = parse_timestamp(text)
    if at is not None:
        if EARLIEST_PLAUSIBLE_AT <= at <= latest:
            return at
        if at < _UNSET_BEFORE:
            return None
    elif not text.strip():
        return None
    problems.append(f"{what} is no time of a call: {row_values.shown(text)}")
    return None
