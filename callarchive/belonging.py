"""To which day a session belongs when runs or sources disagree: to one day only, and for good once it has recordings.

A source may name fewer sessions than it did (8x8's log export reaches back only so far, an id file is emptied), and two
sources may date one session differently. Neither may take a recording out of the catalog or put it there twice.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta

from callarchive import schemas
from callarchive.catalog import Catalog
from callarchive.models import LookupStatus, RowProblem
from callarchive.records import Key, Row

_NUMBERS = ("source_number", "destination_number")
_FACTS = tuple(
    column.name
    for column in schemas.SESSION_IDS.columns
    if column.name not in (*schemas.SESSION_IDS.key, *_NUMBERS, "sources")
)

_WITHOUT_RECORDINGS = (LookupStatus.NO_RECORDINGS.value, LookupStatus.NOT_FOUND.value)

NumberGuard = Callable[[str | None], str | None]


def settled_sessions(
    catalog: Catalog, day: date, named: Iterable[Row], *, guards: Mapping[str, NumberGuard]
) -> tuple[list[Row], list[tuple[str, RowProblem]]]:
    """The rows of `session_ids` for the day, and per account what was set aside because it belongs to another day.

    - A session that a neighbouring day holds already stays there; if both days hold it, the earlier one keeps it.
    - A session that an earlier run found stays though no source names it any more, unless all that 8x8 ever said is that
      it has no recording. So does every session of an account that is configured no more.
    - A fact that no source tells any more stays as it was told, phone numbers excepted.

    Args:
        named: rows as the sources name them now.
        guards: by configured account, what may be written of a phone number that was kept before; without one it is
            dropped.
    """
    before = {_key(row): row for row in catalog.rows(schemas.SESSION_IDS, day)}
    status = {_key(row): row["lookup_status"] for row in catalog.rows(schemas.LOOKUPS, day)}
    # An answer of today without recordings does not undo one of earlier that named some.
    with_recordings = {_key(row) for row in catalog.rows(schemas.RECORDING_METADATA, day)}
    day_before, day_after = (_keys(catalog, day + timedelta(days=offset)) for offset in (-1, 1))
    rows: dict[Key, Row] = {}
    elsewhere: list[tuple[str, RowProblem]] = []
    for row in named:
        key = _key(row)
        if key in day_before or (key in day_after and key not in before):
            other = day + timedelta(days=-1 if key in day_before else 1)
            reason = f"session {key[1]} belongs to {other} already"
            elsewhere.append((key[0], RowProblem(", ".join(row["sources"]), f"call_date={other}", None, reason)))
            continue
        told = before.get(key, {})
        rows[key] = {**row, **{name: told[name] for name in _FACTS if told and row[name] is None}}
    for key, row in before.items():
        answered_without = status.get(key) in _WITHOUT_RECORDINGS and key not in with_recordings
        settled_without = key[0] in guards and answered_without
        if key not in rows and not settled_without and key not in day_before:
            guard = guards.get(key[0], _dropped)
            rows[key] = {**row, **{name: guard(row[name]) for name in _NUMBERS}}
    return list(rows.values()), elsewhere


def _dropped(_: str | None) -> None:
    return None


def _keys(catalog: Catalog, day: date) -> set[Key]:
    keys = catalog.arrow(schemas.SESSION_IDS, day, day, columns=schemas.SESSION_IDS.key)
    return {_key(row) for row in keys.to_pylist()}


def _key(row: Row) -> Key:
    return row["subaccount_id"], row["session_id"]
