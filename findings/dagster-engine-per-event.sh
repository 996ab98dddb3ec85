#!/usr/bin/env bash
# Dagster: with its default storage, SQLite, each event of an asset makes two new SQLAlchemy engines, also within one process.
#
# Version: dagster 1.13.27 with SQLAlchemy 2.0.51. Seen on 2026-12-01.
#
# A process that holds one DagsterInstance might be expected to keep one engine, and its connection, for each of its few database
# files. Instead every event that is stored makes an engine for the run's file and, if it concerns an asset, one for the index of
# all runs: a run with 100 materializations makes more than 200. Each opens the file again, and compiles the same few INSERTs with an
# empty cache. One event took 7 ms of CPU, a third of it for compiling.
#
# Why this matters for an archive: a backfill of small days stores hundreds of events in each run, and the time for them is spent in
# the process that does the work; an event for each file, rather than for each day, would cost several times what hashing the file
# does. No setting of the SQLite storage changes this.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 sqlalchemy==2.0.51 2>"$tmp/pip"; then
    cat "$tmp/pip" >&2
    echo "could not install the packages" >&2
    exit 2
fi

cat >"$tmp/events.py" <<'PYTHON'
"""Print how many events a run with this many materializations stores, and how many engines are made for each kind of file."""

import collections
import pathlib
import sys

import sqlalchemy

engines = collections.Counter()
create_engine = sqlalchemy.create_engine


def counting(url, *words, **options):
    name = pathlib.Path(str(url)).name
    engines[name if name == "index.db" else "of the run" if len(name) > 30 else "other"] += 1
    return create_engine(url, *words, **options)


sqlalchemy.create_engine = counting
import dagster as dg  # noqa: E402

count = int(sys.argv[1])


@dg.op(out={})
def materialize(context):
    for number in range(count):
        context.log_event(dg.AssetMaterialization("recordings", partition=str(number)))


@dg.job
def job():
    materialize()


with dg.DagsterInstance.local_temp(sys.argv[2]) as instance:
    run = job.execute_in_process(instance=instance)
    stored = len(instance.all_logs(run.run_id))
print(stored, engines["of the run"], engines["index.db"], engines["other"])
PYTHON

versions=$("$tmp/venv/bin/python" -c "from importlib.metadata import version; print('dagster', version('dagster') + ', SQLAlchemy', version('sqlalchemy'))")
echo "$versions"
failed=0
for count in 10 100; do
    mkdir -p "$tmp/home-$count"
    read -r stored of_run of_index other < <("$tmp/venv/bin/python" "$tmp/events.py" "$count" "$tmp/home-$count" 2>"$tmp/log") || {
        cat "$tmp/log" >&2
        exit 2
    }
    echo "$count materializations in one run: $stored events stored; engines: $of_run for the run's file, $of_index for the index, $other others"
    if ((stored < count || of_run < stored || of_index < count)); then
        failed=1
    fi
done
if ((failed)); then
    echo "CHANGED: an event no longer makes an engine for each file"
    exit 1
fi
echo "as described: each event makes an engine for the run's file, and each materialization one for the index too"
