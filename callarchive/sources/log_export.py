"""Session ids from 8x8's log export: the one source that knows every call of a day.

An export that may have been cut is not believed: each file ends with a whole row, and one file at least has a row.

Fetching the export is `VoiceClient.call_log`'s part, keeping it the answer store's, reading its rows `call_log`'s.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from callarchive.domain.days import day_bounds
from callarchive.domain.errors import ExportError, SourceError
from callarchive.domain.models import Findings
from callarchive.domain.phone_numbers import PhoneNumberTreatment
from callarchive.sources.call_log_csv import UNCLOSED, LogRow, read_call_log
from callarchive.sources.gathering import Gathering

log = logging.getLogger(__name__)

MARGIN = timedelta(hours=12)
"""How much longer than the day the export is: legs after midnight belong to sessions of the day, and the first legs of
sessions that began before it must be seen, or they would be taken for sessions of this day."""


class CallLogApi(Protocol):
    """What is needed of `voice.VoiceClient`."""

    def call_log(self, start: datetime, end: datetime) -> AbstractContextManager[list[Path]]:
        """The CSV files of the legs in that time; none when there were no calls."""


class CallLogStore(Protocol):
    """What is needed of `answer_store.AnswerStore`."""

    def save_call_log(
        self, day: date, subaccount_id: str, files: Sequence[Path], treat: PhoneNumberTreatment
    ) -> object:
        """The day's call log is kept, its phone numbers treated."""

    def load_call_log(self, day: date, subaccount_id: str) -> AbstractContextManager[list[Path] | None]:
        """The files of the kept call log; null when none is kept for the day."""


class LogExportSessions:
    """Sessions whose first call leg was initiated on the day, as 8x8's export says.

    Args:
        treat: what becomes of phone numbers.
        clock: the time now; the export never asks for the future.
        reread: the kept call log is read instead of asking 8x8. Its phone numbers have been treated already.
    """

    kind = "log_export"

    def __init__(
        self,
        *,
        subaccount_id: str,
        timezone: ZoneInfo,
        voice: CallLogApi,
        answers: CallLogStore,
        treat: PhoneNumberTreatment,
        clock: Callable[[], datetime],
        reread: bool = False,
    ) -> None:
        self._subaccount_id = subaccount_id
        self._timezone = timezone
        self._voice = voice
        self._answers = answers
        self._treat = treat
        self._clock = clock
        self._reread = reread

    def find(self, day: date) -> Findings:
        """The day's sessions. A day that is not over has those so far.

        Raises:
            SourceError: the day has not begun; no row of the export names a session; `reread`, and no call log is kept.
            ExportError: the export did not give its rows, or two in a row end inside a row or have none.
            AccessDeniedError, UnavailableError: 8x8 or the answer store would not answer.
        """
        if self._reread:
            return self._find_kept(day)
        now = self._clock()
        day_start, day_end = day_bounds(day, self._timezone)
        start, end = day_start - MARGIN, min(day_end + MARGIN, now)
        if start >= end:
            raise SourceError(f"account {self._subaccount_id}: {day} has not begun, so 8x8 knows no calls of it yet")
        try:
            return self._find_in_export(day, start, end)
        except _CutError as err:
            log.warning("%s; the export is started once more", err)
            return self._find_in_export(day, start, end)

    def _find_in_export(self, day: date, start: datetime, end: datetime) -> Findings:
        with self._voice.call_log(start, end) as files:
            findings = self._read(day, files, treat=self._treat)
            self._answers.save_call_log(day, self._subaccount_id, files, self._treat)
        return findings

    def _find_kept(self, day: date) -> Findings:
        with self._answers.load_call_log(day, self._subaccount_id) as files:
            if files is None:
                raise SourceError(
                    f"account {self._subaccount_id}: no call log of {day} is kept: run the day without re-reading"
                )
            try:
                return self._read(day, files, treat=lambda number: number)
            except _CutError as err:
                raise SourceError(f"{err}; run the day without re-reading") from err

    def _read(self, day: date, files: Sequence[Path], *, treat: PhoneNumberTreatment) -> Findings:
        day_start, day_end = day_bounds(day, self._timezone)
        gathering = Gathering(
            source=self.kind,
            subaccount_id=self._subaccount_id,
            day=day,
            timezone=self._timezone,
            treat=treat,
            now=self._clock(),
            asked=(day_start - MARGIN, day_end + MARGIN),
        )
        row_count = 0
        for number, path in enumerate(files, 1):
            # The name of a download differs from run to run; what is kept of the day must not.
            name = f"call log of {day}, file {number} of {len(files)}"
            unclosed: LogRow | None = None
            try:
                if path.stat().st_size == 0:
                    raise _CutError(f"{self._called(name)}: is empty, though 8x8 says that there are calls")
                with path.open("rb") as stream:
                    for row in read_call_log(stream, file=name):
                        row_count += 1
                        if row.flaw is None:
                            unclosed = None
                        elif row.flaw == UNCLOSED:
                            unclosed = row
                        gathering.add(row, file=name)
            except OSError as err:
                raise SourceError(f"{name} cannot be read: {err.strerror or type(err).__name__}") from err
            if unclosed is not None:
                raise _CutError(
                    f"{self._called(name)}: ends inside the row of line {unclosed.line}, so it may have been cut"
                )
        if files and not row_count:
            raise _CutError(
                f"{self._called(f'call log of {day}')}: the export succeeded but has no row, where 8x8 says 'empty' if there"
                " are no calls"
            )
        return gathering.usable_findings(self._called(f"call log of {day}"))

    def _called(self, name: str) -> str:
        return f"account {self._subaccount_id}: {name}"


class _CutError(ExportError):
    """The rows of an export end where they cannot have ended."""
