"""The resource of runs: the connections, opened for the run and closed after it."""

from collections.abc import Iterator
from contextlib import nullcontext

import dagster as dg

from assets.failures import errors_as_failures
from callarchive.archiving.connections import Connections
from callarchive.runtime.memory import collecting_rarely, keep_pandas_out
from callarchive.settings import Settings
from pipelines.event_log import kept_connections


def connections_resource(settings: Settings) -> dg.ResourceDefinition:
    """Return a resource that yields `Connections`. It has no configuration fields: Dagster would store and show secrets."""

    @dg.resource(description="The archive, the catalog, and each account's API client and landing.")
    def connections(context: dg.InitResourceContext) -> Iterator[Connections]:
        keep_pandas_out()
        with errors_as_failures():
            opened = Connections(settings)
        with opened, collecting_rarely(), kept_connections(context.instance) if context.instance else nullcontext():
            yield opened

    return connections
