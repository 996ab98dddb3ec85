"""What holds forbid of an erasure."""

from collections.abc import Iterable, Mapping
from datetime import date

from callarchive.custody.holds import Hold, Item
from callarchive.domain.errors import RefusedError
from callarchive.domain.plurals import many


class HeldError(RefusedError):
    """A legal hold forbids the erasure. Nothing was deleted."""

    def __init__(self, holds: list[Hold]) -> None:
        shown = "; ".join(f"{hold.hold_id} ({hold.scope}: {hold.reason})" for hold in holds)
        what = many(len(holds), "hold forbids", "holds forbid")
        super().__init__(f"{what} it, and nothing was erased: {shown}: callarchive hold list")
        self.holds = holds


def held_by(
    holds: Iterable[Hold], subaccount_id: str, day: date, sessions: Mapping[str, set[str]]
) -> dict[str, list[Hold]]:
    """Return the held ones of the sessions, which have their recordings, each with the holds that cover it or a part of it."""
    found: dict[str, list[Hold]] = {}
    for hold in holds:
        for session_id, recordings in sessions.items():
            items = (Item(subaccount_id, day, session_id, one) for one in recordings or ("",))
            if any(map(hold.scope.covers, items)):
                found.setdefault(session_id, []).append(hold)
    return found


def distinct(held: Mapping[str, list[Hold]]) -> list[Hold]:
    """Return each of the holds once."""
    return list(dict.fromkeys(hold for found in held.values() for hold in found))
