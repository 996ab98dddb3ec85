"""The code location that Dagster loads: `dagster ... -m pipelines.definitions`. The configuration is read here, on import.

Without a valid one it fails to load with the one message that names what is wrong. Secrets are looked up only by runs.
"""

from callarchive.settings import load_settings
from pipelines.code_location import code_location

defs = code_location(load_settings())
