"""What was measured as text: on standard output, and in `docs/performance.md`. Nothing is measured here."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.peers import Peers
from benchmarks.processes import Runs, cpu, middle, peak_mb, wall
from benchmarks.servers import sshd

REPORT = Path(__file__).parent.parent / "docs" / "performance.md"

_BEGIN, _END = "<!-- benchmarks: written by make bench -->", "<!-- benchmarks: end -->"
_TITLE = "# Performance\n\nMeasured, not promised.\n"
_PACKAGES = ("obstore", "boto3", "requests", "urllib3", "paramiko", "pyarrow", "duckdb", "dagster")


@dataclass(frozen=True)
class Claim:
    """A target, what was measured of it, and whether it is met."""

    work: str
    target: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Table:
    """Headings and rows of cells. The first column is of words, the others are of numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """What came of one case: `prose` says what was done, and anything that a reader must know to judge it."""

    title: str
    prose: str
    claims: tuple[Claim, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Circumstances:
    """Under which everything was measured.

    Attributes:
        command: what a reader types to measure the same.
        load: the load average before anything was measured.
    """

    command: str
    directory: Path
    load: float
    repeat: int
    peers: Peers


def at_most(work: str, values: Sequence[float], limit: float, unit: str) -> Claim:
    """The median is not above the limit."""
    return Claim(work, f"≤ {limit:g} {unit}", f"{spread(values)} {unit}", middle(values) <= limit)


def at_least(work: str, values: Sequence[float], limit: float, unit: str) -> Claim:
    """The median is not below the limit."""
    return Claim(work, f"≥ {limit:,g} {unit}", f"{spread(values)} {unit}", middle(values) >= limit)


def in_proportion(work: str, ours: Sequence[float], theirs: Sequence[float], limit: float, whose: str) -> Claim:
    """The median of ours is at most so many times the median of theirs; in brackets the extremes of the rounds' ratios."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    ratio = middle(ours) / middle(theirs)
    told = f"{ratio:.2f} × ({min(ratios):.2f}-{max(ratios):.2f})"
    return Claim(work, f"≤ {limit:g} × {whose}", told, ratio <= limit)


def spread(values: Sequence[float]) -> str:
    """The median, the least and the greatest."""
    digits = 0 if middle(values) >= 100 else 1 if middle(values) >= 10 else 2
    return f"{middle(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def run_table(runs: Runs, *, servers: bool = True, size_bytes: int | None = None) -> Table:
    """What each contender's runs cost; with servers what these spent, with a size how fast that is."""
    headings = ["run", "wall s", "CPU s", "peak MB"]
    rows = [
        [name, spread(wall(each)), spread(cpu(each)), f"{middle(peak_mb(each)):.0f}"] for name, each in runs.items()
    ]
    if servers:
        headings.append("servers' CPU s")
        for row, each in zip(rows, runs.values(), strict=True):
            row.append(f"{middle([run.servers_cpu_s for run in each]):.1f}")
    if size_bytes is not None:
        headings.append("MB/s")
        for row, each in zip(rows, runs.values(), strict=True):
            row.append(f"{size_bytes / 1e6 / middle(wall(each)):,.0f}")
    return Table(tuple(headings), tuple(map(tuple, rows)))


def as_text(sections: Iterable[Section]) -> str:
    """The sections as they stand in the report."""
    return "\n".join(line for section in sections for line in _section(section))


def overview(sections: Iterable[Section]) -> str:
    """Every target on one page."""
    return "\n".join(_claims([claim for section in sections for claim in section.claims]))


def write_report(sections: Sequence[Section], circumstances: Circumstances) -> None:
    """What `make bench` wrote into the report before is replaced; whatever else stands there stays as it is."""
    lines = [_BEGIN, *_introduction(circumstances), "", overview(sections), "", as_text(sections).rstrip(), _END]
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else _TITLE
    marked = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    written = "\n".join(lines)
    text = marked.sub(lambda _: written, text) if marked.search(text) else f"{text.rstrip()}\n\n{written}\n"
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")


def _introduction(told: Circumstances) -> list[str]:
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    software = ", ".join([f"Python {platform.python_version()}", *packages, _openssh(), *told.peers.versions()])
    memory_gb = psutil.virtual_memory().total / 2**30
    busy = ": other programs had their share of the cores" if told.load > 1 else ""
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, callarchive {version('callarchive')}, `{told.command}`.",
        "",
        f"Machine: {_cpu_model()}, {os.cpu_count()} cores, {memory_gb:.0f} GiB of memory, {_file_system(told.directory)},"
        f" {platform.system()} {platform.release()}; load average {told.load:.1f} before the first run{busy}."
        " The servers run on the same cores.",
        f"Software: {software}.",
        "",
        f"Every figure is the median of {told.repeat} rounds, in brackets the least and the greatest; in a round each contender"
        " runs once, one after the other. A run is a whole process, imports included, as a user starts it. CPU and peak memory"
        " are the process's own; what the servers, and a delay before them, spent is beside it. Before each run what the last"
        " one wrote is put aside and the disk is synced. What the servers read is in the page cache. callarchive syncs every"
        " recording to disk and hashes and measures it; the peers only copy, and sync nothing. A ratio is of the medians, in"
        " brackets the extremes of the rounds' own ratios. The rate cap is out of the way; with 8x8's at 100 requests/s, 5,000"
        " look-ups take 50 s.",
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
    told = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"OpenSSH_[^,\s]+", told.stdout + told.stderr)
    return found.group().replace("_", " ") if found else "OpenSSH"
