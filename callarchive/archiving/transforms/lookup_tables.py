"""The tables `lookups` and `recording_metadata` of a day, from new and earlier lookups. For I/O, see `steps.looking_up`."""

import logging
from datetime import datetime, timedelta

import pyarrow as pa

from callarchive.archiving.transforms.recording_events import named_by_api
from callarchive.catalog.arrow_columns import Column, is_true, keys_of, matching_rows, pc, rows_at
from callarchive.catalog.rows import Row, lookup_row, metadata_row
from callarchive.catalog.schemas import LOOKUPS, RECORDING_FILES, RECORDING_METADATA
from callarchive.domain.models import NEGATIVE, ArchiveStatus, Lookup, LookupStatus

log = logging.getLogger(__name__)

_SESSION = LOOKUPS.key
_RECORDING = RECORDING_METADATA.key
_BATCH = 1000
_LOOKUP_COLUMNS = ["lookup_status", "looked_up_at", "negative_since"]

BETWEEN_NEGATIVES = timedelta(hours=24)
"""Minimum time between two negative responses that make a session final: a single one may be a glitch at 8x8."""


class LookupRows:
    """Lookups as rows of both tables, packed into Arrow tables in batches to save memory."""

    def __init__(self) -> None:
        self._lookups: list[Row] = []
        self._recordings: list[Row] = []
        self._lookup_tables: list[pa.Table] = []
        self._recording_tables: list[pa.Table] = []

    def add(self, subaccount_id: str, lookup: Lookup) -> None:
        """Add the lookup of a session. Add each session only once."""
        self._lookups.append(lookup_row(subaccount_id, lookup))
        self._recordings += [metadata_row(subaccount_id, lookup.session_id, one) for one in lookup.recordings]
        if len(self._lookups) >= _BATCH:
            self._pack()

    def include(self, other: "LookupRows") -> None:
        """Add all rows of another instance, which must not be used afterwards."""
        other._pack()  # noqa: SLF001 - of the same class
        self._lookup_tables += other._lookup_tables  # noqa: SLF001
        self._recording_tables += other._recording_tables  # noqa: SLF001

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `lookups` and of `recording_metadata`."""
        self._pack()
        return pa.concat_tables(self._lookup_tables), pa.concat_tables(self._recording_tables)

    def _pack(self) -> None:
        self._lookup_tables.append(pa.Table.from_pylist(self._lookups, schema=LOOKUPS.schema))
        self._recording_tables.append(pa.Table.from_pylist(self._recordings, schema=RECORDING_METADATA.schema))
        self._lookups, self._recordings = [], []


def final(
    sessions: pa.Table, *, lookups: pa.Table, metadata: pa.Table, files: pa.Table, day_end: datetime, grace: timedelta
) -> Column:
    """Return for each row of `session_ids` whether no further lookup is needed; never NULL.

    A session is final if it was looked up after the grace period, and every recording ever listed for it, by the API or by an
    event, is archived. A response without recordings must be confirmed (see `confirmed_negatives`) unless some were erased.
    `day_end` is used for sessions with neither end nor start.
    """
    keys = keys_of(sessions, _SESSION)
    lookup = rows_at(lookups.select(_LOOKUP_COLUMNS), matching_rows(keys, among=keys_of(lookups, _SESSION)))
    # An `ok` without recordings in the table does not count: a run may have been killed between writing the two tables.
    naming = keys_of(named_by_api(metadata), _SESSION)
    named = pc.and_(pc.equal(lookup["lookup_status"], LookupStatus.OK.value), pc.is_in(keys, value_set=naming))
    erased = files.filter(pc.equal(files["archive_status"], ArchiveStatus.ERASED.value))
    was_named = pc.is_in(keys, value_set=keys_of(erased, _SESSION))
    named = pc.or_(named, pc.and_(pc.invert(pc.equal(lookup["lookup_status"], LookupStatus.ERROR.value)), was_named))
    over_at = _grace_over_at(sessions, day_end=day_end, grace=grace)
    named_late = pc.and_(is_true(named), is_true(pc.greater_equal(lookup["looked_up_at"], over_at)))
    none_late = pc.and_(confirmed_negatives(lookup), is_true(pc.greater_equal(lookup["negative_since"], over_at)))
    return pc.and_(pc.or_(named_late, none_late), pc.invert(_wanting(keys, metadata=metadata, files=files)))


def confirmed_negatives(lookups: pa.Table) -> Column:
    """Return for each row of `lookups` whether two negative responses, including the latest, are at least a day apart.

    Only valid 8x8 responses after the grace period count, and none of older versions, which did not check that.
    """
    again_at = pc.add(lookups["negative_since"], pa.scalar(BETWEEN_NEGATIVES, pa.duration("us")))
    return pc.and_(_is_negative(lookups), is_true(pc.greater_equal(lookups["looked_up_at"], again_at)))


def second_lookup_at(
    sessions: pa.Table, *, lookups: pa.Table, metadata: pa.Table, files: pa.Table, day_end: datetime, grace: timedelta
) -> Column:
    """Return for each row of `session_ids` when to confirm its first negative response; NULL if not applicable.

    The arguments are those of `final`.
    """
    keys = keys_of(sessions, _SESSION)
    lookup = rows_at(lookups.select(_LOOKUP_COLUMNS), matching_rows(keys, among=keys_of(lookups, _SESSION)))
    since = lookup["negative_since"]
    once = pc.and_not(_is_negative(lookup), confirmed_negatives(lookup))
    counts = pc.greater_equal(since, _grace_over_at(sessions, day_end=day_end, grace=grace))
    waits = pc.and_not(pc.and_(once, is_true(counts)), _wanting(keys, metadata=metadata, files=files))
    return pc.if_else(waits, pc.add(since, pa.scalar(BETWEEN_NEGATIVES, pa.duration("us"))), None)


def lookups_with_earlier(
    new: pa.Table, earlier: pa.Table, *, sessions: pa.Table, day_end: datetime, grace: timedelta
) -> pa.Table:
    """Return `lookups`: the new rows, and the earlier ones of the day's other sessions.

    A new row keeps `negative_since` of the earlier one unless 8x8 has listed a recording since. An error changes nothing.
    """
    keys = keys_of(new, _SESSION)
    since = earlier["negative_since"].take(matching_rows(keys, among=keys_of(earlier, _SESSION)))
    their_sessions = rows_at(sessions, matching_rows(keys, among=keys_of(sessions, _SESSION)))
    over_at = _grace_over_at(their_sessions, day_end=day_end, grace=grace)
    now = new["looked_up_at"]
    counts = pc.and_(_is_negative(new), is_true(pc.greater_equal(now, over_at)))
    goes_on = is_true(pc.and_(pc.less_equal(since, now), pc.greater_equal(since, over_at)))
    begins = pc.if_else(pc.and_not(counts, goes_on), now, since)
    is_ok = pc.equal(new["lookup_status"], LookupStatus.OK.value)
    place = new.schema.get_field_index("negative_since")
    new = new.set_column(place, new.schema.field(place), pc.if_else(is_ok, None, begins))
    return pa.concat_tables([new, _rows_not_in(earlier, new, LOOKUPS.key, sessions=sessions)])


def recordings_with_earlier(new: pa.Table, earlier: pa.Table, *, sessions: pa.Table) -> pa.Table:
    """Return `recording_metadata`: the new rows, and earlier ones of the day's sessions that the new ones lack.

    A failed lookup, or a session that 8x8 has deleted, never removes a recording from the catalog. A recording listed for
    two sessions is assigned to the one with the lower id, with a warning.
    """
    rows = pa.concat_tables([new, _rows_not_in(earlier, new, (*_SESSION, "recording_id"), sessions=sessions)])
    keys = keys_of(rows, _RECORDING)
    if pc.count_distinct(keys).as_py() == len(keys):
        return rows
    rows = rows.sort_by([(name, "ascending") for name in (*_RECORDING, "session_id")])
    first = matching_rows(keys_of(rows, _RECORDING), among=keys_of(rows, _RECORDING))
    is_first = pc.equal(first, pa.array(range(len(rows)), first.type))
    rows = rows.append_column("assigned_to", rows["session_id"].take(first))
    for row in rows.filter(pc.invert(is_first)).to_pylist():
        ids = row["recording_id"], row["assigned_to"], row["session_id"]
        log.warning("recording %s is listed for the sessions %s and %s: assigned to the first", *ids)
    return rows.filter(is_first).drop_columns("assigned_to")


def _is_negative(lookups: pa.Table) -> Column:
    return pc.is_in(lookups["lookup_status"], value_set=pa.array(NEGATIVE))


def _grace_over_at(sessions: pa.Table, *, day_end: datetime, grace: timedelta) -> Column:
    """Return when the grace period of each session is over."""
    day_ends_at = pa.scalar(day_end, pa.timestamp("us", "UTC"))
    call_ended_at = pc.coalesce(sessions["ended_at"], sessions["started_at"], day_ends_at)
    return pc.add(call_ended_at, pa.scalar(grace, pa.duration("us")))


def _wanting(keys: Column, *, metadata: pa.Table, files: pa.Table) -> Column:
    """Return whether a recording ever listed for the session is not archived."""
    kept = files.filter(pc.equal(files["archive_status"], ArchiveStatus.ARCHIVED.value))
    is_kept = pc.is_in(keys_of(metadata, _RECORDING), value_set=keys_of(kept, RECORDING_FILES.key))
    return pc.is_in(keys, value_set=keys_of(metadata, _SESSION).filter(pc.invert(is_kept)))


def _rows_not_in(earlier: pa.Table, new: pa.Table, key: tuple[str, ...], *, sessions: pa.Table) -> pa.Table:
    of_the_day = pc.is_in(keys_of(earlier, _SESSION), value_set=keys_of(sessions, _SESSION))
    replaced = pc.is_in(keys_of(earlier, key), value_set=keys_of(new, key))
    return earlier.filter(pc.and_(of_the_day, pc.invert(replaced)))
