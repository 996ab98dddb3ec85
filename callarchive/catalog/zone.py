"""The time zone that a catalog's days are cut in, as the catalog itself keeps it.

With another zone the same day would be another stretch of time: sessions near midnight would vanish from between its days or
be refused by both. So the first run writes the zone down, and a run with another one is refused.
"""

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callarchive.catalog import schemas
from callarchive.domain.days import day_bounds, day_of, days_between
from callarchive.domain.errors import AlreadyExistsError, ConfigurationError, ObjectNotFoundError, StoreError
from callarchive.runtime.time_zones import opened_zone
from callarchive.settings import Settings

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog

MARK_PATH = "_catalog.json"
_AHEAD = timedelta(days=366)
"""Two names of one zone must also agree on the days to come."""


def require_same_zone(catalog: "Catalog", settings: Settings, *, now: datetime) -> None:
    """Return when the catalog's days are cut in the configured zone. A catalog without a mark gets one, once and for all.

    Another name for the same days is fine (UTC and Etc/UTC, Asia/Calcutta and Asia/Kolkata): one that gives every day, from the
    first one in use to a year from now, the same bounds. Nobody can know which zone an unmarked catalog was cut in: the
    configured one is taken for it.

    Raises:
        ConfigurationError: it was cut in another zone.
        StoreError, UnavailableError, AccessDeniedError: the mark cannot be read or written.
    """
    kept = kept_zone(catalog)
    if kept is None:
        try:
            catalog.store.create(MARK_PATH, _encoded(settings.timezone))
            return
        except AlreadyExistsError:  # another first run was quicker
            kept = kept_zone(catalog)
    if kept != settings.timezone and not _same_days(catalog, settings, kept or "", now=now):
        raise ConfigurationError(
            f"timezone: days of {catalog.store.url} are cut in {kept}, not in {settings.timezone}: set timezone back, or cut"
            " them again into a new catalog (docs/operating/time-zones.md)"
        )


def kept_zone(catalog: "Catalog") -> str | None:
    """Return the zone's name as the catalog keeps it; None where it has no mark.

    Raises:
        StoreError: the mark is damaged.
    """
    try:
        data = catalog.store.read(MARK_PATH)
    except ObjectNotFoundError:
        return None
    try:
        name = json.loads(data)["timezone"]
    except (ValueError, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or not name:
        raise StoreError(
            f'{catalog.store.uri(MARK_PATH)} is damaged: write {{"timezone": "..."}} into it, with the zone of its days'
        )
    return name


def _encoded(name: str) -> bytes:
    return json.dumps({"timezone": name}).encode() + b"\n"


def _same_days(catalog: "Catalog", settings: Settings, kept: str, *, now: datetime) -> bool:
    zone = opened_zone(kept)
    if zone is None:
        return False
    first = min([settings.start_date, *catalog.days(schemas.SESSION_IDS)])
    last = day_of(now, zone) + _AHEAD
    return all(day_bounds(day, zone) == day_bounds(day, settings.zone) for day in days_between(first, last))
