"""The code location that Dagster loads: `dagster ... -m pipelines.definitions`. The configuration is read here, on import.

Without a valid one it fails to load with the one message that names what is wrong. Secrets are looked up only by runs.
"""

import click

from callarchive.domain.errors import ConfigurationError
from callarchive.runtime.memory import use_system_memory
from callarchive.settings import load_settings
from pipelines.code_location import code_location

use_system_memory()  # whoever loads this is a code server, or a run of ours
try:
    defs = code_location(load_settings())
except ConfigurationError as err:
    # Of an error of click's Dagster's command line prints the message alone, of others sixty lines of traceback.
    misconfigured = click.ClickException(str(err))
    misconfigured.exit_code = err.exit_code
    raise misconfigured from None
