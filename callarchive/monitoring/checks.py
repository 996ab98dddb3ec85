"""Checks of a finished day: whether everything is accounted for, and whether too much went wrong.

Each reads the day's partitions as a user would and computes its verdict afresh; how, is in `verdicts`. Thresholds are in
`[checks]`. The assets show the results as asset checks, the command line in its summary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from heapq import nsmallest
from types import MappingProxyType
from typing import TYPE_CHECKING

from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table
from callarchive.domain.evidence import Outcome
from callarchive.domain.models import Discrepancy
from callarchive.settings import CheckSettings, TransferSettings

if TYPE_CHECKING:  # whoever only asks which checks there are need not import pyarrow
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.monitoring.verdicts import Verdict

_EXAMPLES = 20
_REASONS = 3


@dataclass(frozen=True)
class CheckResult:
    """A check's verdict on one day.

    Attributes:
        outcome: `NOT_CHECKED` where the run of the day could not find out what the check asks.
        blocking: a failure means that the tables are wrong, not merely that calls or servers were.
        summary: one sentence with the figures; of a check that was not checked, "not checked: why".
        examples: at most 20 ids or places concerned.
    """

    name: str
    table: Table
    day: date
    outcome: Outcome
    blocking: bool
    summary: str
    numbers: dict[str, float]
    examples: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether what the check asks is known, and is as it should be."""
        return self.outcome is Outcome.PASSED

    @property
    def failed(self) -> bool:
        """Whether what the check asks is known, and is not as it should be."""
        return self.outcome is Outcome.FAILED

    @property
    def serious(self) -> bool:
        """Whether it failed and is no mere oddity: recordings or answers are lacking, or the tables are wrong."""
        return self.failed and self.name not in ODDITIES


@dataclass(frozen=True)
class Check:
    """A check: what it looks at and what it means."""

    name: str
    table: Table
    blocking: bool
    meaning: str


def run_checks(
    catalog: Catalog,
    day: date,
    *,
    limits: CheckSettings,
    transfer: TransferSettings,
    landings: Mapping[str, str] = MappingProxyType({}),
    table: Table | None = None,
) -> list[CheckResult]:
    """Return the result of every check on the day, or of those on one table only.

    Args:
        landings: the accounts' landings by subaccount_id, for messages.
    """
    if table is not None and not any(check.table is table for check in CHECKS):
        return []
    from callarchive.monitoring.verdicts import VERDICTS, not_known, read_day

    seen = read_day(catalog, day, limits=limits, transfer=transfer, landings=landings)
    results = []
    for check in CHECKS:
        if table is None or check.table is table:
            verdict = VERDICTS[check.name](seen)
            outcome, summary = _with_unknowns(verdict, not_known(seen, check))
            results.append(
                CheckResult(
                    name=check.name,
                    table=check.table,
                    day=day,
                    outcome=outcome,
                    blocking=check.blocking,
                    summary=summary,
                    numbers=verdict.numbers,
                    examples=tuple(nsmallest(_EXAMPLES, verdict.examples)),
                )
            )
    return results


def _with_unknowns(verdict: Verdict, reasons: Sequence[str]) -> tuple[Outcome, str]:
    """Outcome and summary: what could not be found out turns "passed" into "not checked", and never a failure into either."""
    if not reasons:
        return (Outcome.PASSED if verdict.passed else Outcome.FAILED), verdict.summary
    more = f" (and {len(reasons) - _REASONS} more reasons)" if len(reasons) > _REASONS else ""
    why = f"not checked: {'; '.join(reasons[:_REASONS])}{more}"
    if verdict.passed:
        return Outcome.NOT_CHECKED, why
    return Outcome.FAILED, f"{verdict.summary}; not all of it could be checked: {why.removeprefix('not checked: ')}"


