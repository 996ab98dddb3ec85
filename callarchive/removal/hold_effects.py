"""What a hold does when it is added or released: what it covers, what it is too late for, and the legal hold of S3."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.archiving.held_files import COLUMNS, held_paths, set_legal_holds
from callarchive.catalog import schemas
from callarchive.catalog.rows import Row
from callarchive.custody.erasures import Erasure, session_hash
from callarchive.custody.holds import Item, Scope
from callarchive.domain.errors import AccessDeniedError
from callarchive.domain.identifiers import uuid_time
from callarchive.removal.holds import holds_in_force
from callarchive.removal.retention import archived_days

_SHOWN = 5


def effects_of(connections: Connections, scope: Scope) -> list[str]:
    """Return what a person must know who adds this hold, a sentence each. Raises StoreError, UnavailableError."""
    notes = []
    if not is_archived(connections, scope):
        notes.append(f"nothing of {scope} is archived yet: what arrives later is held")
    begun = connections.register.begun()
    for erasure in begun:
        if _concerns(erasure, scope):
            which = f"{erasure.erasure_id} ({erasure.subaccount_id}, {erasure.call_date})"
            if erasure.deleting:
                notes.append(f"too late for {which}: it has begun to delete, and the next erasure completes it")
            else:
                notes.append(f"{which} was begun and has deleted nothing: the hold stops it")
    open_ids = {one.erasure_id for one in begun}
    erased = [one for one in connections.register.entries() if one[1] not in open_ids and _has_erased(scope, *one)]
    if erased:
        days = sorted({f"{facts['subaccount_id']} {day}" for day, _, facts in erased})
        shown = ", ".join(days[:_SHOWN]) + (f" and {len(days) - _SHOWN} more" if len(days) > _SHOWN else "")
        notes.append(f"too late for what was erased before of {scope}: {shown}: callarchive audit --kind erased")
    return notes


def set_object_holds(connections: Connections, scope: Scope) -> str | None:
    """Set the legal hold of the objects that the scope covers where the archive's bucket has Object Lock.

    Return what a person must know, if anything. Raises ArchiveError if one was not set.
    """
    store = connections.archive.store
    try:
        if store.supports_legal_hold():
            set_legal_holds(store, {*held_paths(_rows(connections, scope), [scope])}, on=True)
    except AccessDeniedError as err:
        return f"{err}; so no object has the legal hold of S3"
    return None


def release_object_holds(connections: Connections, scope: Scope) -> None:
    """Release the legal hold of the objects that the scope covers and no hold in force does. Raises ArchiveError."""
    store = connections.archive.store
    with suppress(AccessDeniedError):  # then none was set
        if store.supports_legal_hold():
            rows = list(_rows(connections, scope))
            others = [hold.scope for hold in holds_in_force(connections)]
            set_legal_holds(store, {*held_paths(rows, [scope])} - {*held_paths(rows, others)}, on=False)


def _rows(connections: Connections, scope: Scope) -> Iterator[Row]:
    """Yield the rows of `recording_files` that the scope may cover."""
    import pyarrow.compute as pc

    facts = {name: getattr(scope, name) for name in ("session_id", "recording_id", "subaccount_id")}
    wanted = [pc.field(name) == value for name, value in facts.items() if value is not None]
    files = connections.catalog.dataset(schemas.RECORDING_FILES, scope.first, scope.last)
    for batch in files.to_batches(columns=[*COLUMNS, "call_date"], filter=wanted[0] if wanted else None):
        yield from batch.to_pylist()


def other_kind(scope: Scope) -> Scope | None:
    """Return the scope with its id taken for that of a recording instead of a session, or the reverse."""
    if scope.session_id is not None:
        return Scope(recording_id=scope.session_id)
    return None if scope.recording_id is None else Scope(session_id=scope.recording_id)


def is_archived(connections: Connections, scope: Scope) -> bool:
    """Return whether the catalog, or for an account the archive, has anything of what the scope covers."""
    if scope.subaccount_id is not None:
        days = archived_days(connections, scope.subaccount_id)
        return any(scope.covers(Item(scope.subaccount_id, day)) for day in days)
    import pyarrow.compute as pc

    name, wanted = next((n, v) for n in ("session_id", "recording_id") if (v := getattr(scope, n)) is not None)
    at = uuid_time(wanted)
    near = None if at is None else (at.date() - timedelta(days=1), at.date() + timedelta(days=1))
    for span in (near, (None, None)):
        if span is not None:
            is_one = pc.field(name) == wanted
            for table in (schemas.RECORDING_FILES, schemas.SESSION_IDS):
                if name in table.schema.names and connections.catalog.dataset(table, *span).count_rows(filter=is_one):
                    return True
    return False


def _concerns(erasure: Erasure, scope: Scope) -> bool:
    if scope.session_id is not None:
        return scope.session_id in erasure.session_ids
    if scope.recording_id is not None:
        return scope.recording_id in erasure.recording_ids
    return scope.covers(Item(erasure.subaccount_id, erasure.call_date))


def _has_erased(scope: Scope, day: date, _: str, facts: Mapping[str, Any]) -> bool:
    """Return whether an entry of the register is about what the scope covers."""
    if scope.session_id is not None:
        return session_hash(facts["subaccount_id"], scope.session_id) in facts["session_hashes"]
    if scope.recording_id is not None:
        return scope.recording_id in facts["recording_ids"]
    return scope.covers(Item(facts["subaccount_id"], day))
