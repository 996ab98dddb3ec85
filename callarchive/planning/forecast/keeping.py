"""Forecasts stored in the catalog's folder, for comparison with the outcome: `_forecasts/FIRST_LAST.json`.

A stored forecast is not replaced once one of its open days is archived: halfway through a backfill, a new forecast would
cover only the remainder.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import ObjectNotFoundError
from callarchive.planning.forecast.models import FIGURES, Basis, DayForecast, Figure, Forecast
from callarchive.storage.stores import Store

_FOLDER = "_forecasts"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class KeptForecast:
    """The part of a forecast that is compared with the outcome.

    Attributes:
        archived_days: its days that were archived when it was made.
        days: every day from `first` to `last`, by account.
        time_s: by account.
    """

    first: date
    last: date
    made_at: datetime
    archived_days: tuple[date, ...]
    days: Mapping[str, tuple[DayForecast, ...]]
    time_s: Mapping[str, Figure]


def keep_forecast(catalog: Catalog, made: Forecast) -> bool:
    """Store the forecast, unless there is one of the same days with fewer archived days. Return whether it is stored.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: The catalog cannot be written.
    """
    earlier = kept_forecast(catalog, made.first, made.last)
    if earlier is not None and earlier.archived_days != made.archived_days:
        return False
    catalog.store.replace(_path(made.first, made.last), _to_json(made))
    return True


def kept_forecast(catalog: Catalog, first: date, last: date) -> KeptForecast | None:
    """Return the stored forecast of exactly these days, or None.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: The catalog cannot be read.
    """
    return _read(catalog.store, _path(first, last))


def forecasts_of(catalog: Catalog, day: date) -> Iterator[KeptForecast]:
    """Yield the stored forecasts in which this day was not archived yet, latest first.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: The catalog cannot be read.
    """
    paths = [item.path for item in catalog.store.list(_FOLDER) if _covers(item.path, day)]
    found = [made for made in (_read(catalog.store, path) for path in paths) if made is not None]
    for made in sorted(found, key=lambda made: made.made_at, reverse=True):
        if made.first <= day <= made.last and day not in made.archived_days:
            yield made


def _path(first: date, last: date) -> str:
    return f"{_FOLDER}/{first}_{last}.json"


def _covers(path: str, day: date) -> bool:
    first, _, last = path.rpartition("/")[2].removesuffix(".json").partition("_")
    return first <= day.isoformat() <= last


def _to_json(made: Forecast) -> bytes:
    document = {
        "format": _FORMAT,
        "first": made.first.isoformat(),
        "last": made.last.isoformat(),
        "made_at": made.made_at.isoformat(),
        "archived_days": [day.isoformat() for day in made.archived_days],
        "accounts": {
            account.subaccount_id: {
                "time_s": _packed(account.time_s),
                "days": [[_packed(getattr(day, name)) for name in FIGURES] for day in account.days],
            }
            for account in made.accounts
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _packed(figure: Figure) -> list[object]:
    return [figure.value, figure.low, figure.high, {basis.name: count for basis, count in figure.bases}]


def _unpacked(packed: list[Any]) -> Figure:
    value, low, high = (None if number is None else float(number) for number in packed[:3])
    return Figure(value, low, high, tuple((Basis[name], int(count)) for name, count in packed[3].items()))


def _read(store: Store, path: str) -> KeptForecast | None:
    """Return the forecast in the file; None for a damaged or foreign file."""
    try:
        document = json.loads(store.read(path))
        if document["format"] != _FORMAT:
            return None
        first, last = date.fromisoformat(document["first"]), date.fromisoformat(document["last"])
        accounts: dict[str, Any] = document["accounts"]
        days = {id_: tuple(_day(row) for row in account["days"]) for id_, account in accounts.items()}
        made = KeptForecast(
            first=first,
            last=last,
            made_at=datetime.fromisoformat(document["made_at"]),
            archived_days=tuple(date.fromisoformat(day) for day in document["archived_days"]),
            days=days,
            time_s={id_: _unpacked(account["time_s"]) for id_, account in accounts.items()},
        )
    except (ObjectNotFoundError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
    whole = all(len(rows) == (last - first).days + 1 for rows in days.values())
    return made if whole and made.made_at.tzinfo is not None else None


def _day(row: list[Any]) -> DayForecast:
    figures = dict(zip(FIGURES, map(_unpacked, row), strict=True))
    return DayForecast(settled_count=0, **figures)
