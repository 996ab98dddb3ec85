"""Operations on columns of Arrow tables. A key joins the texts of columns with `/`; NULL counts as an empty text."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # `pyarrow.compute`, untyped: its stubs reject Python values as arguments beside columns
Column = Any  # a `pa.ChunkedArray` or a `pa.Array`: `pc` accepts and returns either


def keys_of(table: pa.Table, names: Sequence[str]) -> Column:
    """Return the key of each row, from the named text columns."""
    columns = [table[name] for name in names]
    joined = pc.binary_join_element_wise(*columns, "/", null_handling="replace", null_replacement="")
    return joined.combine_chunks()


def matching_rows(keys: Column, *, among: Column) -> Column:
    """Return for each key the index of the first row with that key, or NULL."""
    return pc.index_in(keys, value_set=among)


def rows_at(table: pa.Table, indices: Column) -> pa.Table:
    """Return the rows at these indices; a row of NULLs for each NULL."""
    if indices.equals(pa.array(np.arange(len(table), dtype=np.int32))):
        return table  # tables of a day mostly have the same keys: save the copy
    return table.take(indices)


def rows_where(table: pa.Table, flags: Column) -> pa.Table:
    """Return the rows whose flag is true."""
    if pc.all(flags, skip_nulls=False).as_py():
        return table  # mostly all are: save the copy
    return table.filter(flags)


def rows_in(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows as dicts, converted a thousand at a time to limit memory."""
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def last_of_each(table: pa.Table, names: Sequence[str]) -> Column:
    """Return the index of the last row of each key in the named columns, ordered by key."""
    numbered = table.select(list(names)).append_column("number", pa.array(np.arange(len(table))))
    last = numbered.group_by(list(names), use_threads=False).aggregate([("number", "max")])
    return last.sort_by([(name, "ascending") for name in names])["number_max"].combine_chunks()


def key_counts(keys: Column, *, among: Column) -> Column:
    """Return for each key how many rows have it."""
    counted = pc.value_counts(among)
    found = pc.index_in(keys, value_set=counted.field("values"))
    return pc.fill_null(counted.field("counts").take(found), 0)


def count_values(column: Column) -> dict[Any, int]:
    """Count the rows of each value, in order of first appearance."""
    counted = pc.value_counts(column)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def is_true(flags: Column) -> Column:
    """Return the flags with False for NULL."""
    return pc.fill_null(flags, False)


def joined_lists(lists: Column, separator: str = ",") -> Column:
    """Return the texts of each list joined; an empty text for NULL."""
    return pc.fill_null(pc.binary_join(lists.combine_chunks(), separator), "")


def in_order(table: pa.Table, names: Sequence[str]) -> bool:
    """Return whether the rows are in strictly ascending order of these columns. False if a column has NULLs."""
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
