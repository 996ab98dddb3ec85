"""Checks of a finished day: whether everything is accounted for, and whether too much went wrong.

Each reads the day's partitions as a user would and computes its verdict afresh. Thresholds are in `[checks]`. The assets
show the results as asset checks, the command line in its summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from callarchive import schemas
from callarchive.schemas import Table
from callarchive.settings import CheckSettings, TransferSettings

if TYPE_CHECKING:  # whoever only asks which checks there are need not import pyarrow
    from callarchive.catalog import Catalog
    from callarchive.records import Row

LONGEST_PLAUSIBLE_S = 24 * 3600.0
_EXAMPLES = 20
Verdict = tuple[bool, str, dict[str, float], Iterable[str]]
"""Whether it passed, the summary, numbers, and examples of what is wrong."""
_UNSUCCESSFUL = ("failed", "missing", "rejected", "not_uploaded")


@dataclass(frozen=True)
class CheckResult:
    """A check's verdict on one day.

    Attributes:
        blocking: a failure means that the tables are wrong, not merely that calls or servers were.
        summary: one sentence with the figures.
        examples: at most 20 ids or places concerned.
    """

    name: str
    table: Table
    day: date
    passed: bool
    blocking: bool
    summary: str
    numbers: dict[str, float]
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A check: what it looks at and what it means. `run` gives its verdict on a day."""

    name: str
    table: Table
    blocking: bool
    meaning: str
    judge: Callable[[_Day], Verdict]


@dataclass(frozen=True)
class _Day:
    """What checks read: the day's rows, and the thresholds."""

    session_ids: list[Row]
    problems: list[Row]
    sessions: list[Row]
    metadata: list[Row]
    recordings: list[Row]
    limits: CheckSettings
    tolerance_s: float


def run_checks(
    catalog: Catalog, day: date, *, limits: CheckSettings, transfer: TransferSettings, table: Table | None = None
) -> list[CheckResult]:
    """Every check's verdict on the day, or those on one table only."""
    if table is not None and not any(check.table is table for check in CHECKS):
        return []
    seen = _Day(
        session_ids=catalog.rows(schemas.SESSION_IDS, day),
        problems=catalog.rows(schemas.SESSION_PROBLEMS, day),
        sessions=catalog.rows(schemas.SESSIONS, day),
        metadata=catalog.rows(schemas.RECORDING_METADATA, day),
        recordings=catalog.rows(schemas.RECORDINGS, day),
        limits=limits,
        tolerance_s=transfer.duration_tolerance_s,
    )
    results = []
    for check in CHECKS:
        if table is not None and check.table is not table:
            continue
        passed, summary, numbers, examples = check.judge(seen)
        shown = tuple(sorted(examples))[:_EXAMPLES]
        results.append(CheckResult(check.name, check.table, day, passed, check.blocking, summary, numbers, shown))
    return results


def _sessions_accounted_for(day: _Day) -> Verdict:
    named = {_session(row) for row in day.session_ids}
    listed = {_session(row) for row in day.sessions}
    lost, invented = named - listed, listed - named
    summary = (
        f"{len(named)} session ids, {len(listed)} in sessions, {len(lost)} lost, {len(invented)} that no source names"
    )
    return (
        not lost and not invented,
        summary,
        {"lost": len(lost), "invented": len(invented)},
        map("/".join, lost | invented),
    )


def _unique(rows: list[Row], key: Callable[[Row], tuple[str, str]]) -> Verdict:
    twice = [k for k, count in Counter(key(row) for row in rows).items() if count > 1]
    return (
        not twice,
        f"{len(rows)} rows, {len(twice)} keys more than once",
        {"repeated": len(twice)},
        map("/".join, twice),
    )


def _recordings_accounted_for(day: _Day) -> Verdict:
    named = {_recording(row) for row in day.metadata}
    listed = {_recording(row) for row in day.recordings}
    wrong = named ^ listed
    counts = Counter(_session(row) for row in day.recordings)
    off = [
        _session(row)
        for row in day.sessions
        if counts[_session(row)] != row["recording_count"]
        or (row["lookup_status"] == "ok" and not row["recording_count"])
    ]
    summary = (
        f"8x8 names {len(named)} recordings, {len(listed)} in recordings, {len(off)} sessions whose count is wrong"
    )
    return not wrong and not off, summary, {"lost": len(wrong), "miscounted": len(off)}, map("/".join, [*wrong, *off])


def _rows_readable(day: _Day) -> Verdict:
    bad = [f"{row['file']}:{row['line']}: {row['reason']}" for row in day.problems]
    return not bad, f"{len(bad)} rows of session sources were set aside", {"rows_set_aside": len(bad)}, bad


def _lookups_succeeded(day: _Day) -> Verdict:
    failed = [row for row in day.sessions if row["lookup_status"] == "error"]
    share = len(failed) / len(day.sessions) if day.sessions else 0.0
    limit = day.limits.max_failed_lookup_share
    summary = f"{len(failed)} of {len(day.sessions)} look-ups failed ({share:.1%}, limit {limit:.1%})"
    examples = (f"{row['session_id']}: {row['lookup_error']}" for row in failed)
    return share <= limit, summary, {"failed": len(failed), "share": share}, examples


