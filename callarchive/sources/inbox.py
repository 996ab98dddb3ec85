"""Sessions of which webhook events told: the source `inbox`."""

import logging
from datetime import date
from zoneinfo import ZoneInfo

from callarchive.days import day_bounds
from callarchive.inbox.inbox import Inbox, InboxSession
from callarchive.models import Findings, RowProblem, Session

log = logging.getLogger(__name__)


class InboxSessions:
    """Sessions that an account's events name. What a VRU event tells of a recording comes with it; see `recording_events`.

    Args:
        inbox: null where no receiver has made one yet: it names no sessions then.
    """

    kind = "inbox"

    def __init__(self, inbox: Inbox | None, *, subaccount_id: str, timezone: ZoneInfo) -> None:
        self._inbox = inbox
        self._subaccount_id = subaccount_id
        self._timezone = timezone

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
        """A start that only the session's UUID tells dates it and is no fact of the call."""
        summary = told.summary
        if summary is None:
            return Session(self._subaccount_id, told.session_id, sources=(self.kind,))
        return Session(
            subaccount_id=self._subaccount_id,
            session_id=told.session_id,
            started_at=summary.started_at,
            ended_at=summary.ended_at,
            session_status=summary.session_status,
            call_count=summary.call_count,
            call_duration_s=summary.call_duration_s,
            source_number=summary.source_number,
            destination_number=summary.destination_number,
            sources=(self.kind,),
        )
