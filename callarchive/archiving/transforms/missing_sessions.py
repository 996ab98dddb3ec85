"""Sessions that a source should have listed, for the check `sources_complete`: a truncated export looks like a quiet day.

An earlier run found them in the source, or webhook events name them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, joined_lists, keys_of, pc, rows_in
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.rows import Row
from callarchive.domain.identifiers import uuid_time
from callarchive.domain.models import Findings
from callarchive.settings import AccountSettings, InboxSource

_EXPORT, _INBOX = "log_export", "inbox"
_LISTS = ("files", "sql")
_SETTLED_AFTER = timedelta(hours=1)
"""Time after its start at which a call is in 8x8's export. Events arrive within seconds."""

_NAMED_BEFORE = "an earlier run found it in this source"
_NAMED_BY_EVENTS = "webhook events name it"


@dataclass(frozen=True)
class AccountSources:
    """The kinds of an account's sources that reach back to the day, and the ids that each kind lists for other days."""

    kinds: frozenset[str]
    other_days: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, account: AccountSettings, found: Sequence[tuple[str, Findings]], *, day_end: datetime, now: datetime
    ) -> "AccountSources":
        """Return the sources of the account. `found` has the kind and findings of each."""
        kinds = {
            source.kind
            for source in account.session_sources
            if not isinstance(source, InboxSource)
            and (source.reach_days is None or now <= day_end + timedelta(days=source.reach_days))
        }
        other_days: dict[str, frozenset[str]] = {}
        for kind, findings in found:
            other_days[kind] = other_days.get(kind, frozenset()) | findings.other_days
        return cls(frozenset(kinds), other_days)


def missing_sessions(
    catalog: Catalog,
    day: date,
    *,
    before: pa.Table,
    named: pa.Table,
    settled: pa.Table,
    sources: Mapping[str, AccountSources],
    unread: Collection[str],
    now: datetime,
) -> list[Row]:
    """Return the rows of `missing_sessions` for the day, ordered by key; those of accounts in `unread` do not change.

    A session that the user's own list dropped and that has no recording at 8x8 has left the day, so it is not missing. A
    session that the export dropped always is. `before`, `named` and `settled` are rows of `session_ids` before this run, from
    the sources, and after this run.
    """
    earlier = {
        (row["subaccount_id"], row["session_id"], row["source"]): row["reason"]
        for row in catalog.rows(schemas.MISSING_SESSIONS, day)
    }
    missing = {key: reason for key, reason in earlier.items() if key[0] in unread}
    candidates = {key: reason for key, reason in earlier.items() if key[0] not in unread}
    gone, named_pairs = _pairs(before), _pairs(named)
    lost = gone.filter(pc.invert(pc.is_in(_keys(gone), value_set=_keys(named_pairs))))
    candidates |= {key: candidates.get(key, _NAMED_BEFORE) for key in _tuples(lost)}
    candidates |= {key: _NAMED_BY_EVENTS for key in _named_by_events_alone(settled, now=now) if key not in candidates}
    if candidates:
        present = set(keys_of(settled, schemas.SESSION_IDS.key).to_pylist())
        still_named = set(_keys(named_pairs).to_pylist()) if earlier else set()
        for (account, session_id, source), reason in candidates.items():
            own = sources.get(account)
            if own is None or source not in own.kinds or f"{account}/{session_id}/{source}" in still_named:
                continue
            has_left = source in _LISTS and f"{account}/{session_id}" not in present
            if not has_left and session_id not in own.other_days.get(source, ()):
                missing[account, session_id, source] = reason
    return [
        dict(zip(schemas.MISSING_SESSIONS.schema.names, (*key, missing[key]), strict=True)) for key in sorted(missing)
    ]


def _pairs(sessions: pa.Table) -> pa.Table:
    """Return a row (subaccount_id, session_id, source) for each session and each source that lists it."""
    sources = sessions["sources"].combine_chunks()
    rows = sessions.select(["subaccount_id", "session_id"]).take(pc.list_parent_indices(sources))
    return rows.append_column("source", pc.list_flatten(sources))


def _keys(pairs: pa.Table) -> Column:
    return keys_of(pairs, schemas.MISSING_SESSIONS.key)


def _tuples(pairs: pa.Table) -> Iterator[tuple[str, str, str]]:
    return ((row["subaccount_id"], row["session_id"], row["source"]) for row in rows_in(pairs))


def _named_by_events_alone(sessions: pa.Table, *, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of sessions that events name and that the export lacks although it had time to include them."""
    kinds = joined_lists(sessions["sources"])
    alone = pc.and_not(pc.match_substring(kinds, _INBOX), pc.match_substring(kinds, _EXPORT))
    for row in rows_in(sessions.select(["subaccount_id", "session_id", "started_at"]).filter(alone)):
        at = row["started_at"] or uuid_time(row["session_id"])
        if at is not None and at <= now - _SETTLED_AFTER:
            yield row["subaccount_id"], row["session_id"], _EXPORT
