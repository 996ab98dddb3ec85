"""From rows to sessions: legs are put together, dated, and cut to one day; rows that cannot be used are set aside.

What a row looks like in which format is in `call_log` and `id_lists`. Memory holds one small object a session, no
rows.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of, parse_timestamp
from callarchive.domain.errors import InvalidIdError, SourceError
from callarchive.domain.foreign_text import masked
from callarchive.domain.identifiers import EARLIEST_PLAUSIBLE_AT, parse_id, plausible, uuid_time
from callarchive.domain.models import Findings, Session
from callarchive.domain.phone_numbers import PhoneNumberTreatment
from callarchive.sources import row_values
from callarchive.sources.call_log_csv import LegFacts, LogRow
from callarchive.sources.problems import Problems

_FAR = datetime.max.replace(tzinfo=UTC)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_UNSET_BEFORE = datetime(1971, 1, 1, tzinfo=UTC)
"""Zero, or a millisecond before it, is how 8x8 and others write a time that was never set."""
_FEW_CALLS = 8
_PRICE_STEP = Decimal("0.000001")
_PRICE_LIMIT = Decimal(10**12)
"""The catalog holds prices with 12 digits before the point and 6 after it."""
_NO_FACTS = LegFacts()[3:]
_FIRST_REASONS = 3


class _Legs:
    """What is known of a session so far. Mutable and small: there may be a million."""

    __slots__ = (
        "bad_price",
        "call_count",
        "calls",
        "currency",
        "duration_s",
        "ended_at",
        "file",
        "first",
        "last",
        "leg_count",
        "line",
        "numbers",
        "price",
        "status",
    )

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.line = line
        self.first = (_FAR, "\U0010ffff")
        self.last = (_LONG_AGO, _LONG_AGO, "")
        self.ended_at: datetime | None = None
        self.numbers = ("", "")
        self.status: str | None = None
        self.calls: list[str] | set[str] = []
        self.leg_count = 0
        self.call_count: int | None = None
        self.duration_s: float | None = None
        self.price: Decimal | None = None
        self.currency: str | None = None
        self.bad_price = False

    @property
    def started_at(self) -> datetime | None:
        """When the first leg was initiated; null where no row says so."""
        return None if self.first[0] is _FAR else self.first[0]

    def is_new(self, call: str) -> bool:
        """Whether the leg was not met before. Remembers it."""
        calls = self.calls
        if call in calls:
            return False
        if isinstance(calls, set):
            calls.add(call)
        else:
            calls.append(call)
            if len(calls) > _FEW_CALLS:
                self.calls = set(calls)
        return True


class Gathering:
    """Sessions of one day, put together from the rows of one source's files.

    Args:
        source: the source's kind.
        day: the day whose sessions are wanted.
        dated_by_file: every row belongs to the day, whatever its time stamps say. Otherwise a session belongs to the
            day of its first leg's start, or, where no row gives one, to that of its version-1 UUID; sessions and bad
            rows of other days are passed over in silence.
        asked: the time that the rows were asked for. A UUID's time outside it does not date a session: the session
            would be taken for one of a day that nobody finds it on.
        treat: what becomes of phone numbers.
        now: no call is much later than this.
    """

    def __init__(
        self,
        *,
        source: str,
        subaccount_id: str,
        day: date,
        timezone: ZoneInfo,
        treat: PhoneNumberTreatment,
        now: datetime,
        dated_by_file: bool = False,
        asked: tuple[datetime, datetime] | None = None,
    ) -> None:
        self._source = source
        self._subaccount_id = subaccount_id
        self._own_spellings = {"", subaccount_id}
        self._day = day
        self._timezone = timezone
        self._treat = treat
        self._now = now
        self._latest = now + timedelta(days=2)
        self._dated_by_file = dated_by_file
        self._asked = asked
        self._sessions: dict[str, _Legs] = {}
        self._problems = Problems(source)
        self._row_count = 0
        self._dated_count = 0
        self._first_reasons: list[tuple[str, int, str]] = []

    def add(self, row: LogRow, *, file: str) -> None:
        """The row counts toward its session, or is set aside with its reason.

        Args:
            file: the file's name, for messages.
        """
        self._row_count += 1
        line, facts, flaw = row
        if facts.subaccount_id not in self._own_spellings and not self._is_own(facts.subaccount_id):
            self._set_aside(row, file, f"belongs to another subaccount, {row_values.shown(facts.subaccount_id)}")
            return
        legs = self._sessions.get(facts.session_id)
        if legs is None:
            if flaw is not None and not facts.session_id:
                self._set_aside(row, file, flaw)
                return
            try:
                session_id = parse_id(row_values.unquoted(facts.session_id), kind="session id")
            except InvalidIdError as err:
                reason = str(err) if facts.session_id.strip() else "has no session id"
                self._set_aside(row, file, reason if flaw is None else f"{flaw}; {reason}")
                return
            legs = self._sessions.get(session_id)
            if legs is None:
                legs = self._sessions[session_id] = _Legs(file, line)
        if flaw is not None:
            self._set_aside(row, file, f"{flaw}: only its session id counts")
            return
        self._add_leg(legs, row, file)

    def _add_leg(self, legs: _Legs, row: LogRow, file: str) -> None:
        facts = row.facts
        _, call, _, start, end, status, count, duration, price, _, source, destination = facts
        told = facts[3:]
        if call:
            if not legs.is_new(call):
                return
            legs.leg_count += 1
        if told == _NO_FACTS:
            return
        if not call:
            # A row without a call id is itself only when all of it is the same: a list that holds a session twice.
            call = "\0".join(told)
            if not legs.is_new(call):
                return
        started = self._time(start, "start (InitiatedAt or started_at)", row, file) if start else None
        ended = self._time(end, "end (DisconnectedAt or ended_at)", row, file) if end else None
        first = (started or _FAR, call)
        if first < legs.first:
            legs.first = first
            legs.numbers = (source, destination)
        if ended is not None and (legs.ended_at is None or ended > legs.ended_at):
            legs.ended_at = ended
        if status:
            self._add_status(legs, row, file, last=(started or _LONG_AGO, ended or _LONG_AGO, call))
        if duration:
            self._add_duration(legs, row, file)
        if price:
            self._add_price(legs, row, file)
        if count:
            self._add_count(legs, row, file)

    def findings(self) -> Findings:
        """The day's sessions, ordered by id, and what was set aside."""
        found = []
        self._dated_count = 0
        for session_id in sorted(self._sessions):
            legs = self._sessions[session_id]
            if self._dated_by_file or self._belongs(session_id, legs):
                found.append(self._session(session_id, legs))
        if self._dated_by_file:
            self._dated_count = len(found)
        other_days = frozenset(self._sessions) - {session.session_id for session in found}
        return Findings(tuple(found), self._problems.all(), other_days)

    def usable_findings(self, place: str) -> Findings:
        """Return `findings()`.

        Args:
            place: what the rows stand in, for the message.

        Raises:
            SourceError: there are rows, and not one names a session of any day: it cannot be read, and its day is not
                known. The message has the first reasons.
        """
        found = self.findings()
        if not self._row_count or self._dated_count:
            return found
        reasons = masked(
            "; ".join(
                f"{'' if file == place else f'{file}, '}line {line}: {reason}"
                for file, line, reason in self._first_reasons
            )
        )
        hint = "; it looks like UTF-16: save it as UTF-8" if "\\x00" in reasons else ""
        raise SourceError(
            f"{place}: none of its {self._row_count} rows names a session, so the day's sessions are not known"
            f" ({reasons}){hint}"
        )

    def _belongs(self, session_id: str, legs: _Legs) -> bool:
        at = legs.started_at or uuid_time(session_id)
        if at is None or not plausible(at, now=self._now) or not (legs.started_at or self._was_asked_for(at)):
            reason = f"session {session_id} has no readable time, and its id gives none: its day is not known"
            self._problems.add(file=legs.file, line=legs.line, reason=reason)
            self._remember(legs.file, legs.line, reason)
            return False
        self._dated_count += 1
        return day_of(at, self._timezone) == self._day

    def _was_asked_for(self, at: datetime) -> bool:
        return self._asked is None or self._asked[0] <= at <= self._asked[1]

    def _session(self, session_id: str, legs: _Legs) -> Session:
        price = None if legs.bad_price else legs.price
        if price is not None and abs(price) >= _PRICE_LIMIT:
            price = None
        return Session(
            subaccount_id=self._subaccount_id,
            session_id=session_id,
            started_at=legs.started_at,
            ended_at=legs.ended_at,
            session_status=legs.status,
            call_count=legs.call_count if legs.call_count is not None else legs.leg_count or None,
            call_duration_s=legs.duration_s,
            price=None if price is None else price.quantize(_PRICE_STEP),
            price_currency=None if price is None else legs.currency or None,
            source_number=self._treat(row_values.phone_number(legs.numbers[0])),
            destination_number=self._treat(row_values.phone_number(legs.numbers[1])),
            sources=(self._source,),
        )

    def _is_own(self, subaccount_id: str) -> bool:
        own = subaccount_id.strip().casefold() in ("", self._subaccount_id.casefold())
        if own and len(self._own_spellings) < 100:
            self._own_spellings.add(subaccount_id)
        return own

    def _set_aside(self, row: LogRow, file: str, reason: str) -> None:
        """The problem is kept, unless the row shows that it belongs to another day: that day reports it."""
        self._remember(file, row.line, reason)
        if not self._dated_by_file:
            at = parse_timestamp(row.facts.started_at)
            if not plausible(at, now=self._now):
                try:
                    at = uuid_time(parse_id(row_values.unquoted(row.facts.session_id), kind="session id"))
                except InvalidIdError:
                    at = None
            if at is not None and plausible(at, now=self._now) and day_of(at, self._timezone) != self._day:
                return
        self._problems.add(file=file, line=row.line, reason=reason)

    def _remember(self, file: str, line: int, reason: str) -> None:
        if len(self._first_reasons) < _FIRST_REASONS:
            self._first_reasons.append((file, line, reason))

    def _time(self, text: str, what: str, row: LogRow, file: str) -> datetime | None:
        at = parse_timestamp(text)
        if at is not None:
            if EARLIEST_PLAUSIBLE_AT <= at <= self._latest:
                return at
            if at < _UNSET_BEFORE:
                return None
        elif not text.strip():
            return None
        self._set_aside(row, file, f"{what} is no time of a call: {row_values.shown(text)}")
        return None

    def _add_status(self, legs: _Legs, row: LogRow, file: str, *, last: tuple[datetime, datetime, str]) -> None:
        """The status is that of the last leg that has one."""
        status = row_values.session_status(row.facts.session_status)
        if status is None:
            if row.facts.session_status.strip():
                text = row_values.shown(row.facts.session_status)
                self._set_aside(row, file, f"SessionStatus is not a word: {text}")
        elif last >= legs.last:
            legs.last, legs.status = last, status

    def _add_duration(self, legs: _Legs, row: LogRow, file: str) -> None:
        seconds = row_values.number(row.facts.call_duration_s)
        if seconds is None or not 0 <= seconds <= 31 * 86400:
            self._set_aside(
                row, file, f"DurationInSec is not a duration: {row_values.shown(row.facts.call_duration_s)}"
            )
        elif legs.duration_s is None or seconds > legs.duration_s:
            legs.duration_s = seconds

    def _add_price(self, legs: _Legs, row: LogRow, file: str) -> None:
        """The leg's price is in the sum; in another currency, or unreadable, it makes the sum unknown."""
        currency = row.facts.price_currency.strip().upper()
        price = row_values.price(row.facts.price)
        if price is None or len(currency) > 10:
            if row.facts.price.strip():
                legs.bad_price = True
                self._set_aside(row, file, f"TotalPriceOfCall is not a price: {row_values.shown(row.facts.price)}")
            return
        if not price and not currency:
            legs.price = legs.price or price
            return
        legs.bad_price |= legs.currency is not None and legs.currency != currency
        legs.currency = currency
        legs.price = price if legs.price is None else legs.price + price

    def _add_count(self, legs: _Legs, row: LogRow, file: str) -> None:
        count = row_values.number(row.facts.call_count)
        if count is None or not 0 <= count <= 1_000_000 or count != int(count):
            self._set_aside(row, file, f"call_count is not a number of calls: {row_values.shown(row.facts.call_count)}")
        else:
            legs.call_count = max(legs.call_count or 0, int(count))
