"""The code location that Dagster loads: `dagster ... -m pipelines.definitions`. Importing it reads the configuration.

An invalid configuration fails the import with one message that names the error. Only runs read secrets.
"""

import click

from callarchive.domain.errors import ConfigurationError
from callarchive.runtime.memory import use_system_memory
from callarchive.settings import load_settings
from pipelines.code_location import code_location

use_system_memory()  # only code servers and our runs load this
try:
    defs = code_location(load_settings())
except ConfigurationError as err:
    # Dagster's command line prints only the message of click's errors; for others it prints sixty lines of traceback.
    misconfigured = click.ClickException(str(err))
    misconfigured.exit_code = err.exit_code
    raise misconfigured from None
