"""The holds that forbid an erasure: those in the archive, and those that only the ledger still knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.custody.erasures import session_hash
from callarchive.domain.errors import RefusedError
from callarchive.domain.plurals import many
from callarchive.ledger.redaction import LedgerReader

_ADDED, _RELEASED = "hold_added", "hold_released"


class HeldError(RefusedError):
    """A legal hold forbids the erasure. Nothing was deleted."""

    def __init__(self, obstacles: "list[Obstacle]") -> None:
        shown = "; ".join(f"{one.hold_id} ({one.scope}: {one.reason})" for one in obstacles)
        what = many(len(obstacles), "hold forbids", "holds forbid")
        super().__init__(f"{what} it, and nothing was erased: {shown}: callarchive hold list")
        self.obstacles = obstacles


@dataclass(frozen=True)
class Obstacle:
    """A hold in force: its id, what it covers in words, its reason, and what it covers of each account's days."""

    hold_id: str
    scope: str
    reason: str
    facts: Mapping[str, Any] = field(compare=False)

    def held_sessions(self, subaccount_id: str, day: date, sessions: Mapping[str, set[str]]) -> set[str]:
        """Return those of the sessions (with their recordings) that it covers as a whole or in part."""
        facts = self.facts
        if facts.get("session_id") is not None:
            return {facts["session_id"]} & sessions.keys()
        if facts.get("session_hash") is not None:
            return {one for one in sessions if session_hash(subaccount_id, one) == facts["session_hash"]}
        if facts.get("recording_id") is not None:
            return {one for one, recordings in sessions.items() if facts["recording_id"] in recordings}
        first, last = (_day(facts.get(name)) for name in ("first", "last"))
        in_range = (first or date.min) <= day <= (last or date.max)
        return set(sessions) if in_range and facts.get("subaccount_id") == subaccount_id else set()


def obstacles_in(connections: Connections, reader: LedgerReader) -> list[Obstacle]:
    """Return the holds in force. Raises StoreError if a hold cannot be read, LedgerError.

    A hold whose objects were removed is in force until the ledger has its release.
    """
    found = {}
    for hold in connections.holds.active():
        facts = {name: getattr(hold.scope, name) for name in hold.scope.__dataclass_fields__}
        found[hold.hold_id] = Obstacle(hold.hold_id, str(hold.scope), hold.reason, facts)
    in_ledger: dict[str, dict[str, Any]] = {}
    for facts in reader.events(_ADDED, _RELEASED):
        if facts["event"] == _ADDED:
            in_ledger[str(facts.get("hold"))] = facts
        else:
            in_ledger.pop(str(facts.get("hold")), None)
    for hold_id, facts in in_ledger.items():
        if hold_id not in found:
            scope = "known to the ledger only; its objects in _holds/ were removed or changed: restore them"
            found[hold_id] = Obstacle(hold_id, scope, str(facts.get("reason", "")), facts)
    return list(found.values())


def obstacles_to(
    obstacles: list[Obstacle], subaccount_id: str, day: date, sessions: Mapping[str, set[str]]
) -> dict[str, list[Obstacle]]:
    """Return the held ones of the sessions, each with the holds that cover it or one of its recordings."""
    found: dict[str, list[Obstacle]] = {}
    for one in obstacles:
        for session_id in one.held_sessions(subaccount_id, day, sessions):
            found.setdefault(session_id, []).append(one)
    return found


def _day(value: Any) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value
