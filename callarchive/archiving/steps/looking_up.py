"""The second step of a day: what 8x8's API says of the recordings of each session."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from http import HTTPStatus
from threading import Event
from typing import Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.responses.journal import ResponseJournal
from callarchive.archiving.steps.account_failures import (
    FOR_ALL_ACCOUNTS,
    active_accounts,
    keep_failures,
)
from callarchive.archiving.steps.reports import StepReport, partition_of
from callarchive.archiving.transfer_journal import TransferJournal
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
from callarchive.catalog.arrow_columns import Column, count_values, keys_of, matching_rows, pc
from callarchive.domain.days import day_bounds
from callarchive.domain.errors import AccountFailure, ArchiveError, UnavailableError
from callarchive.domain.models import Lookup, LookupStatus
from callarchive.domain.payloads import UnreadableError, field_of, parse_json
from callarchive.domain.phone_numbers import phone_number_mask
from callarchive.runtime.worker_pool import NoProgress, Progress, in_threads
from callarchive.settings import AccountSettings

log = logging.getLogger(__name__)

_UNREACHABLE_IN_A_ROW = 64
"""So many sessions without any answer, one after the other, are an outage: the rest would only wait for the same."""

_UNREADABLE_IS_AN_OUTAGE = 3
"""From so many sessions on, answers that all cannot be read are an outage even where 8x8 answered for others before."""

_LEFT_IS_GOOD = timedelta(hours=1)
"""How old an answer may be that a broken-off run left: younger ones stand for asking again."""

_SESSION = schemas.SESSION_IDS.key


def look_up_recordings(
    connections: Connections,
    day: date,
    *,
    failures: Sequence[AccountFailure] = (),
    reread: bool = False,
    progress: Progress | None = None,
) -> StepReport:
    """`lookups` says how 8x8 answered for every session of the day, `recording_metadata` which recordings it named.

    A session is final, and not asked for again unless `lookups.recheck` is "all", when 8x8 was asked after its grace time
    and every recording that it named is archived; also when it named none, or did not know the session, in two answers at
    least a day apart. After the first of these it is not asked for until that day is over. A recording that an earlier
    look-up named stays, and one that only a webhook event names is there too. Answers that a killed or failed run
    left less than an hour ago stand for asking again.

    Args:
        failures: the accounts that the step before could not archive.
        reread: read the answers kept from earlier runs instead of asking 8x8.

    An account whose API key is refused, or of which 8x8 gives no readable answer, keeps its rows; see `account_failures`.

    Raises:
        AccessDeniedError, UnavailableError: that is so for every account. Answers that did come are kept in the answer store.
    """
    catalog = connections.catalog
    sessions = partition_of(connections, schemas.SESSION_IDS, day, columns=(*_SESSION, "started_at", "ended_at"))
    lookups = catalog.partition(schemas.LOOKUPS, day)
    metadata = named_by_api(catalog.partition(schemas.RECORDING_METADATA, day))
    events = catalog.partition(schemas.RECORDING_EVENTS, day)
    answered = LookupRows()
    asked_count = 0
    accounts = active_accounts(connections, failures)

    def write(all_failures: tuple[AccountFailure, ...]) -> StepReport:
        new_lookups, new_metadata = answered.tables()
        all_metadata = with_recordings_of_events(
            recordings_with_earlier(new_metadata, metadata, sessions=sessions), events, sessions=sessions
        )
        all_lookups = lookups_with_earlier(
            new_lookups,
            lookups,
            sessions=sessions,
            day_end=day_bounds(day, connections.settings.zone)[1],
            grace=timedelta(hours=connections.settings.transfer.missing_after_hours),
        )
        # In this order: an `ok` without its recordings, after a kill in between, would look final and never be asked again.
        count = catalog.replace_partition(schemas.RECORDING_METADATA, day, all_metadata)
        catalog.replace_partition(schemas.LOOKUPS, day, all_lookups)
        counts = {**count_values(all_lookups["lookup_status"]), "asked": asked_count}
        return StepReport(schemas.RECORDING_METADATA, day, count, counts, all_failures)

    if reread:
        _read_kept(connections, day, _of_accounts(accounts, sessions), lookups, answered)
        return write(keep_failures(connections, day, schemas.RECORDING_METADATA, {}, earlier=failures))
    known = with_recordings_of_events(metadata, events, sessions=sessions)
    masks = {account.subaccount_id: phone_number_mask(account) for account in connections.settings.accounts}
    with connections.answers.journal(day, masks=masks) as journal:
        asked_count, errors = _ask_for(
            connections,
            day,
            sessions,
            accounts=accounts,
            lookups=lookups,
            metadata=known,
            journal=journal,
            answered=answered,
            progress=progress,
        )
        all_failures = keep_failures(connections, day, schemas.RECORDING_METADATA, errors, earlier=failures)
        if errors:
            journal.keep_pieces()  # the next run need not repeat what a failed account did answer
        # Tables first: pieces of the journal that a kill leaves here are older than the tables, and so do not count.
        return write(all_failures)


def sessions_to_ask(connections: Connections, day: date) -> pa.Table:
    """The sessions of an archived day for which 8x8 would be asked if the day were archived again now. Contacts nobody.

    Raises:
        ArchiveError: the day was never archived, or the catalog cannot be read.
    """
    catalog = connections.catalog
    sessions = partition_of(connections, schemas.SESSION_IDS, day, columns=(*_SESSION, "started_at", "ended_at"))
    metadata = named_by_api(catalog.partition(schemas.RECORDING_METADATA, day))
    events = catalog.partition(schemas.RECORDING_EVENTS, day)
    known = with_recordings_of_events(metadata, events, sessions=sessions)
    return _to_ask(connections, day, sessions, lookups=catalog.partition(schemas.LOOKUPS, day), metadata=known)


def _ask_for(
    connections: Connections,
    day: date,
    sessions: pa.Table,
    *,
    accounts: Sequence[AccountSettings],
    lookups: pa.Table,
    metadata: pa.Table,
    journal: ResponseJournal,
    answered: LookupRows,
    progress: Progress | None = None,
) -> tuple[int, dict[str, ArchiveError]]:
    """Look up the sessions that are not final, and add the answers to `answered`.

    Args:
        accounts: whose sessions are looked up.
        lookups, metadata: what earlier runs know of them.

    Returns:
        How many sessions were looked up, and why accounts failed, by subaccount_id: their answers are not in `answered`.

    Raises:
        StoreError: answers cannot be kept.
    """
    of_accounts = _of_accounts(accounts, sessions)
    to_ask = _to_ask(connections, day, of_accounts, lookups=lookups, metadata=metadata)
    to_ask = _without_left(connections, journal, to_ask, lookups, answered)
    errors: dict[str, ArchiveError] = {}
    for account in accounts:
        own: list[Any] = _of(to_ask, account)["session_id"].to_pylist()
        answers = LookupRows()
        known = len(_of(lookups.filter(pc.not_equal(lookups["lookup_status"], LookupStatus.ERROR.value)), account))
        try:
            _ask(connections, day, account, own, journal, answers, progress or NoProgress(), known_count=known)
        except FOR_ALL_ACCOUNTS:
            raise
        except ArchiveError as err:
            errors[account.subaccount_id] = err
        else:
            answered.include(answers)
    return to_ask.num_rows, errors


def _of_accounts(accounts: Sequence[AccountSettings], sessions: pa.Table) -> pa.Table:
    """Return the sessions of these accounts: one that was taken out of the configuration keeps its tables, but is not asked."""
    ids = pa.array([account.subaccount_id for account in accounts], pa.string())
    return sessions.filter(pc.is_in(sessions["subaccount_id"], value_set=ids))


def _of(sessions: pa.Table, account: AccountSettings) -> pa.Table:
    return sessions.filter(pc.equal(sessions["subaccount_id"], account.subaccount_id))


def _to_ask(
    connections: Connections, day: date, sessions: pa.Table, *, lookups: pa.Table, metadata: pa.Table
) -> pa.Table:
    """The sessions that are not final, but for those whose second look-up is not due yet."""
    asking = _of_accounts(connections.settings.accounts, sessions)
    if connections.settings.lookups.recheck == "all":
        return asking
    settings = connections.settings
    files = TransferJournal(connections.catalog, day).known((*schemas.RECORDING_FILES.key, "archive_status"))
    day_end = day_bounds(day, settings.zone)[1]
    grace = timedelta(hours=settings.transfer.missing_after_hours)
    is_final: Column = final(asking, lookups=lookups, metadata=metadata, files=files, day_end=day_end, grace=grace)
    asking = asking.filter(pc.invert(is_final))
    second_at = second_lookup_at(asking, lookups=lookups, metadata=metadata, files=files, day_end=day_end, grace=grace)
    now = pa.scalar(connections.clock(), pa.timestamp("us", "UTC"))
    # A first answer from the future was dated by a clock that was wrong: it does not hold up the next one.
    waits = pc.and_(
        pc.greater(second_at, now),
        pc.less_equal(second_at, pc.add(now, pa.scalar(BETWEEN_NEGATIVES, pa.duration("us")))),
    )
    return asking.filter(pc.invert(pc.fill_null(waits, False)))


def _without_left(
    connections: Connections, journal: ResponseJournal, to_ask: pa.Table, lookups: pa.Table, answered: LookupRows
) -> pa.Table:
    """The sessions to ask for that a broken-off run has no good answer for; good ones are among `answered`.

    Good is what is no error, is younger than an hour, and is newer than what the tables say: of a run that came to its end,
    and was killed while it tidied up, nothing is.
    """
    now: datetime = connections.clock()
    good: dict[str, tuple[str, Lookup]] = {}
    for (subaccount_id, session_id), lookup in journal.left():
        if lookup.status is not LookupStatus.ERROR and now - _LEFT_IS_GOOD <= lookup.looked_up_at <= now:
            good[f"{subaccount_id}/{session_id}"] = subaccount_id, lookup
    if not good:
        return to_ask
    keys = keys_of(to_ask, _SESSION)
    told_at = lookups["looked_up_at"].take(matching_rows(keys, among=keys_of(lookups, _SESSION)))
    asking = []
    for key, before in zip(keys.to_pylist(), told_at.to_pylist(), strict=True):
        usable = key in good and (before is None or before < good[key][1].looked_up_at)
        if usable:
            answered.add(*good[key])
        asking.append(not usable)
    log.info("%d answers of a run that was broken off are used", len(asking) - sum(asking))
    return to_ask.filter(pa.array(asking, pa.bool_()))


def _ask(
    connections: Connections,
    day: date,
    account: AccountSettings,
    session_ids: list[str],
    journal: ResponseJournal,
    answered: LookupRows,
    progress: Progress,
    *,
    known_count: int,
) -> None:
    """Look up the account's sessions.

    Args:
        known_count: for how many of the day's sessions 8x8 gave a readable answer in earlier runs. A few more that it cannot
            answer are rows then, not an outage.

    Raises:
        UnavailableError: 8x8 could not be reached for any of them, or gave no answer that can be read.
    """
    progress.begin(f"{account.subaccount_id} {day} look-ups", len(session_ids))
    unreachable_count = unreadable_count = 0
    error = None
    with _answers(connections, account, session_ids, progress) as arriving:
        for answer in arriving:
            journal.add(account.subaccount_id, answer)
            answered.add(account.subaccount_id, answer)
            unreachable_count += answer.unreachable
            unreadable_count += not is_readable(answer)
            error = error or answer.error
    count = len(session_ids)
    if count and unreachable_count == count:
        raise UnavailableError(f"{account.api_url} could not be reached for any of {count} sessions: {error}")
    if count and unreadable_count == count and (not known_count or count >= _UNREADABLE_IS_AN_OUTAGE):
        raise UnavailableError(f"{account.api_url} gave no readable answer for any of {count} sessions: {error}")


def is_readable(answer: Lookup) -> bool:
    """Whether an answer is 8x8's, so that something is known by it, even if it reports an error."""
    if answer.status is not LookupStatus.ERROR or answer.recordings:
        return True
    if answer.http_status != HTTPStatus.OK or answer.body is None:
        return False
    try:
        tree = parse_json(answer.body)
    except UnreadableError:
        return False
    return isinstance(tree, dict) and any(field_of(tree, name) is not None for name in ("recordings", "statusCode"))