def _accounts_known(day: _Day) -> Verdict:
    asked = Counter(row["subaccount_id"] for row in day.sessions)
    unknown = Counter(row["subaccount_id"] for row in day.sessions if row["lookup_status"] == "not_found")
    all_unknown = [account for account, count in unknown.items() if count == asked[account] and count >= 10]
    summary = f"{len(all_unknown)} accounts of which 8x8 knows no session at all" + (
        ": check subaccount_id and api_url" if all_unknown else ""
    )
    return not all_unknown, summary, {"not_found": sum(unknown.values())}, all_unknown


def _recordings_archived(day: _Day) -> Verdict:
    bad = [row for row in day.recordings if row["archive_status"] in _UNSUCCESSFUL]
    share = len(bad) / len(day.recordings) if day.recordings else 0.0
    limit = day.limits.max_failed_recording_share
    by_status = Counter(row["archive_status"] for row in bad)
    told = ", ".join(f"{by_status[status]} {status}" for status in _UNSUCCESSFUL)
    summary = f"{told} of {len(day.recordings)} recordings ({share:.1%}, limit {limit:.1%})"
    examples = (f"{row['recording_id']}: {row['archive_status']}: {row['error']}" for row in bad)
    return share <= limit, summary, {**by_status, "share": share}, examples


def _durations_plausible(day: _Day) -> Verdict:
    kept = [row for row in day.recordings if row["archive_status"] == "archived"]
    call_s = {_session(row): row["call_duration_s"] for row in day.sessions}
    absurd = [row for row in kept if not 0 < (row["duration_s"] or 0.0) <= LONGEST_PLAUSIBLE_S]
    longer = [
        row
        for row in kept
        if (told := call_s.get(_session(row))) is not None
        and (row["duration_s"] or 0.0) > told + max(day.tolerance_s, 0.1 * told)
    ]
    off = [row for row in kept if row["duration_mismatch"]]
    broken = [row for row in kept if row["audio_issue"] is not None]
    suspect = {_recording(row) for row in (*off, *longer, *broken)}
    share = len(suspect) / len(kept) if kept else 0.0
    limit = day.limits.max_duration_mismatch_share
    summary = (
        f"of {len(kept)} recordings {len(off)} differ from what 8x8 says, {len(longer)} are longer than their call, "
        f"{len(broken)} are truncated or damaged ({share:.1%} in all, limit {limit:.1%}), {len(absurd)} are absurd"
    )
    numbers: dict[str, float] = {
        "mismatch": len(off),
        "longer_than_call": len(longer),
        "audio_issue": len(broken),
        "absurd": len(absurd),
        "share": share,
    }
    examples = ("/".join(key) for key in suspect | {_recording(row) for row in absurd})
    return not absurd and share <= limit, summary, numbers, examples


CHECKS: tuple[Check, ...] = (
    Check(
        "every_session_accounted_for",
        schemas.SESSIONS,
        True,
        "Every session id that a source names for the day is in sessions, and no other is.",
        _sessions_accounted_for,
    ),
    Check(
        "sessions_unique",
        schemas.SESSIONS,
        True,
        "No (subaccount_id, session_id) stands in sessions twice.",
        lambda day: _unique(day.sessions, _session),
    ),
    Check(
        "source_rows_readable",
        schemas.SESSIONS,
        False,
        "No row of a session source had to be set aside.",
        _rows_readable,
    ),
    Check(
        "lookups_succeeded",
        schemas.SESSIONS,
        False,
        "The share of sessions for which 8x8's API gave no usable answer is below checks.max_failed_lookup_share.",
        _lookups_succeeded,
    ),
    Check(
        "accounts_known",
        schemas.SESSIONS,
        False,
        "No account with ten or more sessions got 404 for every one of them, which a wrong subaccount or URL would do.",
        _accounts_known,
    ),
    Check(
        "every_recording_accounted_for",
        schemas.RECORDINGS,
        True,
        "Every recording that 8x8 names is in recordings, and sessions.recording_count agrees.",
        _recordings_accounted_for,
    ),
    Check(
        "recordings_unique",
        schemas.RECORDINGS,
        True,
        "No (subaccount_id, recording_id) stands in recordings twice.",
        lambda day: _unique(day.recordings, _recording),
    ),
    Check(
        "recordings_archived",
        schemas.RECORDINGS,
        False,
        "The share of recordings failed, missing, rejected or never uploaded is below checks.max_failed_recording_share.",
        _recordings_archived,
    ),
    Check(
        "durations_plausible",
        schemas.RECORDINGS,
        False,
        "Measured durations are above 0 and below 24 h; the share that disagrees with 8x8, exceeds its call or is broken is "
        "below checks.max_duration_mismatch_share.",
        _durations_plausible,
    ),
)


def _session(row: Row) -> tuple[str, str]:
    return row["subaccount_id"], row["session_id"]


def _recording(row: Row) -> tuple[str, str]:
    return row["subaccount_id"], row["recording_id"]
