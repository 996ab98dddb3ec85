"""What a run of a day could not find out, question by question, so that the checks of the day can say so."""

from collections.abc import Iterable
from datetime import date

from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import UNKNOWNS


def keep_unknowns(catalog: Catalog, day: date, unknowns: Iterable[tuple[str, str, str]]) -> None:
    """Replace what earlier runs of the day could not find out.

    Args:
        unknowns: (subaccount_id, question, reason); the question is the name of a check, the reason the end of a sentence.

    Raises:
        StoreError: the catalog takes no write.
    """
    rows = [dict(zip(UNKNOWNS.key, unknown, strict=True)) for unknown in sorted(set(unknowns))]
    if catalog.rows(UNKNOWNS, day) != rows:
        catalog.replace_partition(UNKNOWNS, day, rows)
