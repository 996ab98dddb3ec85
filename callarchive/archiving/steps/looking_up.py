"""The second step of a day: what 8x8's API reports of the recordings of each session."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from http import HTTPStatus
from threading import Event
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.responses.journal import ResponseJournal
from callarchive.archiving.responses.lines import without_erased
from callarchive.archiving.responses.store import ResponseStore
from callarchive.archiving.steps.account_failures import FOR_ALL_ACCOUNTS, active_accounts, keep_failures
from callarchive.archiving.steps.early_fetching import EarlyTransfers
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms.erased_rows import not_erased
from callarchive.archiving.transforms.lookup_tables import (
    BETWEEN_NEGATIVES,
    LookupRows,
    final,
    lookups_with_earlier,
    recordings_with_earlier,
    second_lookup_at,
)
from callarchive.archiving.transforms.recording_events import named_by_api, with_recordings_of_events
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, keys_of, matching_rows, pc
from callarchive.catalog.rows import Key
from callarchive.domain.errors import AccountFailure, ArchiveError, UnavailableError
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.domain.payloads import UnreadableError, field_of, parse_json
from callarchive.domain.phone_numbers import phone_number_mask
from callarchive.domain.plurals import many
from callarchive.runtime.worker_pool import NoProgress, Progress, in_threads
from callarchive.settings import AccountSettings

if TYPE_CHECKING:
    from callarchive.voice_api.client import VoiceClient

log = logging.getLogger(__name__)

_UNREACHABLE_IN_A_ROW = 64
"""After this many sessions in a row without any response there is an outage; the others would only wait for the same."""

_UNREADABLE_IS_AN_OUTAGE = 3
"""From this many sessions on, only unreadable responses are an outage, even if 8x8 gave readable ones before."""

_LEFT_IS_GOOD = timedelta(hours=1)
"""The age up to which a response that an interrupted run left is used instead of a new lookup."""

_SESSION = schemas.SESSION_IDS.key


class _Known:
    """What the day's tables say of its sessions and their recordings before the lookups."""

    def __init__(self, day: CatalogDay) -> None:
        self.sessions = day.required_rows(schemas.SESSION_IDS, columns=(*_SESSION, "started_at", "ended_at"))
        self.lookups = day.rows(schemas.LOOKUPS)
        self.named = not_erased(named_by_api(day.rows(schemas.RECORDING_METADATA)), day.erased)
        self.events = not_erased(day.rows(schemas.RECORDING_EVENTS), day.erased)

    def with_events(self, named: pa.Table) -> pa.Table:
        """Return the recordings that the API named with those that only events name."""
        return with_recordings_of_events(named, self.events, sessions=self.sessions)


def look_up_recordings(
    day: CatalogDay,
    *,
    responses: ResponseStore,
    voice: Callable[[AccountSettings], "VoiceClient"],
    failures: Sequence[AccountFailure],
    reread: bool = False,
    progress: Progress | None = None,
    early: EarlyTransfers | None = None,
) -> StepReport:
    """Write `lookups`, 8x8's response for every session of the day, and `recording_metadata`, the recordings that it listed.

    A session is final, and not looked up again unless `lookups.recheck` is "all", if it was looked up after its grace period
    and every recording that 8x8 listed is archived; also if 8x8 listed none, or did not know the session, in two responses at
    least a day apart. After the first of these it is not looked up until that day is over. A recording that an earlier lookup
    listed stays, and so does one that only a webhook event names. Responses that a killed or failed run left less than an
    hour ago are used instead of new lookups; with `reread`, kept responses are used alone. `early` gets every new lookup.

    An account whose API key is refused, or for which 8x8 gives no readable response, keeps its rows; see `account_failures`.
    """
    known = _Known(day)
    accounts = active_accounts(day.settings.accounts, failures)
    answered = LookupRows()
    if reread:
        _read_kept(day, responses, _of_accounts(accounts, known.sessions), known.lookups, answered)
        return _write(day, known, answered, 0, keep_failures(day, schemas.RECORDING_METADATA, {}, earlier=failures))
    masks = {account.subaccount_id: phone_number_mask(account) for account in day.settings.accounts}
    with responses.journal(day.date, masks=masks) as journal:
        count, errors = _look_up(day, known, journal, answered, accounts, voice, progress or NoProgress(), early)
        all_failures = keep_failures(day, schemas.RECORDING_METADATA, errors, earlier=failures)
        if errors:
            journal.keep_pieces()  # the next run need not repeat the lookups of a failed account that succeeded
        # Tables first: pieces of the journal that a kill leaves here are older than the tables, and so do not count.
        return _write(day, known, answered, count, all_failures)


