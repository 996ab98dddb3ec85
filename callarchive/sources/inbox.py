"""Sessions of which webhook events told: the source `inbox`."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_bounds
from callarchive.domain.identifiers import plausible
from callarchive.domain.models import Findings, RowProblem, Session
from callarchive.domain.phone_numbers import PhoneNumberTreatment
from callarchive.events.inbox.inbox import Inbox, InboxSession
from callarchive.sources.row_values import session_status

_LONGEST_CALL_S = 31 * 86_400

log = logging.getLogger(__name__)


class InboxSessions:
    """Sessions that an account's events name. What a VRU event tells of a recording comes with it; see `recording_events`.

    Args:
        inbox: null where no receiver has made one yet: it names no sessions then.
        guard: what may still be written of a phone number, which was treated when its event came.
        clock: the time now; no call is much later.
    """

    kind = "inbox"

    def __init__(
        self,
        inbox: Inbox | None,
        *,
        subaccount_id: str,
        timezone: ZoneInfo,
        guard: PhoneNumberTreatment,
        clock: Callable[[], datetime],
    ) -> None:
        self._inbox = inbox
        self._subaccount_id = subaccount_id
        self._timezone = timezone
        self._guard = guard
        self._clock = clock

    def __repr__(self) -> str:
        return f"InboxSessions({self._subaccount_id!r})"

    def find(self, day: date) -> Findings:
        """The day's sessions, and by name those that nothing dates and of which the first event came on the day.

        Raises:
            UnavailableError, StoreError: the inbox cannot be read.
        """
        if self._inbox is None:
            log.warning("account %s: there is no inbox yet: callarchive webhooks serve makes it", self._subaccount_id)
            return Findings()
        start, end = day_bounds(day, self._timezone)
        sessions = tuple(self._session(told) for told in self._inbox.sessions(self._subaccount_id, start, end))
        problems = tuple(
            RowProblem(
                self.kind,
                "inbox",
                None,
                f"session {undated.session_id} has no time, and its id gives none: no day has it",
            )
            for undated in self._inbox.undated(self._subaccount_id)
            if start <= undated.received_at < end
        )
        return Findings(sessions, problems)

    def _session(self, told: InboxSession) -> Session:
        """A start that only the session's UUID tells dates it and is no fact of the call; what cannot be is none either."""
        summary = told.summary
        named = Session(self._subaccount_id, told.session_id, sources=(self.kind,))
        if summary is None:
            return named
        now, lasted_s = self._clock(), summary.call_duration_s
        return replace(
            named,
            started_at=summary.started_at if plausible(summary.started_at, now=now) else None,
            ended_at=summary.ended_at if plausible(summary.ended_at, now=now) else None,
            session_status=session_status(summary.session_status or ""),
            call_count=summary.call_count,
            call_duration_s=lasted_s if lasted_s is not None and 0 <= lasted_s <= _LONGEST_CALL_S else None,
            source_number=self._guard(summary.source_number),
            destination_number=self._guard(summary.destination_number),
        )
