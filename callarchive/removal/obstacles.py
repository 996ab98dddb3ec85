"""The holds that forbid an erasure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from callarchive.archiving.connections import Connections
from callarchive.custody.holds import Item, Scope
from callarchive.domain.errors import RefusedError
from callarchive.domain.plurals import many
from callarchive.ledger.redaction import LedgerReader
from callarchive.removal.holds import holds_in_force


class HeldError(RefusedError):
    """A legal hold forbids the erasure. Nothing was deleted."""

    def __init__(self, obstacles: "list[Obstacle]") -> None:
        shown = "; ".join(f"{one.hold_id} ({one.scope}: {one.reason})" for one in obstacles)
        what = many(len(obstacles), "hold forbids", "holds forbid")
        super().__init__(f"{what} it, and nothing was erased: {shown}: callarchive hold list")
        self.obstacles = obstacles


@dataclass(frozen=True)
class Obstacle:
    """A hold in force: its id, what it covers in words and as a rule, and its reason."""

    hold_id: str
    scope: str
    reason: str
    covered: Scope = field(compare=False)

    def held_sessions(self, subaccount_id: str, day: date, sessions: Mapping[str, set[str]]) -> set[str]:
        """Return those of the sessions (with their recordings) that it covers as a whole or in part."""
        return {
            session_id
            for session_id, recordings in sessions.items()
            if any(self.covered.covers(Item(subaccount_id, day, session_id, one)) for one in recordings or ("",))
        }


def obstacles_in(connections: Connections, reader: LedgerReader) -> list[Obstacle]:
    """Return the holds in force. Raises StoreError if nothing says what a hold covers, LedgerError."""
    holds = holds_in_force(connections, reader)
    return [Obstacle(hold.hold_id, str(hold.scope), hold.reason, hold.scope) for hold in holds]


def obstacles_to(
    obstacles: list[Obstacle], subaccount_id: str, day: date, sessions: Mapping[str, set[str]]
) -> dict[str, list[Obstacle]]:
    """Return the held ones of the sessions, each with the holds that cover it or one of its recordings."""
    found: dict[str, list[Obstacle]] = {}
    for one in obstacles:
        for session_id in one.held_sessions(subaccount_id, day, sessions):
            found.setdefault(session_id, []).append(one)
    return found
