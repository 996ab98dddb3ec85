"""What is worth an alert: a day that could not be archived, checks that fail, recordings about to be lost or given up.

Called by the command line and by the Dagster assets alike. How alerts are sent, and how often, is in `alerts`.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.catalog.schemas import RECORDINGS, Table
from callarchive.domain.days import SETTLED_AFTER, day_bounds
from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Outcome
from callarchive.domain.identifiers import ids_in
from callarchive.domain.plurals import many
from callarchive.monitoring.alerts import Alert, Alerts
from callarchive.monitoring.checks import CheckResult

if TYPE_CHECKING:
    from callarchive.monitoring.at_risk import AtRisk

log = logging.getLogger(__name__)

_EXAMPLES = 5


def alerts_of(connections: Connections) -> Alerts:
    """The configured alerts."""
    return Alerts(connections.settings.alerts, store=connections.catalog.store, clock=connections.clock)


def tell_of_day(
    connections: Connections, day: date, checks: Iterable[CheckResult], *, table: Table | None = None
) -> None:
    """Whoever is to know has been told of the day's failing checks and, with its recordings, of what is at risk or given up.

    Never raises: the day is done.

    Args:
        table: the table that was just written; null is all of them.
    """
    alerts = alerts_of(connections)
    if not alerts.channels:
        return
    checks = list(checks)
    accounts = {account.subaccount_id for account in connections.settings.accounts}
    failing = [check for check in checks if check.is_error]
    if failing:
        title = f"{day}: {many(len(failing), 'check fails', 'checks fail')}"
        alerts.send(_of_checks("checks_failed", day, title, failing, accounts))
    chosen = () if connections.settings.reconciliation.list_landing else ("landing_objects_known",)
    not_checked = [check for check in checks if check.outcome is Outcome.NOT_CHECKED and check.name not in chosen]
    if not_checked and connections.clock() >= day_bounds(day, connections.settings.zone)[1] + SETTLED_AFTER:
        title = f"{day}: {many(len(not_checked), 'check', 'checks')} could not be done"
        alerts.send(_of_checks("not_checked", day, title, not_checked, accounts))
    if table is None or table is RECORDINGS:
        try:
            for alert in _of_risks(connections, day):
                alerts.send(alert)
        except ArchiveError as err:
            log.error("%s: whether recordings are at risk is not known: %s", day, err)


def tell_of_failure(alerts: Alerts, what: str, reason: str) -> None:
    """Whoever is to know has been told that a run could not be done."""
    alerts.send(Alert("run_failed", what, f"{what} could not be archived", tuple(reason.splitlines())))


def _of_checks(kind: str, day: date, title: str, checks: Sequence[CheckResult], accounts: Collection[str]) -> Alert:
    lines = []
    for check in checks:
        lines.append(f"{check.name}: {check.summary}")
        # Ids and accounts alone: a place may be a file that somebody named after a caller.
        told = (example if example in accounts else ", ".join(ids_in(example)) for example in check.examples)
        lines += [f"  {ids}" for ids in islice(filter(None, told), _EXAMPLES)]
    # Dagster checks table by table, the command line all at once: by name, neither tells what the other told.
    return Alert(kind, str(day), title, tuple(lines), tuple(check.name for check in checks))


def _of_risks(connections: Connections, day: date) -> Iterable[Alert]:
    from callarchive.monitoring.at_risk import at_risk

    settings, now = connections.settings, connections.clock()
    items = at_risk(connections.catalog, settings, now=now, days=[day])
    soon = settings.alerts.countdown_hours
    urgent = [item for item in items if 0 <= item.hours_left < soon]
    if urgent:
        title = f"{day}: {many(len(urgent), 'recording', 'recordings')} may be lost at 8x8 within {soon:g} h"
        yield Alert("countdown", str(day), title, tuple(map(_line, urgent)), tuple(map(_name, urgent)))
    given_up = [item for item in items if item.archive_status == "missing"]
    if given_up:
        count = many(len(given_up), "recording is", "recordings are")
        title = f"{day}: {count} missing: nothing was found in the landing in time"
        yield Alert("missing", str(day), title, tuple(map(_line, given_up)), tuple(map(_name, given_up)))


def _name(item: "AtRisk") -> str:
    return f"{item.subaccount_id}/{item.session_id}/{item.recording_id or ''}"


def _line(item: "AtRisk") -> str:
    hours = item.hours_left
    left = f"{hours:.1f} h left" if hours >= 0 else f"{-hours:.1f} h past its time"
    return (
        f"{item.subaccount_id}: session {item.session_id}, recording {item.recording_id or 'not known'}: "
        f"{item.state}, {left}: {item.next_step}"
    )
