"""Retention: which days of an account are past their time, and their removal. Holds win."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.custody.holds import Hold, Item
from callarchive.domain.days import day_of, day_of_folder
from callarchive.domain.errors import RefusedError, RetainedError
from callarchive.domain.identifiers import path_segment
from callarchive.removal.day_contents import contents_of, files_of_day
from callarchive.removal.erasing import Done, Erasing, Order
from callarchive.removal.erasure_entries import RETENTION
from callarchive.removal.holds import holds_in_force
from callarchive.removal.obstacles import HeldError, held_by
from callarchive.removal.search import days_with_rows

_FINISHED_AT_ONCE = 20
"""Days whose ids are removed from events and Dagster's storage together: each search reads all of them."""


@dataclass(frozen=True, slots=True)
class OverdueDay:
    """A day of an account that is past its time. `keep_days` is the account's limit, in days after the call."""

    subaccount_id: str
    call_date: date
    keep_days: int


def overdue(connections: Connections) -> list[OverdueDay]:
    """Return the days with files in the archive that are past their time and are not all held, oldest first.

    Folders are listed, and files only of days that are past their time while something is held. Raises StoreError,
    UnavailableError, LedgerError.
    """
    found = sorted(_past_their_time(connections), key=lambda one: (one.call_date, one.subaccount_id))
    holds = holds_in_force(connections) if found else []
    return [one for one in found if not holds or _has_unheld_files(connections, one, holds)]


@dataclass(frozen=True, kw_only=True)
class PlannedDay:
    """What retention would remove of a day that is past its time, and what holds keep of it.

    Attributes:
        due_on: the first day on which it was past its time.
        held_session_count: sessions that stay, each with all of its recordings.
        hold_ids: the holds that keep them.
    """

    subaccount_id: str
    call_date: date
    due_on: date
    session_count: int
    recording_count: int
    file_count: int
    size_bytes: int
    held_session_count: int
    hold_ids: tuple[str, ...]


def plan(connections: Connections, holds: list[Hold]) -> Iterator[PlannedDay]:
    """Yield what retention would remove, oldest day first. Raises ArchiveError."""
    for one in days_past_their_time(connections):
        account, day = one.subaccount_id, one.call_date
        sessions = contents_of(connections, account, day).sessions
        held = held_by(holds, account, day, sessions)
        sizes = [
            item.size_bytes for item, session_id, _ in files_of_day(connections, account, day) if session_id not in held
        ]
        yield PlannedDay(
            subaccount_id=account,
            call_date=day,
            due_on=day + timedelta(days=one.keep_days + 1),
            session_count=len(sessions) - len(held),
            recording_count=sum(len(found) for session_id, found in sessions.items() if session_id not in held),
            file_count=len(sizes),
            size_bytes=sum(sizes),
            held_session_count=len(held),
            hold_ids=tuple(sorted({hold.hold_id for found in held.values() for hold in found})),
        )


def days_past_their_time(connections: Connections) -> list[OverdueDay]:
    """Return the days with files or rows that are past their time, held or not, oldest first. Raises ArchiveError."""
    found = set(_past_their_time(connections))
    for account, (keep_days, first_kept) in limits(connections).items():
        days = days_with_rows(connections, account, first_kept - timedelta(days=1))
        found |= {OverdueDay(account, day, keep_days) for day in days}
    return sorted(found, key=lambda one: (one.call_date, one.subaccount_id))


def apply(
    connections: Connections,
    *,
    reason: str | None = None,
    by: str,
    user: str | None = None,
    bypass_governance: bool = False,
    erasing: Erasing | None = None,
) -> Iterator[tuple[OverdueDay, Done | RefusedError | None]]:
    """Erase each day that is past its time, oldest first, without what is held, and yield it with what was done.

    HeldError: all of it is held. RetainedError: Object Lock keeps it. None: another command erased it meanwhile.

    What a killed command began is continued first; `erasing` has what is out of reach at the end. Raises ArchiveError.
    """
    erasing = erasing or Erasing(connections)
    order = Order(reason=reason or "", by=by, user=user, kind=RETENTION, bypass_governance=bypass_governance)
    for done in erasing.continue_begun(order):
        yield OverdueDay(done.erasure.subaccount_id, done.erasure.call_date, 0), done
    for number, one in enumerate(days_past_their_time(connections), 1):
        why = reason or f"retention: kept for {one.keep_days} days"
        result: Done | RefusedError | None
        try:
            result = erasing.erase(one.subaccount_id, one.call_date, replace(order, reason=why), everything=True)
        except (HeldError, RetainedError) as err:
            result = err
        yield one, result
        if number % _FINISHED_AT_ONCE == 0:
            erasing.finish()
    erasing.finish()


def accounts_without_settings(connections: Connections) -> list[str]:
    """Return the archive's folders of accounts that are not in the configuration: retention leaves them."""
    known = {path_segment(account.subaccount_id) for account in connections.settings.accounts}
    return [name for name in connections.archive.account_folders() if name not in known]


def limits(connections: Connections) -> dict[str, tuple[int, date]]:
    """Return for each account with a limit its number of days, and the first day that is not past its time."""
    settings = connections.settings
    today = day_of(connections.clock(), settings.zone)
    kept = {account.subaccount_id: settings.keep_days(account) for account in settings.accounts}
    return {
        account: (days, max(today - timedelta(days=days), date.min + timedelta(days=1)))
        for account, days in kept.items()
        if days is not None
    }


def _past_their_time(connections: Connections) -> Iterator[OverdueDay]:
    for account, (keep_days, first_kept) in limits(connections).items():
        for day in archived_days(connections, account):
            if day < first_kept:
                yield OverdueDay(account, day, keep_days)


def archived_days(connections: Connections, subaccount_id: str) -> set[date]:
    """Return the account's days with a folder of files, also of quarantined ones."""
    folder = path_segment(subaccount_id)
    names = {*connections.archive.store.folders(folder), *connections.archive.store.folders(f"{QUARANTINE}/{folder}")}
    return {day for day in map(day_of_folder, names) if day is not None}


def _has_unheld_files(connections: Connections, one: OverdueDay, holds: list[Hold]) -> bool:
    """Return whether a session has files of the day, and neither it nor one of its recordings is held."""
    account, day = one.subaccount_id, one.call_date
    if any(hold.scope.kind == "account" and hold.scope.covers(Item(account, day)) for hold in holds):
        return False
    sessions: dict[str, set[str]] = defaultdict(set)
    for _, session_id, recording_id in files_of_day(connections, account, day):
        sessions[session_id].add(recording_id)
    return len(held_by(holds, account, day, sessions)) < len(sessions)
