"""When the assets run and with what: partitions, resources, the job, its schedule, sensors, the code location, the UI.

Importing `callarchive` gives its time zone data to Dagster's daemon and webserver, which load a run launcher from here.
"""

import callarchive  # noqa: F401
