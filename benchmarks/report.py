"""Figures as text: on standard output, and as the main job's section of `docs/performance.md`. Nothing is measured here."""

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

from benchmarks.servers import sshd

REPORT = Path(__file__).parent.parent / "docs" / "performance.md"

_BEGIN, _END = "<!-- main job: written by benchmarks/main_job.py -->", "<!-- main job: end -->"
_TITLE = "# Performance\n\nMeasured, not promised: each section says when, on what and by which command.\n"
_PACKAGES = ("obstore", "boto3", "requests", "urllib3", "paramiko", "pyarrow")
_STAGES = ("start", "find", "look up", "fetch", "tables", "summary")

Stages = dict[str, tuple[float, float]]
"""Wall and CPU seconds by stage."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process cost: its own CPU seconds, and those that the servers spent on it."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    servers_cpu_s: float


@dataclass(frozen=True)
class Figures:
    """Runs of one kind over one day."""

    day: str
    kind: str
    recording_count: int
    size_bytes: int
    runs: tuple[Measured, ...]
    stages: tuple[Stages, ...]

    @property
    def name(self) -> str:
        return f"{self.recording_count:,} on {self.day} ({self.size_bytes / 1e6:,.0f} MB)"


def print_figures(figures: Iterable[Figures]) -> None:
    """The tables are on standard output."""
    figures = list(figures)
    print("\n".join([*_run_table(figures), "", *_stage_table(figures)]))


def write_report(figures: Iterable[Figures], *, command: str, directory: Path, load: float) -> None:
    """The main job's section of the report holds these figures; other sections stay as they are.

    Args:
        load: the load average before anything was measured.
    """
    section = "\n".join([_BEGIN, *_section(list(figures), command, directory, load), _END])
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else _TITLE
    marked = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    text = marked.sub(lambda _: section, text) if marked.search(text) else f"{text.rstrip()}\n\n{section}\n"
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")


def _section(figures: Sequence[Figures], command: str, directory: Path, load: float) -> list[str]:
    memory_gb = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        "## The main job",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, callarchive {version('callarchive')}, `make bench`:",
        "",
        "```sh",
        command,
        "```",
        "",
        f"Machine: {_cpu_model()}, {os.cpu_count()} cores, {memory_gb:.0f} GiB of memory, {_file_system(directory)},"
        f" {platform.system()} {platform.release()}; load average {load:.1f} before the first run"
        f"{': other programs had their share of the cores' if load > 1 else ''}. The servers run on the same cores.",
        f"Software: Python {platform.python_version()}, {packages}, {_openssh()}.",
        "",
        "Each run is a whole process, `callarchive archive --day ...` with the configuration's defaults, on loopback without"
        " latency; every recording is hashed, walked frame by frame and synced to disk. One recording to a session; sizes are"
        " log-normal with a median of 140 kB. S3 and 8x8's API are played by `benchmarks/stand_ins.py`, which does nothing but"
        " answer; SFTP is OpenSSH's sshd with its own limits. The rate cap is set to 5,000 requests/s; 8x8's may be lower, and"
        " then it decides. What the servers read is in the page cache.",
        "",
        f"Medians of {len(figures[0].runs)} runs, the fastest and the slowest in brackets:" if figures else "",
        "",
        *_run_table(figures),
        "",
        "Where the time goes, in further runs (wall seconds / CPU seconds of the process; `start` is imports and the end of"
        " the process, `summary` the checks and what is printed):",
        "",
        *_stage_table(figures),
    ]


def _run_table(figures: Sequence[Figures]) -> list[str]:
    rows = [
        (
            f.name,
            f.kind,
            _spread([run.wall_s for run in f.runs]),
            _spread([run.cpu_s for run in f.runs]),
            f"{median(run.peak_rss_bytes for run in f.runs) / 1e6:.0f}",
            f"{f.recording_count / median(run.wall_s for run in f.runs):,.0f}",
            f"{median(run.servers_cpu_s for run in f.runs):.1f}",
        )
        for f in figures
    ]
    headings = ("day", "run", "wall s", "CPU s", "peak MB", "recordings/s", "servers' CPU s")
    return _table(headings, rows)


def _stage_table(figures: Sequence[Figures]) -> list[str]:
    rows = [
        (
            f"{f.recording_count:,} on {f.day}",
            f.kind,
            *(f"{_median(f, stage, 0):.2f} / {_median(f, stage, 1):.2f}" for stage in _STAGES),
        )
        for f in figures
    ]
    return _table(("day", "run", *_STAGES), rows)


def _median(figures: Figures, stage: str, which: int) -> float:
    return median(stages[stage][which] for stages in figures.stages)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", "---", *["---:"] * (len(headings) - 2)]
    return [f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows)]


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
