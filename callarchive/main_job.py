"""The main job without Dagster: one day after the other, and what there is to say of each."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from callarchive import schemas, steps
from callarchive.checks import CheckResult, run_checks
from callarchive.connections import Connections
from callarchive.errors import ArchiveError, ConfigurationError, RefusedError
from callarchive.records import Row
from callarchive.steps import StepReport
from callarchive.workers import Progress

log = logging.getLogger(__name__)

_ATTENTION_PER_DAY = 200


@dataclass(frozen=True)
class Attention:
    """Something that a person should look at: which account, what it concerns, its state, and why."""

    day: date
    subaccount_id: str
    concerns: str
    state: str
    reason: str | None


@dataclass(frozen=True)
class DaySummary:
    """What became of a day.

    Attributes:
        lookups: sessions by lookup_status.
        recordings: recordings by archive_status.
        size_bytes, duration_s: of the archived recordings, bytes and seconds of audio.
        fetched_count, fetched_bytes: what this run read from landings.
        attention: at most 200 items; `attention_count` counts all.
    """

    day: date
    session_count: int
    lookups: dict[str, int]
    recordings: dict[str, int]
    size_bytes: int
    duration_s: float
    fetched_count: int
    fetched_bytes: int
    unchanged_count: int
    rows_set_aside: int
    attention_count: int
    attention: tuple[Attention, ...]
    checks: tuple[CheckResult, ...]


@dataclass(frozen=True)
class DayFailure:
    """A day that could not be done, and why. Each of its tables is as it was before or new, never in between."""

    day: date
    error: ArchiveError


def archive_days(
    connections: Connections, days: Iterable[date], *, reread: bool = False, progress: Progress | None = None
) -> Iterator[DaySummary | DayFailure]:
    """Archives one day after the other and tells of each when it is done.

    A day that could not be done does not keep the others from being tried, unless they would fare no better: credentials, a
    host key or a place are wrong. That failure is then the last.
    """
    for day in days:
        try:
            yield archive_day(connections, day, reread=reread, progress=progress)
        except ArchiveError as err:
            yield DayFailure(day, err)
            if isinstance(err, RefusedError | ConfigurationError):
                return


def archive_day(
    connections: Connections, day: date, *, reread: bool = False, progress: Progress | None = None
) -> DaySummary:
    """The day's recordings are in the archive and its tables in the catalog, as far as 8x8 and the landings let us.

    Raises:
        ArchiveError: the run could not be done; see `steps` for which errors mean what.
    """
    with connections.day_lock(day):
        found = _told(steps.find_sessions(connections, day, reread=reread))
        _told(steps.look_up_recordings(connections, day, reread=reread, progress=progress))
        fetched = _told(steps.fetch_recordings(connections, day, progress=progress))
        _told(steps.write_sessions(connections, day))
        _told(steps.write_recordings(connections, day))
        _told(steps.write_status_stats(connections, day))
        _told(steps.write_duration_stats(connections, day))
        return _summary(connections, day, found=found, fetched=fetched)


def _told(report: StepReport) -> StepReport:
    counts = ", ".join(f"{name} {count}" for name, count in report.counts.items())
    log.info("%s: %s: %d rows%s", report.day, report.table.name, report.row_count, f" ({counts})" if counts else "")
    return report


def _summary(connections: Connections, day: date, *, found: StepReport, fetched: StepReport) -> DaySummary:
    settings = connections.settings
    sessions = connections.catalog.rows(schemas.SESSIONS, day)
    recordings = connections.catalog.rows(schemas.RECORDINGS, day)
    kept = [row for row in recordings if row["archive_status"] == "archived"]
    attention = list(needs_attention(day, sessions, recordings))
    checks = run_checks(connections.catalog, day, limits=settings.checks, transfer=settings.transfer)
    return DaySummary(
        day=day,
        session_count=len(sessions),
        lookups=dict(Counter(row["lookup_status"] for row in sessions)),
        recordings=dict(Counter(row["archive_status"] for row in recordings)),
        size_bytes=sum(row["size_bytes"] for row in kept),
        duration_s=sum(row["duration_s"] for row in kept),
        fetched_count=fetched.counts.get("fetched", 0),
        fetched_bytes=fetched.counts.get("fetched_bytes", 0),
        unchanged_count=fetched.counts.get("unchanged", 0),
        rows_set_aside=found.counts["rows_set_aside"],
        attention_count=len(attention),
        attention=tuple(attention[:_ATTENTION_PER_DAY]),
        checks=tuple(checks),
    )


def needs_attention(day: date, sessions: Iterable[Row], recordings: Iterable[Row]) -> Iterator[Attention]:
    """What a person should look at, from a day's rows: recordings that are not archived, odd audio, failed look-ups."""
    for row in recordings:
        what = f"recording {row['recording_id']}"
        if row["archive_status"] != "archived":
            yield Attention(day, row["subaccount_id"], what, row["archive_status"], row["error"])
        elif row["audio_issue"] is not None:
            yield Attention(day, row["subaccount_id"], what, row["audio_issue"], row["audio_issue_detail"])
        elif row["duration_mismatch"]:
            told = ", ".join(
                f"{row[key]:g} s" for key in ("duration_api_s", "duration_event_s") if row[key] is not None
            )
            reason = f"{row['duration_s']:.1f} s measured, 8x8 says {told}"
            yield Attention(day, row["subaccount_id"], what, "duration mismatch", reason)
    for row in sessions:
        if row["lookup_status"] == "error":
            yield Attention(
                day, row["subaccount_id"], f"session {row['session_id']}", "look-up failed", row["lookup_error"]
            )
