"""The files of an erasure, in the archive and in the landing, and the days of the catalog that it changes."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

from callarchive.archiving.connections import Connections
from callarchive.custody.erasures import Erasure
from callarchive.domain.errors import ConfigurationError
from callarchive.ledger.batches import FOLDER as LEDGER
from callarchive.removal.day_contents import day_folders, files_of_day
from callarchive.removal.erasure_entries import RETENTION, ErasureEntries, is_searched_everywhere, near_days
from callarchive.removal.search import days_in, days_with_responses, rows_naming

_AT_ONCE = 16


def files_to_go(connections: Connections, erasure: Erasure) -> list[str]:
    """Return the files of the day that are to go."""
    return [
        item.path
        for item, session_id, recording_id in files_of_day(connections, erasure.subaccount_id, erasure.call_date)
        if session_id in erasure.session_ids or recording_id in erasure.recording_ids
    ]


def delete_files(
    connections: Connections, erasure: Erasure, entries: ErasureEntries, *, bypass_governance: bool
) -> None:
    """Delete the files with every version of them, and what else is in folders of sessions that go as a whole."""
    archive, account = connections.archive, erasure.subaccount_id
    archive.sweep(account, erasure.call_date)
    days = [erasure.call_date] if erasure.kind == RETENTION else near_days(erasure)  # what killed runs left has no row
    of_days = [folder for day in days for folder in day_folders(connections, account, day)]
    folders = (
        list(day_folders(connections, account, erasure.call_date))
        if erasure.whole_day
        else [f"{folder}/{one}" for folder in of_days for one in sorted(erasure.session_ids)]
    )
    paths = _paths_named(erasure, entries)
    for day in near_days(erasure):
        for item, session_id, recording_id in files_of_day(connections, account, day):
            if session_id in erasure.session_ids or recording_id in erasure.recording_ids:
                paths.add(item.path)
    done = set(folders)
    left = [path for path in sorted(paths) if done.isdisjoint((_above(path), _above(_above(path))))]
    erase, erase_folder = (
        partial(function, bypass_governance=bypass_governance)
        for function in (archive.store.erase, archive.store.erase_folder)
    )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        deque(pool.map(erase_folder, folders), maxlen=0)
        deque(pool.map(erase, left), maxlen=0)


def days_to_change(connections: Connections, erasure: Erasure) -> set[date]:
    """Return the days of the catalog that name one of the ids, or that a killed erasure left open."""
    ids, near = erasure.ids, near_days(erasure)
    unfinished = set(near) & set(days_in(connections.archive.store, f"{LEDGER}/open"))
    if not is_searched_everywhere(erasure):
        return {erasure.call_date, *unfinished, *rows_naming(connections, ids, days=near)}
    with_rows = rows_naming(connections, ids)
    return {erasure.call_date, *unfinished, *with_rows, *days_with_responses(connections, ids.all)}


def delete_at_landing(connections: Connections, erasure: Erasure) -> None:
    """Delete the objects that 8x8 pushed. Raises ArchiveError."""
    accounts = {account.subaccount_id: account for account in connections.settings.accounts}
    account = accounts.get(erasure.subaccount_id)
    if account is None:
        raise ConfigurationError(f"{erasure.subaccount_id} is not in the configuration, so its landing is not known")
    landing = connections.landings.of(account)
    for path in sorted(erasure.sources):
        landing.delete(path)


def _paths_named(erasure: Erasure, entries: ErasureEntries) -> set[str]:
    """Return the paths that entries of the ledger name, which need not be in the day's folder; not forged ones."""
    paths = (facts.get("archive_path") for _, facts in entries.naming(erasure))
    return {
        path
        for path in paths
        if isinstance(path, str) and path.rpartition("/")[2].partition(".")[0] in erasure.recording_ids
    }


def _above(path: str) -> str:
    return path.rpartition("/")[0]
