"""The catalogue of checks of a day, and the type of their results. See `evaluation` for how a check is evaluated.

Thresholds are in `[checks]`. Dagster shows checks as asset checks, the command line shows them in its summary.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table
from callarchive.domain.evidence import Outcome
from callarchive.domain.models import Discrepancy


class Level(StrEnum):
    """What a failure means: wrong tables, missing recordings or responses, or something unusual."""

    BLOCKING = "blocking"
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Check:
    """A check: its table, its level, and what holds if it passes."""

    name: str
    table: Table
    level: Level
    description: str

    @property
    def blocking(self) -> bool:
        """Whether a failure keeps the day from being published."""
        return self.level is Level.BLOCKING


@dataclass(frozen=True)
class CheckResult:
    """The result of a check on one day.

    Attributes:
        outcome: `NOT_CHECKED` if the run of the day could not determine the answer.
        summary: one sentence with the figures, or "not checked: " and the reason.
        examples: up to 20 ids or places.
    """

    check: Check
    day: date
    outcome: Outcome
    summary: str
    numbers: dict[str, float]
    examples: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the check."""
        return self.check.name

    @property
    def table(self) -> Table:
        """The table that was checked."""
        return self.check.table

    @property
    def passed(self) -> bool:
        """Whether the check passed; False if it was not checked."""
        return self.outcome is Outcome.PASSED

    @property
    def failed(self) -> bool:
        """Whether the check failed; False if it was not checked."""
        return self.outcome is Outcome.FAILED

    @property
    def is_error(self) -> bool:
        """Whether the check failed and is more than a warning."""
        return self.failed and self.check.level is not Level.WARNING


def _reconciliation_check(kind: Discrepancy, name: str, level: Level, description: str) -> Check:
    limit = f"Limit on open rows: checks.reconciliation.{kind.value}."
    return Check(name, schemas.RECONCILIATION, level, f"{description} {limit}")


RECONCILIATION_CHECKS = {
    kind: _reconciliation_check(kind, name, level, description)
    for kind, name, level, description in (
        (
            Discrepancy.CONNECTED_CALL_WITHOUT_RECORDING,
            "connected_calls_recorded",
            Level.WARNING,
            "8x8 lists a recording for every connected call. Calls with callRecording off have none.",
        ),
        (
            Discrepancy.RECORDING_WITHOUT_FILE,
            "recordings_have_files",
            Level.ERROR,
            "Every recording that 8x8 lists is archived by the end of the grace period.",
        ),
        (
            Discrepancy.ORPHAN_OBJECT,
            "landing_objects_known",
            Level.ERROR,
            "Every mp3 in the landing belongs to a recording that 8x8 lists for a known session.",
        ),
        (Discrepancy.FILE_WITHOUT_ROW, "archive_files_known", Level.WARNING, "Every file in the archive has a row."),
        (
            Discrepancy.ROW_WITHOUT_FILE,
            "archive_files_there",
            Level.ERROR,
            "Every file that a row names is in the archive and has the size in the row.",
        ),
        (
            Discrepancy.EVENT_WITHOUT_SESSION,
            "events_known",
            Level.ERROR,
            "A source lists every session that webhook events report, and 8x8's API lists every recording.",
        ),
        (
            Discrepancy.SESSION_NOT_FOUND,
            "named_sessions_found",
            Level.ERROR,
            "8x8's API knows every session of a connected call that a session source lists.",
        ),
        (
            Discrepancy.DURATION_MISMATCH,
            "durations_agree",
            Level.WARNING,
            "The measured duration of a recording agrees with 8x8's API and its event, and does not exceed its call.",
        ),
    )
}
"""By kind of row, the check that counts the open ones."""

CHECKS: tuple[Check, ...] = (
    Check(
        "every_session_accounted_for",
        schemas.SESSIONS,
        Level.BLOCKING,
        "sessions has every session id that a source lists for the day, and no other.",
    ),
    Check("sessions_unique", schemas.SESSIONS, Level.BLOCKING, "No (subaccount_id, session_id) is in sessions twice."),
    Check("source_rows_readable", schemas.SESSIONS, Level.WARNING, "No row of a session source was set aside."),
    Check(
        "sources_complete",
        schemas.SESSIONS,
        Level.ERROR,
        "In the latest run each source lists the sessions that it listed in earlier runs of the day, and the log export "
        "those that webhook events report. Limit: checks.max_missing_sessions.",
    ),
    Check(
        "accounts_archived",
        schemas.SESSIONS,
        Level.ERROR,
        "The latest run archived every account: its sessions are known, 8x8 responded, its landing was reachable. "
        "A failed account keeps the rows of an earlier run.",
    ),
    Check(
        "lookups_succeeded",
        schemas.SESSIONS,
        Level.ERROR,
        "8x8's API gave a usable response for nearly every session. Limit: checks.max_failed_lookup_share.",
    ),
    Check(
        "accounts_known",
        schemas.SESSIONS,
        Level.ERROR,
        "8x8 knows at least one session of every account with ten or more, and lists a recording for at least one of ten "
        "or more connected calls. A wrong subaccount or URL fails this check.",
    ),
    Check(
        "negative_answers_usual",
        schemas.SESSIONS,
        Level.ERROR,
        "The share of an account's sessions without a recording is not far above the 90th percentile of its 28 previous "
        "days. Limit: checks.max_negative_share_rise.",
    ),
    Check(
        "every_recording_accounted_for",
        schemas.RECORDINGS,
        Level.BLOCKING,
        "recordings has every recording that 8x8 lists, and sessions.recording_count agrees.",
    ),
    Check(
        "recordings_unique",
        schemas.RECORDINGS,
        Level.BLOCKING,
        "No (subaccount_id, recording_id) is in recordings twice.",
    ),
    Check(
        "recordings_archived",
        schemas.RECORDINGS,
        Level.ERROR,
        "Few recordings are failed, missing, rejected or not_uploaded. Limit: checks.max_failed_recording_share.",
    ),
    Check(
        "recordings_in_landing",
        schemas.RECORDINGS,
        Level.ERROR,
        "Every account with three or more recordings past the grace period has a file for one of them at least. "
        "A wrong landing fails this check.",
    ),
    Check(
        "durations_plausible",
        schemas.RECORDINGS,
        Level.WARNING,
        "Measured durations are above 0 and at most 24 h, and few differ from 8x8's, exceed their call or come from "
        "damaged audio. Limit: checks.max_duration_mismatch_share.",
    ),
    Check(
        "recordings_audible",
        schemas.RECORDINGS,
        Level.WARNING,
        "Few recordings have a channel with nothing to hear: a dead line, or one leg only. Limit: checks.max_silent_share.",
    ),
    *RECONCILIATION_CHECKS.values(),
)
