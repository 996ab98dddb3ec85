"""What is worth an alert: a day that could not be archived, checks that fail, recordings about to be lost or given up.

Called by the command line and by the Dagster assets alike. How alerts are sent, and how often, is in `alerts`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from callarchive.alerts import Alert, Alerts
from callarchive.checks import ODDITIES, CheckResult
from callarchive.connections import Connections
from callarchive.schemas import RECORDINGS, Table

if TYPE_CHECKING:
    from callarchive.countdown import AtRisk

_EXAMPLES = 5


def alerts_of(connections: Connections) -> Alerts:
    """The configured alerts."""
    return Alerts(connections.settings.alerts, store=connections.catalog.store, clock=connections.clock)


def tell_of_day(
    connections: Connections, day: date, checks: Iterable[CheckResult], *, table: Table | None = None
) -> None:
    """Whoever is to know has been told of the day's failing checks and, with its recordings, of what is at risk or given up.

    Args:
        table: the table that was just written; null is all of them.
    """
    alerts = alerts_of(connections)
    if not alerts.channels:
        return
    failing = [check for check in checks if not check.passed and check.name not in ODDITIES]
    if failing:
        alerts.send(_of_checks(day, failing))
    if table is None or table is RECORDINGS:
        for alert in _of_risks(connections, day):
            alerts.send(alert)


def tell_of_failure(alerts: Alerts, what: str, reason: str) -> None:
    """Whoever is to know has been told that a run could not be done."""
    alerts.send(Alert("run_failed", what, f"{what} could not be archived", tuple(reason.splitlines())))


def _of_checks(day: date, failing: Sequence[CheckResult]) -> Alert:
    lines = []
    for check in failing:
        lines.append(f"{check.name}: {check.summary}")
        lines += [f"  {example}" for example in check.examples[:_EXAMPLES]]
    names = ",".join(sorted(check.name for check in failing))
    return Alert("checks_failed", f"{day}/{names}", f"{day}: {len(failing)} checks fail", tuple(lines))


def _of_risks(connections: Connections, day: date) -> Iterable[Alert]:
    from callarchive.countdown import at_risk

    settings, now = connections.settings, connections.clock()
    items = at_risk(connections.catalog, settings, now=now, days=[day])
    soon = settings.alerts.countdown_hours
    urgent = [item for item in items if 0 <= item.hours_left < soon]
    if urgent:
        title = f"{day}: {len(urgent)} recordings may be lost at 8x8 within {settings.alerts.countdown_hours:g} h"
        yield Alert("countdown", _key(day, urgent), title, tuple(map(_line, urgent)))
    given_up = [item for item in items if item.archive_status == "missing"]
    if given_up:
        title = f"{day}: {len(given_up)} recordings are missing: nothing was found in the landing in time"
        yield Alert("missing", _key(day, given_up), title, tuple(map(_line, given_up)))


def _key(day: date, items: "Sequence[AtRisk]") -> str:
    """The same for the same recordings."""
    ids = "\n".join(sorted(f"{item.session_id}/{item.recording_id}" for item in items))
    return f"{day}/{hashlib.sha256(ids.encode()).hexdigest()[:16]}"


def _line(item: "AtRisk") -> str:
    hours = item.hours_left
    left = f"{hours:.1f} h left" if hours >= 0 else f"{-hours:.1f} h past its time"
    return (
        f"{item.subaccount_id}: session {item.session_id}, recording {item.recording_id or 'not known'}: "
        f"{item.state}, {left}: {item.next_step}"
    )
