"""What a run of a day could not determine, for the checks of the day to report."""

from collections.abc import Iterable

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.catalog.schemas import UNKNOWNS


def keep_unknowns(day: CatalogDay, unknowns: Iterable[tuple[str, str, str]]) -> None:
    """Replace what earlier runs of the day could not determine: (subaccount_id, name of a check, end of a sentence)."""
    rows = [dict(zip(UNKNOWNS.key, unknown, strict=True)) for unknown in sorted(set(unknowns))]
    if day.catalog.rows(UNKNOWNS, day.date) != rows:
        day.replace(UNKNOWNS, rows)
