"""Cases that need no server: frame walk, catalog, program start. The work itself is in `tasks`."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.corpus import make_corpus
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, cpu, measure, output_values, peak_mb, python, run_rounds, wall
from benchmarks.report import Section, Table, at_least, at_most, ratio_at_most, run_table, spread
from benchmarks.servers import ROOT


def frame_walk(plan: Plan) -> Section:
    """Measure how many recordings one core walks per second."""
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.walked)
    runs = run_rounds([_task("walk", corpus.home, len(corpus.samples))], plan.repeat)
    each = runs["walk"]
    per_second = [len(corpus.samples) / cpu_s for cpu_s in output_values(each, "cpu_s")]
    mean_kb = median([run.output["bytes"] for run in each]) / len(corpus.samples) / 1000
    prose = (
        f"{len(corpus.samples):,} recordings of every kind that the simulator can make, {mean_kb:.0f} kB on average, preloaded"
        " in memory; CPU time of one thread. `tests/callarchive/mp3/test_mp3_decoded.py` checks the accuracy."
    )
    rows = (("frame walk", spread(per_second), spread([mean_kb * rate / 1000 for rate in per_second])),)
    claim = at_least("mp3 frame walk on one core", per_second, 2500, "files/s")
    return Section("Frame walk", prose, (claim,), (Table(("work", "files/s", "MB/s"), rows),))


def catalog(plan: Plan) -> Section:
    """Measure writing a large partition and querying a year, compared with plain pyarrow and DuckDB."""
    sizes = plan.sizes
    rows = plan.directory / f"rows-{sizes.table_rows}.arrow"
    year = plan.directory / f"year-{sizes.year_rows}-{sizes.year_days}"
    if not rows.exists():
        measure(python("benchmarks.tasks", "make-rows", f"{rows}.new", sizes.table_rows))
        Path(f"{rows}.new").rename(rows)
    if not year.exists():
        shutil.rmtree(f"{year}.new", ignore_errors=True)
        measure(python("benchmarks.tasks", "make-year", f"{year}.new", sizes.year_rows, sizes.year_days))
        Path(f"{year}.new").rename(year)
    written = plan.directory / "written"
    writing = run_rounds(
        [
            _task("write-pyarrow", rows, written, "ordered", clear=written),
            _task("write-catalog", rows, written, "ordered", clear=written),
            _task("write-catalog", rows, written, "shuffled", clear=written),
        ],
        plan.repeat,
    )
    reading = run_rounds([_task(name, year) for name in ("query-duckdb", "query-catalog", "query-pandas")], plan.repeat)
    shutil.rmtree(written, ignore_errors=True)
    plain, ours, shuffled = writing.values()
    raw, through, _ = reading.values()
    claims = (
        ratio_at_most(
            f"{sizes.table_rows:,} rows written",
            output_values(ours, "wall_s"),
            output_values(plain, "wall_s"),
            1.2,
            "pyarrow",
        ),
        ratio_at_most("a year read through Catalog.duckdb: time", wall(through), wall(raw), 1.5, "DuckDB"),
        ratio_at_most("a year read through Catalog.duckdb: memory", peak_mb(through), peak_mb(raw), 1.3, "DuckDB"),
    )
    writers = ("pyarrow.parquet.write_table", "Catalog.replace_partition", "Catalog.replace_partition, shuffled rows")
    readers = ("plain DuckDB", "Catalog.duckdb", "Catalog.pandas")
    prose = (
        f"Writing: `recordings`, {sizes.table_rows:,} rows of one day, preloaded in memory, once sorted by key, as the steps"
        " produce them, and once shuffled. pyarrow uses the same compression but does not sort, check or sync. Reading: a query"
        f" over a year ({sizes.year_days} days, {sizes.year_rows:,} rows) for recordings, bytes and mean duration by account"
        " and month. Wall time, CPU and memory are those of whole processes; the first column is the write or query alone."
    )
    tables = (
        _task_table("writing", zip(writers, (plain, ours, shuffled), strict=True), "write s"),
        _task_table("reading", zip(readers, reading.values(), strict=True), "query s"),
    )
    return Section("Catalog", prose, claims, tables)


def _task_table(heading: str, runs: Iterable[tuple[str, Sequence[Measured]]], task_heading: str) -> Table:
    """Return a table of the processes' cost, with the time of the task itself in the first column."""
    rows = tuple(
        (
            name,
            spread(output_values(each, "wall_s")),
            spread(wall(each)),
            spread(cpu(each)),
            f"{median(peak_mb(each)):.0f}",
        )
        for name, each in runs
    )
    return Table((heading, task_heading, "wall s", "CPU s", "peak MB"), rows)


def starting(plan: Plan) -> Section:
    """Measure how long the programs take to start."""
    environment = {**os.environ, "CALLARCHIVE_CONFIG": str(ROOT / "callarchive.example.toml")}
    commands = {
        "import dagster": [sys.executable, "-c", "import dagster"],
        "import pipelines.definitions": [sys.executable, "-c", "import pipelines.definitions"],
        "callarchive --help": [str(Path(sys.executable).parent / "callarchive"), "--help"],
    }

    def contender(name: str) -> Contender:
        return Contender(name, lambda: measure(commands[name], environment=environment))

    runs = run_rounds([contender(name) for name in commands], plan.repeat)
    dagster, location, help_ = (wall(each) for each in runs.values())
    claims = (
        ratio_at_most("import of the code location", location, dagster, 1.3, "import dagster"),
        at_most("callarchive --help", help_, 0.3, "s"),
    )
    return Section("Start-up", "Whole processes, with precompiled bytecode.", claims, (run_table(runs, servers=False),))


def _task(name: str, *words: object, clear: Path | None = None) -> Contender:
    def run() -> Measured:
        if clear is not None:
            shutil.rmtree(clear, ignore_errors=True)
        os.sync()
        return measure(python("benchmarks.tasks", name, *words), parse_output=True)

    return Contender(" ".join([name, *(str(word) for word in words[2:])]), run)
