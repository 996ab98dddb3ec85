"""The receiver's Prometheus metrics. Labels are configured accounts and fixed words, never values that were sent."""

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from callarchive.events.inbox.queries import AccountStatistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The receiver's metrics, in their own registry."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._events = Counter("callarchive_events", "Events stored durably", ("account", "kind"), registry=registry)
        self._repeats = Counter(
            "callarchive_repeated_events", "Events that were in the inbox already", registry=registry
        )
        self._refused = Counter("callarchive_refused_requests", "Requests refused", ("reason",), registry=registry)
        self._waiting = Gauge("callarchive_waiting_events", "Events waiting for their commit", registry=registry)
        self._last = Gauge(
            "callarchive_last_event_timestamp_seconds",
            "When an account's last event was received",
            ("account",),
            registry=registry,
        )
        self._commits = Histogram(
            "callarchive_commit_seconds",
            "Duration of a commit of events",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self._failed = Counter("callarchive_failed_commits", "Commits that failed", registry=registry)

    def remember(self, statistics: Iterable[AccountStatistics], *, accounts: Iterable[str]) -> None:
        """Set the metrics from the inbox's contents at the start."""
        known = set(accounts)
        for account in statistics:
            if account.subaccount_id in known:
                self._last.labels(account.subaccount_id).set(account.last_received_at.timestamp())

    def received(self, subaccount_id: str, kind: str, at: datetime) -> None:
        """Count an event stored durably for a configured account."""
        self._events.labels(subaccount_id, kind).inc()
        self._last.labels(subaccount_id).set(at.timestamp())

    def refused(self, reason: str) -> None:
        """Count a refused request; `reason` is one of a few words."""
        self._refused.labels(reason).inc()

    def waiting(self, count: int) -> None:
        """Set the number of events waiting for their commit."""
        self._waiting.set(count)

    def committed(self, *, count: int, new: int, seconds: float) -> None:
        """Record a commit of `count` events, `new` of them new."""
        self._commits.observe(seconds)
        self._repeats.inc(count - new)

    def commit_failed(self) -> None:
        """Count a failed commit."""
        self._failed.inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
