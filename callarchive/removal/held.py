"""What a new hold finds: what it covers, and what it is too late for."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.custody.erasures import Erasure, session_hash
from callarchive.custody.holds import Item, Scope
from callarchive.domain.identifiers import uuid_time
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