RECONCILIATION_CHECKS = {
    Discrepancy.CONNECTED_CALL_WITHOUT_RECORDING: (
        "connected_calls_recorded",
        "8x8 names a recording for every connected call, which it need not: callRecording may have been off for it.",
    ),
    Discrepancy.RECORDING_WITHOUT_FILE: (
        "recordings_have_files",
        "Every recording that 8x8 names is archived when the grace time is over.",
    ),
    Discrepancy.ORPHAN_OBJECT: (
        "landing_objects_known",
        "Every mp3 in the landing is of a recording that 8x8 names for a session that we know.",
    ),
    Discrepancy.FILE_WITHOUT_ROW: (
        "archive_files_known",
        "Every file in the archive stands in a row.",
    ),
    Discrepancy.ROW_WITHOUT_FILE: (
        "archive_files_there",
        "Every file that a row says is kept is in the archive, with the size that it had.",
    ),
    Discrepancy.EVENT_WITHOUT_SESSION: (
        "events_known",
        "Every session and every recording of which a webhook event told is named by a session source and by 8x8's API.",
    ),
    Discrepancy.SESSION_NOT_FOUND: (
        "named_sessions_found",
        "8x8's API knows every session of a connected call that a session source names.",
    ),
    Discrepancy.DURATION_MISMATCH: (
        "durations_agree",
        "A recording is as long by our measure as by 8x8's API and by its event, and no longer than its call.",
    ),
}
"""By kind of row the name of the check that counts the open ones, and what it means if there is none."""

CHECKS: tuple[Check, ...] = (
    Check(
        "every_session_accounted_for",
        schemas.SESSIONS,
        True,
        "Every session id that a source names for the day is in sessions, and no other is.",
    ),
    Check(
        "sessions_unique",
        schemas.SESSIONS,
        True,
        "No (subaccount_id, session_id) stands in sessions twice.",
    ),
    Check(
        "source_rows_readable",
        schemas.SESSIONS,
        False,
        "No row of a session source had to be set aside.",
    ),
    Check(
        "sources_complete",
        schemas.SESSIONS,
        False,
        "Every session that an earlier run of the day had from a source, or that webhook events name, is named by that source, "
        "or by the log export, in the latest run, except for checks.max_missing_sessions.",
    ),
    Check(
        "accounts_archived",
        schemas.SESSIONS,
        False,
        "Every account could be archived by the day's latest run: its sessions are known, 8x8 answered, its landing could be "
        "reached. The rows of one that could not are those of an earlier run.",
    ),
    Check(
        "lookups_succeeded",
        schemas.SESSIONS,
        False,
        "The share of sessions for which 8x8's API gave no usable answer is below checks.max_failed_lookup_share.",
    ),
    Check(
        "accounts_known",
        schemas.SESSIONS,
        False,
        "No account with ten or more sessions got 404 for every one of them, or no recording of any of ten or more connected "
        "calls, which a wrong subaccount or URL would do.",
    ),
    Check(
        "negative_answers_usual",
        schemas.SESSIONS,
        False,
        "The share of an account's sessions of which 8x8 names no recording is above that of nine in ten of its 28 earlier "
        "days by at most checks.max_negative_share_rise.",
    ),
    Check(
        "every_recording_accounted_for",
        schemas.RECORDINGS,
        True,
        "Every recording that 8x8 names is in recordings, and sessions.recording_count agrees.",
    ),
    Check(
        "recordings_unique",
        schemas.RECORDINGS,
        True,
        "No (subaccount_id, recording_id) stands in recordings twice.",
    ),
    Check(
        "recordings_archived",
        schemas.RECORDINGS,
        False,
        "The share of recordings failed, missing, rejected or never uploaded is below checks.max_failed_recording_share.",
    ),
    Check(
        "recordings_in_landing",
        schemas.RECORDINGS,
        False,
        "No account with three or more recordings lacks the files of all of them, which a wrong landing would do.",
    ),
    Check(
        "durations_plausible",
        schemas.RECORDINGS,
        False,
        "Measured durations are above 0 and below 24 h; the share that disagrees with 8x8, exceeds its call or is broken is "
        "below checks.max_duration_mismatch_share.",
    ),
    *(
        Check(
            check_name,
            schemas.RECONCILIATION,
            False,
            f"{meaning} At most checks.reconciliation.{kind.value} rows of that kind are open.",
        )
        for kind, (check_name, meaning) in RECONCILIATION_CHECKS.items()
    ),
)

ODDITIES = frozenset(
    (
        "source_rows_readable",
        "durations_plausible",
        "connected_calls_recorded",
        "archive_files_known",
        "durations_agree",
    )
)
"""Of the checks that do not block, those that tell of oddities. The others tell of recordings or answers that we lack."""
