"""Comparison of two tables with the same key: rows removed, added and edited."""

from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """How the found rows differ from the expected ones.

    Attributes:
        removed, added, doubled: keys, their parts joined by `/`.
        edited: the actual and the expected value by key and column.
    """

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
        name = self.table.name
        found = [
            Finding(Defect.REMOVED, f"{name} {cleaned_path(key)}: the row is missing, but {source} have it")
            for key in self.removed
        ]
        found += [
            Finding(Defect.ADDED, f"{name} {cleaned_path(key)}: the row is not in {source}") for key in self.added
        ]
        found += [Finding(Defect.ADDED, f"{name} {cleaned_path(key)}: the row is duplicated") for key in self.doubled]
        for key, cells in self.edited.items():
            cells_text = "; ".join(
                f"{column} differs"
                if column in _PRIVATE
                else f"{column} is {_shown(is_now)} and should be {_shown(expected)}"
                for column, (is_now, expected) in cells.items()
            )
            found.append(Finding(Defect.EDITED, f"{name} {cleaned_path(key)}: {cells_text}"))
        return found


def differences(table: Table, found: pa.Table, expected: pa.Table, *, columns: Iterable[str]) -> Differences:
    """Compare rows by the table's key, and the given columns of rows in both.

    Args:
        columns: the columns to compare besides the key.
    """
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
    compared = set(columns) - set(table.key)
    for name in (name for name in table.schema.names if name in compared):
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
        one, other = (pc.binary_join(column, "\x1f") for column in (one, other))
    if pa.types.is_floating(one.type):
        bound = pc.multiply(pc.max_element_wise(pc.abs(one), pc.abs(other), 1.0), _SAME_SHARE)
        equal = pc.less_equal(pc.abs(pc.subtract(one, other)), bound)
    else:
        equal = pc.equal(one, other)
    return pc.or_(pc.fill_null(equal, False), pc.and_(pc.is_null(one), pc.is_null(other)))


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    text = cleaned_path(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
