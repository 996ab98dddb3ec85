"""The register of what was erased, so that no run fetches it again, even if the catalog is lost.

`_erased/call_date=YYYY-MM-DD/{erasure_id}.json` stays. It has recording ids, and hashes of session ids. While an erasure is not
complete, `_erased/begun/{erasure_id}.json` has all that it needs to continue, session ids included.
"""

import hashlib
import json
import secrets
import string
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from callarchive.domain.days import day_of_folder
from callarchive.domain.erased_ids import ErasedIds, ids_anywhere
from callarchive.domain.errors import ObjectNotFoundError, StoreError
from callarchive.storage.stores import Store, StoredObject

FOLDER = "_erased"
_BEGUN = f"{FOLDER}/begun"
_NEAR, _REACH = timedelta(days=1), timedelta(days=31)
_SETS = ("session_ids", "recording_ids", "sources")


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased of a day and its neighbours.

    Attributes:
        session_hashes: `session_hash` of each session that was erased as a whole.
        recordings: the (subaccount_id, recording_id) of each erased recording.
    """

    session_hashes: frozenset[str] = frozenset()
    recordings: frozenset[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.session_hashes or self.recordings)

    def has_session(self, subaccount_id: str, session_id: str) -> bool:
        """Return whether the session was erased as a whole."""
        return bool(self.session_hashes) and session_hash(subaccount_id, session_id) in self.session_hashes

    def ids_in(self, subaccount_id: str, text: str | None) -> ErasedIds:
        """Return the ids in the text that were erased."""
        found = ids_anywhere(text or "") if self else set[str]()
        return ErasedIds(
            subaccount_id,
            frozenset(one for one in found if self.has_session(subaccount_id, one)),
            frozenset(one for one in found if self.has_recording(subaccount_id, one)),
        )

    def has_recording(self, subaccount_id: str, recording_id: str) -> bool:
        """Return whether the recording was erased."""
        return (subaccount_id, recording_id) in self.recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure: what is to go, of one account and day.

    Attributes:
        session_ids: sessions that go as a whole.
        recording_ids: all recordings that go: those of the sessions, and single ones.
        kind: `erase` or `retention`.
        deleting: whether a deletion may have begun. Until then, a hold stops the erasure.
        at: when it began, ISO 8601.
        user: the operating system's user, if `by` is somebody else.
        file_count: the number of files in the archive that are to go, known before the first is deleted.
        whole_day: whether the account's folders of the day go, because nothing in them is held.
        sources: paths of their objects in the account's landing.
    """

    erasure_id: str
    subaccount_id: str
    call_date: date
    reason: str
    by: str
    kind: str = "erase"
    at: str = ""
    user: str | None = None
    deleting: bool = False
    file_count: int = 0
    whole_day: bool = False
    session_ids: frozenset[str] = frozenset()
    recording_ids: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    @property
    def ids(self) -> ErasedIds:
        """What the functions remove that take ids out of tables, responses and events."""
        return ErasedIds(self.subaccount_id, self.session_ids, self.recording_ids)


@dataclass(frozen=True, slots=True)
class Registered:
    """What the register has about an erasure. `at` is when it began, ISO 8601; empty if that is not known."""

    call_date: date
    subaccount_id: str
    at: str
    erasure_id: str


