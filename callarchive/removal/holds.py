"""Holds as the archive and the ledger know them together, and their addition and release.

A hold is in force from the moment its object is in the archive until the ledger and the archive have its release. So removing
or editing its objects ends no hold.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from callarchive.archiving.connections import Connections
from callarchive.custody.holds import FOLDER, Hold, Scope, Signature
from callarchive.domain.days import parse_timestamp
from callarchive.domain.errors import ArchiveError, ConfigurationError, LedgerError, RefusedError, StoreError
from callarchive.domain.mistakes import did_you_mean, quoted
from callarchive.ledger.batches import facts_of
from callarchive.ledger.checking import Entry
from callarchive.ledger.redaction import LedgerReader

ADDED, REQUESTED, RELEASED = EVENTS = ("hold_added", "hold_release_requested", "hold_released")


class HoldError(ArchiveError):
    """A hold is in force, but a part of it could not be written."""


class ReleasedError(ArchiveError):
    """The hold is released."""

    def __init__(self, message: str, scope: Scope) -> None:
        super().__init__(message)
        self.scope = scope


@dataclass(frozen=True)
class Person:
    """Who does something: the name given, and the operating system's user if that is another."""

    name: str
    user: str | None = None

    def facts(self) -> dict[str, str]:
        """Return what the ledger records of the person."""
        return {"by": self.name} if self.user is None else {"by": self.name, "user": self.user}

    def is_named(self, other: str) -> bool:
        """Return whether the other name is the person's, in any case, and composed or not."""
        return _plain(self.name) == _plain(other)


