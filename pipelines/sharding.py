"""The job `fetch_shard`, by day and shard: there only where `dagster.shards` asks for it. What a shard does is in
`callarchive.archiving.steps.sharing`.
"""

from datetime import date

import dagster as dg

from assets.failures import errors_as_failures
from assets.progress import LoggedProgress
from callarchive.archiving.connections import Connections
from callarchive.settings import Settings


def shard_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """The job, if days are to be split. Its partitions are every shard of every day; each is a run, for any worker."""
    count = settings.dagster.shards
    if not count:
        return []
    from callarchive.archiving.steps import Shard, fetch_shard, share_of_rate

    days = dg.DailyPartitionsDefinition(settings.start_date.isoformat(), timezone=settings.timezone, end_offset=1)
    shards = dg.StaticPartitionsDefinition([str(Shard(number, count)) for number in range(1, count + 1)])

    # Connections of its own: an account's rate cap is shared out among the day's shards.
    @dg.op(name="fetch", pool="landing", description="Looks up and fetches the shard's sessions, and keeps what came.")
    def fetch(context: dg.OpExecutionContext) -> None:
        key = context.partition_key
        assert isinstance(key, dg.MultiPartitionKey)
        day, shard = key.keys_by_dimension["day"], Shard.parse(key.keys_by_dimension["shard"])
        with errors_as_failures(), Connections(share_of_rate(settings, shard)) as connections:
            counts = fetch_shard(connections, date.fromisoformat(day), shard, progress=LoggedProgress(context.log))
        context.add_output_metadata(counts)

    @dg.job(
        name="fetch_shard",
        partitions_def=dg.MultiPartitionsDefinition({"day": days, "shard": shards}),
        description="A huge day in shares, for several workers: choose the day and all its shards, then run the day as ever. "
        "It finds what they kept, and writes the tables.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        fetch()

    return [job]
