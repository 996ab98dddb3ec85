"""Legal holds: what must not be erased. They are in the archive, so that they survive the loss of the catalog.

A hold is a folder `_holds/{hold_id}/`. Its objects are written once: `hold.json`, and `request.json` and `release.json` when it
is released. Removing one is visible: the ledger has an entry about each.
"""

import json
import secrets
import string
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from callarchive.domain.days import parse_timestamp
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.storage.stores import Store

FOLDER = "_holds"
_HOLD, _REQUEST, _RELEASE = "hold.json", "request.json", "release.json"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be held: a recording, or a session, or all of an account's day."""

    subaccount_id: str
    call_date: date
    session_id: str | None = None
    recording_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a hold covers: a session, a recording, or the days of an account from `first` to `last`, None for no limit."""

    session_id: str | None = None
    recording_id: str | None = None
    subaccount_id: str | None = None
    first: date | None = None
    last: date | None = None

    def covers(self, item: Item) -> bool:
        """Return whether the item, or a part of it, is covered."""
        if self.session_id is not None:
            return item.session_id in (None, self.session_id)
        if self.recording_id is not None:
            return item.recording_id in (None, self.recording_id)
        in_range = (self.first or date.min) <= item.call_date <= (self.last or date.max)
        return item.subaccount_id == self.subaccount_id and in_range

    def __str__(self) -> str:
        if self.session_id is not None:
            return f"session {self.session_id}"
        if self.recording_id is not None:
            return f"recording {self.recording_id}"
        return f"account {self.subaccount_id}, {self.first or 'the beginning'} to {self.last or 'no end'}"


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
        requested: the first of two people who release it, if two are required.
        released: who released it; None while it is active.
    """

    hold_id: str
    scope: Scope
    reason: str
    added: Signature
    requested: Signature | None = None
    released: Signature | None = None


class Holds:
    """The holds of an archive."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __iter__(self) -> Iterator[Hold]:
        """Yield all holds, also released ones, oldest first. Raises StoreError if one cannot be read: it may hold anything."""
        return iter(sorted(map(self.get, self._store.folders(FOLDER)), key=lambda hold: (hold.added.at, hold.hold_id)))

    def active(self) -> list[Hold]:
        """Return the holds that are not released. Raises as `__iter__`."""
        return [hold for hold in self if hold.released is None]

    def get(self, hold_id: str) -> Hold:
        """Return the hold. Raises StoreError if there is none, or if it is malformed."""
        facts = self._read(hold_id, _HOLD)
        if facts is None:
            raise StoreError(f"{self._store.uri(_path(hold_id, _HOLD))}: there is no such hold: callarchive hold list")
        try:
            days: dict[str, Any] = {
                name: None if facts[name] is None else date.fromisoformat(facts[name]) for name in ("first", "last")
            }
            ids: dict[str, Any] = {name: facts[name] for name in ("session_id", "recording_id", "subaccount_id")}
            scope = Scope(**ids, **days)
            return Hold(
                hold_id,
                scope,
                str(facts["reason"]),
                _signature(facts),
                *(
                    None if (one := self._read(hold_id, name)) is None else _signature(one)
                    for name in (_REQUEST, _RELEASE)
                ),
            )
        except (KeyError, TypeError, ValueError) as err:
            raise StoreError(
                f"{self._store.uri(_path(hold_id, _HOLD))} is damaged, so what it holds is not known: restore it"
            ) from err

    def add(self, scope: Scope, *, reason: str, by: str, at: datetime) -> Hold:
        """Add a hold, durable when this returns. Raises StoreError."""
        hold = Hold(_new_id(), scope, reason, Signature(by, at))
        self._write(hold.hold_id, _HOLD, {**asdict(scope), "reason": reason, **asdict(hold.added)})
        return hold

    def request_release(self, hold: Hold, *, by: str, at: datetime) -> None:
        """Note the first of two people who release the hold. Raises AlreadyExistsError, StoreError."""
        self._write(hold.hold_id, _REQUEST, asdict(Signature(by, at)))

    def release(self, hold: Hold, *, by: str, at: datetime) -> None:
        """Release the hold. Raises AlreadyExistsError, StoreError."""
        self._write(hold.hold_id, _RELEASE, asdict(Signature(by, at)))

    def _write(self, hold_id: str, name: str, facts: dict[str, Any]) -> None:
        self._store.create(_path(hold_id, name), json.dumps(facts, default=_text, indent=1).encode() + b"\n")

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


def _new_id() -> str:
    """Return an id of letters only: messages mask rows of digits that may be a phone number."""
    return "hold-" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))


def _signature(facts: dict[str, Any]) -> Signature:
    at = parse_timestamp(facts["at"])
    if at is None:
        raise ValueError("no timestamp")
    return Signature(str(facts["by"]), at)


def _text(value: Any) -> str:
    return str(value.isoformat())
