"""Schemas, Parquet partitions, and rows to and from models. `Catalog` is what readers of the tables need."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog

__all__ = ["Catalog"]


def __getattr__(name: str) -> Any:
    if name != "Catalog":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from callarchive.catalog.parquet_catalog import Catalog  # 0.1 s of pyarrow, which the schemas do not need

    return Catalog
