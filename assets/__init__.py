"""The eight tables of a day as Dagster assets, with what the UI shows of them.

`callarchive` makes the tables; `pipelines` decides when and with what, and adds partitions, batch sizes and resources from the
configuration.
"""
