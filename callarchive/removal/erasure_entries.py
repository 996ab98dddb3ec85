"""The ledger's entries about an erasure: what names its ids, what it recorded itself, and what it is about to redact."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from callarchive.archiving.connections import Connections
from callarchive.custody.erasures import Erasure, session_hash
from callarchive.ledger.redaction import ERASED, WITHDRAWN, LedgerReader

RETENTION = "retention"
MOST_IDS = 100
"""Above it, only a day and its neighbours are searched for ids: as retention does."""


class ErasureEntries:
    """The entries of the ledger, as erasures of one command read and write them."""

    def __init__(self, connections: Connections, reader: LedgerReader) -> None:
        self._recorder = connections.recorder
        self._reader = reader

    def record(self, erasure: Erasure, recorded: set[int] | None) -> set[int]:
        """Record the erasure with the entries that are to be redacted, unless that is done, and return their numbers.

        `recorded` are those that its earlier entry names; None without one.
        """
        found = {number for number, _ in self.naming(erasure)}
        if recorded is not None and found <= recorded:
            return recorded
        facts = {
            "event": ERASED,
            "erasure": erasure.erasure_id,
            "kind": erasure.kind,
            "subaccount_id": erasure.subaccount_id,
            "call_date": str(erasure.call_date),
            "recording_ids": sorted(erasure.recording_ids),
            "session_hashes": sorted(session_hash(erasure.subaccount_id, one) for one in erasure.session_ids),
            "reason": erasure.reason,
            "by": erasure.by,
            "entries": sorted(found - (recorded or set())),
        }
        if erasure.user is not None:
            facts["user"] = erasure.user
        self._recorder.record(facts)
        return found | (recorded or set())

    def naming(self, erasure: Erasure) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the facts of the entries that are to be redacted; another account may have the same ids."""
        days = None if is_searched_everywhere(erasure) else [str(day) for day in near_days(erasure)]
        for number, facts in self._reader.naming(erasure.session_ids, erasure.recording_ids, days=days):
            if facts.get("subaccount_id") in (None, erasure.subaccount_id):
                yield number, facts

    def recorded(self, erasure: Erasure) -> set[int] | None:
        """Return the numbers of the entries that the erasure's own entries name; None without one, or if it was withdrawn."""
        numbers: set[int] | None = None
        for entry in self._reader.entries(ERASED, WITHDRAWN):
            if entry.facts.get("erasure") == erasure.erasure_id:
                withdrawn = entry.facts["event"] == WITHDRAWN
                numbers = None if withdrawn else (numbers or set()) | set(entry.facts["entries"])
        return numbers

    def record_withdrawal(self, erasure: Erasure, hold_ids: list[str]) -> None:
        """Record that an erasure was taken back that has deleted nothing, because of these holds or of Object Lock."""
        about = {"subaccount_id": erasure.subaccount_id, "call_date": str(erasure.call_date)}
        self._recorder.record(
            {"event": WITHDRAWN, "erasure": erasure.erasure_id, **about, "holds": hold_ids, "by": erasure.by}
        )


def near_days(erasure: Erasure) -> list[date]:
    """Return the erasure's day and its neighbours: a session may move by one."""
    return [erasure.call_date + timedelta(days=offset) for offset in (0, -1, 1)]


def is_searched_everywhere(erasure: Erasure) -> bool:
    """Return whether all days, and not only the day and its neighbours, are searched for the ids."""
    return erasure.kind != RETENTION and len(erasure.ids.all) <= MOST_IDS