def _write(
    day: CatalogDay, known: _Known, answered: LookupRows, asked_count: int, failures: tuple[AccountFailure, ...]
) -> StepReport:
    new_lookups, new_metadata = answered.tables()
    named = recordings_with_earlier(new_metadata, known.named, sessions=known.sessions)
    lookups = lookups_with_earlier(
        new_lookups, known.lookups, sessions=known.sessions, day_end=day.bounds[1], grace=day.grace
    )
    # In this order: an `ok` without its recordings, after a kill in between, would look final and never be looked up again.
    count = day.replace(schemas.RECORDING_METADATA, known.with_events(named))
    day.replace(schemas.LOOKUPS, lookups)
    counts = {**count_values(lookups["lookup_status"]), "asked": asked_count}
    return StepReport(schemas.RECORDING_METADATA, day.date, count, counts, failures)


def sessions_to_ask(day: CatalogDay) -> pa.Table:
    """Return the sessions that would be looked up if the archived day were archived again now. Contacts nobody."""
    return _to_ask(day, _Known(day), day.settings.accounts)


def _look_up(
    day: CatalogDay,
    known: _Known,
    journal: ResponseJournal,
    answered: LookupRows,
    accounts: Sequence[AccountSettings],
    voice: Callable[[AccountSettings], "VoiceClient"],
    progress: Progress,
    early: EarlyTransfers | None,
) -> tuple[int, dict[str, ArchiveError]]:
    """Look up the accounts' sessions that are not final, and add the responses of accounts that did not fail to `answered`.

    Return the number of sessions looked up, and why accounts failed, by subaccount_id.
    """
    lookups = known.lookups
    left = {key: _without_erased(day, key[0], lookup) for key, lookup in journal.left()}
    to_ask = _without_left(day.clock(), left, _to_ask(day, known, accounts), lookups, answered)
    readable = lookups.filter(pc.not_equal(lookups["lookup_status"], LookupStatus.ERROR.value))
    errors: dict[str, ArchiveError] = {}
    for account in accounts:
        own: list[Any] = _of_accounts([account], to_ask)["session_id"].to_pylist()
        progress.begin(f"{account.subaccount_id} {day.date} lookups", len(own))
        try:
            answers = _ask(
                day,
                voice(account),
                account,
                own,
                progress=progress,
                journal=journal,
                readable_count=len(_of_accounts([account], readable)),
                early=early,
            )
        except FOR_ALL_ACCOUNTS:
            raise
        except ArchiveError as err:
            errors[account.subaccount_id] = err
        else:
            answered.include(answers)
    return to_ask.num_rows, errors


def _of_accounts(accounts: Sequence[AccountSettings], sessions: pa.Table) -> pa.Table:
    """Return the sessions of these accounts: one that was removed from the configuration keeps its tables."""
    ids = pa.array([account.subaccount_id for account in accounts], pa.string())
    return sessions.filter(pc.is_in(sessions["subaccount_id"], value_set=ids))


def _to_ask(day: CatalogDay, known: _Known, accounts: Sequence[AccountSettings]) -> pa.Table:
    """Return the accounts' sessions that are not final, without those whose second lookup is not due yet."""
    asking = _of_accounts(accounts, known.sessions)
    if day.settings.lookups.recheck == "all":
        return asking
    tables: dict[str, Any] = {
        "lookups": known.lookups,
        "metadata": known.with_events(known.named),
        "files": TransferJournal(day.catalog, day.date).known(
            ("session_id", *schemas.RECORDING_FILES.key, "archive_status")
        ),
        "day_end": day.bounds[1],
        "grace": day.grace,
    }
    asking = asking.filter(pc.invert(final(asking, **tables)))
    second_at = second_lookup_at(asking, **tables)
    now, longest = pa.scalar(day.clock(), pa.timestamp("us", "UTC")), pa.scalar(BETWEEN_NEGATIVES, pa.duration("us"))
    # A first response from the future was dated by a wrong clock: it does not delay the next one.
    waits = pc.and_(pc.greater(second_at, now), pc.less_equal(second_at, pc.add(now, longest)))
    return asking.filter(pc.invert(pc.fill_null(waits, False)))


