"""The third step of a day: the recordings that 8x8 named are in the archive, or it is known why not."""

import logging
from collections import Counter
from datetime import date

from callarchive import schemas
from callarchive.connections import Connections, landing_root
from callarchive.days import day_bounds
from callarchive.errors import ArchiveDeniedError, ArchiveError, ArchiveUnavailableError, StoreError
from callarchive.fetching import Fetcher, Wanted, call_time
from callarchive.models import RecordingFile
from callarchive.records import Journal, Key, recording_from
from callarchive.steps.reports import StepReport, key_of, rows_of
from callarchive.workers import NoProgress, Progress

log = logging.getLogger(__name__)


def fetch_recordings(connections: Connections, day: date, *, progress: Progress | None = None) -> StepReport:
    """`recording_files` says for every recording of the day what the archive holds of it, or why it holds nothing.

    An account whose landing is out of reach does not keep the others' recordings from being archived.

    Raises:
        AccessDeniedError, HostKeyError, UnavailableError, StoreError: an account could not be done, or the archive takes no
            more. What was archived until then is in the journal and is not fetched again.
    """
    progress = progress or NoProgress()
    metadata = rows_of(connections, schemas.RECORDING_METADATA, day)
    started_at = {key_of(row): row["started_at"] for row in rows_of(connections, schemas.SESSION_IDS, day)}
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
                session_started_at=started_at.get(key_of(row)),
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
