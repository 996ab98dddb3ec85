"""The steps of a day, from session ids to tables. Each reads what the step before it wrote and replaces its own partition.

A step can be rerun at any time and by itself; what it writes depends on its inputs and on what 8x8 and the landing report,
never on what it wrote before, except that a failed lookup or a source that vanished removes nothing that was once known or
kept. Callers hold `Connections.day_lock`. `day_steps` has them in order.
"""
