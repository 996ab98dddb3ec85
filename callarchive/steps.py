"""The steps of a day, from session ids to tables. Each reads what the step before it wrote and replaces its own partition.

A step can be run again at any time and by itself; what it writes depends on its inputs and on what 8x8 and the landing
say, never on what it wrote before, save that nothing which was once known or kept is lost to a failed look-up or a vanished
source. Callers hold `Connections.day_lock`. The command line and the Dagster assets both run exactly these.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from threading import Event

from callarchive import schemas, tables
from callarchive.belonging import settled_sessions
from callarchive.connections import Connections, landing_root
from callarchive.days import day_bounds
from callarchive.errors import (
    ArchiveDeniedError,
    ArchiveError,
    ArchiveUnavailableError,
    StoreError,
    UnavailableError,
)
from callarchive.fetching import Fetcher, Wanted, call_time
from callarchive.models import ApiRecording, ArchiveStatus, Lookup, LookupStatus, RecordingFile, RowProblem
from callarchive.phone_numbers import kept_number_guard, phone_number_treatment
from callarchive.records import (
    Journal,
    Key,
    Row,
    lookup_from,
    lookup_row,
    metadata_row,
    problem_row,
    recording_from,
    session_row,
)
from callarchive.schemas import Table
from callarchive.settings import AccountSettings
from callarchive.sources import unite
from callarchive.workers import NoProgress, Progress, in_threads

log = logging.getLogger(__name__)

_PROBLEMS_LOGGED = 20
_UNREACHABLE_IN_A_ROW = 64
"""So many sessions without any answer, one after the other, are an outage: the rest would only wait for the same."""


@dataclass(frozen=True)
class StepReport:
    """What a step wrote: its rows, and counts worth showing (`fetched_bytes` in bytes, the others in rows)."""

    table: Table
    day: date
    row_count: int
    counts: dict[str, int] = field(default_factory=dict)


def find_sessions(connections: Connections, day: date, *, reread: bool = False) -> StepReport:
    """`session_ids` holds every session that the accounts' sources name for the day, once; see `belonging` for reruns.

    Args:
        reread: use the call logs kept from an earlier run instead of asking 8x8 for a new export.

    Raises:
        SourceError, ExportError, AccessDeniedError, UnavailableError: a source cannot tell, so the day is not known.
            The partition stays as it was.
    """
    named: list[Row] = []
    problems: list[tuple[str, RowProblem]] = []
    for account in connections.settings.accounts:
        found = unite(source.find(day) for source in connections.sources(account, reread=reread))
        named += [session_row(session) for session in found.sessions]
        problems += [(account.subaccount_id, problem) for problem in found.problems]
    catalog = connections.catalog
    guards = {account.subaccount_id: kept_number_guard(account) for account in connections.settings.accounts}
    with connections.neighbours_lock():
        rows, elsewhere = settled_sessions(catalog, day, named, guards=guards)
        count = catalog.replace_partition(schemas.SESSION_IDS, day, rows)
    problems += elsewhere
    for subaccount_id, problem in problems[:_PROBLEMS_LOGGED]:
        log.warning("%s: set aside: %s", subaccount_id, problem)
    carried = len(rows) + len(elsewhere) - len(named)
    if carried:
        log.warning("%s: %d sessions stay though no source names them any more", day, carried)
    catalog.replace_partition(
        schemas.SESSION_PROBLEMS, day, [problem_row(account, n, p) for n, (account, p) in enumerate(problems)]
    )
    by_source = Counter(source for row in rows for source in row["sources"])
    return StepReport(
        schemas.SESSION_IDS, day, count, {**by_source, "rows_set_aside": len(problems), "carried_over": carried}
    )


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
    sessions = _rows(connections, schemas.SESSION_IDS, day)
    earlier = _earlier_lookups(connections, day)
    files = Journal(catalog, day).load()
    configured = {account.subaccount_id for account in connections.settings.accounts}
    others = [_key(row) for row in sessions if row["subaccount_id"] not in configured]
    lookups = {key: earlier[key] for key in others if key in earlier}
    kept = connections.answers.load_lookups(day) if reread else {}
    asked_count = 0
    for account in connections.settings.accounts:
        own = [row for row in sessions if row["subaccount_id"] == account.subaccount_id]
        if reread:
            for row in own:
                key = _key(row)
                known = earlier.get(key)
                lookups[key] = (
                    _with_earlier(kept[key], known) if key in kept else known or _never_asked(connections, row)
                )
            continue
        to_ask = [row for row in own if not _is_settled(connections, row, earlier.get(_key(row)), files, day)]
        asking = {row["session_id"] for row in to_ask}
        lookups |= {_key(row): earlier[_key(row)] for row in own if row["session_id"] not in asking}
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


def fetch_recordings(connections: Connections, day: date, *, progress: Progress | None = None) -> StepReport:
    """`recording_files` says for every recording of the day what the archive holds of it, or why it holds nothing.

    An account whose landing is out of reach does not keep the others' recordings from being archived.

    Raises:
        AccessDeniedError, HostKeyError, UnavailableError, StoreError: an account could not be done, or the archive takes no
            more. What was archived until then is in the journal and is not fetched again.
    """
    progress = progress or NoProgress()
    metadata = _rows(connections, schemas.RECORDING_METADATA, day)
    started_at = {_key(row): row["started_at"] for row in _rows(connections, schemas.SESSION_IDS, day)}
    _, day_end = day_bounds(day, connections.settings.zone)
    journal = Journal(connections.catalog, day)
    files = journal.load()
    counts: Counter[str] = Counter()
    wanted_keys: set[Key] = set()
    failures: list[ArchiveError] = []
    for account in connections.settings.accounts:
        own = [row for row in metadata if row["subaccount_id"] == account.subaccount_id]
        connections.archive.store.sweep(connections.archive.day_folder(account.subaccount_id, day))
        if not own:
            continue
        wanted = []
        for row in own:
            recording = recording_from(row)
            key = (account.subaccount_id, recording.recording_id)
            wanted_keys.add(key)
            call_at = call_time(
                recording=recording,
                session_started_at=started_at.get(_key(row)),
                day=day,
                day_end=day_end,
                now=connections.clock(),
            )
            wanted.append(Wanted(row["session_id"], recording, files.get(key), call_at))
        fetcher = Fetcher(
            subaccount_id=account.subaccount_id,
            day=day,
            landing=connections.landing(account),
            root=landing_root(account),
            archive=connections.archive,
            transfer=connections.settings.transfer,
            clock=connections.clock,
        )
        known = dict(files)

        def record(file: RecordingFile, known: dict[Key, RecordingFile] = known) -> None:
            if file != known.get((file.subaccount_id, file.recording_id)):
                journal.add(file)

        try:
            with fetcher.fetch(wanted, progress, record=record) as settled:
                files |= {(file.subaccount_id, file.recording_id): file for file in settled}
        except (ArchiveDeniedError, ArchiveUnavailableError, StoreError):
            raise  # no account's recordings can be kept
        except ArchiveError as err:
            failures.append(err)
        finally:
            journal.flush()
        counts.update(
            fetched=fetcher.counts.fetched_count,
            fetched_bytes=fetcher.counts.fetched_bytes,
            unchanged=fetcher.counts.unchanged_count,
            not_compared=fetcher.counts.uncompared_count,
        )
    if failures:
        for other in failures[1:]:
            log.error("%s", other)
        raise failures[0]
    # Records of files that nobody names any more stay: the bytes are still in the archive.
    named = {(row["subaccount_id"], row["recording_id"]) for row in metadata}
    count = journal.close(file for key, file in files.items() if key in named or file.kept is not None)
    by_status = Counter(file.archive_status.value for key, file in files.items() if key in wanted_keys)
    return StepReport(schemas.RECORDING_FILES, day, count, {**by_status, **counts})


def write_sessions(connections: Connections, day: date) -> StepReport:
    """`sessions` holds one row per session of the day, with its call facts and how the look-up went."""
    rows = tables.session_rows(
        sessions=_rows(connections, schemas.SESSION_IDS, day),
        lookups=_rows(connections, schemas.LOOKUPS, day),
        metadata=_rows(connections, schemas.RECORDING_METADATA, day),
    )
    return _written(connections, schemas.SESSIONS, day, rows)


def write_recordings(connections: Connections, day: date) -> StepReport:
    """`recordings` holds one row per recording that 8x8 named for the day, with what the archive has of it."""
    rows = tables.recording_rows(
        metadata=_rows(connections, schemas.RECORDING_METADATA, day),
        files=_rows(connections, schemas.RECORDING_FILES, day),
        call_date=day,
        now=connections.clock(),
        archive_uri=connections.archive.store.uri,
        tolerance_s=connections.settings.transfer.duration_tolerance_s,
    )
    return _written(connections, schemas.RECORDINGS, day, rows)


def write_status_stats(connections: Connections, day: date) -> StepReport:
    """`status_stats` counts the day's `recordings` by account and states."""
    return _written(
        connections, schemas.STATUS_STATS, day, tables.status_stat_rows(_rows(connections, schemas.RECORDINGS, day))
    )


def write_duration_stats(connections: Connections, day: date) -> StepReport:
    """`duration_stats` describes the durations of the day's archived recordings by account."""
    return _written(
        connections, schemas.DURATION_STATS, day, tables.duration_stat_rows(_rows(connections, schemas.RECORDINGS, day))
    )


def _written(connections: Connections, table: Table, day: date, rows: list[Row]) -> StepReport:
    return StepReport(table, day, connections.catalog.replace_partition(table, day, rows))


def _rows(connections: Connections, table: Table, day: date) -> list[Row]:
    if not connections.catalog.has(table, day):
        raise ArchiveError(f"{table.name} has no partition {day} yet: run the whole chain for that day first")
    return connections.catalog.rows(table, day)


def _key(row: Row) -> Key:
    return row["subaccount_id"], row["session_id"]


def _earlier_lookups(connections: Connections, day: date) -> dict[Key, Lookup]:
    named: dict[Key, list[ApiRecording]] = {}
    for row in connections.catalog.rows(schemas.RECORDING_METADATA, day):
        named.setdefault(_key(row), []).append(recording_from(row))
    return {
        _key(row): lookup_from(row, named.get(_key(row), ())) for row in connections.catalog.rows(schemas.LOOKUPS, day)
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
