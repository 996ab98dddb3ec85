"""What was told, by which channel and when: remembered beside the catalog, so that all processes share the bounds.

Where the catalog cannot be written (a full disk, an outage: just when there is something to tell) this process remembers
instead.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

from callarchive.domain.errors import ArchiveError, ObjectNotFoundError
from callarchive.storage.stores import Store

log = logging.getLogger(__name__)

_STATE = "_alerts/sent.json"
_LOCK = "alerts"
_LOCK_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was told.

    Attributes:
        told: when, ISO 8601 with an offset, by what it was and by which channel.
        recent: when any alert was told, within the last hour.
        held: how many were held back since the last one was told.
    """

    told: dict[str, str]
    recent: tuple[str, ...]
    held: int

    def since(self, repeat_at: datetime, hour_ago: datetime) -> "Sent":
        """What of it still counts."""
        return Sent(
            {key: at for key, at in self.told.items() if datetime.fromisoformat(at) > repeat_at},
            tuple(at for at in self.recent if datetime.fromisoformat(at) > hour_ago),
            self.held,
        )

    def joined(self, other: "Sent") -> "Sent":
        """What either of the two remembers."""
        recent = Counter(self.recent) | Counter(other.recent)  # two at the same instant are two
        return Sent({**self.told, **other.told}, tuple(recent.elements()), max(self.held, other.held))


_NOTHING = Sent({}, (), 0)
_UNKEPT: dict[str, Sent] = {}  # by catalog: what could not be remembered there


class AlertMemory:
    """What was told, for all processes that write this catalog."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def update(self, change: Callable[[Sent], Sent]) -> None:
        """`change` was called once with what is remembered, and what it returned is remembered now.

        Nobody else reads or writes meanwhile, unless the catalog cannot be locked. Never raises: what went wrong is logged.
        """
        url = self._store.url
        after: Sent | None = None
        try:
            with self._store.lock(_LOCK, wait_s=_LOCK_WAIT_S):
                before = self._read()
                after = change(before.joined(_UNKEPT.get(url, _NOTHING)))
                if after != before:
                    self._store.replace(_STATE, json.dumps(asdict(after), indent=1).encode())
                _UNKEPT.pop(url, None)
                return
        except ArchiveError as err:
            log.warning("only this process remembers which alerts were sent: %s", err)
        _UNKEPT[url] = after if after is not None else change(_UNKEPT.get(url, _NOTHING))

    def _read(self) -> Sent:
        """What is remembered. A file that somebody spoilt is as good as none: an alert twice is better than none."""
        try:
            state = json.loads(self._store.read(_STATE))
            sent = Sent(dict(state["told"]), tuple(state["recent"]), int(state["held"]))
            if any(datetime.fromisoformat(at).tzinfo is None for at in (*sent.told.values(), *sent.recent)):
                return _NOTHING
        except (ObjectNotFoundError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return _NOTHING
        return sent
