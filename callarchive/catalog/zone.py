"""The time zone of a catalog's days, stored by its first run. Runs with another one, and so other days, are refused."""

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
_AHEAD = timedelta(days=366)  # how far into the future two names of a zone must agree


def require_same_zone(catalog: "Catalog", settings: Settings, *, now: datetime) -> None:
    """Check that the catalog has the configured time zone. A catalog without a stored zone gets the configured one.

    Another name is accepted (Etc/UTC for UTC, Asia/Calcutta for Asia/Kolkata) if it gives the same bounds to every day
    from the first one in use to a year from now. Raises ConfigurationError if the catalog has another zone; StoreError,
    UnavailableError, AccessDeniedError.
    """
    kept = kept_zone(catalog)
    if kept is None:
        try:
            catalog.store.create(MARK_PATH, json.dumps({"timezone": settings.timezone}).encode() + b"\n")
            return
        except AlreadyExistsError:  # by a concurrent first run
            kept = kept_zone(catalog)
    if kept != settings.timezone and not _same_days(catalog, settings, kept or "", now=now):
        raise ConfigurationError(
            f"timezone: days of {catalog.store.url} are cut in {kept}, not in {settings.timezone}: restore timezone, or"
            " archive the days into a new catalog (docs/operating/time-zones.md)"
        )


def kept_zone(catalog: "Catalog") -> str | None:
    """Return the name of the stored time zone, or None. Raises StoreError if it is damaged."""
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


def _same_days(catalog: "Catalog", settings: Settings, kept: str, *, now: datetime) -> bool:
    zone = opened_zone(kept)
    if zone is None:
        return False
    first = min([settings.start_date, *catalog.days(schemas.SESSION_IDS)])
    last = day_of(now, zone) + _AHEAD
    return all(day_bounds(day, zone) == day_bounds(day, settings.zone) for day in days_between(first, last))
