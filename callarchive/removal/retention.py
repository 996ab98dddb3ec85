"""Retention: which days of an account are past their time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.custody.holds import Hold, Item
from callarchive.domain.days import day_of
from callarchive.domain.identifiers import path_segment


@dataclass(frozen=True, slots=True)
class OverdueDay:
    """A day of an account that is past its time. `keep_days` is the account's limit, in days after the call."""

    subaccount_id: str
    call_date: date
    keep_days: int


def overdue(connections: Connections) -> list[OverdueDay]:
    """Return the days with files in the archive that are past their time and are not all held, oldest first.

    Folders are listed, and files only of days that are past their time while something is held. Raises StoreError,
    UnavailableError.
    """
    found = sorted(_past_their_time(connections), key=lambda one: (one.call_date, one.subaccount_id))
    holds = connections.holds.active() if found else []
    return [one for one in found if not holds or _has_unheld_files(connections, one, holds)]


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
    names = {
        name.removeprefix("call_date=")
        for above in (folder, f"{QUARANTINE}/{folder}")
        for name in connections.archive.store.folders(above)
        if name.startswith("call_date=")
    }
    days = set()
    for name in names:
        try:
            days.add(date.fromisoformat(name))
        except ValueError:  # a folder of somebody else
            continue
    return days


def _has_unheld_files(connections: Connections, one: OverdueDay, holds: list[Hold]) -> bool:
    """Return whether a session has files of the day, and neither it nor one of its recordings is held."""
    scopes = [hold.scope for hold in holds]
    if any(
        scope.subaccount_id is not None and scope.covers(Item(one.subaccount_id, one.call_date)) for scope in scopes
    ):
        return False
    held_sessions = {scope.session_id for scope in scopes if scope.session_id is not None}
    held_recordings = {scope.recording_id for scope in scopes if scope.recording_id is not None}
    folder = connections.archive.day_folder(one.subaccount_id, one.call_date)
    sessions: dict[str, set[str]] = {}
    for above in (folder, f"{QUARANTINE}/{folder}"):
        for item in connections.archive.store.list(above):
            session_id, _, name = item.path.removeprefix(f"{above}/").partition("/")
            sessions.setdefault(session_id, set()).add(name.partition(".")[0])
    return any(
        session_id not in held_sessions and held_recordings.isdisjoint(recordings)
        for session_id, recordings in sessions.items()
    )
