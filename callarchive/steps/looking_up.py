"""The second step of a day: what 8x8's API says of the recordings of each session."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from threading import Event

from callarchive import schemas
from callarchive.connections import Connections
from callarchive.days import day_bounds
from callarchive.errors import UnavailableError
from callarchive.models import ApiRecording, ArchiveStatus, Lookup, LookupStatus, RecordingFile
from callarchive.phone_numbers import phone_number_treatment
from callarchive.records import Journal, Key, Row, lookup_from, lookup_row, metadata_row, recording_from
from callarchive.settings import AccountSettings
from callarchive.steps.reports import StepReport, key_of, rows_of
from callarchive.workers import NoProgress, Progress, in_threads

log = logging.getLogger(__name__)

_UNREACHABLE_IN_A_ROW = 64
"""So many sessions without any answer, one after the other, are an outage: the rest would only wait for the same."""


def look_up_recordings(
    connections: Connections, day: date, *, reread: bool = False, progress: Progress | None = None
) -> StepReport:
    """`lookups` says how 8x8 answered for every session of the day, `recording_metadata` which recordings it named.

    A session whose recordings are all archived, and which was looked up after its grace time, is not asked for again unless
    `lookups.recheck` is "all". A recording that an earlier look-up named stays.

    Args:
        reread: read the answers kept from earlier runs instead of asking 8x8.

    Raises:
        AccessDeniedError: 8x8 does not accept the API key.
        UnavailableError: 8x8 gave no answer at all. Answers that did come are kept in the answer store.
    """
    progress = progress or NoProgress()
    catalog = connections.catalog
    sessions = rows_of(connections, schemas.SESSION_IDS, day)
    earlier = _earlier_lookups(connections, day)
    files = Journal(catalog, day).load()
    configured = {account.subaccount_id for account in connections.settings.accounts}
    others = [key_of(row) for row in sessions if row["subaccount_id"] not in configured]
    lookups = {key: earlier[key] for key in others if key in earlier}
    kept = connections.answers.load_lookups(day) if reread else {}
    asked_count = 0
    for account in connections.settings.accounts:
        own = [row for row in sessions if row["subaccount_id"] == account.subaccount_id]
        if reread:
            for row in own:
                key = key_of(row)
                known = earlier.get(key)
                lookups[key] = (
                    _with_earlier(kept[key], known) if key in kept else known or _never_asked(connections, row)
                )
            continue
        to_ask = [row for row in own if not _is_settled(connections, row, earlier.get(key_of(row)), files, day)]
        asking = {row["session_id"] for row in to_ask}
        lookups |= {key_of(row): earlier[key_of(row)] for row in own if row["session_id"] not in asking}
        progress.begin(f"{account.subaccount_id} {day} look-ups", len(to_ask))
        asked_count += len(to_ask)
        answers: list[Lookup] = []
        try:
            with _asked(connections, account, [row["session_id"] for row in to_ask], progress) as arriving:
                answers.extend(arriving)
        finally:
            treat = {account.subaccount_id: phone_number_treatment(account)}
            connections.answers.save_lookups(day, {account.subaccount_id: answers}, treat=treat)
        if answers and all(answer.unreachable for answer in answers):
            raise UnavailableError(
                f"{account.api_url} gave no answer for any of {len(answers)} sessions: {answers[0].error}"
            )
        for answer in answers:
            key = (account.subaccount_id, answer.session_id)
            lookups[key] = _with_earlier(answer, earlier.get(key))
    metadata = _metadata_rows(lookups)
    # In this order: an `ok` without its recordings, after a kill in between, would look settled and never be asked again.
    count = catalog.replace_partition(schemas.RECORDING_METADATA, day, metadata)
    catalog.replace_partition(
        schemas.LOOKUPS, day, [lookup_row(subaccount_id, lookup) for (subaccount_id, _), lookup in lookups.items()]
    )
    by_status = Counter(lookup.status.value for lookup in lookups.values())
    return StepReport(schemas.RECORDING_METADATA, day, count, {**by_status, "asked": asked_count})


def _earlier_lookups(connections: Connections, day: date) -> dict[Key, Lookup]:
    named: dict[Key, list[ApiRecording]] = {}
    for row in connections.catalog.rows(schemas.RECORDING_METADATA, day):
        named.setdefault(key_of(row), []).append(recording_from(row))
    return {
        key_of(row): lookup_from(row, named.get(key_of(row), ()))
        for row in connections.catalog.rows(schemas.LOOKUPS, day)
    }


def _is_settled(
    connections: Connections, session: Row, lookup: Lookup | None, files: dict[Key, RecordingFile], day: date
) -> bool:
    """Whether asking 8x8 again can tell nothing new: all recordings are kept, and the grace time was over when asked."""
    if lookup is None or lookup.status is not LookupStatus.OK or connections.settings.lookups.recheck == "all":
        return False
    if not lookup.recordings:
        return False
    states = (files.get((session["subaccount_id"], recording.recording_id)) for recording in lookup.recordings)
    if not all(file is not None and file.archive_status is ArchiveStatus.ARCHIVED for file in states):
        return False
    _, day_end = day_bounds(day, connections.settings.zone)
    over_at: datetime = session["ended_at"] or session["started_at"] or day_end
    return lookup.looked_up_at >= over_at + timedelta(hours=connections.settings.transfer.missing_after_hours)


@contextmanager
def _asked(
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


def _with_earlier(answer: Lookup, earlier: Lookup | None) -> Lookup:
    """The answer, with the recordings that an earlier answer named and this one does not.

    A look-up may fail, and 8x8 may forget a session that is old: neither takes a recording out of the catalog.
    """
    if earlier is None:
        return answer
    named = {recording.recording_id for recording in answer.recordings}
    lost = tuple(recording for recording in earlier.recordings if recording.recording_id not in named)
    return replace(answer, recordings=answer.recordings + lost)


def _never_asked(connections: Connections, session: Row) -> Lookup:
    return Lookup(
        session_id=session["session_id"],
        status=LookupStatus.ERROR,
        looked_up_at=connections.clock(),
        error="no answer of 8x8 is kept for this session: archive the day without --reread",
    )


def _metadata_rows(lookups: dict[Key, Lookup]) -> list[Row]:
    """One row per recording; one that two sessions name belongs to the session whose id comes first, with a warning."""
    rows: dict[Key, Row] = {}
    for (subaccount_id, session_id), lookup in sorted(lookups.items()):
        for recording in lookup.recordings:
            key = (subaccount_id, recording.recording_id)
            if key in rows:
                log.warning(
                    "recording %s is named by the sessions %s and %s: kept under the first",
                    recording.recording_id,
                    rows[key]["session_id"],
                    session_id,
                )
                continue
            rows[key] = metadata_row(subaccount_id, session_id, recording)
    return list(rows.values())
