#!/usr/bin/env bash
# fastparquet: an older file without a column loses the column, or ends in an IndexError, depending on its type and the number of files.
#
# Version: fastparquet 2026.9.0 with pandas 3.1.1 and pyarrow 25.0.1 as the writer. Seen on 2026-11-30.
#
# Files of a Hive-partitioned folder were written by two versions of a program: those of the newer one have one column more. fastparquet
# reads the folder with to_pandas():
# - two files, the older one first: the column is not in the frame, without an error, whatever its type;
# - three files, the older one first: a column of text or double is there, empty for the older rows; a column of integers or booleans
#   raises "IndexError: list index out of range", and no row is read;
# - two files, the older one last: text and double are there; integers and booleans raise the same error.
#
# Why this matters for an archive: tables that live for years gain columns, and a test with two days, or with a text column, shows nothing
# about three days or an integer. pyarrow, pandas and DuckDB read the same folders. Workaround: read the files one by one and concatenate.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 pyarrow==25.0.1 2>"$tmp/pip"; then
    cat "$tmp/pip" >&2
    echo "could not install the packages" >&2
    exit 2
fi

status=0
env -i PATH="$PATH" HOME="$tmp" "$tmp/venv/bin/python" - "$tmp" <<'PYTHON' || status=$?
import sys
from pathlib import Path

import fastparquet
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

home = Path(sys.argv[1])
print(f"fastparquet {fastparquet.__version__}, pandas {pd.__version__}, pyarrow {pa.__version__}\n")
ADDED = {
    "text": pa.array(["ok", "ok"]),
    "double": pa.array([0.5, 1.5]),
    "int64": pa.array([1, 2]),
    "bool": pa.array([True, False]),
}


def read(kind: str, days: int, older: int) -> str:
    """Write a file a day, the one at index `older` without the added column, and return what fastparquet makes of the folder."""
    folder = home / f"{kind}-{days}-{older}"
    for number in range(days):
        table = pa.table({"id": pa.array(["a", "b"])})
        if number != older:
            table = table.append_column("added", ADDED[kind])
        path = folder / f"day=2026-01-0{number + 1}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
    try:
        frame = fastparquet.ParquetFile(str(folder)).to_pandas()
    except IndexError as err:
        return f"IndexError: {err}"
    if "added" not in frame:
        return f"{len(frame)} rows, without the column"
    return f"{len(frame)} rows, {frame['added'].isna().sum()} of them empty"


ERROR = "IndexError: list index out of range"
described = True
for days, older, place in ((2, 0, "first"), (3, 0, "first"), (2, 1, "last")):
    for kind in ADDED:
        result = read(kind, days, older)
        print(f"{days} files, the {place} one lacks a column of {kind:6} -> {result}")
        if (days, older) == (2, 0):
            described &= result == "4 rows, without the column"
        else:
            described &= result == (ERROR if kind in ("int64", "bool") else f"{2 * days} rows, 2 of them empty")
if not described:
    sys.exit(3)
print("\nAs described: the column is lost, empty or an error, by its type and the number of files.")
PYTHON
case $status in
    0) ;;
    3)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
    *)
        echo "could not be tried: see the error above" >&2
        exit 2
        ;;
esac
