"""The state of a recording without a new file: by 8x8's status, the time since the call, and earlier runs."""

import logging
from datetime import timedelta

from callarchive.archiving.fetcher.account_day import AccountDay
from callarchive.archiving.fetcher.wanted import Wanted
from callarchive.domain.foreign_text import cleaned
from callarchive.domain.models import ApiStatus, ArchiveStatus, RecordingFile

log = logging.getLogger(__name__)

_ERROR_CHARS = 2000


class RecordingStates:
    """The states of one account's recordings."""

    def __init__(self, day: AccountDay) -> None:
        self._day = day

    def without_object(self, item: Wanted, earlier: RecordingFile | None, reason: str) -> RecordingFile:
        """Return the state of a recording that has no object: pending, missing or not uploaded."""
        status = item.recording.api_status
        if status is ApiStatus.PROCESSING:
            give_up_after = self._day.give_up_after
            if give_up_after is None or self._day.clock() - item.call_at < give_up_after:
                return self.without_file(item, earlier, ArchiveStatus.PENDING, reason)
            late = f"{reason} after {give_up_after / timedelta(days=1):g} days: given up"
            return self.without_file(item, earlier, ArchiveStatus.MISSING, late)
        if not status.uploaded:
            raw = item.recording.api_status_raw or "nothing"
            error = f"8x8 reports {ascii(raw)[1:-1]}; {reason}"
            return self.without_file(item, earlier, ArchiveStatus.NOT_UPLOADED, error)
        if self._day.clock() - item.call_at < timedelta(hours=self._day.transfer.missing_after_hours):
            return self.without_file(item, earlier, ArchiveStatus.PENDING, reason)
        return self.without_file(item, earlier, ArchiveStatus.MISSING, reason)

    def without_file(
        self, item: Wanted, earlier: RecordingFile | None, status: ArchiveStatus, error: str
    ) -> RecordingFile:
        """Return this state, or the earlier one if it has a kept file, which stays whatever the source reports."""
        if earlier is not None and earlier.kept is not None:
            log.warning("recording %s stays archived; its source now: %s", item.recording.recording_id, error)
            return earlier
        return RecordingFile(
            subaccount_id=self._day.subaccount_id,
            session_id=item.session_id,
            recording_id=item.recording.recording_id,
            archive_status=status,
            error=cleaned(error, limit=_ERROR_CHARS),
            versions=earlier.versions if earlier is not None else (),
        )
