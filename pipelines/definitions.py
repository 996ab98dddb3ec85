"""The code location that Dagster loads: `dagster ... -m pipelines.definitions`. Importing it reads the configuration.

An invalid configuration fails the import with one message that names the error. Only runs read secrets.
"""

import click

from callarchive.domain.errors import ConfigurationError
from callarchive.runtime.memory import use_system_memory
from callarchive.settings import load_settings
from pipelines.code_location import code_location


class MisconfiguredError(click.ClickException):
    """A configuration error: Dagster's command line prints the message of click's errors, and a long traceback of others."""

    exit_code = ConfigurationError.exit_code


use_system_memory()  # only code servers and our runs load this
try:
    defs = code_location(load_settings())
except ConfigurationError as err:
    raise MisconfiguredError(str(err)) from None
