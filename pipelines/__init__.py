"""When the assets run and with what: partitions, resources, the job, its schedule, the code location, the UI."""
