"""Names of pieces sort by time and appear unmasked in error messages."""

from callarchive.archiving.pieces import piece_name
from callarchive.domain.foreign_text import mask_numbers


def test_names_sort_by_time_and_are_never_masked() -> None:
    names = [piece_name() for _ in range(2000)]
    assert sorted(name.partition("-")[0] for name in names) == [name.partition("-")[0] for name in names]
    assert len(set(names)) == len(names)
    assert [
        name
        for name in names
        if mask_numbers(f"pieces/{name}.parquet is damaged") != f"pieces/{name}.parquet is damaged"
    ] == []
