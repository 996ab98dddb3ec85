"""The verdict of each check: one function per check, over columns of the day's tables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from callarchive.archiving.transforms.attention import has_silence, silence_in
from callarchive.archiving.transforms.reconciliation import OPEN, are_connected
from callarchive.catalog.arrow_columns import (
    Column,
    count_values,
    is_true,
    key_counts,
    keys_of,
    matching_rows,
    pc,
    rows_in,
    rows_where,
)
from callarchive.domain.models import Discrepancy
from callarchive.domain.plurals import many
from callarchive.monitoring.checked_day import RECORDING_KEY, SESSION_KEY, CheckedDay, values
from callarchive.monitoring.checks import RECONCILIATION_CHECKS
from callarchive.monitoring.negative_shares import rises, shares_of

LONGEST_PLAUSIBLE_S = 24 * 3600.0
_FEWEST_FOR_A_WRONG_LANDING = 3
_FEWEST_FOR_A_WRONG_ACCOUNT = 10
_UNSUCCESSFUL = ("failed", "missing", "rejected", "not_uploaded")


@dataclass(frozen=True)
class Verdict:
    """Whether the day passed, a sentence with the figures, the figures, and the ids or places of everything wrong."""

    passed: bool
    summary: str
    numbers: dict[str, float]
    examples: Iterable[str]


def _every_session_accounted_for(day: CheckedDay) -> Verdict:
    named = keys_of(day.current(day.session_ids), SESSION_KEY).unique()
    listed = keys_of(day.current(day.sessions), SESSION_KEY).unique()
    lost, invented = _without(named, listed), _without(listed, named)
    wrong = _counted({"lost": len(lost), "without a source": len(invented)})
    summary = f"{len(named)} session ids, {len(listed)} in sessions, {wrong or 'none lost, none without a source'}"
    numbers: dict[str, float] = {"lost": len(lost), "invented": len(invented)}
    return Verdict(not lost and not invented, summary, numbers, [*lost, *invented])


def _unique(rows: pa.Table, key: tuple[str, str]) -> Verdict:
    counted = pc.value_counts(keys_of(rows, key))
    repeated = counted.field("values").filter(pc.greater(counted.field("counts"), 1)).to_pylist()
    summary = f"{many(len(rows), 'row', 'rows')}, {_number(len(repeated), 'key', 'keys')} more than once"
    return Verdict(not repeated, summary, {"repeated": len(repeated)}, repeated)


def _source_rows_readable(day: CheckedDay) -> Verdict:
    bad = [f"{row['file']}:{row['line']}: {row['reason']}" for row in day.problems.to_pylist()]
    summary = f"{_number(len(bad), 'row', 'rows')} of session sources set aside"
    return Verdict(not bad, summary, {"rows_set_aside": len(bad)}, bad)


def _sources_complete(day: CheckedDay) -> Verdict:
    missing = day.current(day.missing)
    count, limit = len(keys_of(missing, SESSION_KEY).unique()), day.limits.max_missing_sessions
    by_source = sorted(count_values(missing["source"]).items())
    missing_sessions = _number(count, "session", "sessions")
    summary = f"{missing_sessions} missing from a source that listed them before or should (limit {limit})"
    if by_source:
        summary += f": {', '.join(f'{number} from {source}' for source, number in by_source)}"
    rows = values(missing, "session_id", "source", "reason")
    examples = (f"{session_id}: {source}: {reason}" for session_id, source, reason in rows)
    return Verdict(count <= limit, summary, {"missing": count}, examples)


def _accounts_archived(day: CheckedDay) -> Verdict:
    failed = [
        f"{account}: {reason.removeprefix(f'account {account}: ')}"
        for account, reason in values(day.failures, "subaccount_id", "reason")
    ]
    summary = "the latest run archived every account"
    if failed:
        accounts = many(len(failed), "account", "accounts")
        summary = f"{accounts} could not be archived by the latest run: {'; '.join(failed)}"
    return Verdict(not failed, summary, {"failed": len(failed)}, failed)


def _lookups_succeeded(day: CheckedDay) -> Verdict:
    failed = day.sessions.filter(pc.equal(day.sessions["lookup_status"], "error"))
    share, limit = _share(len(failed), len(day.sessions)), day.limits.max_failed_lookup_share
    summary = f"{_of(len(failed), len(day.sessions))} lookups failed ({share:.1%}, limit {limit:.1%})"
    examples = (f"{session_id}: {error}" for session_id, error in values(failed, "session_id", "lookup_error"))
    return Verdict(share <= limit, summary, {"failed": len(failed), "share": share}, examples)


def _accounts_known(day: CheckedDay) -> Verdict:
    looked_up = count_values(day.sessions["subaccount_id"])
    not_found = day.sessions.filter(pc.equal(day.sessions["lookup_status"], "not_found"))
    fewest = _FEWEST_FOR_A_WRONG_ACCOUNT
    unknown = {
        account
        for account, count in count_values(not_found["subaccount_id"]).items()
        if count == looked_up[account] and count >= fewest
    }
    # Calls without a recording are normal; ten connected ones without any recording are not.
    connected = shares_of(day.sessions.filter(are_connected(day.sessions)), day.call_date, grace=day.grace)
    every = shares_of(day.sessions, day.call_date, grace=day.grace)
    unknown |= {
        account
        for account, share in every.items()
        if share.negative_count == looked_up[account]
        and account in connected
        and connected[account].session_count >= fewest
    }
    summary = f"{_number(len(unknown), 'account', 'accounts')} for which 8x8 knows no session, or no recording, at all"
    if unknown:
        summary += ": check subaccount_id and api_url"
    return Verdict(not unknown, summary, {"not_found": len(not_found)}, unknown)


def _negative_answers_usual(day: CheckedDay) -> Verdict:
    shares, allowed = shares_of(day.sessions, day.call_date, grace=day.grace), day.limits.max_negative_share_rise
    found = rises(day.catalog, day.call_date, shares, grace=day.grace, allowed=allowed)
    share = max((share.value for share in shares.values()), default=0.0)
    summary = (
        f"{_number(len(found), 'account', 'accounts')} with far more sessions without a recording than usual"
        f" (highest share {share:.1%}, limit {allowed:.1%} above the usual one)"
    )
    examples = (
        f"{rise.subaccount_id}: {rise.share.negative_count} of {rise.share.session_count} sessions"
        f" ({rise.share.value:.1%}); usual is {rise.usual:.1%} (from {rise.day_count} earlier days)"
        for rise in found
    )
    return Verdict(not found, summary, {"accounts": len(found), "share": share}, examples)


def _every_recording_accounted_for(day: CheckedDay) -> Verdict:
    metadata, sessions, recordings = map(day.current, (day.metadata, day.sessions, day.recordings))
    named = keys_of(metadata, RECORDING_KEY).unique()
    is_tombstone = pc.and_not(
        is_true(pc.equal(recordings["archive_status"], "erased")),
        pc.is_in(keys_of(recordings, RECORDING_KEY), value_set=named),
    )
    recordings = rows_where(recordings, pc.invert(is_tombstone))
    listed = keys_of(recordings, RECORDING_KEY).unique()
    wrong = _without(named, listed) + _without(listed, named)
    keys, counts = keys_of(sessions, SESSION_KEY), sessions["recording_count"]
    claimed = pc.fill_null(counts, 0)
    miscounted = pc.not_equal(claimed, key_counts(keys, among=keys_of(recordings, SESSION_KEY)))
    ok_but_none = pc.and_(is_true(pc.equal(sessions["lookup_status"], "ok")), pc.equal(claimed, 0))
    off = keys.filter(pc.or_(pc.or_(miscounted, ok_but_none), counts.is_null())).to_pylist()
    summary = f"8x8 lists {many(len(named), 'recording', 'recordings')}, {len(listed)} in recordings"
    summary += f", {_number(len(off), 'session', 'sessions')} with a wrong count"
    return Verdict(not wrong and not off, summary, {"lost": len(wrong), "miscounted": len(off)}, [*wrong, *off])


def _recordings_archived(day: CheckedDay) -> Verdict:
    bad = day.recordings.filter(pc.is_in(day.recordings["archive_status"], value_set=pa.array(_UNSUCCESSFUL)))
    share, limit = _share(len(bad), len(day.recordings)), day.limits.max_failed_recording_share
    by_status = count_values(bad["archive_status"])
    counts = _counted({status: by_status.get(status, 0) for status in _UNSUCCESSFUL})
    counts = counts or "none failed, missing, rejected or not_uploaded"
    summary = f"{counts} of {many(len(day.recordings), 'recording', 'recordings')} ({share:.1%}, limit {limit:.1%})"
    rows = values(bad, "recording_id", "archive_status", "error")
    examples = (f"{recording_id}: {status}: {error}" for recording_id, status, error in rows)
    return Verdict(share <= limit, summary, {**by_status, "share": share}, examples)


def accounts_without_files(recordings: pa.Table) -> dict[str, int]:
    """Return the accounts that have missing recordings and not one file, with the number of missing ones.

    One or two missing recordings may be a bad day. If three or more are missing and no file was found, the landing is wrong.
    """
    status = recordings["archive_status"]
    without_file = pc.is_in(status, value_set=pa.array(["missing", "pending", "not_uploaded"]))
    found = set(pc.unique(recordings.filter(pc.invert(without_file))["subaccount_id"]).to_pylist())
    missing = recordings.filter(pc.equal(status, "missing"))
    return {
        account: count
        for account, count in sorted(count_values(missing["subaccount_id"]).items())
        if account not in found and count >= _FEWEST_FOR_A_WRONG_LANDING
    }


def no_files_message(account: str, count: int, landings: Mapping[str, str]) -> str:
    """Return the message about an account without any file in its landing."""
    return f"none of {count} recordings of {account} was found below {landings.get(account, 'its landing')}"


def _recordings_in_landing(day: CheckedDay) -> Verdict:
    without_files = accounts_without_files(day.recordings).items()
    messages = [no_files_message(account, count, day.landings) for account, count in without_files]
    summary = "; ".join(messages) or "no account lacks the files of all of its recordings"
    return Verdict(not messages, summary, {"accounts": len(messages)}, messages)


def _durations_plausible(day: CheckedDay) -> Verdict:
    kept = rows_where(day.recordings, pc.equal(day.recordings["archive_status"], "archived"))
    keys = keys_of(kept, RECORDING_KEY)
    measured_s = pc.fill_null(kept["duration_s"], 0.0)
    in_call = matching_rows(keys_of(kept, SESSION_KEY), among=keys_of(day.sessions, SESSION_KEY))
    call_s = day.sessions["call_duration_s"].take(in_call)
    allowed_s = pc.add(call_s, pc.max_element_wise(pc.multiply(call_s, 0.1), day.tolerance_s))
    absurd = pc.invert(pc.and_(pc.greater(measured_s, 0.0), pc.less_equal(measured_s, LONGEST_PLAUSIBLE_S)))
    longer = is_true(pc.greater(measured_s, allowed_s))
    off = is_true(kept["duration_mismatch"])
    broken = kept["audio_issue"].is_valid()
    suspect = pc.or_(pc.or_(off, longer), broken)
    share = _share(len(keys.filter(suspect).unique()), len(kept))
    limit = day.limits.max_duration_mismatch_share
    numbers: dict[str, float] = {
        "mismatch": _count(off),
        "longer_than_call": _count(longer),
        "audio_issue": _count(broken),
        "absurd": _count(absurd),
        "share": share,
    }
    wrong = keys.filter(pc.or_(suspect, absurd)).unique().to_pylist()
    found = _counted(
        {
            "unlike 8x8's": numbers["mismatch"],
            "longer than the call": numbers["longer_than_call"],
            "truncated or damaged": numbers["audio_issue"],
            "0 s or longer than a day": numbers["absurd"],
        }
    )
    summary = f"durations of {_of(len(wrong), len(kept))} recordings are in doubt ({share:.1%}, limit {limit:.1%})"
    if found:
        summary += f": {found}"
    return Verdict(not numbers["absurd"] and share <= limit, summary, numbers, wrong)


def _recordings_audible(day: CheckedDay) -> Verdict:
    kept = rows_where(day.recordings, pc.equal(day.recordings["archive_status"], "archived"))
    silent = kept.filter(has_silence(kept))
    dead = _count(pc.greater_equal(pc.list_value_length(silent["silent_channels"]), silent["channels"]))
    share, limit = _share(len(silent), len(kept)), day.limits.max_silent_share
    one_leg = len(silent) - dead
    found = _counted({"with nothing to hear": dead, "with a silent channel": one_leg})
    summary = f"of {many(len(kept), 'recording', 'recordings')} {found or 'none is silent'}"
    summary += f" ({share:.1%}, limit {limit:.1%})"
    if unmeasured := kept["silent_channels"].null_count:
        summary += f"; {unmeasured} not measured"
    examples = (f"{row['recording_id']}: {silence_in(row)}" for row in rows_in(silent))
    numbers = {"silent": dead, "one_leg": one_leg, "share": share}
    return Verdict(share <= limit, summary, numbers, examples)


def _discrepancies(day: CheckedDay, kind: Discrepancy) -> Verdict:
    rows = day.reconciliation.filter(pc.equal(day.reconciliation["kind"], kind.value))
    still = rows.filter(pc.equal(rows["state"], OPEN))
    limit: int | None = getattr(day.limits.reconciliation, kind.value)
    resolved_count = len(rows) - len(still)
    limit_text = "no limit" if limit is None else f"limit {limit}"
    summary = f"{len(still) or 'no'} {kind.value} open ({limit_text})"
    if resolved_count:
        summary += f", {resolved_count} resolved"
    numbers: dict[str, float] = {"open": len(still), "resolved": resolved_count}
    counted = len(still)
    if kind is Discrepancy.SESSION_NOT_FOUND:  # nothing was recorded of calls that were not connected
        connected = keys_of(day.sessions, SESSION_KEY).filter(are_connected(day.sessions))
        counted = _count(pc.is_in(keys_of(still, SESSION_KEY), value_set=connected))
        if len(still):
            summary += f"; only the {counted} open ones of connected calls count"
        numbers["connected"] = counted
    examples = (f"{subject}: {reason}" for subject, reason in values(still, "subject", "reason"))
    return Verdict(limit is None or counted <= limit, summary, numbers, examples)


VERDICTS: Mapping[str, Callable[[CheckedDay], Verdict]] = {
    "every_session_accounted_for": _every_session_accounted_for,
    "sessions_unique": lambda day: _unique(day.sessions, SESSION_KEY),
    "source_rows_readable": _source_rows_readable,
    "sources_complete": _sources_complete,
    "accounts_archived": _accounts_archived,
    "lookups_succeeded": _lookups_succeeded,
    "accounts_known": _accounts_known,
    "negative_answers_usual": _negative_answers_usual,
    "every_recording_accounted_for": _every_recording_accounted_for,
    "recordings_unique": lambda day: _unique(day.recordings, RECORDING_KEY),
    "recordings_archived": _recordings_archived,
    "recordings_in_landing": _recordings_in_landing,
    "durations_plausible": _durations_plausible,
    "recordings_audible": _recordings_audible,
    **{check.name: partial(_discrepancies, kind=kind) for kind, check in RECONCILIATION_CHECKS.items()},
}
"""By the name of the check."""


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _without(some: Column, others: Column) -> list[str]:
    """Return the keys that the others lack."""
    lacking: list[str] = some.filter(pc.invert(pc.is_in(some, value_set=others))).to_pylist()
    return lacking


def _count(flags: Column) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _counted(counts: Mapping[str, float]) -> str:
    """Return the counts that are not zero, with their words; "" if all are."""
    return ", ".join(f"{count:,} {words}" for words, count in counts.items() if count)


def _number(count: int, one: str, more: str) -> str:
    return many(count, one, more) if count else f"no {one}"


def _of(count: int, total: int) -> str:
    return f"{count or 'none'} of {total}"