def _without_left(
    now: datetime, left: Mapping[Key, Lookup], to_ask: pa.Table, lookups: pa.Table, answered: LookupRows
) -> pa.Table:
    """Return the sessions for which an interrupted run left no good response; good ones are added to `answered`.

    A good one is no error, is younger than an hour, and is newer than the tables: of a run that completed, and was killed while
    it tidied up, none is.
    """
    good = {
        "/".join(key): (key[0], lookup)
        for key, lookup in left.items()
        if lookup.status is not LookupStatus.ERROR and now - _LEFT_IS_GOOD <= lookup.looked_up_at <= now
    }
    if not good:
        return to_ask
    keys = keys_of(to_ask, _SESSION)
    looked_up_at = lookups["looked_up_at"].take(matching_rows(keys, among=keys_of(lookups, _SESSION)))
    asking = []
    for key, before in zip(keys.to_pylist(), looked_up_at.to_pylist(), strict=True):
        usable = key in good and (before is None or before < good[key][1].looked_up_at)
        if usable:
            answered.add(*good[key])
        asking.append(not usable)
    log.info("%d responses of an interrupted run are used", len(asking) - sum(asking))
    return to_ask.filter(pa.array(asking, pa.bool_()))


def _without_erased(day: CatalogDay, subaccount_id: str, lookup: Lookup) -> Lookup:
    """Return the lookup without recordings that were erased, which 8x8 may list again."""
    if not day.erased:
        return lookup
    return without_erased(lookup, day.erased.ids_in(subaccount_id, f"{lookup.body} {lookup.error}"))


def _ask(
    day: CatalogDay,
    voice: "VoiceClient",
    account: AccountSettings,
    session_ids: list[str],
    *,
    progress: Progress,
    journal: ResponseJournal,
    readable_count: int,
    early: EarlyTransfers | None,
) -> LookupRows:
    """Look up the account's sessions, and keep the responses as they arrive.

    Raise UnavailableError if 8x8 could not be reached for any, or gave no readable response. If it gave some in earlier runs
    of the day (`readable_count`), a few more sessions that it cannot answer are rows, not an outage.
    """

    def ask(session_id: str, _: Event) -> Lookup:
        answer = _without_erased(day, account.subaccount_id, voice.look_up(session_id))
        progress.advance()
        return answer

    answered, count = LookupRows(), len(session_ids)
    silent = unreachable_count = unreadable_count = 0
    error = None
    who = f"account {account.subaccount_id}"
    concurrency, name = day.settings.lookups.concurrency, f"lookup-{account.subaccount_id}"
    with (
        in_threads(ask, session_ids, concurrency=concurrency, name=name) as answers,
        early.during_lookups(day, account) if early else nullcontext() as offer,
    ):
        for answer in answers:
            journal.add(account.subaccount_id, answer)
            answered.add(account.subaccount_id, answer)
            if offer is not None:
                offer(answer)
            unreachable_count += answer.unreachable
            unreadable_count += not is_readable(answer)
            error = error or answer.error
            silent = silent + 1 if answer.unreachable else 0
            if silent >= _UNREACHABLE_IN_A_ROW:
                raise UnavailableError(f"{who}: no response for {silent} sessions in a row: {answer.error}")
    if count and unreachable_count == count:
        raise UnavailableError(f"{who}: no response for any of {many(count, 'session', 'sessions')}: {error}")
    if count and unreadable_count == count and (not readable_count or count >= _UNREADABLE_IS_AN_OUTAGE):
        which = f"for any of {many(count, 'session', 'sessions')}"
        raise UnavailableError(f"{who}: {account.api_url} gave no readable answer {which}: {error}")
    return answered


def is_readable(answer: Lookup) -> bool:
    """Return whether a response is 8x8's own, so that it is evidence even if it reports an error."""
    if answer.status is not LookupStatus.ERROR or answer.recordings:
        return True
    if answer.http_status != HTTPStatus.OK or answer.body is None:
        return False
    try:
        tree = parse_json(answer.body)
    except UnreadableError:
        return False
    return isinstance(tree, dict) and any(field_of(tree, name) is not None for name in ("recordings", "statusCode"))


def _read_kept(
    day: CatalogDay, responses: ResponseStore, sessions: pa.Table, lookups: pa.Table, answered: LookupRows
) -> None:
    """Add the kept response of every session to `answered`, or an error if it has none and was never looked up.

    A neighbouring day may have kept it: days that are cut in another time zone begin elsewhere.
    """
    wanted = set(keys_of(sessions, _SESSION).to_pylist())
    for kept_of in (day.date, day.date - timedelta(days=1), day.date + timedelta(days=1)):
        if not wanted:
            break
        for (subaccount_id, session_id), lookup in responses.lookups(kept_of):
            key = f"{subaccount_id}/{session_id}"
            if key in wanted:
                answered.add(subaccount_id, _without_erased(day, subaccount_id, lookup))
                wanted.remove(key)
    for key in sorted(wanted.difference(keys_of(lookups, _SESSION).to_pylist())):
        subaccount_id, _, session_id = key.partition("/")
        error = "no answer of 8x8 is kept for this session: archive the day without --reread"
        answered.add(subaccount_id, Lookup(session_id, LookupStatus.ERROR, day.clock(), error=error))
