"""The second step of a day: what 8x8's API says of the recordings of each session."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from threading import Event
from typing import Any

import pyarrow as pa

from callarchive import schemas
from callarchive.answer_journal import AnswerJournal
from callarchive.columns import Column, count_values, keys_of, matching_rows, pc
from callarchive.connections import Connections
from callarchive.days import day_bounds
from callarchive.errors import UnavailableError
from callarchive.lookup_tables import AnsweredRows, final, lookups_with_earlier, recordings_with_earlier
from callarchive.models import Lookup, LookupStatus
from callarchive.phone_numbers import phone_number_treatment
from callarchive.recording_events import named_by_api, with_recordings_of_events
from callarchive.records import Journal
from callarchive.settings import AccountSettings
from callarchive.steps.reports import StepReport, partition_of
from callarchive.workers import NoProgress, Progress, in_threads

log = logging.getLogger(__name__)

_UNREACHABLE_IN_A_ROW = 64
"""So many sessions without any answer, one after the other, are an outage: the rest would only wait for the same."""

_LEFT_IS_GOOD = timedelta(hours=1)
"""How old an answer may be that a broken-off run left: younger ones stand for asking again."""

_SESSION = schemas.SESSION_IDS.key


def look_up_recordings(
    connections: Connections, day: date, *, reread: bool = False, progress: Progress | None = None
) -> StepReport:
    """`lookups` says how 8x8 answered for every session of the day, `recording_metadata` which recordings it named.

    A session is final, and not asked for again unless `lookups.recheck` is "all", when 8x8 was asked after its grace time
    and every recording that it named is archived; also when it named none, or did not know the session. A recording that
    an earlier look-up named stays, and one that only a webhook event names is there too. Answers that a killed or failed run
    left less than an hour ago stand for asking again.

    Args:
        reread: read the answers kept from earlier runs instead of asking 8x8.

    Raises:
        AccessDeniedError: 8x8 does not accept the API key.
        UnavailableError: 8x8 gave no answer at all. Answers that did come are kept in the answer store.
    """
    catalog = connections.catalog
    sessions = partition_of(connections, schemas.SESSION_IDS, day, columns=(*_SESSION, "started_at", "ended_at"))
    lookups = catalog.partition(schemas.LOOKUPS, day)
    metadata = named_by_api(catalog.partition(schemas.RECORDING_METADATA, day))
    events = catalog.partition(schemas.RECORDING_EVENTS, day)
    answered = AnsweredRows()
    asked_count = 0

    def write() -> StepReport:
        new_lookups, new_metadata = answered.tables()
        all_metadata = with_recordings_of_events(
            recordings_with_earlier(new_metadata, metadata, sessions=sessions), events, sessions=sessions
        )
        all_lookups = lookups_with_earlier(new_lookups, lookups, sessions=sessions)
        # In this order: an `ok` without its recordings, after a kill in between, would look final and never be asked again.
        count = catalog.replace_partition(schemas.RECORDING_METADATA, day, all_metadata)
        catalog.replace_partition(schemas.LOOKUPS, day, all_lookups)
        counts = {**count_values(all_lookups["lookup_status"]), "asked": asked_count}
        return StepReport(schemas.RECORDING_METADATA, day, count, counts)

    if reread:
        _read_kept(connections, day, _of_accounts(connections, sessions), lookups, answered)
        return write()
    known = with_recordings_of_events(metadata, events, sessions=sessions)
    accounts = connections.settings.accounts
    treat = {account.subaccount_id: phone_number_treatment(account) for account in accounts}
    with connections.answers.journal(day, treat=treat) as journal:
        asked_count = ask_for(
            connections,
            day,
            sessions,
            lookups=lookups,
            metadata=known,
            journal=journal,
            answered=answered,
            progress=progress,
        )
        # Tables first: pieces of the journal that a kill leaves here are older than the tables, and so do not count.
        return write()


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


def ask_for(
    connections: Connections,
    day: date,
    sessions: pa.Table,
    *,
    lookups: pa.Table,
    metadata: pa.Table,
    journal: AnswerJournal,
    answered: AnsweredRows,
    progress: Progress | None = None,
) -> int:
    """Those of the sessions that are not final have their answer among `answered`. Returns for how many 8x8 was asked.

    Args:
        lookups, metadata: what earlier runs know of them.

    Raises as `look_up_recordings`.
    """
    to_ask = _to_ask(connections, day, sessions, lookups=lookups, metadata=metadata)
    to_ask = _without_left(connections, journal, to_ask, lookups, answered)
    for account in connections.settings.accounts:
        own: list[Any] = _of(to_ask, account)["session_id"].to_pylist()
        _ask(connections, day, account, own, journal, answered, progress or NoProgress())
    return to_ask.num_rows


def _of_accounts(connections: Connections, sessions: pa.Table) -> pa.Table:
    """The sessions of accounts that are configured: an account that was taken out keeps its tables, but is not asked."""
    accounts = pa.array([account.subaccount_id for account in connections.settings.accounts])
    return sessions.filter(pc.is_in(sessions["subaccount_id"], value_set=accounts))


def _of(sessions: pa.Table, account: AccountSettings) -> pa.Table:
    return sessions.filter(pc.equal(sessions["subaccount_id"], account.subaccount_id))


def _to_ask(
    connections: Connections, day: date, sessions: pa.Table, *, lookups: pa.Table, metadata: pa.Table
) -> pa.Table:
    """The sessions that are not final."""
    asking = _of_accounts(connections, sessions)
    if connections.settings.lookups.recheck == "all":
        return asking
    settings = connections.settings
    is_final: Column = final(
        asking,
        lookups=lookups,
        metadata=metadata,
        files=Journal(connections.catalog, day).known((*schemas.RECORDING_FILES.key, "archive_status")),
        day_end=day_bounds(day, settings.zone)[1],
        grace=timedelta(hours=settings.transfer.missing_after_hours),
    )
    return asking.filter(pc.invert(is_final))


def _without_left(
    connections: Connections, journal: AnswerJournal, to_ask: pa.Table, lookups: pa.Table, answered: AnsweredRows
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
    journal: AnswerJournal,
    answered: AnsweredRows,
    progress: Progress,
) -> None:
    """8x8 has answered for each of the account's sessions. Raises UnavailableError if it did not for a single one."""
    progress.begin(f"{account.subaccount_id} {day} look-ups", len(session_ids))
    reached = not session_ids
    error = None
    with _answers(connections, account, session_ids, progress) as arriving:
        for answer in arriving:
            journal.add(account.subaccount_id, answer)
            answered.add(account.subaccount_id, answer)
            reached = reached or not answer.unreachable
            error = error or answer.error
    if not reached:
        raise UnavailableError(f"{account.api_url} gave no answer for any of {len(session_ids)} sessions: {error}")


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
    connections: Connections, day: date, sessions: pa.Table, lookups: pa.Table, answered: AnsweredRows
) -> None:
    """Every session has its kept answer among `answered`, or is an error there if it has no answer of any kind."""
    wanted = set(keys_of(sessions, _SESSION).to_pylist())
    for (subaccount_id, session_id), lookup in connections.answers.lookups(day):
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
