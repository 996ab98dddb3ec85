"""Faults of the simulated API: what goes wrong, for which requests, and how often.

The effect on the bytes is in `wire`. Faults of the stores are methods of `SimulatedSftp` and `SimulatedS3`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

JobOutcome = Literal["failed", "cancelled", "error", "empty", "expired"]
Break = Literal["short", "no_length", "reset", "stall"]

FOREVER = None
ANY = "any"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one reply. Create it with one of the class methods.

    Attributes:
        status: replaces the status of the reply, unless `None`.
        body: replaces the body of the reply, unless `None`.
        broken: how sending the body fails.
        at_bytes: the number of bytes of the body before it fails; `None` is half of them.
        seconds: the duration of a stall.
        job: the outcome of the export job that the request starts.
        rows: truncates a call log file to this number of rows, with a matching Content-Length.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    broken: Break | None = None
    at_bytes: int | None = None
    seconds: float = 0.0
    delay_s: float = 0.0
    job: JobOutcome | None = None
    rows: int | None = None

    @classmethod
    def answer(cls, status: int = 200, *, body: Any = b"", headers: Mapping[str, str] | None = None) -> "Fault":
        """Replace the whole reply. A body that is neither bytes nor a string is sent as JSON."""
        if isinstance(body, str):
            data, kind = body.encode(), "text/html; charset=utf-8"
        elif isinstance(body, bytes):
            data, kind = body, "application/octet-stream"
        else:
            data, kind = json.dumps(body).encode(), "application/json"
        return cls(status=status, body=data, headers={"Content-Type": kind, **(headers or {})})

    @classmethod
    def too_many_requests(cls, *, retry_after: str | int | None = 1) -> "Fault":
        """Reply with 429, with `Retry-After` in seconds or as an HTTP date, or without it."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls.answer(429, body={"message": "Too many requests"}, headers=headers)

    @classmethod
    def short_body(cls, *, at_bytes: int | None = None) -> "Fault":
        """Send the right Content-Length, but close the connection before the body ends."""
        return cls(broken="short", at_bytes=at_bytes)

    @classmethod
    def no_length(cls, *, at_bytes: int | None = None) -> "Fault":
        """Send no Content-Length and close the connection after `at_bytes` (`None`: all), so a loss cannot be detected."""
        return cls(broken="no_length", at_bytes=at_bytes)

    @classmethod
    def reset(cls, *, at_bytes: int | None = None) -> "Fault":
        """Reset the connection within the body."""
        return cls(broken="reset", at_bytes=at_bytes)

    @classmethod
    def stall(cls, *, seconds: float = 3600.0, at_bytes: int | None = None) -> "Fault":
        """Pause within the body, then send the rest."""
        return cls(broken="stall", seconds=seconds, at_bytes=at_bytes)

    @classmethod
    def delay(cls, seconds: float) -> "Fault":
        """Send the right reply late."""
        return cls(delay_s=seconds)

    @classmethod
    def few_rows(cls, rows: int) -> "Fault":
        """Truncate a call log file to its header and this number of rows, so that it looks complete."""
        return cls(rows=rows)

    @classmethod
    def export_job(cls, outcome: JobOutcome) -> "Fault":
        """Give the next export job this outcome. `expired` succeeds, but its links have expired."""
        return cls(job=outcome)


@dataclass(slots=True)
class _Planned:
    fault: Fault
    match: str
    left: int | None
    passes: int


class Faults:
    """The planned faults. Thread-safe. If several match a request, the one added first applies."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: list[_Planned] = []

    def add(self, fault: Fault, *, match: str = ANY, times: int | None = 1, after: int = 0) -> None:
        """Plan a fault for matching requests.

        Args:
            fault: what goes wrong.
            match: a session id; a subaccount id; `recordings`, `exports`, `download`, `push-config` or `webhooks`;
                a method (`GET`); or `any`.
            times: how many requests it applies to; `FOREVER` is until `clear`.
            after: how many matching requests succeed before it applies.
        """
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1 or FOREVER, not {times}")
        with self._lock:
            self._planned.append(_Planned(fault, match.lower(), times, after))

    def clear(self) -> None:
        """Remove all planned faults."""
        with self._lock:
            self._planned.clear()

    def take(self, tags: Iterable[str], *, starts_job: bool = False) -> Fault | None:
        """Return the fault for a request, and count it.

        Args:
            tags: everything that may match the request.
            starts_job: whether to return faults of export jobs, or only others.
        """
        own = {tag.lower() for tag in tags} | {ANY}
        with self._lock:
            for planned in self._planned:
                if planned.match not in own or (planned.fault.job is not None) != starts_job:
                    continue
                if planned.passes > 0:
                    planned.passes -= 1
                    continue
                if planned.left is not None:
                    planned.left -= 1
                    if planned.left == 0:
                        self._planned.remove(planned)
                return planned.fault
        return None
