"""What is kept past its time: days that `keep_days` no longer allows and no hold covers, still in the archive.

It depends on no day that a run archives, so it is not among `checks` and does not change the exit code of `archive`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.domain.days import day_of
from callarchive.domain.errors import ArchiveError
from callarchive.domain.plurals import many

if TYPE_CHECKING:
    from callarchive.removal.retention import OverdueDay

_LATE_AFTER_DAYS = 2
"""Retention applied each night leaves nothing for that long."""


@dataclass(frozen=True, slots=True)
class KeptPastTime:
    """The result of the check that nothing is kept past its time.

    Attributes:
        is_limited: whether an account has a retention; without one, nothing is past its time.
        days: the accounts' days that are past their time, the oldest first.
        late_days: how many days the oldest is past its time.
        error: why the archive could not be searched.
    """

    is_limited: bool = False
    days: "tuple[OverdueDay, ...]" = ()
    late_days: int = 0
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing is kept past its time."""
        return not self.days and self.error is None

    @property
    def is_late(self) -> bool:
        """Whether something is past its time for longer than two days, so that retention is not applied each night."""
        return self.late_days > _LATE_AFTER_DAYS

    @property
    def summary(self) -> str:
        """One sentence, with the next step if the check failed."""
        if self.error is not None:
            return f"not checked: {self.error}"
        if not self.days:
            return "nothing is kept past its time" if self.is_limited else "no retention is set: keep_days"
        oldest = self.days[0]
        count = many(len(self.days), "day is kept past its time", "days are kept past their time")
        return (
            f"{count}, the oldest {oldest.call_date} of {oldest.subaccount_id} (keep_days = {oldest.keep_days}): callarchive"
            " retention plan lists what is past its time, callarchive retention apply removes it"
        )


def kept_past_time(connections: Connections) -> KeptPastTime:
    """Return what is kept past its time. Without a retention, nothing is contacted. Never raises ArchiveError."""
    settings = connections.settings
    if all(settings.keep_days(account) is None for account in settings.accounts):
        return KeptPastTime()
    from callarchive.removal.retention import overdue

    try:
        days = tuple(overdue(connections))
    except ArchiveError as err:
        return KeptPastTime(is_limited=True, error=str(err))
    today = day_of(connections.clock(), settings.zone)
    late_days = max(((today - one.call_date).days - one.keep_days for one in days), default=0)
    return KeptPastTime(is_limited=True, days=days, late_days=late_days)
