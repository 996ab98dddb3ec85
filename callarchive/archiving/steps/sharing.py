"""A huge day in shards: each looks up and fetches a share of the sessions, so that the day's own run finds it done.

A shard writes no table. Its answers and files lie in the journals in which a broken-off run leaves them, and the day's run,
which takes them over from there, writes the tables as ever. So nothing depends on how many shards there were, or on whether
they ended; but for a recording that two sessions name, which may be kept under either.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.fetching import fetch_named
from callarchive.archiving.steps.finding import find_sessions
from callarchive.archiving.steps.looking_up import ask_for
from callarchive.archiving.steps.reports import partition_of
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms.lookup_tables import AnsweredRows, recordings_with_earlier
from callarchive.archiving.transforms.recording_events import named_by_api, with_recordings_of_events
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import keys_of
from callarchive.domain.errors import ArchiveError
from callarchive.domain.phone_numbers import phone_number_treatment
from callarchive.runtime.worker_pool import NoProgress, Progress
from callarchive.settings import Settings

_SESSION = schemas.SESSION_IDS.key


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` shares of a day, counted from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"there is no shard {self.number} of {self.count}")

    def __str__(self) -> str:
        return f"{self.number:02}-of-{self.count:02}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `str` gave this text. Raises ValueError."""
        number, _, count = text.partition("-of-")
        return cls(int(number), int(count))

    def of(self, sessions: pa.Table) -> pa.Table:
        """Its rows among rows of `session_ids`. Every session is in exactly one shard of the same count, on every machine."""
        mine = [
            zlib.crc32(key.encode()) % self.count == self.number - 1 for key in keys_of(sessions, _SESSION).to_pylist()
        ]
        return sessions.filter(pa.array(mine, pa.bool_()))


def share_of_rate(settings: Settings, shard: Shard) -> Settings:
    """The settings for a shard: all of its day's together keep to each account's rate cap."""
    accounts = [
        account.model_copy(update={"requests_per_second": account.requests_per_second / shard.count})
        for account in settings.accounts
    ]
    return settings.model_copy(update={"accounts": type(settings.accounts)(accounts)})


def fetch_shard(
    connections: Connections, day: date, shard: Shard, *, progress: Progress | None = None
) -> dict[str, int]:
    """What the day's run will need of these sessions is kept: 8x8's answers, and the files. Returns counts to show.

    The first shard to come asks the sources, where no run has before. Takes its own lock: callers hold none.

    Raises:
        ArchiveError: as the steps do. What was done until then is kept.
    """

    def ask_sources() -> None:
        if not connections.catalog.has(schemas.SESSION_IDS, day):  # so no other shard is under way that reads it
            find_sessions(connections, day)

    with connections.shard_lock(day, str(shard), before=ask_sources):
        sessions = shard.of(
            partition_of(connections, schemas.SESSION_IDS, day, columns=(*_SESSION, "started_at", "ended_at"))
        )
        metadata, asked_count = _named(connections, day, sessions, progress)
        journal = TransferJournal(connections.catalog, day)
        counts, errors = fetch_named(
            connections,
            day,
            metadata,
            journal,
            progress or NoProgress(),
            accounts=connections.settings.accounts,
            list_landing=False,
        )
        _raise_first(errors)
    return {"sessions": sessions.num_rows, "asked": asked_count, "recordings": metadata.num_rows, **counts}


def _named(connections: Connections, day: date, sessions: pa.Table, progress: Progress | None) -> tuple[pa.Table, int]:
    """Rows of `recording_metadata` of these sessions, as the day's run will make them, and how many sessions were asked for."""
    catalog = connections.catalog
    events = catalog.partition(schemas.RECORDING_EVENTS, day)
    earlier = named_by_api(catalog.partition(schemas.RECORDING_METADATA, day))
    treat = {account.subaccount_id: phone_number_treatment(account) for account in connections.settings.accounts}
    answered = AnsweredRows()
    with connections.answers.journal(day, treat=treat, merge=False) as journal:
        asked_count, errors = ask_for(
            connections,
            day,
            sessions,
            accounts=connections.settings.accounts,
            lookups=catalog.partition(schemas.LOOKUPS, day),
            metadata=with_recordings_of_events(earlier, events, sessions=sessions),
            journal=journal,
            answered=answered,
            progress=progress,
        )
        _raise_first(errors)
    _, new = answered.tables()
    named = recordings_with_earlier(new, earlier, sessions=sessions)
    return with_recordings_of_events(named, events, sessions=sessions), asked_count


def _raise_first(errors: Mapping[str, ArchiveError]) -> None:
    """A shard that failed for one account is run again for all."""
    for error in errors.values():
        raise error