@dataclass(frozen=True)
class KnownHold:
    """A hold as the archive and the ledger know it.

    Attributes:
        stored: the hold in the archive; None if it is missing or damaged.
        damage: why it cannot be read, if so.
        entries: its first entry of each event.
    """

    hold_id: str
    stored: Hold | None
    damage: str | None
    entries: dict[str, Entry]

    @property
    def recorded(self) -> Hold | None:
        """The hold as the ledger has it; None if it does not."""
        if (added := self.entries.get(ADDED)) is None:
            return None
        try:
            scope, reason = Scope.of(added.facts), str(added.facts["reason"])
        except (KeyError, TypeError, ValueError) as err:
            raise LedgerError(
                f"entry {added.number} of the ledger is not one of a hold: run `callarchive verify`"
            ) from err
        return Hold(
            self.hold_id,
            scope,
            reason,
            signature_of(added),
            signature_of(self.entries[RELEASED]) if RELEASED in self.entries else None,
        )

    @property
    def hold(self) -> Hold:
        """The hold to show: in the archive if it is there. Raises StoreError if nothing says what it covers."""
        known = self.stored or self.recorded
        if known is None:
            raise StoreError(self.damage or f"nothing says what {self.hold_id} covers: restore {FOLDER}/{self.hold_id}")
        return known

    @property
    def edited_facts(self) -> dict[str, tuple[str | None, str | None]]:
        """The facts in which archive and ledger differ, each as the archive and as the ledger has it."""
        stored, recorded = self.stored, self.recorded
        if stored is None or recorded is None:
            return {}
        facts, known = (
            {**hold.scope.facts(), "reason": hold.reason, "by": hold.added.by} for hold in (stored, recorded)
        )
        names = sorted(facts.keys() | known.keys())
        return {one: (facts.get(one), known.get(one)) for one in names if facts.get(one) != known.get(one)}

    @property
    def is_readable(self) -> bool:
        """Whether something says what it covers."""
        return self.stored is not None or ADDED in self.entries

    @property
    def is_in_force(self) -> bool:
        """Whether something that it covers may not be erased."""
        if self.stored is not None and self.stored.released is None:
            return True
        return RELEASED not in self.entries and (ADDED in self.entries or self.stored is None)

    @property
    def requested(self) -> Signature | None:
        """The first of two people who release it; None if nobody has requested it."""
        return signature_of(self.entries[REQUESTED]) if REQUESTED in self.entries else None

    @property
    def released(self) -> Signature | None:
        """Who released it; None while it is in force."""
        if self.is_in_force:
            return None
        return signature_of(self.entries[RELEASED]) if RELEASED in self.entries else self.hold.released

    def damages(self) -> Iterator[tuple[str, str]]:
        """Yield why it cannot be read, if so, as `contradictions` does."""
        if self.damage is not None:
            yield "unreadable", f"hold {self.hold_id}: {self.damage}"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield how archive and ledger differ: a kind of finding and a sentence; `unfinished` is what a killed command left."""
        stored, recorded, name = self.stored, self.recorded, f"hold {self.hold_id}"
        if recorded is None:
            if stored is None:
                yield "unreadable", f"{name}: {self.damage or 'its object is gone, and the ledger has no entry of it'}"
            else:
                again = f"run its `callarchive hold add` again, or `callarchive hold release {self.hold_id}`"
                yield (
                    "unfinished",
                    f"{name}: the ledger has no entry of it: a command was killed, or none added it: {again}",
                )
            return
        entry = f"entry {self.entries[ADDED].number}"
        was = f"{recorded.scope}, added on {recorded.added.at:%Y-%m-%d %H:%M} UTC by {recorded.added.by}: {recorded.reason}"
        if stored is None:
            kind, what = ("removed", "its object is gone") if self.damage is None else ("unreadable", self.damage)
            yield kind, f"{name}: {what}, but the ledger has it ({entry}): {was}: {self._restored()}"
            return
        for fact, (there, here) in self.edited_facts.items():
            yield "edited", f"{name}: {fact} is {there}, but {here} in the ledger ({entry}): {self._restored()}"
        if stored.released is not None and recorded.released is None:
            by = f"released by {stored.released.by} in the archive, but the ledger has no release, so it is in force"
            yield "added", f"{name}: {by}: remove {FOLDER}/{self.hold_id}/release.json"
        elif stored.released is None and recorded.released is not None:
            yield (
                "unfinished",
                (
                    f"{name}: released in the ledger (entry {self.entries[RELEASED].number}), but not in the archive:"
                    f" callarchive hold release {self.hold_id}"
                ),
            )
        elif stored.released and recorded.released and stored.released.by != recorded.released.by:
            by = f"released by {stored.released.by}, but by {recorded.released.by} in the ledger"
            entry = f"entry {self.entries[RELEASED].number}"
            yield "edited", f"{name}: {by} ({entry}): restore {FOLDER}/{self.hold_id}/release.json from a backup"

    def _restored(self) -> str:
        again = "" if RELEASED in self.entries else ", or run its `callarchive hold add` again"
        return f"restore {FOLDER}/{self.hold_id} from a backup{again}"

    def in_force(self) -> Iterator[Hold]:
        """Yield the hold if it is in force, with the scope of the archive and with that of the ledger if they differ."""
        if self.is_in_force:
            hold, recorded = self.hold, self.recorded
            yield hold
            if recorded is not None and recorded.scope.facts() != hold.scope.facts():
                yield recorded


def known_holds(connections: Connections, recorded: Iterable[Entry] | None = None) -> list[KnownHold]:
    """Return all holds, oldest first, those that nobody can read last. Raises LedgerError, StoreError.

    `recorded` has the ledger's entries about holds, if they are known, and may have others.
    """
    entries: dict[str, dict[str, Entry]] = {}
    if recorded is None:
        recorded = LedgerReader(connections.ledger).entries(*EVENTS)
    for entry in (one for one in recorded if one.facts["event"] in EVENTS):
        entries.setdefault(str(entry.facts.get("hold")), {}).setdefault(entry.facts["event"], entry)
    stored_ids = set(connections.holds.ids())
    found = []
    for hold_id in sorted({*stored_ids, *entries}):
        stored, damage = None, None
        try:
            stored = connections.holds.find(hold_id) if hold_id in stored_ids else None
        except StoreError as err:
            damage = str(err)
        found.append(KnownHold(hold_id, stored, damage, entries.get(hold_id, {})))
    return sorted(found, key=_age)


def holds_in_force(connections: Connections, reader: LedgerReader | None = None) -> list[Hold]:
    """Return the holds that forbid an erasure, also those that only the ledger still knows.

    Raises LedgerError; StoreError if nothing says what a hold covers.
    """
    recorded = (reader or LedgerReader(connections.ledger)).entries(*EVENTS)
    return [hold for known in known_holds(connections, recorded) for hold in known.in_force()]


def add_hold(connections: Connections, scope: Scope, *, reason: str, by: Person) -> KnownHold:
    """Add a hold, or complete the same one that is in force, and return it. The custody lock is held.

    Raises StoreError if it was not added. HoldError: it is in force, but the ledger does not have it.
    """
    for known in filter(lambda one: one.is_readable and one.is_in_force, known_holds(connections)):
        was = known.recorded or known.hold
        if (was.scope.facts(), was.reason) == (scope.facts(), reason):
            known = replace(known, stored=None) if known.edited_facts else known  # noqa: PLW2901
            break
    else:
        hold = connections.holds.add(scope, reason=reason, by=by.name, at=connections.clock())
        known = KnownHold(hold.hold_id, hold, None, {})
    try:
        return _completed(connections, known, scope, by)
    except ArchiveError as err:
        raise HoldError(
            f"{known.hold_id} is in force, but the ledger does not have it: {err}: then run the same command again"
        ) from err


def release_hold(connections: Connections, hold_id: str, *, reason: str | None, by: Person) -> KnownHold:
    """Release the hold, or request its release where two people must, and return it. The custody lock is held.

    Raises ConfigurationError for an unknown id, ReleasedError for a released one, RefusedError if the same person requested it,
    LedgerError, StoreError.
    """
    every = {known.hold_id: known for known in known_holds(connections)}
    if (known := every.get(hold_id)) is None:
        open_ids = [one.hold_id for one in every.values() if one.is_in_force]
        raise ConfigurationError(
            f"{quoted(hold_id)}: no such hold{did_you_mean(hold_id, open_ids)}: callarchive hold list"
        )
    hold = known.hold
    if not known.is_in_force:
        released = hold.released or signature_of(known.entries[RELEASED])
        raise ReleasedError(f"{hold_id} was released on {released.at:%Y-%m-%d %H:%M} UTC by {released.by}", hold.scope)
    known = _completed(connections, known, hold.scope, by)
    if RELEASED not in known.entries and connections.settings.holds.two_releasers:
        if (request := known.requested) is None:
            return _record(connections, known, REQUESTED, by, reason)
        if by.is_named(request.by):
            raise RefusedError(
                f"{hold_id}: {request.by} requested the release on {request.at:%Y-%m-%d %H:%M} UTC, and another person must"
                f" confirm it (holds.two_releasers): callarchive hold release {hold_id} --by NAME"
            )
    if RELEASED not in known.entries:
        known = _record(connections, known, RELEASED, by, reason)
    released = signature_of(known.entries[RELEASED])
    return replace(known, stored=connections.holds.release(known.hold, by=released.by, at=released.at))


def _completed(connections: Connections, known: KnownHold, scope: Scope, by: Person) -> KnownHold:
    """Write the object of the hold and record it, unless that is done."""
    if known.stored is None:
        hold = replace(known.hold, scope=scope, released=None)
        connections.holds.restore(hold)
        known = replace(known, stored=hold, damage=None)
    if ADDED not in known.entries:
        hold = known.hold
        who = by if by.is_named(hold.added.by) else Person(hold.added.by)
        known = _record(connections, known, ADDED, who, hold.reason, **hold.scope.facts())
    return known


def _record(
    connections: Connections, known: KnownHold, event: str, by: Person, reason: str | None, **facts: str
) -> KnownHold:
    facts = {"event": event, "hold": known.hold_id, **facts, **by.facts()}
    batch = connections.recorder.record(facts if reason is None else {**facts, "reason": reason})
    return replace(known, entries={**known.entries, event: Entry(batch.first, facts_of(batch.lines[0]))})


def signature_of(entry: Entry) -> Signature:
    """Return who made the entry, and when. Raises LedgerError."""
    at = parse_timestamp(entry.facts.get("at"))
    if at is None:
        raise LedgerError(f"entry {entry.number} of the ledger has no time: run `callarchive ledger verify`")
    return Signature(str(entry.facts.get("by")), at)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _age(known: KnownHold) -> tuple[str, str]:
    try:
        return known.hold.added.at.isoformat(), known.hold_id
    except ArchiveError:
        return "~", known.hold_id
