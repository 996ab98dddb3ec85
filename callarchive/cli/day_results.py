"""The main job without Dagster: archive one day after the other, and summarize, check and alert on each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.day_steps import run_day
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transforms.attention import (
    ATTENTION_IN_RECORDINGS,
    ATTENTION_IN_SESSIONS,
    Attention,
    needs_attention,
)
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, pc, rows_where
from callarchive.domain.errors import (
    AccountFailure,
    AccountsFailedError,
    ArchiveError,
    ObjectNotFoundError,
)
from callarchive.monitoring.alert_rules import alert_on_day, alert_on_failure, alerts_of
from callarchive.monitoring.checks import CheckResult
from callarchive.monitoring.evaluation import run_checks
from callarchive.monitoring.verdicts import accounts_without_files, no_files_message
from callarchive.runtime.memory import release_unused
from callarchive.runtime.worker_pool import Progress

_ATTENTION_PER_DAY = 200
_FAILED = 1  # the exit code of errors that another day need not have; those with a higher one need a change by the user


@dataclass(frozen=True)
class DaySummary:
    """The result of a day.

    Attributes:
        lookups: sessions by lookup_status.
        recordings: recordings by archive_status.
        size_bytes, duration_s: of the archived recordings, bytes and seconds of audio.
        fetched_count, fetched_bytes: recordings and bytes downloaded from landings in this run.
        attention: at most 200 items; `attention_count` counts all.
        failures: accounts that failed; their rows are those of an earlier run.
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
    failures: tuple[AccountFailure, ...] = ()


@dataclass(frozen=True)
class DayFailure:
    """A day that failed, and why. Each of its tables is either unchanged or new, never in between."""

    day: date
    error: ArchiveError


def archive_days(
    connections: Connections, days: Iterable[date], *, reread: bool = False, progress: Progress | None = None
) -> Iterator[DaySummary | DayFailure]:
    """Archive one day after the other and yield the result of each.

    A failed day does not stop the others, unless they would fail too because of credentials, a host key or a wrong path.
    """
    for day in days:
        try:
            summary = archive_day(connections, day, reread=reread, progress=progress)
            for failure in summary.failures:
                alert_on_failure(alerts_of(connections), f"{day}: account {failure.subaccount_id}", failure.reason)
            yield summary
        except ArchiveError as err:
            alert_on_failure(alerts_of(connections), str(day), str(err))
            yield DayFailure(day, err)
            codes = [failure.exit_code for failure in err.failures] if isinstance(err, AccountsFailedError) else []
            if min(codes or [err.exit_code]) > _FAILED:
                return


def archive_day(
    connections: Connections, day: date, *, reread: bool = False, progress: Progress | None = None
) -> DaySummary:
    """Archive the day's recordings, write its tables, evaluate its checks and send their alerts.

    Raises:
        ArchiveError: the run failed; see the steps.
    """
    with connections.day_lock(day):
        summary = _summary(connections, day, run_day(connections, day, reread=reread, progress=progress))
    alert_on_day(connections, day, summary.checks)
    return summary


def _summary(connections: Connections, day: date, reports: Mapping[str, StepReport]) -> DaySummary:
    settings, catalog = connections.settings, connections.catalog
    found, fetched = reports[schemas.SESSION_IDS.name], reports[schemas.RECORDING_FILES.name]
    failures = reports[schemas.RECONCILIATION.name].failures
    checks = run_checks(catalog, day, settings)  # before the tables are read: they read the same, and free it
    release_unused()
    sessions = catalog.partition(schemas.SESSIONS, day, columns=ATTENTION_IN_SESSIONS)
    recordings = catalog.partition(schemas.RECORDINGS, day, columns=(*ATTENTION_IN_RECORDINGS, "size_bytes"))
    kept = rows_where(recordings, pc.equal(recordings["archive_status"], "archived"))
    without_files = accounts_without_files(recordings)
    nowhere = pc.and_(
        pc.is_in(recordings["subaccount_id"], value_set=pa.array(list(without_files), pa.string())),
        pc.equal(recordings["archive_status"], "missing"),
    )
    attention = needs_attention(day, sessions=sessions, recordings=rows_where(recordings, pc.invert(nowhere)))
    for account, count in without_files.items():
        reason = f"{no_files_message(account, count, settings.landings)}: check accounts.landing"
        failures += (AccountFailure.of(account, schemas.RECORDING_FILES.name, ObjectNotFoundError(reason)),)
    return DaySummary(
        day=day,
        session_count=len(sessions),
        lookups=count_values(sessions["lookup_status"]),
        recordings=count_values(recordings["archive_status"]),
        size_bytes=pc.sum(kept["size_bytes"]).as_py() or 0,
        duration_s=pc.sum(kept["duration_s"]).as_py() or 0.0,
        fetched_count=fetched.counts.get("fetched", 0),
        fetched_bytes=fetched.counts.get("fetched_bytes", 0),
        unchanged_count=fetched.counts.get("unchanged", 0),
        rows_set_aside=found.counts["rows_set_aside"],
        attention_count=attention.count,
        attention=tuple(islice(attention, _ATTENTION_PER_DAY)),
        checks=tuple(checks),
        failures=failures,
    )
