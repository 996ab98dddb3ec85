"""Format measurements as text, for standard output and `docs/performance.md`. Nothing is measured here."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from benchmarks.peers import Peers
from benchmarks.processes import Runs, cpu, peak_mb, wall
from benchmarks.servers import sshd

REPORT = Path(__file__).parent.parent / "docs" / "performance.md"

_BEGIN, _END = "<!-- benchmarks: written by make bench -->", "<!-- benchmarks: end -->"
_TITLE = "# Performance: comparison with s5cmd, rclone and sftp\n"
_PACKAGES = ("obstore", "boto3", "requests", "urllib3", "paramiko", "pyarrow", "duckdb", "dagster")


@dataclass(frozen=True)
class Claim:
    """A target, the measured value, and whether it meets the target."""

    work: str
    target: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Table:
    """Headings and rows of cells. The first column is text, the others are numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """The result of one case. `prose` describes the setup and whatever a reader needs to interpret the figures."""

    title: str
    prose: str
    claims: tuple[Claim, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Conditions:
    """The conditions of a benchmark run.

    Attributes:
        command: the command that repeats the run.
        load: the load average before the first measurement.
    """

    command: str
    directory: Path
    load: float
    repeat: int
    peers: Peers


def at_most(work: str, values: Sequence[float], limit: float, unit: str) -> Claim:
    """Return a claim that is met if the median does not exceed the limit."""
    return Claim(work, f"≤ {limit:g} {unit}", f"{spread(values)} {unit}", median(values) <= limit)


def at_least(work: str, values: Sequence[float], limit: float, unit: str) -> Claim:
    """Return a claim that is met if the median is not below the limit."""
    return Claim(work, f"≥ {limit:,g} {unit}", f"{spread(values)} {unit}", median(values) >= limit)


def ratio_at_most(work: str, ours: Sequence[float], theirs: Sequence[float], limit: float, baseline: str) -> Claim:
    """Return a claim that is met if our median is at most `limit` times theirs, with the extremes of the rounds in brackets."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    ratio = median(ours) / median(theirs)
    measured = f"{ratio:.2f} × ({min(ratios):.2f}-{max(ratios):.2f})"
    return Claim(work, f"≤ {limit:g} × {baseline}", measured, ratio <= limit)


def spread(values: Sequence[float]) -> str:
    """Format the median with the minimum and maximum in brackets."""
    digits = 0 if median(values) >= 100 else 1 if median(values) >= 10 else 2
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def run_table(runs: Runs, *, servers: bool = True, size_bytes: int | None = None) -> Table:
    """Return a table of the runs; with `servers` also the servers' CPU time, with `size_bytes` also the throughput."""
    headings = ["run", "wall s", "CPU s", "peak MB"]
    rows = [
        [name, spread(wall(each)), spread(cpu(each)), f"{median(peak_mb(each)):.0f}"] for name, each in runs.items()
    ]
    if servers:
        headings.append("servers' CPU s")
        for row, each in zip(rows, runs.values(), strict=True):
            row.append(f"{median([run.servers_cpu_s for run in each]):.1f}")
    if size_bytes is not None:
        headings.append("MB/s")
        for row, each in zip(rows, runs.values(), strict=True):
            row.append(f"{size_bytes / 1e6 / median(wall(each)):,.0f}")
    return Table(tuple(headings), tuple(map(tuple, rows)))


def as_text(sections: Iterable[Section]) -> str:
    """Return the sections as Markdown."""
    return "\n".join(line for section in sections for line in _section(section))


def summary_table(sections: Iterable[Section]) -> str:
    """Return one table of all targets."""
    return "\n".join(_claims([claim for section in sections for claim in section.claims]))


def write_report(sections: Sequence[Section], conditions: Conditions) -> None:
    """Replace the generated part of the report; leave the rest unchanged."""
    lines = [_BEGIN, *_introduction(conditions), "", summary_table(sections), "", as_text(sections).rstrip(), _END]
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else _TITLE
    marked = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    written = "\n".join(lines)
    text = marked.sub(lambda _: written, text) if marked.search(text) else f"{text.rstrip()}\n\n{written}\n"
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")


def _introduction(run: Conditions) -> list[str]:
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    software = ", ".join([f"Python {platform.python_version()}", *packages, _openssh(), *run.peers.versions()])
    memory_gb = psutil.virtual_memory().total / 2**30
    busy = " (other programs were using the cores)" if run.load > 1 else ""
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, callarchive {version('callarchive')}, `{run.command}`.",
        "",
        f"Machine: {_cpu_model()}, {os.cpu_count()} cores, {memory_gb:.0f} GiB of memory, {_file_system(run.directory)},"
        f" {platform.system()} {platform.release()}; load average {run.load:.1f} before the first run{busy}."
        " The servers run on the same cores.",
        f"Software: {software}.",
        "",
        f"Every figure is the median of {run.repeat} rounds, with the minimum and maximum in brackets. In each round every"
        " contender runs once, one after the other. A run is a whole process, started as a user starts it, imports included."
        " CPU and peak memory are those of the process; the CPU time of the servers and delay relays has its own column. Before"
        " each run, the output of the previous one is moved aside and the disk is synced. The servers' data is in the page"
        " cache. callarchive syncs, hashes and probes every recording; the peers, except the script, only copy and do not sync."
        " A ratio compares medians; the brackets hold the extremes of the rounds' ratios. Unless a title names a rate limit, it"
        " is effectively off; with 8x8's default of 100 requests/s, 5,000 lookups take 50 s.",
    ]


def _section(section: Section) -> list[str]:
    lines = [f"## {section.title}", "", section.prose, ""]
    if section.claims:
        lines += [*_claims(section.claims), ""]
    for table in section.tables:
        lines += [*_table(table), ""]
    return lines


def _claims(claims: Sequence[Claim]) -> list[str]:
    rows = tuple((c.work, c.target, c.measured, "yes" if c.met else "**no**") for c in claims)
    return _table(Table(("work", "target", "measured", "met"), rows))


def _table(table: Table) -> list[str]:
    rule = ("---", *["---:"] * (len(table.headings) - 1))
    return [f"| {' | '.join(cells)} |" for cells in (table.headings, rule, *table.rows)]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    mounts = [part for part in psutil.disk_partitions(all=True) if directory.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "an unknown file system"


def _openssh() -> str:
    program = sshd()
    if program is None:
        return "no OpenSSH"
    done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"OpenSSH_[^,\s]+", done.stdout + done.stderr)
    return found.group().replace("_", " ") if found else "OpenSSH"
