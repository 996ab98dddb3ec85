"""What exists: the eight tables of a day as Dagster assets, with what the UI shows of them.

How the tables are made is in `callarchive`, when and with what in `pipelines`. Partitions, batch sizes and resources are put on
from there too, because they come from the configuration.
"""
