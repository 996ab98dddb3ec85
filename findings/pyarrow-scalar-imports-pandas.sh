#!/usr/bin/env bash
# pyarrow: the first conversion of one Python value, pa.scalar(1), imports all of pandas if it is installed.
#
# Version: pyarrow 26.0.1 with pandas 3.1.1 and numpy 2.4.6. Seen on 2026-12-01.
#
# Importing pyarrow with its parquet and compute modules, making a table from buffers, writing it, and reading it with ParquetFile
# imports no pandas. The first pa.scalar, pa.array of a list, or Table.from_pylist does, although no frame is anywhere near; so do
# pq.read_table, and pc.equal(column, "text"), which converts its text. The process then has several hundred modules and some 30 MB
# more. pyarrow looks for pandas only once: if the first look finds none, no later conversion imports it, and to_pandas still works.
#
# Why this matters for an archive: short processes (one command, one run a day, thousands of days) pay in start-up time and memory
# for a library that they do not use, and sys.modules after the imports shows nothing of it. Memory that was measured where pandas
# is not installed says little about a machine that has it for notebooks.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6 2>"$tmp/pip"; then
    cat "$tmp/pip" >&2
    echo "could not install the packages" >&2
    exit 2
fi

cat >"$tmp/convert.py" <<'PYTHON'
"""Print whether pandas is imported before and after one conversion, and what the conversion added to the process."""

import importlib.metadata
import resource
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class Hidden:
    @staticmethod
    def find_spec(name, *_):
        if name == "pandas":
            raise ImportError(name)


conversions = {
    "none": lambda: None,
    "read_table": lambda: pq.read_table(pa.BufferReader(file.getvalue())),
    "scalar": lambda: pa.scalar(1),
    "array": lambda: pa.array([1, None]),
    "from_pylist": lambda: pa.Table.from_pylist([{"id": "a"}]),
    "equal": lambda: pc.equal(column, "a"),
    "hidden": lambda: pa.scalar(1),
}
column = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"a")])
table, file = pa.Table.from_arrays([column], names=["id"]), pa.BufferOutputStream()
pq.write_table(table, file)
assert pq.ParquetFile(pa.BufferReader(file.getvalue())).read().equals(table)

name, before = sys.argv[1], "pandas" in sys.modules
modules, peak_kb = len(sys.modules), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if name == "hidden":
    sys.meta_path.insert(0, Hidden)
conversions[name]()
after = "pandas" in sys.modules
added_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb) / 1000
print(f"{name:12} pandas imported before: {before}, after: {after}; {len(sys.modules) - modules:4} modules, {added_mb:4.0f} MB more")
if name == "hidden":
    sys.meta_path.remove(Hidden)
    pa.scalar(1), pa.array([1])
    later = "pandas" in sys.modules
    frame = table.to_pandas()
    print(f"{'':12} pandas imported by later conversions: {later}; to_pandas gives a {type(frame).__name__}")
    sys.exit(before or after or later or type(frame).__name__ != "DataFrame")
if name == "none":
    print("versions:", *(f"{each} {importlib.metadata.version(each)}" for each in ("pyarrow", "pandas", "numpy")))
sys.exit(before or after != (name != "none"))
PYTHON

status=0
for name in none read_table scalar array from_pylist equal hidden; do
    env -i PATH="$PATH" HOME="$tmp" "$tmp/venv/bin/python" "$tmp/convert.py" "$name" || status=1
done
echo
if [ "$status" = 0 ]; then
    echo "as described: one converted value, or read_table, imports pandas; ParquetFile does not"
else
    echo "changed: see the lines above"
fi
exit "$status"
