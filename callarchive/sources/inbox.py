"""Session ids from webhook events: the source `inbox`."""

import logging
from dataclasses import dataclass, replace
from datetime import date
from typing import ClassVar

from callarchive.domain.days import day_bounds
from callarchive.domain.identifiers import plausible
from callarchive.domain.models import Findings, RowProblem, Session
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.inbox.queries import InboxSession
from callarchive.sources.gathering import SourceContext
from callarchive.sources.row_values import parse_status

_LONGEST_CALL_S = 31 * 86_400

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InboxSessions:
    """Sessions that an account's events name; none while no receiver has created an inbox."""

    kind: ClassVar[str] = "inbox"
    context: SourceContext
    inbox: Inbox | None

    def find(self, day: date) -> Findings:
        """Return the day's sessions, and as problems the sessions without a date whose first event came on the day."""
        account = self.context.subaccount_id
        if self.inbox is None:
            log.warning("account %s: there is no inbox yet; `callarchive webhooks serve` creates it", account)
            return Findings()
        start, end = day_bounds(day, self.context.timezone)
        sessions = tuple(map(self._session, self.inbox.sessions(account, start, end)))
        problems = tuple(
            RowProblem(
                self.kind,
                "inbox",
                None,
                f"session {undated.session_id} has no time, and its id gives none: it belongs to no day",
            )
            for undated in self.inbox.undated(account)
            if start <= undated.received_at < end
        )
        return Findings(sessions, problems)

    def _session(self, found: InboxSession) -> Session:
        """Return the session with plausible values only. A start that only its UUID gives dates it, but is not reported."""
        summary = found.summary
        session = Session(self.context.subaccount_id, found.session_id, sources=(self.kind,))
        if summary is None:
            return session
        now, lasted_s, mask = self.context.clock(), summary.call_duration_s, self.context.mask
        return replace(
            session,
            started_at=summary.started_at if plausible(summary.started_at, now=now) else None,
            ended_at=summary.ended_at if plausible(summary.ended_at, now=now) else None,
            session_status=parse_status(summary.session_status or ""),
            call_count=summary.call_count,
            call_duration_s=lasted_s if lasted_s is not None and 0 <= lasted_s <= _LONGEST_CALL_S else None,
            source_number=mask(summary.source_number),
            destination_number=mask(summary.destination_number),
            mos=summary.mos,
        )
