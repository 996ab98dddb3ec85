"""Working on columns of arrow tables: keys of rows, which row of another table has the same key, order, counts.

A key is what its columns' texts make when a `/` stands between them, which no account id contains; a null is no text.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute
"""pyarrow's computations. Untyped: its stubs refuse a Python value where pyarrow takes one beside a column."""

Column = Any
"""A `pa.ChunkedArray` of a table or a `pa.Array`: computations take and give either."""


def keys_of(table: pa.Table, names: Sequence[str]) -> Column:
    """One text per row: its key in the columns of text that are named."""
    columns = [table[name] for name in names]
    joined = pc.binary_join_element_wise(*columns, "/", null_handling="replace", null_replacement="")
    return joined.combine_chunks()


def matching_rows(keys: Column, *, among: Column) -> Column:
    """For each key the number of the first row that has it, counted from 0; null where none has."""
    return pc.index_in(keys, value_set=among)


def rows_at(table: pa.Table, numbers: Column) -> pa.Table:
    """The table's rows of these numbers, in their order; a row of nulls where a number is null."""
    if numbers.equals(pa.array(np.arange(len(table), dtype=np.int32))):
        return table  # tables of one day mostly have the same keys: why hold it twice
    return table.take(numbers)


def rows_where(table: pa.Table, flags: Column) -> pa.Table:
    """The rows whose flag is true."""
    if pc.all(flags, skip_nulls=False).as_py():
        return table  # mostly all are: why hold them twice
    return table.filter(flags)


def rows_in(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as Python values by column, made a thousand at a time: a day may be long."""
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def last_of_each(table: pa.Table, names: Sequence[str]) -> Column:
    """For each key in these columns the number of the last row that has it, in the order of the keys."""
    numbered = table.select(list(names)).append_column("number", pa.array(np.arange(len(table))))
    last = numbered.group_by(list(names), use_threads=False).aggregate([("number", "max")])
    return last.sort_by([(name, "ascending") for name in names])["number_max"].combine_chunks()


def key_counts(keys: Column, *, among: Column) -> Column:
    """For each key how many rows have it; 0 where none has."""
    counted = pc.value_counts(among)
    found = pc.index_in(keys, value_set=counted.field("values"))
    return pc.fill_null(counted.field("counts").take(found), 0)


def count_values(column: Column) -> dict[Any, int]:
    """How many rows have each value of the column, in the order in which they come."""
    counted = pc.value_counts(column)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def in_order(table: pa.Table, names: Sequence[str]) -> bool:
    """Whether the rows are ordered by these columns, ascending, and no two are alike in all of them.

    False also where a column has nulls: whoever sorts then puts them where they belong.
    """
    if any(table[name].null_count for name in names):
        return False
    if table.num_rows < 2:
        return True
    rising: Column | None = None
    for name in reversed(names):
        column = table[name]
        before, after = column.slice(0, len(column) - 1), column.slice(1)
        below = pc.less(before, after)
        rising = below if rising is None else pc.or_(below, pc.and_(pc.equal(before, after), rising))
    return bool(pc.all(rising).as_py())
