"""Legal holds: what must not be erased. They are in the archive, so that they survive the loss of the catalog.

A hold is a folder `_holds/{hold_id}/` with `hold.json`, and `release.json` once it is released. Removing or editing one is
visible: the ledger has an entry about each.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any, Self

from callarchive.custody.erasures import new_id, session_hash
from callarchive.domain.days import parse_timestamp
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.storage.stores import Store

FOLDER = "_holds"
_HOLD, _RELEASE = "hold.json", "release.json"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be held: a recording, or a session, or all of an account's day."""

    subaccount_id: str
    call_date: date
    session_id: str | None = None
    recording_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a hold covers: a session, a recording, or the days of an account from `first` to `last`, None for no limit.

    `session_hash` takes the place of `session_id` where that must not be: in the ledger.
    """

    session_id: str | None = None
    recording_id: str | None = None
    subaccount_id: str | None = None
    first: date | None = None
    last: date | None = None
    session_hash: str | None = None

    @property
    def kind(self) -> str:
        """`session`, `recording` or `account`."""
        if self.session_id is not None or self.session_hash is not None:
            return "session"
        return "account" if self.recording_id is None else "recording"

    def covers(self, item: Item) -> bool:
        """Return whether the item, or a part of it, is covered."""
        if self.session_id is not None:
            return item.session_id in (None, self.session_id)
        if self.session_hash is not None:
            return item.session_id is None or _hash_of(item.session_id) == self.session_hash
        if self.recording_id is not None:
            return item.recording_id in (None, self.recording_id)
        in_range = (self.first or date.min) <= item.call_date <= (self.last or date.max)
        return item.subaccount_id == self.subaccount_id and in_range

    def facts(self) -> dict[str, str]:
        """Return what the ledger records of it: no session id."""
        hashed = self.session_hash if self.session_id is None else _hash_of(self.session_id)
        facts = {**asdict(self), "session_id": None, "session_hash": hashed, "kind": self.kind}
        return {name: str(value) for name, value in facts.items() if value is not None}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Return the scope with these facts. Raises TypeError, ValueError."""
        ids = {name: facts.get(name) for name in ("session_id", "recording_id", "subaccount_id", "session_hash")}
        days = {
            name: None if facts.get(name) is None else date.fromisoformat(facts[name]) for name in ("first", "last")
        }
        if not any(ids.values()):
            raise ValueError("it covers nothing")
        return cls(**ids, **days)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.session_id is not None:
            return f"session {self.session_id}"
        if self.session_hash is not None:
            return f"the session whose hash is {self.session_hash}"
        if self.recording_id is not None:
            return f"recording {self.recording_id}"
        days = f"{self.first} to {self.last}"
        if self.first is None or self.last is None:
            days = f"from {self.first}" if self.first else f"to {self.last}" if self.last else "all days"
        return f"account {self.subaccount_id}, {days}"


@dataclass(frozen=True, slots=True)
class Signature:
    """Who did something, and when."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold.

    Attributes:
        reason: why, such as the number of a case. It stays in the ledger.
        released: who released it; None while it is active.
    """

    hold_id: str
    scope: Scope
    reason: str
    added: Signature
    released: Signature | None = None


class Holds:
    """The holds of an archive."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __iter__(self) -> Iterator[Hold]:
        """Yield all holds, also released ones, oldest first. Raises StoreError if one cannot be read: it may hold anything."""
        return iter(sorted(map(self.get, self.ids()), key=lambda hold: (hold.added.at, hold.hold_id)))

    def active(self) -> list[Hold]:
        """Return the holds that are not released. Raises as `__iter__`."""
        return [hold for hold in self if hold.released is None]

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all holds, also of damaged ones. Raises StoreError.

        A folder without objects is none: `add` was killed before there was a hold.
        """
        return tuple(sorted({item.path.split("/")[1] for item in self._store.list(FOLDER) if item.path.count("/") > 1}))

    def find(self, hold_id: str) -> Hold | None:
        """Return the hold; None if its object is missing. Raises StoreError if it is malformed."""
        facts, released = (self._read(hold_id, name) for name in (_HOLD, _RELEASE))
        if facts is None:
            return None
        try:
            signature = None if released is None else _signature(released)
            return Hold(hold_id, Scope.of(facts), str(facts["reason"]), _signature(facts), signature)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            uri = self._store.uri(_path(hold_id, _HOLD))
            raise StoreError(f"{uri} is damaged, so what it holds is not known: restore it") from err

    def get(self, hold_id: str) -> Hold:
        """Return the hold. Raises StoreError if its object is missing or malformed."""
        if (hold := self.find(hold_id)) is None:
            uri = self._store.uri(_path(hold_id, _HOLD))
            raise StoreError(f"{uri} is gone, so what it holds is not known: restore it")
        return hold

    def add(self, scope: Scope, *, reason: str, by: str, at: datetime) -> Hold:
        """Add a hold, durable when this returns. Raises StoreError."""
        hold = Hold(new_id("hold"), scope, reason, Signature(by, at))
        self.restore(hold)
        return hold

    def restore(self, hold: Hold) -> None:
        """Write the object of a hold, which was removed. Raises StoreError."""
        self._write(hold.hold_id, _HOLD, {**asdict(hold.scope), "reason": hold.reason, **asdict(hold.added)})

    def release(self, hold: Hold, *, by: str, at: datetime) -> Hold:
        """Release the hold, and return it. Raises StoreError."""
        self._write(hold.hold_id, _RELEASE, asdict(Signature(by, at)))
        return replace(hold, released=Signature(by, at))

    def forget_sessions(self, session_ids: Collection[str]) -> None:
        """Replace erased sessions by their hashes in the holds that name them, in every version. Raises StoreError.

        The custody lock is held: temporary files are those of killed commands, and are removed.
        """
        self._store.sweep(FOLDER)
        for hold in filter(None, map(self.find, self.ids())):
            if hold.scope.session_id in session_ids:
                self.restore(replace(hold, scope=Scope.of(hold.scope.facts())))
                self._store.erase_old_versions(_path(hold.hold_id, _HOLD))

    def _write(self, hold_id: str, name: str, facts: dict[str, Any]) -> None:
        data = {name: value for name, value in facts.items() if value is not None}
        self._store.replace(_path(hold_id, name), json.dumps(data, default=_text, indent=1).encode() + b"\n")

    def _read(self, hold_id: str, name: str) -> dict[str, Any] | None:
        """Return an object of the hold; None if there is none. Raises StoreError if it is damaged."""
        path = _path(hold_id, name)
        try:
            facts: dict[str, Any] = json.loads(self._store.read(path))
        except ObjectNotFoundError:
            return None
        except ValueError as err:
            raise StoreError(f"{self._store.uri(path)} is damaged: restore it") from err
        return facts


def _path(hold_id: str, name: str) -> str:
    return f"{FOLDER}/{hold_id}/{name}"


def _signature(facts: dict[str, Any]) -> Signature:
    at = parse_timestamp(facts["at"])
    if at is None:
        raise ValueError("no timestamp")
    return Signature(str(facts["by"]), at)


def _text(value: Any) -> str:
    return str(value.isoformat())


def _hash_of(session_id: str) -> str:
    """Return the hash of a session in any account: a hold may come before the session, whose account is not known then."""
    return session_hash("", session_id)
