#!/usr/bin/env bash
# DataFusion: a column declared "timestamp with time zone" has a zone in 43.1 and none in 55.0, from the same file and statement.
#
# Versions: datafusion 43.1.0 (pyarrow 18.1.0) and 55.0.0 (pyarrow 25.0.1). Seen on 2026-11-30.
#
# A Parquet file holds instants as timestamp[us, tz=UTC]. CREATE EXTERNAL TABLE declares the column as "timestamp with time zone".
# DataFusion 43.1 returns timestamps with the zone +00:00. DataFusion 55.0 returns timestamps without a zone: the zone of the file and the
# one of the declaration are both lost, without an error or a warning. After "set datafusion.execution.time_zone = 'UTC'" the same
# statement gives a zone in both.
#
# Why this matters for an archive: a program that takes values without a zone for local times is off by eight hours in Singapore after an
# upgrade, and a comparison of instants in UTC does not show it. Workaround: set the option before the table is created.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

install() { # NAME PACKAGE...
    local name=$1
    shift
    if ! python3 -m venv "$tmp/$name" || ! "$tmp/$name/bin/pip" install --quiet --disable-pip-version-check "$@" 2>"$tmp/pip"; then
        cat "$tmp/pip" >&2
        echo "could not install the packages" >&2
        exit 2
    fi
}
install older datafusion==43.1.0 pyarrow==18.1.0
install newer datafusion==55.0.0 pyarrow==25.0.1

cat >"$tmp/read.py" <<'PYTHON'
import sys
from datetime import UTC, datetime

import datafusion
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

file, plain_is_zoned = sys.argv[1], sys.argv[2] == "zoned"
table = pa.table({"started_at": pa.array([datetime(2026, 11, 1, 17, 30, tzinfo=UTC)], pa.timestamp("us", "UTC"))})
pq.write_table(table, file)
print(f"datafusion {datafusion.__version__}, pyarrow {pa.__version__}; in the file: {pq.read_schema(file).field(0).type}")


def kind(*first: str) -> pa.DataType:
    """Return the type of the column as a query returns it, after the statements in `first`."""
    context = SessionContext()
    for statement in first:
        context.sql(statement)
    context.sql(f"create external table calls (started_at timestamp with time zone) stored as parquet location '{file}'")
    return pa.Table.from_batches(context.sql("select started_at from calls").collect()).schema.field(0).type


plain, zoned = kind(), kind("set datafusion.execution.time_zone = 'UTC'")
print(f"  declared 'timestamp with time zone':    {plain}")
print(f"  the same after the time zone was set:   {zoned}")
if (plain.tz is not None) != plain_is_zoned or zoned.tz is None:
    sys.exit(3)
PYTHON

status=0
for name in older newer; do
    expected=zoned
    [ "$name" = older ] || expected=none
    env -i PATH="$PATH" HOME="$tmp" "$tmp/$name/bin/python" "$tmp/read.py" "$tmp/calls-$name.parquet" "$expected" || status=$?
    [ "$status" = 0 ] || break
done
case $status in
    0) printf '\nAs described: the newer version drops the zone unless the time zone is set first.\n' ;;
    3)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
    *)
        echo "could not be tried: see the error above" >&2
        exit 2
        ;;
esac
