"""The steps of a day, from session ids to tables. Each reads what the step before it wrote and replaces its own partition.

A step can be run again at any time and by itself; what it writes depends on its inputs and on what 8x8 and the landing
say, never on what it wrote before, save that nothing which was once known or kept is lost to a failed look-up or a vanished
source. Callers hold `Connections.day_lock`. The command line and the Dagster assets both run exactly these.
"""

from callarchive.archiving.steps.fetching import fetch_recordings
from callarchive.archiving.steps.finding import find_sessions
from callarchive.archiving.steps.looking_up import look_up_recordings, sessions_to_ask
from callarchive.archiving.steps.publishing import (
    write_duration_stats,
    write_recordings,
    write_sessions,
    write_status_stats,
)
from callarchive.archiving.steps.reconciling import write_reconciliation
from callarchive.archiving.steps.reports import StepReport

__all__ = [
    "StepReport",
    "fetch_recordings",
    "find_sessions",
    "look_up_recordings",
    "sessions_to_ask",
    "write_duration_stats",
    "write_reconciliation",
    "write_recordings",
    "write_sessions",
    "write_status_stats",
]
