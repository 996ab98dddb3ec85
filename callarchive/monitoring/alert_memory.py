"""Which alerts were sent: a file in the catalog, shared by all processes, or this one's memory if it cannot be written."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.storage.stores import Store

log = logging.getLogger(__name__)

STATE_PATH = "_alerts/sent.json"
_LOCK = "alerts"
_LOCK_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Sent:
    """The alerts sent by channel and mark, those of the last hour (times ISO 8601), and the number held back since the last."""

    sent_at: dict[str, str]
    recent: tuple[str, ...]
    held: int

    def since(self, repeat_at: datetime, hour_ago: datetime) -> "Sent":
        """Return the part that still counts."""
        return Sent(
            {key: at for key, at in self.sent_at.items() if datetime.fromisoformat(at) > repeat_at},
            tuple(at for at in self.recent if datetime.fromisoformat(at) > hour_ago),
            self.held,
        )

    def joined(self, other: "Sent") -> "Sent":
        """Return the union of both."""
        recent = Counter(self.recent) | Counter(other.recent)  # two at the same instant are two
        return Sent({**self.sent_at, **other.sent_at}, tuple(recent.elements()), max(self.held, other.held))

    def to_json(self) -> bytes:
        """Return the state file's content."""
        return json.dumps({"told": self.sent_at, "recent": self.recent, "held": self.held}, indent=1).encode()


_NOTHING = Sent({}, (), 0)
_UNSAVED: dict[str, Sent] = {}  # by catalog: what could not be written there


def update_sent(store: Store, change: Callable[[Sent], tuple[bool, Sent]]) -> bool:
    """Replace the locked state by the one that `change` returns for it, and return the other value. Never raises."""
    changed: tuple[bool, Sent] | None = None
    try:
        with store.lock(_LOCK, wait_s=_LOCK_WAIT_S):
            before = _read(store)
            changed = change(before.joined(_UNSAVED.get(store.url, _NOTHING)))
            if changed[1] != before:
                store.replace(STATE_PATH, changed[1].to_json())
            _UNSAVED.pop(store.url, None)
            return changed[0]
    except ArchiveError as err:
        log.warning("only this process remembers which alerts were sent: %s", err)
    result, _UNSAVED[store.url] = changed if changed is not None else change(_UNSAVED.get(store.url, _NOTHING))
    return result


def _read(store: Store) -> Sent:
    """Return the saved state. A damaged file counts as empty: a repeated alert is better than none."""
    try:
        state = json.loads(store.read(STATE_PATH))
        sent = Sent(dict(state["told"]), tuple(state["recent"]), int(state["held"]))
        if any(datetime.fromisoformat(at).tzinfo is None for at in (*sent.sent_at.values(), *sent.recent)):
            return _NOTHING
    except (ObjectNotFoundError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return _NOTHING
    return sent
