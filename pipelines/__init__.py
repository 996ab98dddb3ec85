"""When the assets run and with what: partitions, resources, the job, its schedule, the code location, the UI.

Dagster's daemon and webserver, which load a run launcher from here, get the time zone data of `callarchive` with it.
"""

import callarchive  # noqa: F401
