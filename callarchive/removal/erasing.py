"""An erasure, step by step. Each step may be repeated: what was killed is continued by the next command.

The order: register, ledger, then files, tables and stored responses of the days, entries of the ledger, and at last, for
several erasures together, events and Dagster's storage.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.erasing import erase_from_catalog
from callarchive.custody.erasures import FOLDER as REGISTER
from callarchive.custody.erasures import Erasure, new_id
from callarchive.custody.holds import FOLDER as HOLDS
from callarchive.custody.holds import Hold
from callarchive.domain.erased_ids import ErasedIds
from callarchive.domain.errors import ArchiveError, ConfigurationError, RetainedError
from callarchive.domain.foreign_text import mask_numbers
from callarchive.ledger.batches import FOLDER as LEDGER
from callarchive.ledger.redaction import LedgerReader, redact
from callarchive.removal.dagster_storage import HOME_VARIABLE, dagster_home, erase_from_dagster
from callarchive.removal.day_contents import contents_of, files_of_day
from callarchive.removal.erasure_entries import MOST_IDS, RETENTION, ErasureEntries
from callarchive.removal.erasure_files import days_to_change, delete_at_landing, delete_files, files_to_go
from callarchive.removal.holds import holds_in_force
from callarchive.removal.homes import elsewhere
from callarchive.removal.obstacles import HeldError, distinct, held_by
from callarchive.removal.plan import uris_of, wanted_of
from callarchive.runtime.temporary_folders import remove_left_folders

log = logging.getLogger(__name__)

_NO_APPEND_TAKES_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """Who wants something erased, why, and how far: the same for all days of a command."""

    reason: str
    by: str
    user: str | None = None
    kind: str = "erase"
    delete_at_landing: bool = False
    bypass_governance: bool = False


@dataclass(frozen=True)
class Done:
    """An erasure whose files, rows and entries are gone.

    Attributes:
        file_count: files in the archive that it had when it began.
        entry_count: redacted entries of the ledger.
        landing_uris: where the landing had the recordings.
        held: sessions that were left, with the holds that keep them.
    """

    erasure: Erasure
    file_count: int
    entry_count: int
    landing_uris: tuple[str, ...]
    held: Mapping[str, list[Hold]]


class Erasing:
    """The erasures of one command."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._reader = LedgerReader(connections.ledger)
        self._entries = ErasureEntries(connections, self._reader)
        self._unfinished: list[Erasure] = []
        self.out_of_reach: set[str] = set()
        self.failures: list[tuple[Erasure, ArchiveError]] = []

    def holds(self) -> list[Hold]:
        """Return the holds in force. Raises ArchiveError."""
        return holds_in_force(self._connections, self._reader)

    def continue_begun(self, order: Order | None = None) -> list[Done]:
        """Continue what killed commands began, and return it. A hold withdraws what has deleted nothing yet.

        What cannot be continued is logged, and stops no other: see `failures`. Raises ArchiveError.
        """
        done = []
        for known in self._connections.register.begun():
            try:
                with self._connections.custody_lock(), self._connections.day_lock(known.call_date):
                    begun = {one.erasure_id: one for one in self._connections.register.begun()}
                    if known.erasure_id in begun:  # no other command continued it
                        done.append(self._continued(begun[known.erasure_id], order))
            except HeldError as err:
                log.warning("the erasure of %s that was begun was withdrawn: %s", known.call_date, err)
            except ArchiveError as err:
                log.warning("the erasure of %s that was begun is not complete: %s", known.call_date, err)
                self.failures.append((known, err))
        return done

    def refuse_held(self, subaccount_id: str, day: date, sessions: set[str], recordings: Mapping[str, str]) -> None:
        """Raise HeldError if a hold covers one of these now: all days are checked before the first is changed."""
        contents = contents_of(self._connections, subaccount_id, day)
        wanted = wanted_of(self._connections, contents, subaccount_id, sessions, recordings)
        if held := held_by(self.holds(), subaccount_id, day, wanted):
            raise HeldError(distinct(held))

    def erase(
        self,
        subaccount_id: str,
        day: date,
        order: Order,
        *,
        sessions: Iterable[str] = (),
        recordings: Mapping[str, str] | None = None,
        everything: bool = False,
    ) -> Done | None:
        """Erase sessions of an account's day with all of their recordings, and single recordings; or everything not held.

        `recordings` has the session of each single recording.

        Return None if nothing of it is there. Raises HeldError if a hold covers one of them, or all of the day; ArchiveError.
        """
        connections = self._connections
        with connections.custody_lock(), connections.day_lock(day):
            contents = contents_of(connections, subaccount_id, day)
            whole = set(contents.sessions) if everything else set(sessions)
            wanted = wanted_of(connections, contents, subaccount_id, whole, recordings or {})
            held = self._held(subaccount_id, day, wanted, is_retention=order.kind == RETENTION)
            if held and (not everything or held.keys() == wanted.keys()):
                raise HeldError(distinct(held))
            wanted = {one: found for one, found in wanted.items() if one not in held}
            has_files = everything and not held and any(files_of_day(connections, subaccount_id, day))
            if not wanted and not has_files:
                return None
            ids = ErasedIds(
                subaccount_id,
                frozenset(wanted.keys() & whole),
                frozenset(one for found in wanted.values() for one in found),
            )
            erasure = Erasure(
                erasure_id=new_id("erasure"),
                subaccount_id=subaccount_id,
                call_date=day,
                reason=ids.cut_from(mask_numbers(order.reason)),
                by=order.by,
                user=order.user,
                kind=order.kind,
                at=connections.clock().isoformat(),
                whole_day=everything and not held,
                session_ids=ids.session_ids,
                recording_ids=ids.recording_ids,
                sources=frozenset(
                    path
                    for one, path in contents.sources.items()
                    if one in ids.recording_ids and order.kind != RETENTION
                ),
            )
            return self._begin(erasure, order, held)

    def finish(self) -> None:
        """Remove the ids of all erasures from events and Dagster's storage, and note that they are complete.

        Raises ArchiveError: the next command continues.
        """
        connections = self._connections
        if not self._unfinished:
            return
        by_account: dict[str, list[Erasure]] = defaultdict(list)
        for erasure in self._unfinished:
            by_account[erasure.subaccount_id].append(erasure)
        remove_left_folders()
        inbox = connections.inbox()
        for account, erasures in by_account.items():
            if inbox is not None:
                inbox.erase(_ids_of(account, erasures))
        self.erase_from_dagster({one for erasure in self._unfinished for one in erasure.ids.all})
        for erasure in self._unfinished:
            connections.register.complete(erasure)
        self._unfinished.clear()

    def erase_from_dagster(self, ids: Collection[str]) -> None:
        """Remove the ids from Dagster's storage, or note why not: the command may be repeated. Raises StoreError."""
        home = dagster_home(self._connections.settings)
        if home is None:
            again = f"if you use Dagster, set {HOME_VARIABLE} to its folder and run this command again"
            self.out_of_reach.add(f"Dagster's storage is not known: {again}")
            return
        try:
            self.out_of_reach.update(erase_from_dagster(home, ids).out_of_reach)
        except ConfigurationError as err:
            self.out_of_reach.add(f"{err}, and run this command again for Dagster's storage")

    def _held(
        self, subaccount_id: str, day: date, sessions: Mapping[str, set[str]], *, is_retention: bool
    ) -> dict[str, list[Hold]]:
        """Return the held ones of the sessions. A hold may cover what another day has of one, which would go as well."""
        holds = self.holds()
        if not holds:
            return {}
        everywhere = not is_retention and len(sessions) <= MOST_IDS
        found = held_by(holds, subaccount_id, day, sessions)
        others = elsewhere(self._connections, subaccount_id, day, sessions, everywhere=everywhere)
        for other, of_other in others.items():
            for session_id, more in held_by(holds, subaccount_id, other, of_other).items():
                found[session_id] = [*found.get(session_id, ()), *more]
        return found

    def _begin(self, erasure: Erasure, order: Order | None, held: Mapping[str, list[Hold]]) -> Done:
        register = self._connections.register
        self._connections.recorder.require_writing()  # else it would stay begun, and block runs, for want of a key
        register.begin(erasure)
        register.add(erasure)
        recorded = self._entries.record(erasure, None)
        erasure = replace(erasure, deleting=True, file_count=len(files_to_go(self._connections, erasure)))
        register.begin(erasure)
        return self._delete(erasure, order, recorded, held)

    def _continued(self, erasure: Erasure, order: Order | None) -> Done:
        connections, account, day = self._connections, erasure.subaccount_id, erasure.call_date
        recorded = self._entries.recorded(erasure)
        count = len(files_to_go(self._connections, erasure))
        sessions = contents_of(connections, account, day).sessions
        covered = {one: set[str]() for one in erasure.session_ids} | {
            one: found if one in erasure.session_ids else found & erasure.recording_ids
            for one, found in sessions.items()
            if one in erasure.session_ids or not erasure.recording_ids.isdisjoint(found)
        }
        if held := self._held(account, day, covered, is_retention=erasure.kind == RETENTION):
            holds = distinct(held)
            if self._is_untouched(erasure):
                self._withdraw(erasure, recorded, [hold.hold_id for hold in holds])
                raise HeldError(holds)
            names = ", ".join(hold.hold_id for hold in holds)
            log.warning("%s came too late for an erasure of %s that was begun before it", names, day)
        if not erasure.deleting:
            found = {one for session in erasure.session_ids for one in sessions.get(session, ())}
            erasure = replace(erasure, recording_ids=erasure.recording_ids | found)
            connections.register.begin(erasure)
            connections.register.add(erasure)
        recorded = self._entries.record(erasure, recorded)
        if not erasure.deleting:
            erasure = replace(erasure, deleting=True, file_count=count)
            connections.register.begin(erasure)
        return self._delete(erasure, order, recorded, {})

    def _delete(
        self, erasure: Erasure, order: Order | None, recorded: set[int], held: Mapping[str, list[Hold]]
    ) -> Done:
        connections = self._connections
        bypass = order is not None and order.bypass_governance
        for folder in (REGISTER, HOLDS):
            connections.archive.store.sweep(folder)  # only holders of the custody lock write there
        connections.archive.store.sweep(LEDGER, older_than_s=_NO_APPEND_TAKES_S)
        uris = uris_of(connections, erasure.subaccount_id, erasure.sources)
        try:
            delete_files(connections, erasure, self._entries, bypass_governance=bypass)
        except RetainedError:
            if self._is_untouched(erasure):
                self._withdraw(erasure, recorded, [])
            raise
        if order is not None and order.delete_at_landing:
            delete_at_landing(connections, erasure)
        for day in sorted(days_to_change(connections, erasure)):
            with ExitStack() as stack:
                if day != erasure.call_date:
                    stack.enter_context(connections.day_lock(day))
                stack.enter_context(connections.neighbours_lock())
                erase_from_catalog(connections.catalog_day(day), erasure.ids, responses=connections.responses)
        connections.recorder.complete()
        recorded = self._entries.record(erasure, recorded)
        connections.holds.forget_sessions(erasure.session_ids)
        redact(connections.ledger, recorded, bypass_governance=bypass)
        self._unfinished.append(erasure)
        return Done(erasure, erasure.file_count, len(recorded), uris, held)

    def _is_untouched(self, erasure: Erasure) -> bool:
        """Return whether nothing was deleted yet: files come first."""
        return not erasure.deleting or 0 < len(files_to_go(self._connections, erasure)) == erasure.file_count

    def _withdraw(self, erasure: Erasure, recorded: set[int] | None, hold_ids: list[str]) -> None:
        if recorded is not None:
            self._entries.record_withdrawal(erasure, hold_ids)
        self._connections.register.withdraw(erasure)


def _ids_of(account: str, erasures: Sequence[Erasure]) -> ErasedIds:
    return ErasedIds(
        account,
        frozenset(one for erasure in erasures for one in erasure.session_ids),
        frozenset(one for erasure in erasures for one in erasure.recording_ids),
    )
