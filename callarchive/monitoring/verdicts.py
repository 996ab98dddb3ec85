"""How each check of `checks` comes to its verdict on a day: one function a check, over columns of the day's tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from callarchive.archiving.transforms.reconciliation import OPEN, are_connected
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, count_values, key_counts, keys_of, matching_rows, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import Discrepancy
from callarchive.monitoring.checks import RECONCILIATION_CHECKS, Check
from callarchive.monitoring.negative_shares import rises, shares_of
from callarchive.settings import CheckSettings, TransferSettings

LONGEST_PLAUSIBLE_S = 24 * 3600.0
_SESSION = ("subaccount_id", "session_id")
_RECORDING = ("subaccount_id", "recording_id")
_OF_SESSIONS = (
    *_SESSION,
    "started_at",
    "ended_at",
    "session_status",
    "call_duration_s",
    "lookup_status",
    "lookup_error",
    "looked_up_at",
    "recording_count",
)
_OF_RECORDINGS = (
    *_RECORDING,
    "session_id",
    "archive_status",
    "error",
    "duration_s",
    "duration_mismatch",
    "audio_issue",
)
_OF_RECONCILIATION = ("subaccount_id", "session_id", "kind", "subject", "reason", "state")
_FAILURE = ("subaccount_id", "reason")
_FEWEST_FOR_A_WRONG_PLACE = 3
_UNSUCCESSFUL = ("failed", "missing", "rejected", "not_uploaded")


@dataclass(frozen=True)
class Verdict:
    """Whether the day passed, one sentence with the figures, the figures, and ids or places of all that is wrong."""

    passed: bool
    summary: str
    numbers: dict[str, float]
    examples: Iterable[str]


@dataclass(frozen=True)
class Day:
    """What checks read: of the day's tables the columns that they look at, and the thresholds.

    Attributes:
        catalog: for the check that compares the day with earlier ones.
    """

    catalog: Catalog
    call_date: date
    session_ids: pa.Table
    problems: pa.Table
    sessions: pa.Table
    metadata: pa.Table
    recordings: pa.Table
    reconciliation: pa.Table
    failures: pa.Table
    unknowns: pa.Table
    missing: pa.Table
    limits: CheckSettings
    tolerance_s: float
    grace: timedelta
    landings: Mapping[str, str]
    absent: frozenset[str] = frozenset()
    """Names of the checked tables that have no partition of the day."""


def read_day(
    catalog: Catalog, day: date, *, limits: CheckSettings, transfer: TransferSettings, landings: Mapping[str, str]
) -> Day:
    """Return the day as the catalog has it; a table without a partition has no rows, and is named in `absent`."""
    checked = (schemas.SESSIONS, schemas.RECORDINGS, schemas.RECONCILIATION, schemas.MISSING_SESSIONS)
    return Day(
        catalog=catalog,
        call_date=day,
        session_ids=catalog.partition(schemas.SESSION_IDS, day, columns=_SESSION),
        problems=catalog.partition(schemas.SESSION_PROBLEMS, day),
        sessions=catalog.partition(schemas.SESSIONS, day, columns=_OF_SESSIONS),
        metadata=catalog.partition(schemas.RECORDING_METADATA, day, columns=_RECORDING),
        recordings=catalog.partition(schemas.RECORDINGS, day, columns=_OF_RECORDINGS),
        reconciliation=catalog.partition(schemas.RECONCILIATION, day, columns=_OF_RECONCILIATION),
        failures=catalog.partition(schemas.ACCOUNT_FAILURES, day, columns=("subaccount_id", "reason")),
        unknowns=catalog.partition(schemas.UNKNOWNS, day),
        missing=catalog.partition(schemas.MISSING_SESSIONS, day),
        absent=frozenset(table.name for table in checked if not catalog.has(table, day)),
        limits=limits,
        tolerance_s=transfer.duration_tolerance_s,
        grace=timedelta(hours=transfer.missing_after_hours),
        landings=landings,
    )


def not_known(day: Day, check: Check) -> list[str]:
    """Return why what the check asks is not known, or not known of every account; empty where it is known.

    An account that the latest run could not archive has rows of an earlier run, or none: they answer for no check but
    `accounts_archived`, which fails.
    """
    if check.table.name in day.absent:
        return [f"{check.table.name} has no partition of the day yet"]
    reasons = []
    if check.name != "accounts_archived":
        reasons = [f"{account} was not archived by the latest run" for account, _ in _values(day.failures, *_FAILURE)]
    if check.name == "sources_complete" and schemas.MISSING_SESSIONS.name in day.absent and len(day.session_ids):
        reasons.append("the day was archived by a version that did not ask this; archive it again")
    own = day.unknowns.filter(pc.equal(day.unknowns["question"], check.name))
    return reasons + [f"{account}: {reason}" for account, reason in _values(own, *_FAILURE)]


def accounts_archived(day: Day) -> Verdict:
    failed = [f"{account}: {reason}" for account, reason in _values(day.failures, *_FAILURE)]
    summary = f"{len(failed)} accounts could not be archived by the latest run" + (
        f": {'; '.join(failed)}" if failed else ""
    )
    return Verdict(not failed, summary, {"failed": len(failed)}, failed)


def every_session_accounted_for(day: Day) -> Verdict:
    named, listed = (
        _distinct(_current(day, day.session_ids), _SESSION),
        _distinct(_current(day, day.sessions), _SESSION),
    )
    lost, invented = _without(named, listed), _without(listed, named)
    summary = (
        f"{len(named)} session ids, {len(listed)} in sessions, {len(lost)} lost, {len(invented)} that no source names"
    )
    return Verdict(
        not lost and not invented,
        summary,
        {"lost": len(lost), "invented": len(invented)},
        [*lost, *invented],
    )


def _unique(rows: pa.Table, key: tuple[str, str]) -> Verdict:
    counted = pc.value_counts(keys_of(rows, key))
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1)).to_pylist()
    return Verdict(
        not twice,
        f"{len(rows)} rows, {len(twice)} keys more than once",
        {"repeated": len(twice)},
        twice,
    )


def every_recording_accounted_for(day: Day) -> Verdict:
    metadata, sessions, recordings = (_current(day, rows) for rows in (day.metadata, day.sessions, day.recordings))
    named, listed = _distinct(metadata, _RECORDING), _distinct(recordings, _RECORDING)
    wrong = _without(named, listed) + _without(listed, named)
    keys = keys_of(sessions, _SESSION)
    told = pc.fill_null(sessions["recording_count"], 0)
    miscounted = pc.not_equal(told, key_counts(keys, among=keys_of(recordings, _SESSION)))
    none_of_some = pc.and_(_true(pc.equal(sessions["lookup_status"], "ok")), pc.equal(told, 0))
    off = keys.filter(pc.or_(pc.or_(miscounted, none_of_some), sessions["recording_count"].is_null())).to_pylist()
    summary = (
        f"8x8 names {len(named)} recordings, {len(listed)} in recordings, {len(off)} sessions whose count is wrong"
    )
    return Verdict(not wrong and not off, summary, {"lost": len(wrong), "miscounted": len(off)}, [*wrong, *off])


def source_rows_readable(day: Day) -> Verdict:
    bad = [f"{row['file']}:{row['line']}: {row['reason']}" for row in day.problems.to_pylist()]
    return Verdict(not bad, f"{len(bad)} rows of session sources were set aside", {"rows_set_aside": len(bad)}, bad)


def sources_complete(day: Day) -> Verdict:
    missing = _current(day, day.missing)
    count, limit = len(_distinct(missing, _SESSION)), day.limits.max_missing_sessions
    by_source = count_values(missing["source"])
    summary = f"{count} sessions are not named by a source that named them before or should (limit {limit})" + (
        f": {', '.join(f'{number} by {source}' for source, number in sorted(by_source.items()))}" if count else ""
    )
    examples = (
        f"{id_}: {source}: {reason}" for id_, source, reason in _values(missing, "session_id", "source", "reason")
    )
    return Verdict(count <= limit, summary, {"missing": count}, examples)


def lookups_succeeded(day: Day) -> Verdict:
    failed = day.sessions.filter(pc.equal(day.sessions["lookup_status"], "error"))
    share = len(failed) / len(day.sessions) if len(day.sessions) else 0.0
    limit = day.limits.max_failed_lookup_share
    summary = f"{len(failed)} of {len(day.sessions)} look-ups failed ({share:.1%}, limit {limit:.1%})"
    examples = (f"{id_}: {error}" for id_, error in _values(failed, "session_id", "lookup_error"))
    return Verdict(share <= limit, summary, {"failed": len(failed), "share": share}, examples)


def accounts_known(day: Day) -> Verdict:
    asked = count_values(day.sessions["subaccount_id"])
    not_found = day.sessions.filter(pc.equal(day.sessions["lookup_status"], "not_found"))
    unknown = count_values(not_found["subaccount_id"])
    all_unknown = {account for account, count in unknown.items() if count == asked[account] and count >= 10}
    # Calls without a recording are normal, ten connected ones of which none has one are not.
    connected = shares_of(day.sessions.filter(are_connected(day.sessions)), day.call_date, grace=day.grace)
    every = shares_of(day.sessions, day.call_date, grace=day.grace)
    all_unknown |= {
        account
        for account, share in every.items()
        if share.negative_count == asked[account] and account in connected and connected[account].session_count >= 10
    }
    summary = f"{len(all_unknown)} accounts of which 8x8 knows no session, or no recording, at all" + (
        ": check subaccount_id and api_url" if all_unknown else ""
    )
    return Verdict(not all_unknown, summary, {"not_found": len(not_found)}, all_unknown)


def negative_answers_usual(day: Day) -> Verdict:
    shares, allowed = shares_of(day.sessions, day.call_date, grace=day.grace), day.limits.max_negative_share_rise
    found = rises(day.catalog, day.call_date, shares, grace=day.grace, allowed=allowed)
    share = max((share.value for share in shares.values()), default=0.0)
    summary = (
        f"{len(found)} accounts of which 8x8 names no recording of far more sessions than usual"
        f" (highest share {share:.1%}, limit {allowed:.1%} above the usual one)"
    )
    examples = (
        f"{rise.subaccount_id}: {rise.share.negative_count} of {rise.share.session_count} sessions ({rise.share.value:.1%});"
        f" {rise.usual:.1%} is usual, by {rise.day_count} earlier days"
        for rise in found
    )
    return Verdict(not found, summary, {"accounts": len(found), "share": share}, examples)


def recordings_archived(day: Day) -> Verdict:
    unsuccessful = pc.is_in(day.recordings["archive_status"], value_set=pa.array(_UNSUCCESSFUL))
    bad = day.recordings.filter(unsuccessful)
    share = len(bad) / len(day.recordings) if len(day.recordings) else 0.0
    limit = day.limits.max_failed_recording_share
    by_status = count_values(bad["archive_status"])
    told = ", ".join(f"{by_status.get(status, 0)} {status}" for status in _UNSUCCESSFUL)
    summary = f"{told} of {len(day.recordings)} recordings ({share:.1%}, limit {limit:.1%})"
    examples = (
        f"{id_}: {status}: {error}" for id_, status, error in _values(bad, "recording_id", "archive_status", "error")
    )
    return Verdict(share <= limit, summary, {**by_status, "share": share}, examples)


def accounts_without_files(recordings: pa.Table) -> dict[str, int]:
    """Return the accounts all of whose recordings are missing, with their number.

    One or two missing recordings are an account's bad day; from three on, when nothing at all was found, it is looked for in
    the wrong place.

    Args:
        recordings: rows of `recordings`, of which subaccount_id and archive_status are enough.
    """
    counts = count_values(recordings["subaccount_id"])
    missing = recordings.filter(pc.equal(recordings["archive_status"], "missing"))
    return {
        account: count
        for account, count in sorted(count_values(missing["subaccount_id"]).items())
        if count == counts[account] and count >= _FEWEST_FOR_A_WRONG_PLACE
    }


def nothing_found(account: str, count: int, landings: Mapping[str, str]) -> str:
    """Return the one sentence about an account of which nothing was found."""
    return f"none of {count} recordings of {account} was found below {landings.get(account, 'its landing')}"


def recordings_in_landing(day: Day) -> Verdict:
    sentences = [
        nothing_found(account, count, day.landings) for account, count in accounts_without_files(day.recordings).items()
    ]
    summary = "; ".join(sentences) or "no account lacks the files of all of its recordings"
    return Verdict(not sentences, summary, {"accounts": len(sentences)}, sentences)


def durations_plausible(day: Day) -> Verdict:
    kept = day.recordings.filter(pc.equal(day.recordings["archive_status"], "archived"))
    keys = keys_of(kept, _RECORDING)
    measured_s = pc.fill_null(kept["duration_s"], 0.0)
    in_call = matching_rows(keys_of(kept, _SESSION), among=keys_of(day.sessions, _SESSION))
    told_s = day.sessions["call_duration_s"].take(in_call)
    allowed_s = pc.add(told_s, pc.max_element_wise(pc.multiply(told_s, 0.1), day.tolerance_s))
    absurd = pc.invert(pc.and_(pc.greater(measured_s, 0.0), pc.less_equal(measured_s, LONGEST_PLAUSIBLE_S)))
    longer = _true(pc.greater(measured_s, allowed_s))
    off = _true(kept["duration_mismatch"])
    broken = kept["audio_issue"].is_valid()
    suspect = pc.or_(pc.or_(off, longer), broken)
    share = len(keys.filter(suspect).unique()) / len(kept) if len(kept) else 0.0
    limit = day.limits.max_duration_mismatch_share
    numbers: dict[str, float] = {
        "mismatch": _count(off),
        "longer_than_call": _count(longer),
        "audio_issue": _count(broken),
        "absurd": _count(absurd),
        "share": share,
    }
    summary = (
        f"of {len(kept)} recordings {numbers['mismatch']} differ from what 8x8 says, {numbers['longer_than_call']} are "
        f"longer than their call, {numbers['audio_issue']} are truncated or damaged ({share:.1%} in all, "
        f"limit {limit:.1%}), {numbers['absurd']} are absurd"
    )
    examples = keys.filter(pc.or_(suspect, absurd)).unique().to_pylist()
    return Verdict(not numbers["absurd"] and share <= limit, summary, numbers, examples)


def _discrepancies(day: Day, kind: Discrepancy) -> Verdict:
    rows = day.reconciliation.filter(pc.equal(day.reconciliation["kind"], kind.value))
    still = rows.filter(pc.equal(rows["state"], OPEN))
    limit: int | None = getattr(day.limits.reconciliation, kind.value)
    resolved_count = len(rows) - len(still)
    told_limit = "no limit" if limit is None else f"limit {limit}"
    summary = f"{len(still)} {kind.value} open ({told_limit}), {resolved_count} resolved"
    examples = (f"{subject}: {reason}" for subject, reason in _values(still, "subject", "reason"))
    passed = limit is None or len(still) <= limit
    return Verdict(passed, summary, {"open": len(still), "resolved": resolved_count}, examples)


def named_sessions_found(day: Day) -> Verdict:
    """As `_discrepancies`, but only rows of connected calls count against the limit: of others nothing was recorded."""
    verdict = _discrepancies(day, Discrepancy.SESSION_NOT_FOUND)
    still = _open_rows(day, Discrepancy.SESSION_NOT_FOUND)
    connected = keys_of(day.sessions, _SESSION).filter(are_connected(day.sessions))
    count = _count(pc.is_in(keys_of(still, _SESSION), value_set=connected))
    limit = day.limits.reconciliation.session_not_found
    return Verdict(
        limit is None or count <= limit,
        f"{verdict.summary}; {count} of those that are open are of connected calls, and count",
        {**verdict.numbers, "connected": count},
        verdict.examples,
    )


def _open_rows(day: Day, kind: Discrepancy) -> pa.Table:
    rows = day.reconciliation
    return rows.filter(pc.and_(pc.equal(rows["kind"], kind.value), pc.equal(rows["state"], OPEN)))


VERDICTS: Mapping[str, Callable[[Day], Verdict]] = {
    "every_session_accounted_for": every_session_accounted_for,
    "sessions_unique": lambda day: _unique(day.sessions, _SESSION),
    "source_rows_readable": source_rows_readable,
    "sources_complete": sources_complete,
    "accounts_archived": accounts_archived,
    "lookups_succeeded": lookups_succeeded,
    "accounts_known": accounts_known,
    "negative_answers_usual": negative_answers_usual,
    "every_recording_accounted_for": every_recording_accounted_for,
    "recordings_unique": lambda day: _unique(day.recordings, _RECORDING),
    "recordings_archived": recordings_archived,
    "recordings_in_landing": recordings_in_landing,
    "durations_plausible": durations_plausible,
    **{name: partial(_discrepancies, kind=kind) for kind, (name, _) in RECONCILIATION_CHECKS.items()},
    "named_sessions_found": named_sessions_found,
}
"""By the name of the check."""


def _current(day: Day, rows: pa.Table) -> pa.Table:
    """The rows of the accounts that the latest run archived. Those of the others are of an earlier run, table by table."""
    if not len(day.failures):
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["subaccount_id"], value_set=day.failures["subaccount_id"])))


def _distinct(rows: pa.Table, key: tuple[str, str]) -> Column:
    return keys_of(rows, key).unique()


def _without(some: Column, others: Column) -> list[str]:
    """The keys that the others lack."""
    lacking: list[str] = some.filter(pc.invert(pc.is_in(some, value_set=others))).to_pylist()
    return lacking


def _values(rows: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(rows[name].to_pylist() for name in names), strict=True)


def _true(flags: Column) -> Column:
    """Nulls are false."""
    return pc.fill_null(flags, False)


def _count(flags: Column) -> int:
    return int(pc.sum(flags).as_py() or 0)