@contextmanager
def _answers(
    connections: Connections, account: AccountSettings, session_ids: list[str], progress: Progress
) -> Iterator[Iterator[Lookup]]:
    """The API's answers, as they come. Raises UnavailableError while iterating when there is clearly an outage."""
    voice = connections.voice(account)

    def ask(session_id: str, _: Event) -> Lookup:
        answer = voice.look_up(session_id)
        progress.advance()
        return answer

    def watched(answers: Iterator[Lookup]) -> Iterator[Lookup]:
        silent = 0
        for answer in answers:
            silent = silent + 1 if answer.unreachable else 0
            yield answer
            if silent >= _UNREACHABLE_IN_A_ROW:
                raise UnavailableError(
                    f"{account.api_url} gave no answer for {silent} sessions in a row: {answer.error}"
                )

    concurrency = connections.settings.lookups.concurrency
    with in_threads(ask, session_ids, concurrency=concurrency, name=f"look-up-{account.subaccount_id}") as answers:
        yield watched(answers)


def _read_kept(
    connections: Connections, day: date, sessions: pa.Table, lookups: pa.Table, answered: LookupRows
) -> None:
    """Every session has its kept answer among `answered`, or is an error there if it has no answer of any kind.

    A neighbouring day may have kept it: days that are cut again in another time zone begin elsewhere.
    """
    wanted = set(keys_of(sessions, _SESSION).to_pylist())
    for kept_of in (day, day - timedelta(days=1), day + timedelta(days=1)):
        if not wanted:
            break
        for (subaccount_id, session_id), lookup in connections.answers.lookups(kept_of):
            key = f"{subaccount_id}/{session_id}"
            if key in wanted:
                answered.add(subaccount_id, lookup)
                wanted.remove(key)
    for key in sorted(wanted.difference(keys_of(lookups, _SESSION).to_pylist())):
        subaccount_id, _, session_id = key.partition("/")
        answered.add(
            subaccount_id,
            Lookup(
                session_id=session_id,
                status=LookupStatus.ERROR,
                looked_up_at=connections.clock(),
                error="no answer of 8x8 is kept for this session: archive the day without --reread",
            ),
        )
