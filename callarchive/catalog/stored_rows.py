"""Rows of Parquet files in memory that are decoded a part at a time: decoded, a long day takes three times as much."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from callarchive.catalog.arrow_columns import Column, last_of_each, pc
from callarchive.catalog.parquet_files import ROWS_AT_ONCE, DamagedError, in_schema, opened, schema_of
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import ArchiveError
from callarchive.runtime.memory import release_unused

_Group = tuple[bytes, int, ArchiveError]  # a file, the number of the row group in it, and the error if it is damaged


@dataclass(frozen=True)
class StoredRows:
    """Some rows of a table, in an order.

    Attributes:
        keys: the key columns of the rows.
    """

    keys: pa.Table
    _table: Table
    _groups: Sequence[_Group]
    _begins: Any
    _numbers: Any
    _last: dict[int, pa.Table]

    @classmethod
    def of(cls, table: Table, files: Iterable[tuple[bytes, ArchiveError]]) -> Self:
        """Return all rows of the files, in their order. The files are given with the error to raise if one is damaged."""
        groups: list[_Group] = []
        keys = [schema_of(table, table.key).empty_table()]
        for data, error in files:
            try:
                with opened(data) as file:
                    for number in range(file.num_row_groups):
                        found = file.read_row_group(number, columns=list(table.key), use_threads=False)
                        keys.append(in_schema(found, keys[0].schema))
                        groups.append((data, number, error))
            except DamagedError as err:
                raise error from err
        begins = np.cumsum([len(part) for part in keys])  # the first has no rows
        return cls(pa.concat_tables(keys), table, groups, begins, np.arange(begins[-1]), {})

    def __len__(self) -> int:
        return len(self._numbers)

    def latest(self) -> Self:
        """Return the last row of each key, ordered by key."""
        return self.at(last_of_each(self.keys, self._table.key))

    def at(self, numbers: Column) -> Self:
        """Return the rows with these numbers, counted from 0 in the order of these rows."""
        return replace(self, keys=self.keys.take(numbers), _numbers=self._numbers[np.asarray(numbers)])

    def where(self, flags: Column) -> Self:
        """Return the rows whose flag is true."""
        return self if pc.all(flags, skip_nulls=False).as_py() else self.at(pc.indices_nonzero(flags))

    def between(self, begin: int, end: int) -> Self:
        """Return the rows with the numbers from `begin` to before `end`."""
        return replace(self, keys=self.keys.slice(begin, end - begin), _numbers=self._numbers[begin:end])

    def count_up_to(self, key: Sequence[str]) -> int:
        """Return how many rows, which are ordered by key, have at most this key."""
        columns = list(zip(self.keys.columns, key, strict=True))
        column, value = columns.pop()
        flags = pc.less_equal(column, value)
        for column, value in reversed(columns):
            flags = pc.or_(pc.less(column, value), pc.and_(pc.equal(column, value), flags))
        return pc.sum(flags).as_py() or 0

    def decoded(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows in the table's schema, or the named columns. Raises the error of a damaged file."""
        return pa.concat_tables([schema_of(self._table, columns).empty_table(), *self.parts(columns)])

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of `decoded` in parts."""
        for begin in range(0, len(self), ROWS_AT_ONCE):
            if begin:
                release_unused()  # of the part before: its columns are too small to be returned when they are freed
            yield self._part(self._numbers[begin : begin + ROWS_AT_ONCE], schema_of(self._table, columns))

    def _part(self, numbers: Any, schema: pa.Schema) -> pa.Table:
        """Return the rows with these numbers in the files."""
        groups = np.searchsorted(self._begins, numbers, side="right") - 1
        order = np.argsort(groups, kind="stable")
        found = []
        for places in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            group = groups[places[0]]
            rows, wanted = self._decoded_group(group, schema), numbers[places] - self._begins[group]
            in_sequence = (np.diff(wanted) == 1).all()
            found.append(rows.slice(wanted[0], len(wanted)) if in_sequence else rows.take(wanted))
        if len(found) == 1:
            return found[0]
        columns = dict(zip(schema.names, pa.concat_tables(found).columns, strict=True))
        del found, rows  # each column is freed once its rows are taken
        back = np.argsort(order)
        return pa.table([columns.pop(name).take(back) for name in schema.names], schema=schema)

    def _decoded_group(self, number: int, schema: pa.Schema) -> pa.Table:
        if (last := self._last.get(number)) is not None and last.schema.equals(schema):
            return last
        self._last.clear()
        data, group, error = self._groups[number]
        try:
            with opened(data) as file:
                found = file.read_row_group(group, columns=schema.names, use_threads=False)
        except DamagedError as err:
            raise error from err
        rows = in_schema(found, schema)
        if len(rows) > ROWS_AT_ONCE:  # older versions wrote a day as one group
            self._last[number] = rows
        return rows
