"""Comparison of two tables with the same key: rows removed, added and edited."""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any

import pyarrow as pa

from callarchive.catalog.arrow_columns import Column, count_values, keys_of, matching_rows, pc
from callarchive.catalog.schemas import Table
from callarchive.domain.foreign_text import cleaned_path
from callarchive.monitoring.verification.findings import Defect, Finding

_SAME_SHARE = 1e-9
"""Sums and quantiles may differ in the last digits between versions of a library."""
_PRIVATE = frozenset(("source_number", "destination_number"))
_SHOWN = 80


@dataclass
class Differences:
    """How the found rows differ from the expected ones, by key; `edited` has the actual and the expected value by column."""

    table: Table
    removed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    edited: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)

    def without(self, key: str, column: str) -> None:
        """Drop the difference in this column of the row."""
        cells = self.edited.get(key, {})
        cells.pop(column, None)
        if not cells:
            self.edited.pop(key, None)

    def findings(self, *, source: str) -> list[Finding]:
        """Return a finding for each row. `source` names what the expected rows were computed from."""
        found = [
            *((Defect.REMOVED, key, f"the row is missing, but {source} have it") for key in self.removed),
            *((Defect.ADDED, key, f"the row is not in {source}") for key in self.added),
            *((Defect.ADDED, key, "the row is duplicated") for key in self.doubled),
            *((Defect.EDITED, key, "; ".join(starmap(_edit, cells.items()))) for key, cells in self.edited.items()),
        ]
        return [Finding(defect, f"{self.table.name} {cleaned_path(key)}: {text}") for defect, key, text in found]


def differences(table: Table, found: pa.Table, expected: pa.Table, *, columns: Collection[str]) -> Differences:
    """Compare rows by the table's key, and these columns of rows in both."""
    keys, wanted = keys_of(found, table.key), keys_of(expected, table.key)
    result = Differences(
        table,
        removed=sorted(wanted.filter(pc.invert(pc.is_in(wanted, value_set=keys))).to_pylist()),
        added=sorted(keys.filter(pc.invert(pc.is_in(keys, value_set=wanted))).unique().to_pylist()),
        doubled=sorted(key for key, count in count_values(keys).items() if count > 1),
    )
    numbers = matching_rows(keys, among=wanted)
    both = found.filter(pc.is_valid(numbers))
    beside = expected.take(numbers.drop_null())
    both_keys = keys_of(both, table.key)
    for name in [name for name in table.schema.names if name in columns and name not in table.key]:
        differ = pc.invert(_same(both[name].combine_chunks(), beside[name].combine_chunks()))
        if not pc.any(differ).as_py():
            continue
        cells = zip(
            *(column.filter(differ).to_pylist() for column in (both_keys, both[name], beside[name])), strict=True
        )
        for key, is_now, should_be in cells:
            result.edited.setdefault(key, {})[name] = is_now, should_be
    return result


def _same(one: Column, other: Column) -> Column:
    """Return whether the values are equal, row by row; two NULLs are equal."""
    if pa.types.is_list(one.type):
        one, other = (pc.binary_join(column.cast(pa.list_(pa.string())), "\x1f") for column in (one, other))
    if pa.types.is_floating(one.type):
        bound = pc.multiply(pc.max_element_wise(pc.abs(one), pc.abs(other), 1.0), _SAME_SHARE)
        equal = pc.less_equal(pc.abs(pc.subtract(one, other)), bound)
    else:
        equal = pc.equal(one, other)
    return pc.or_(pc.fill_null(equal, False), pc.and_(pc.is_null(one), pc.is_null(other)))


def _edit(column: str, values: tuple[Any, Any]) -> str:
    if column in _PRIVATE:
        return f"{column} differs"
    return "{} is {} and should be {}".format(column, *map(_shown, values))


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    text = cleaned_path(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
