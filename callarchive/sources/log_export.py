"""Session ids from 8x8's log export, the one source that has every call of a day. `voice_api` downloads it."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Protocol

from callarchive.domain.days import day_bounds
from callarchive.domain.errors import ExportError, SourceError
from callarchive.domain.models import Findings
from callarchive.domain.phone_numbers import PhoneNumberMask
from callarchive.sources.call_log_csv import UNCLOSED, LogRow, read_call_log
from callarchive.sources.gathering import Gathering, SourceContext

log = logging.getLogger(__name__)

MARGIN = timedelta(hours=12)
"""Requested on both sides of the day: legs after midnight belong to sessions of the day, and without the first legs of
sessions that began before it, these would count as sessions of this day."""


class CallLogApi(Protocol):
    """The part of `VoiceClient` that is used here."""

    def call_log(self, start: datetime, end: datetime) -> AbstractContextManager[list[Path]]:
        """Yield the CSV files of the legs in that time; none when there were no calls."""


class CallLogStore(Protocol):
    """The part of the response store that is used here."""

    def save_call_log(self, day: date, subaccount_id: str, files: Sequence[Path], mask: PhoneNumberMask) -> object:
        """Keep the day's call log, with phone numbers masked."""

    def load_call_log(self, day: date, subaccount_id: str) -> AbstractContextManager[list[Path] | None]:
        """Yield the files of the kept call log; `None` if none is kept for the day."""


@dataclass(frozen=True)
class LogExportSessions:
    """Sessions whose first call leg was initiated on the day, according to 8x8's export.

    An export that may have been cut is refused: each file must end with a whole row, and at least one file must have a row.
    `reread` reads the kept call log instead of starting an export. Its phone numbers are masked already.
    """

    kind: ClassVar[str] = "log_export"
    context: SourceContext
    voice: CallLogApi
    responses: CallLogStore
    reread: bool = False

    def find(self, day: date) -> Findings:
        """Return the day's sessions; those so far if the day is not over.

        Raises SourceError if the day has not begun, no row names a session, or no call log is kept to `reread`; ExportError if
        the export returned no rows, or was cut twice in a row.
        """
        if self.reread:
            return self._find_kept(day)
        day_start, day_end = day_bounds(day, self.context.timezone)
        start, end = day_start - MARGIN, min(day_end + MARGIN, self.context.clock())
        if start >= end:
            account = self.context.subaccount_id
            raise SourceError(f"account {account}: {day} has not begun, so 8x8 has no calls for it yet")
        try:
            return self._find_in_export(day, start, end)
        except _CutError as err:
            log.warning("%s; starting the export once more", err)
            return self._find_in_export(day, start, end)

    def _find_in_export(self, day: date, start: datetime, end: datetime) -> Findings:
        with self.voice.call_log(start, end) as files:
            findings = self._read(day, files, self.context)
            self.responses.save_call_log(day, self.context.subaccount_id, files, self.context.mask)
        return findings

    def _find_kept(self, day: date) -> Findings:
        with self.responses.load_call_log(day, self.context.subaccount_id) as files:
            if files is None:
                raise SourceError(
                    f"account {self.context.subaccount_id}: no call log of {day} is kept: run the day without re-reading"
                )
            try:
                return self._read(day, files, replace(self.context, mask=lambda number: number))
            except _CutError as err:
                raise SourceError(f"{err}; run the day without re-reading") from err

    def _read(self, day: date, files: Sequence[Path], context: SourceContext) -> Findings:
        day_start, day_end = day_bounds(day, context.timezone)
        requested = day_start - MARGIN, day_end + MARGIN
        gathering = Gathering(context, source=self.kind, day=day, requested=requested)
        whole = f"account {context.subaccount_id}: call log of {day}"
        row_count = 0
        for number, path in enumerate(files, 1):
            # The name of a download differs from run to run; what is kept of the day must not.
            name = f"call log of {day}, file {number} of {len(files)}"
            unclosed: LogRow | None = None
            try:
                if path.stat().st_size == 0:
                    raise _CutError(f"{whole}, file {number} of {len(files)}: empty, though 8x8 reports calls")
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
                    f"{whole}, file {number} of {len(files)}: ends inside the row of line {unclosed.line},"
                    " so it may have been cut"
                )
        if files and not row_count:
            raise _CutError(
                f"{whole}: the export succeeded but has no row; 8x8 reports 'empty' when there are no calls"
            )
        return gathering.usable_findings(whole)


class _CutError(ExportError):
    """An export ends where its rows cannot have ended."""
