"""8x8's log export: jobs and their CSV files, with one row per call leg.

The columns are those of the OpenAPI file. The format of time stamps in the CSV is not documented, so the account plan sets it.
Routes are in `api`.
"""

import csv
import io
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import Any, Literal

from callarchive.simulator.clock import iso_ms
from callarchive.simulator.faults import JobOutcome
from callarchive.simulator.world import AccountPlan, Leg, Session, World

COLUMNS = (
    "SessionId", "CallId", "AccountId", "SubAccountId", "Direction",
    "SourceCountryCode", "SourceCountry", "SourceOperator", "SourceMCC", "SourceMNC", "SourceEndpoint",
    "DestinationCountryCode", "DestinationCountry", "DestinationOperator", "DestinationMCC", "DestinationMNC",
    "DestinationEndpoint", "InitiatedAt", "ConnectedAt", "DisconnectedAt", "DurationInSec", "Product",
    "BillingUnit", "BillingIncrement", "BillableDurationInSec", "UnitPrice", "UnitPriceCurrency", "TotalPriceOfCall",
    "CallType", "SipStatus", "SessionStatus", "CallStatus", "TTSLength", "MOS", "Content",
)  # fmt: skip

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "empty", "error"]
LINKS_LIVE = timedelta(days=30)
_PRICES_A_MINUTE = {
    code: Decimal(price) for code, price in (("1", "0.011"), ("44", "0.0275"), ("33", "0.032"), ("353", "0.04"))
}


class BadWindowError(Exception):
    """`from` or `to` is invalid, or `from` is not before `to`."""


@dataclass(slots=True)
class ExportJob:
    """The state of an export job.

    Attributes:
        polls_left: how often its status will still be queued or running.
        tokens: the tokens of its files, in order, once it has succeeded.
    """

    subaccount_id: str
    from_at: datetime
    to_at: datetime
    outcome: JobOutcome | None
    polls_left: int
    status: JobStatus = "queued"
    expires_at: datetime | None = None
    tokens: list[str] = field(default_factory=list)


class ExportJobs:
    """All export jobs of a simulated API, each unfinished for this number of polls. Thread-safe."""

    def __init__(self, *, polls: int, rows_per_file: int) -> None:
        self._polls = polls
        self._rows_per_file = rows_per_file
        self._lock = Lock()
        self._jobs: dict[str, ExportJob] = {}
        self._files: dict[str, tuple[ExportJob, bytes]] = {}

    def start(self, subaccount_id: str, body: Any, *, outcome: JobOutcome | None) -> str:
        """Start a job and return its id. Raise BadWindowError if the request is invalid."""
        from_at, to_at = _window(body)
        job_id = secrets.token_hex(32)
        job = ExportJob(subaccount_id, from_at, to_at, outcome, self._polls)
        with self._lock:
            self._jobs[job_id] = job
        return job_id

    def status(self, subaccount_id: str, job_id: str, *, world: World, link_base: str, now: datetime) -> Any:
        """Return the status body of a job, `None` if it is unknown. Each call advances the job."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.subaccount_id != subaccount_id:
                return None
            if job.status in ("queued", "running"):
                if job.polls_left > 0:
                    job.status = "queued" if job.polls_left == self._polls else "running"
                    job.polls_left -= 1
                else:
                    self._finish(job, world=world, now=now)
            if job.status != "succeeded" or job.expires_at is None:
                return {"status": job.status}
            links = [f"{link_base}{token}" for token in job.tokens]
            return {"status": job.status, "data": links, "expires": iso_ms(job.expires_at)}

    def cancel(self, subaccount_id: str, job_id: str) -> bool:
        """Cancel a job that has not ended, and return whether the job is known."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.subaccount_id != subaccount_id:
                return False
            if job.status in ("queued", "running"):
                job.status = "cancelled"
            return True

    def file(self, subaccount_id: str, token: str, *, now: datetime) -> bytes | None:
        """Return the CSV file of a link, `None` if the link is unknown or expired."""
        with self._lock:
            job, data = self._files.get(token, (None, b""))
        if job is None or job.subaccount_id != subaccount_id or job.expires_at is None or job.expires_at <= now:
            return None
        return data

    def _finish(self, job: ExportJob, *, world: World, now: datetime) -> None:
        if job.outcome in ("failed", "cancelled", "error", "empty"):
            job.status = job.outcome
            return
        rows = export_rows(world, job.subaccount_id, from_at=job.from_at, to_at=job.to_at)
        job.status = "succeeded" if rows else "empty"
        job.expires_at = now - timedelta(seconds=1) if job.outcome == "expired" else now + LINKS_LIVE
        for start in range(0, len(rows), self._rows_per_file):
            token = secrets.token_hex(32)
            job.tokens.append(token)
            self._files[token] = (job, csv_file(rows[start : start + self._rows_per_file]))


def export_rows(world: World, subaccount_id: str, *, from_at: datetime, to_at: datetime) -> list[dict[str, str]]:
    """Return a row per leg initiated from `from_at` to `to_at`, both inclusive, ordered by that time."""
    account = world.account(subaccount_id)
    found = [
        (leg.initiated_at, session, leg)
        for session in world.sessions_of(subaccount_id)
        if session.exported
        for leg in session.legs
        if from_at <= leg.initiated_at <= to_at
    ]
    found.sort(key=lambda item: item[0])
    return [_row(account, session, leg) for _, session, leg in found]


def csv_file(rows: list[dict[str, str]]) -> bytes:
    """Return the rows as a CSV file with a header. Columns without a value are empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _row(account: AccountPlan, session: Session, leg: Leg) -> dict[str, str]:
    def stamp(at: datetime | None) -> str:
        if at is None:
            return ""
        return iso_ms(at) if account.export_offsets else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")

    price = _PRICES_A_MINUTE[leg.destination.country_code]
    return {
        "SessionId": session.session_id,
        "CallId": leg.call_id,
        "AccountId": f"{account.subaccount_id}_account",
        "SubAccountId": account.subaccount_id,
        "Direction": leg.direction,
        "SourceCountryCode": leg.source.country_code,
        "SourceEndpoint": leg.source.digits,
        "DestinationCountryCode": leg.destination.country_code,
        "DestinationEndpoint": leg.destination.digits,
        "InitiatedAt": stamp(leg.initiated_at),
        "ConnectedAt": stamp(leg.connected_at),
        "DisconnectedAt": stamp(leg.disconnected_at),
        "DurationInSec": str(leg.duration_s),
        "Product": "NumberMasking",
        "UnitPrice": str(price),
        "UnitPriceCurrency": "USD",
        "TotalPriceOfCall": str(price * -(-leg.duration_s // 60)),
        "CallType": "PSTN",
        "SessionStatus": session.status,
        "CallStatus": leg.status,
        "MOS": "" if leg.mos is None else str(leg.mos),
    }


def _window(body: Any) -> tuple[datetime, datetime]:
    """Return `from` and `to` of a request."""
    if not isinstance(body, dict):
        raise BadWindowError("Invalid JSON request body")
    from_at, to_at = _instant(body.get("from")), _instant(body.get("to"))
    if from_at >= to_at:
        raise BadWindowError("from must be less than to")
    return from_at, to_at


def _instant(text: Any) -> datetime:
    """Parse a date as its first instant in UTC, and a time without an offset as UTC."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError) as err:
        raise BadWindowError("Invalid datetime") from err
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
