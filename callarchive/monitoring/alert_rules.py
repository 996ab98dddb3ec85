"""What raises an alert: failed days and checks, recordings at risk or missing, days kept too long. See `alerts` for how."""

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.catalog.schemas import RECORDINGS, Table
from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Outcome
from callarchive.domain.identifiers import ids_in
from callarchive.domain.plurals import many
from callarchive.monitoring.alerts import Alert, Alerts
from callarchive.monitoring.checks import CheckResult
from callarchive.monitoring.past_time import KeptPastTime, kept_past_time

if TYPE_CHECKING:
    from callarchive.monitoring.at_risk import AtRisk

log = logging.getLogger(__name__)

_EXAMPLES = 5


def alerts_of(connections: Connections) -> Alerts:
    """Return the configured alerts."""
    return Alerts(connections.settings.alerts, store=connections.catalog.store, clock=connections.clock)


def alert_on_day(
    connections: Connections, day: date, checks: Iterable[CheckResult], *, table: Table | None = None
) -> None:
    """Send alerts about the day's failing checks and, if its recordings were written, about those at risk or missing.

    Never raises: the day is archived. `table` was just written; None for all of them.
    """
    alerts, settings = alerts_of(connections), connections.settings
    if not alerts.channels:
        return
    checks = list(checks)
    accounts = {account.subaccount_id for account in settings.accounts}
    failing = [check for check in checks if check.is_error]
    if failing:
        title = f"{day}: {many(len(failing), 'check fails', 'checks fail')}"
        alerts.send(_check_alert("checks_failed", day, title, failing, accounts))
    turned_off = () if settings.reconciliation.list_landing else ("landing_objects_known",)
    not_checked = [check for check in checks if check.outcome is Outcome.NOT_CHECKED and check.name not in turned_off]
    if not_checked and connections.catalog_day(day).is_settled:
        title = f"{day}: {many(len(not_checked), 'check', 'checks')} without a result"
        alerts.send(_check_alert("not_checked", day, title, not_checked, accounts))
    if table is None or table is RECORDINGS:
        try:
            for alert in _risk_alerts(connections, day):
                alerts.send(alert)
        except ArchiveError as err:
            log.error("%s: could not determine which recordings are at risk: %s", day, err)


def alert_on_past_time(connections: Connections, found: KeptPastTime | None = None) -> None:
    """Send an alert if days are kept more than two days longer than their retention allows. Never raises."""
    alerts = alerts_of(connections)
    if not alerts.channels:
        return
    found = found or kept_past_time(connections)
    if found.is_late:
        lines = (f"{one.call_date}: {one.subaccount_id}, keep_days = {one.keep_days}" for one in found.days)
        alerts.send(Alert("past_time", "retention", found.summary, tuple(lines)))


def alert_on_failure(alerts: Alerts, what: str, reason: str, *, title: str | None = None) -> None:
    """Send an alert about a run that failed."""
    alerts.send(Alert("run_failed", what, title or f"{what} could not be archived", tuple(reason.splitlines())))


def _check_alert(kind: str, day: date, title: str, checks: Sequence[CheckResult], accounts: Collection[str]) -> Alert:
    lines = []
    for check in checks:
        lines.append(f"{check.name}: {check.summary}")
        # Only ids and accounts: a file may be named after a caller.
        examples = (example if example in accounts else ", ".join(ids_in(example)) for example in check.examples)
        lines += [f"  {ids}" for ids in islice(filter(None, examples), _EXAMPLES)]
    # Dagster checks table by table, the command line all tables at once. By name, no check is reported twice.
    return Alert(kind, str(day), title, tuple(lines), tuple(check.name for check in checks))


def _risk_alerts(connections: Connections, day: date) -> Iterable[Alert]:
    from callarchive.monitoring.at_risk import at_risk

    settings, now = connections.settings, connections.clock()
    items = at_risk(connections.catalog, settings, now=now, days=[day])
    soon = settings.alerts.countdown_hours
    urgent = [item for item in items if 0 <= item.hours_left < soon]
    if urgent:
        title = f"{day}: {many(len(urgent), 'recording', 'recordings')} may be lost at 8x8 within {soon:g} h"
        yield Alert("countdown", str(day), title, tuple(map(_line, urgent)), tuple(map(_name, urgent)))
    missing = [item for item in items if item.archive_status == "missing"]
    if missing:
        count = many(len(missing), "recording is", "recordings are")
        title = f"{day}: {count} missing: nothing was found in the landing in time"
        yield Alert("missing", str(day), title, tuple(map(_line, missing)), tuple(map(_name, missing)))


def _name(item: "AtRisk") -> str:
    return f"{item.subaccount_id}/{item.session_id}/{item.recording_id or ''}"


def _line(item: "AtRisk") -> str:
    left = f"{abs(item.hours_left):.1f} h {'left' if item.hours_left >= 0 else 'overdue'}"
    what = f"session {item.session_id}, recording {item.recording_id or 'not known'}"
    return f"{item.subaccount_id}: {what}: {item.state}, {left}: {item.next_step}"
