"""What no run writes and no day's verification sees: files beside the folders of days, and folders named almost like a day.

Readers of the catalog that take every folder of a table for a partition would read them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date

from callarchive.archiving.catalog_day import begun_path
from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.archiving.responses.journal import lookups_path
from callarchive.archiving.responses.store import call_log_path
from callarchive.archiving.transfer_journal import journal_folder
from callarchive.catalog import schemas
from callarchive.catalog.zone import MARK_PATH
from callarchive.custody.erasures import FOLDER as ERASED
from callarchive.custody.holds import FOLDER as HOLDS
from callarchive.domain.days import day_of_folder
from callarchive.domain.errors import ArchiveError
from callarchive.domain.foreign_text import cleaned_path
from callarchive.ledger.batches import FOLDER as LEDGER
from callarchive.monitoring.alert_memory import STATE_PATH
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.storage.landing.places import PlaceRefusedError
from callarchive.storage.stores import Store
from callarchive.storage.stores.naming import LOCKS

_ANY_DAY = date(2000, 1, 1)
_FOLDERS_OF_DAYS = tuple(
    path.partition("/call_date=")[0]
    for path in (
        *(table.partition_path(_ANY_DAY) for table in (*schemas.PUBLIC_TABLES, *schemas.STEP_TABLES)),
        begun_path(_ANY_DAY),
        journal_folder(_ANY_DAY),
        lookups_path(_ANY_DAY),
        call_log_path(_ANY_DAY, "any"),
    )
)
_BESIDE_FILES = frozenset((LEDGER, HOLDS, ERASED))
_ANYWHERE = frozenset((LOCKS, "_doctor", "lost+found"))


def unknown_names(connections: Connections) -> list[Finding]:
    """Return findings for what is beside the folders of days in the archive and in the catalog."""
    archive, catalog = connections.archive.store, connections.catalog.store
    own_to_catalog = {MARK_PATH, STATE_PATH.partition("/")[0]}
    try:
        of_files = [
            *connections.archive.account_folders(),
            *(f"{QUARANTINE}/{account}" for account in archive.folders(QUARANTINE)),
        ]
    except ArchiveError as err:
        return [Finding(Defect.UNREADABLE, f"{archive.url}: not listed: {err}")]
    if archive.url == catalog.url:
        return list(_unknown(archive, {*of_files, *_FOLDERS_OF_DAYS}, {*_BESIDE_FILES, *own_to_catalog}))
    inner = _first_part(catalog.url, below=archive.url)
    of_files = [folder for folder in of_files if folder != inner]
    return [
        *_unknown(archive, of_files, {*_BESIDE_FILES, inner}),
        *_unknown(catalog, _FOLDERS_OF_DAYS, {*own_to_catalog, _first_part(archive.url, below=catalog.url)}),
    ]


def _unknown(store: Store, of_days: Iterable[str], others: Iterable[str]) -> Iterator[Finding]:
    """Yield findings for names that are neither these folders of days, nor days in them, nor these other names of the root."""
    known: dict[str, set[str]] = defaultdict(set, {"": {*others, *_ANYWHERE}})
    days = set(of_days)
    for path in days:
        for depth, name in enumerate(parts := path.split("/")):
            known["/".join(parts[:depth])].add(name)
    for folder in sorted({*known, *days}):
        try:
            for name in (*store.folders(folder), *store.files(folder)):
                if name not in known.get(folder, ()) and (folder not in days or day_of_folder(name) is None):
                    yield from _below(store, f"{folder}/{name}" if folder else name)
        except (ArchiveError, PlaceRefusedError) as err:
            yield Finding(Defect.UNREADABLE, f"{store.url}/{cleaned_path(folder)}: not listed: {err}")


def _below(store: Store, path: str) -> Iterator[Finding]:
    folder, _, name = path.rpartition("/")
    found = [path] if name in store.files(folder) else [item.path for item in store.list(path)]
    for file in found:
        yield Finding(Defect.EXTRA, f"{store.url}/{cleaned_path(file)}: no run writes a file of that name")


def _first_part(url: str, *, below: str) -> str:
    """Return the first part of the path from one store to another in it; empty if it is not in it."""
    return url.removeprefix(f"{below}/").partition("/")[0] if url.startswith(f"{below}/") else ""