class ErasureRegister:
    """The register in the archive's store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: dict[date, Erased] = {}

    def around(self, day: date) -> Erased:
        """Return what was erased of the day and its neighbours: a session may move by one. Raises StoreError.

        Also what was erased on request of 31 days before and after: a source may date a session differently than its events.
        Remembered until the day is locked again.
        """
        if day not in self._remembered:
            self._remembered[day] = self.read_around(day)
        return self._remembered[day]

    def begin_day(self, day: date) -> None:
        """Forget what was erased around the day: its lock was just taken."""
        self._remembered.pop(day, None)

    def read_around(self, day: date) -> Erased:
        """Return what `around` does, with erasures of other days, which do not wait for a run of this one."""
        return _united(
            facts
            for other, path in self._paths(day - _REACH, day + _REACH)
            if (facts := self._read(path)) and (abs(other - day) <= _NEAR or facts.get("kind") == "erase")
        )

    def add(self, erasure: Erasure) -> None:
        """Write the erasure's part of the register, durable when this returns. Repeating it changes nothing."""
        facts = {
            "subaccount_id": erasure.subaccount_id,
            "at": erasure.at,
            "kind": erasure.kind,
            "session_hashes": sorted(session_hash(erasure.subaccount_id, one) for one in erasure.session_ids),
            "recording_ids": sorted(erasure.recording_ids),
        }
        self._store.replace(_path(erasure), json.dumps(facts, indent=1).encode() + b"\n")

    def begin(self, erasure: Erasure) -> None:
        """Note what the erasure needs to continue after a kill."""
        facts = {name: getattr(erasure, name) for name in Erasure.__dataclass_fields__}
        facts |= {name: sorted(getattr(erasure, name)) for name in _SETS}
        self._store.replace(_begun_path(erasure.erasure_id), json.dumps(facts, default=str, indent=1).encode() + b"\n")

    def begun(self) -> list[Erasure]:
        """Return the erasures that were begun and are not complete. Raises StoreError if one is damaged."""
        found = []
        for item in self._listed(_BEGUN):
            if not (facts := self._read(item.path)):
                continue
            try:
                ids: dict[str, Any] = {name: frozenset(facts[name]) for name in _SETS}
                found.append(Erasure(**facts | ids | {"call_date": date.fromisoformat(facts["call_date"])}))
            except (KeyError, TypeError, ValueError) as err:
                raise StoreError(f"{self._store.uri(item.path)} is damaged: restore it") from err
        return found

    def complete(self, erasure: Erasure) -> None:
        """Note that nothing is left to do, and remove the ids that only continuing needed."""
        self._store.erase(_begun_path(erasure.erasure_id))

    def withdraw(self, erasure: Erasure) -> None:
        """Remove an erasure that has deleted nothing, so that runs keep its recordings again."""
        self._store.erase(_path(erasure))
        self._store.erase(_begun_path(erasure.erasure_id))

    def find(self, identifier: str) -> list[Registered]:
        """Return each erasure of the session or recording. Raises StoreError."""
        return [
            Registered(day, facts["subaccount_id"], str(facts.get("at", "")), erasure_id)
            for day, erasure_id, facts in self.entries()
            if session_hash(facts.get("subaccount_id", ""), identifier) in facts.get("session_hashes", ())
            or identifier in facts.get("recording_ids", ())
        ]

    def ids_erased_with(self, identifiers: Iterable[str]) -> set[str]:
        """Return these ids, and the recording ids of the erasures that they belong to. Raises StoreError."""
        wanted = set(identifiers)
        found = {one.erasure_id for identifier in wanted for one in self.find(identifier)}
        return wanted.union(*(facts["recording_ids"] for _, erasure_id, facts in self.entries() if erasure_id in found))

    def entries(self) -> Iterator[tuple[date, str, dict[str, Any]]]:
        """Yield the day, the erasure's id and the facts of each erasure. Raises StoreError if one is damaged."""
        for day, path in self._paths(date.min, date.max):
            facts = self._read(path)
            lists = [facts.get(name, []) for name in ("session_hashes", "recording_ids")]
            if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in lists):
                raise self._damaged(path)
            yield day, path.rpartition("/")[2].removesuffix(".json"), facts

    def _paths(self, first: date, last: date) -> Iterator[tuple[date, str]]:
        """Yield the days, in order, and the paths of the erasures of their calls."""
        for name in self._store.folders(FOLDER):
            day = day_of_folder(name)  # others: begun erasures, and what `verify` reports as extra
            if day is not None and first <= day <= last:
                yield from ((day, item.path) for item in self._listed(f"{FOLDER}/{name}"))

    def _listed(self, folder: str) -> list[StoredObject]:
        """Return the folder's objects, without those of other names, which `verify` reports: they must stop no run."""
        return [item for item in self._store.list(folder) if item.path.endswith(".json")]

    def _read(self, path: str) -> dict[str, Any]:
        try:
            facts = json.loads(self._store.read(path))
        except ObjectNotFoundError:  # an erasure was completed meanwhile
            return {}
        except ValueError as err:
            raise self._damaged(path) from err
        if isinstance(facts, dict):
            return facts
        raise self._damaged(path)

    def _damaged(self, path: str) -> StoreError:
        return StoreError(f"{self._store.uri(path)} is damaged: restore it, or what was erased may return")


def session_hash(subaccount_id: str, session_id: str) -> str:
    """Return the SHA-256, hex, that stands for a session in the register and in the ledger."""
    return hashlib.sha256(f"{subaccount_id}/{session_id}".encode()).hexdigest()


def new_id(kind: str) -> str:
    """Return an id that begins with the kind. It has letters only: messages mask rows of digits that may be a phone number."""
    return f"{kind}-" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))


def _path(erasure: Erasure) -> str:
    return f"{_folder(erasure.call_date)}/{erasure.erasure_id}.json"


def _folder(day: date) -> str:
    return f"{FOLDER}/call_date={day}"


def _begun_path(erasure_id: str) -> str:
    return f"{_BEGUN}/{erasure_id}.json"


def _united(parts: Iterable[dict[str, Any]]) -> Erased:
    hashes: set[str] = set()
    recordings: set[tuple[str, str]] = set()
    for facts in parts:
        found: Collection[str] = facts.get("recording_ids", ())
        hashes.update(facts.get("session_hashes", ()))
        recordings.update((facts["subaccount_id"], recording_id) for recording_id in found)
    return Erased(frozenset(hashes), frozenset(recordings))
