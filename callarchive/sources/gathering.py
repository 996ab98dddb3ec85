"""From rows to the sessions of one day: combine legs, date sessions, set unusable rows aside. No rows are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_of, parse_timestamp
from callarchive.domain.errors import InvalidIdError, SourceError
from callarchive.domain.foreign_text import cleaned, mask_text
from callarchive.domain.identifiers import parse_id, plain_id, plausible, uuid_time
from callarchive.domain.models import Findings, RowProblem, Session
from callarchive.domain.phone_numbers import PhoneNumberMask
from callarchive.sources import row_values
from callarchive.sources.call_log_csv import LegFacts, LogRow
from callarchive.sources.legs import Legs

_FIRST_REASONS = 3


class Problems:
    """Rows that were set aside: the first 1,000 with their places, the rest counted."""

    LIMIT = 1000

    def __init__(self, source: str) -> None:
        self._source = source
        self._kept: list[RowProblem] = []
        self._more = 0
        self._last_file = ""

    def add(self, *, file: str, line: int | None, reason: str) -> None:
        """Keep the problem, or only count it once there are too many."""
        if len(self._kept) < self.LIMIT:
            self._kept.append(RowProblem(self._source, file, line, cleaned(reason)))
        else:
            self._more += 1
            self._last_file = file

    def all(self) -> tuple[RowProblem, ...]:
        """Return the problems, the last one with the number of those that were only counted."""
        if not self._more:
            return tuple(self._kept)
        rest = RowProblem(self._source, self._last_file, None, f"... and {self._more} more")
        return (*self._kept, rest)


@dataclass(frozen=True, kw_only=True)
class SourceContext:
    """What all sources of an account need."""

    subaccount_id: str
    timezone: ZoneInfo  # days are cut in it
    mask: PhoneNumberMask  # applied to phone numbers
    clock: Callable[[], datetime]  # the current time; no call starts much later


class Gathering:
    """Sessions of one day, combined from the rows of one source's files.

    If `dated_by_file`, every row belongs to the day, whatever its time stamps. Otherwise a session belongs to the day of its
    first leg's start, or, where no row has one, to that of its version-1 UUID, if that is in the `requested` time range: no
    search for another day would find it. Sessions and bad rows of other days are skipped silently.
    """

    def __init__(
        self,
        context: SourceContext,
        *,
        source: str,
        day: date,
        dated_by_file: bool = False,
        requested: tuple[datetime, datetime] | None = None,
    ) -> None:
        self._context = context
        self._source = source
        self._own_spellings = {"", context.subaccount_id}
        self._day = day
        self._now = context.clock()
        self._latest = self._now + timedelta(days=2)
        self._dated_by_file = dated_by_file
        self._requested = requested
        self._sessions: dict[str, Legs] = {}
        self._problems = Problems(source)
        self._row_count = 0
        self._dated_count = 0
        self._first_reasons: list[tuple[str, int, str]] = []

    def add(self, row: LogRow, *, file: str) -> None:
        """Add the row to its session, or set it aside with the reason."""
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
                session_id = _session_id(facts)
            except InvalidIdError as err:
                reason = str(err) if facts.session_id.strip() else "has no session id"
                self._set_aside(row, file, reason if flaw is None else f"{flaw}; {reason}")
                return
            legs = self._sessions.get(session_id)
            if legs is None:
                legs = self._sessions[session_id] = Legs(file, line)
        if flaw is not None:
            self._set_aside(row, file, f"{flaw}: only its session id is used")
            return
        for reason in legs.add(facts, latest=self._latest):
            self._set_aside(row, file, reason)

    def findings(self) -> Findings:
        """Return the day's sessions, ordered by id, and what was set aside."""
        found = []
        self._dated_count = 0
        for session_id in sorted(self._sessions):
            legs = self._sessions[session_id]
            if self._dated_by_file or self._is_of_day(session_id, legs):
                found.append(self._session(session_id, legs))
        if self._dated_by_file:
            self._dated_count = len(found)
        other_days = frozenset(self._sessions) - {session.session_id for session in found}
        return Findings(tuple(found), self._problems.all(), other_days)

    def usable_findings(self, place: str) -> Findings:
        """Return `findings()`. Raises SourceError, with reasons, if there are rows in `place`, and none names a session."""
        found = self.findings()
        if not self._row_count or self._dated_count:
            return found
        reasons = mask_text(
            "; ".join(
                f"{'' if file == place else f'{file}, '}line {line}: {reason}"
                for file, line, reason in self._first_reasons
            )
        )
        raise SourceError(
            f"{place}: none of its {self._row_count} rows names a session, so the day's sessions are unknown"
            f" ({reasons})"
        )

    def _is_of_day(self, session_id: str, legs: Legs) -> bool:
        at = legs.started_at or uuid_time(session_id)
        if at is None or not plausible(at, now=self._now) or not (legs.started_at or self._was_requested(at)):
            reason = f"session {session_id} has no readable time, and its id gives none: its day is unknown"
            self._problems.add(file=legs.file, line=legs.line, reason=reason)
            self._remember(legs.file, legs.line, reason)
            return False
        self._dated_count += 1
        return day_of(at, self._context.timezone) == self._day

    def _was_requested(self, at: datetime) -> bool:
        return self._requested is None or self._requested[0] <= at <= self._requested[1]

    def _session(self, session_id: str, legs: Legs) -> Session:
        price, currency = legs.price
        source_number, destination_number = map(self._context.mask, map(row_values.phone_number, legs.numbers))
        return Session(
            subaccount_id=self._context.subaccount_id,
            session_id=session_id,
            started_at=legs.started_at,
            ended_at=legs.ended_at,
            session_status=legs.status,
            call_count=legs.call_count,
            call_duration_s=legs.duration_s,
            price=price,
            price_currency=currency,
            source_number=source_number,
            destination_number=destination_number,
            mos=legs.mos,
            sources=(self._source,),
        )

    def _is_own(self, subaccount_id: str) -> bool:
        own = subaccount_id.strip().casefold() in ("", self._context.subaccount_id.casefold())
        if own and len(self._own_spellings) < 100:
            self._own_spellings.add(subaccount_id)
        return own

    def _set_aside(self, row: LogRow, file: str, reason: str) -> None:
        """Record the problem, unless the row belongs to another day: that day reports it."""
        self._remember(file, row.line, reason)
        if not self._dated_by_file:
            at = parse_timestamp(row.facts.started_at)
            if not plausible(at, now=self._now):
                try:
                    at = uuid_time(_session_id(row.facts))
                except InvalidIdError:
                    at = None
            if at is not None and plausible(at, now=self._now) and day_of(at, self._context.timezone) != self._day:
                return
        self._problems.add(file=file, line=row.line, reason=reason)

    def _remember(self, file: str, line: int, reason: str) -> None:
        if len(self._first_reasons) < _FIRST_REASONS:
            self._first_reasons.append((file, line, reason))


def _session_id(facts: LegFacts) -> str:
    return parse_id(plain_id(row_values.unquoted(facts.session_id)), kind="session id")
