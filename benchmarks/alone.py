"""What needs no server: the frame walk, the catalog, the start of the programs. The work itself is in `tasks`."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.corpus import make_corpus
from benchmarks.plan import Plan
from benchmarks.processes import Contender, Measured, by_turns, cpu, measure, middle, peak_mb, python, told, wall
from benchmarks.report import Section, Table, at_least, at_most, in_proportion, run_table, spread
from benchmarks.servers import ROOT


def frame_walk(plan: Plan) -> Section:
    """How many recordings a core walks a second."""
    corpus = make_corpus(plan.directory, plan.sizes.s3).first(plan.sizes.walked)
    runs = by_turns([_task("walk", corpus.home, len(corpus.samples))], plan.repeat)
    each = runs["walk"]
    per_second = [len(corpus.samples) / cpu_s for cpu_s in told(each, "cpu_s")]
    mean_kb = middle([run.told["bytes"] for run in each]) / len(corpus.samples) / 1000
    prose = (
        f"{len(corpus.samples):,} recordings of every shape that the simulator knows, {mean_kb:.0f} kB in the mean, in memory"
        " beforehand; CPU seconds of one thread. How exact it is, `tests/callarchive/mp3/test_mp3_decoded.py` says."
    )
    rows = (("frame walk", spread(per_second), spread([mean_kb * rate / 1000 for rate in per_second])),)
    claim = at_least("mp3 frame walk on one core", per_second, 2500, "files/s")
    return Section("Frame walk", prose, (claim,), (Table(("work", "files/s", "MB/s"), rows),))


def catalog(plan: Plan) -> Section:
    """A large partition written, and a year read, beside pyarrow and DuckDB without us."""
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
    writing = by_turns(
        [
            _task("write-pyarrow", rows, written, "ordered", clear=written),
            _task("write-catalog", rows, written, "ordered", clear=written),
            _task("write-catalog", rows, written, "shuffled", clear=written),
        ],
        plan.repeat,
    )
    reading = by_turns([_task(name, year) for name in ("ask-duckdb", "ask-catalog", "ask-pandas")], plan.repeat)
    shutil.rmtree(written, ignore_errors=True)
    plain, ours, shuffled = writing.values()
    raw, through, _ = reading.values()
    claims = (
        in_proportion(
            f"{sizes.table_rows:,} rows written", told(ours, "wall_s"), told(plain, "wall_s"), 1.2, "pyarrow"
        ),
        in_proportion("a year read through Catalog.duckdb: time", wall(through), wall(raw), 1.5, "DuckDB"),
        in_proportion("a year read through Catalog.duckdb: memory", peak_mb(through), peak_mb(raw), 1.3, "DuckDB"),
    )
    writers = ("pyarrow.parquet.write_table", "Catalog.replace_partition", "Catalog.replace_partition, shuffled rows")
    readers = ("DuckDB alone", "Catalog.duckdb", "Catalog.pandas")
    prose = (
        f"`recordings`, {sizes.table_rows:,} rows of one day, which are in memory beforehand; pyarrow writes them with the same"
        " compression and neither orders nor checks nor syncs them. They come in the order of their key, as the steps leave"
        f" them, and shuffled. Then a question about a year ({sizes.year_days} days, {sizes.year_rows:,} rows): recordings,"
        " bytes and mean duration by account and month. Time and memory of reading are of whole processes; beside them is the"
        " answer alone, imports aside."
    )
    tables = (
        _task_table("writing", zip(writers, (plain, ours, shuffled), strict=True), "written in s"),
        _task_table("reading", zip(readers, reading.values(), strict=True), "answered in s"),
    )
    return Section("The catalog", prose, claims, tables)


def _task_table(heading: str, runs: Iterable[tuple[str, Sequence[Measured]]], alone: str) -> Table:
    """What processes cost, and what their task took alone."""
    rows = tuple(
        (name, spread(told(each, "wall_s")), spread(wall(each)), spread(cpu(each)), f"{middle(peak_mb(each)):.0f}")
        for name, each in runs
    )
    return Table((heading, alone, "wall s", "CPU s", "peak MB"), rows)


def starting(plan: Plan) -> Section:
    """What the programs take before they do anything."""
    environment = {**os.environ, "CALLARCHIVE_CONFIG": str(ROOT / "callarchive.example.toml")}
    commands = {
        "import dagster": [sys.executable, "-c", "import dagster"],
        "import pipelines.definitions": [sys.executable, "-c", "import pipelines.definitions"],
        "callarchive --help": [str(Path(sys.executable).parent / "callarchive"), "--help"],
    }

    def contender(name: str) -> Contender:
        return Contender(name, lambda: measure(commands[name], environment=environment))

    runs = by_turns([contender(name) for name in commands], plan.repeat)
    dagster, location, help_ = (wall(each) for each in runs.values())
    claims = (
        in_proportion("import of the code location", location, dagster, 1.3, "import dagster"),
        at_most("callarchive --help", help_, 0.3, "s"),
    )
    return Section(
        "Starting", "Whole processes, with byte code compiled beforehand.", claims, (run_table(runs, servers=False),)
    )


def _task(name: str, *words: object, clear: Path | None = None) -> Contender:
    def run() -> Measured:
        if clear is not None:
            shutil.rmtree(clear, ignore_errors=True)
        os.sync()
        return measure(python("benchmarks.tasks", name, *words), tells=True)

    return Contender(" ".join([name, *(str(word) for word in words[2:])]), run)
