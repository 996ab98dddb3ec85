"""`python -m benchmarks.main_job`: how long the main job takes for a day on S3 and for a day on SFTP.

Each run is a whole process, `callarchive archive --day ...`, as a user starts it: a first run into an empty archive, then
the same day again. Every run's outcome is checked. Further runs tell the stages apart. The figures go to standard output and
to `docs/performance.md`, which `report` writes.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import DAY, Corpus, make_corpus
from benchmarks.report import Figures, Measured, Stages, print_figures, write_report
from benchmarks.servers import Server, s3_landing, sftp_landing, sshd, stand_in, write_configuration

_KINDS = ("first run", "the same day again")


@dataclass(frozen=True)
class Scene:
    """A day ready to be archived: `home` holds its configuration and gets its archive."""

    name: str
    home: Path
    corpus: Corpus
    environment: Mapping[str, str]
    servers: tuple[Server, ...]

    def clear(self) -> None:
        """Nothing is archived, and nothing of an earlier run waits to be written to disk."""
        for name in ("archive", "catalog"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        os.sync()


@contextmanager
def set_up(name: str, corpus: Corpus, home: Path) -> Iterator[Scene]:
    """Servers run and the configuration is written, until the block is left."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"sessions-{DAY}.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("session_id", "started_at"))
        rows.writerows((sample.session_id, sample.started_at.isoformat()) for sample in corpus.samples)
    with ExitStack() as running:
        api = running.enter_context(stand_in("api", corpus))
        landing = running.enter_context(s3_landing(corpus) if name == "S3" else sftp_landing(corpus, home / "sshd"))
        environment = write_configuration(home, api=api, landing=landing)
        corpus.warm()
        yield Scene(name, home, corpus, environment, (api, landing.server))


def run(scene: Scene, *words: str) -> tuple[Measured, Any]:
    """What one process cost, and the JSON that it printed."""
    servers_before_s = sum(server.cpu_s() for server in scene.servers)
    with tempfile.TemporaryFile() as output:
        begun_at = time.perf_counter()
        process = subprocess.Popen([sys.executable, *words], env=dict(scene.environment), stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun_at
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(
                f"{scene.name}: {' '.join(words)} ended with {process.returncode}: its message stands above"
            )
        output.seek(0)
        printed = json.load(output)
    time.sleep(0.3)  # a server's own processes end a little after the connections that they served
    measured = Measured(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * 1024,
        servers_cpu_s=sum(server.cpu_s() for server in scene.servers) - servers_before_s,
    )
    return measured, printed


def archive(scene: Scene, *, fetched: int) -> Measured:
    """What archiving the day cost; it must have archived every sample and fetched as many as are said."""
    words = ("-c", "from callarchive.cli import main; main()", "--json", "--quiet", "archive", "--day", str(DAY))
    measured, printed = run(scene, *words)
    (summary,) = printed["days"]
    outcome = (summary["recordings"], summary["fetched_count"], summary["size_bytes"])
    wanted = ({"archived": len(scene.corpus.samples)}, fetched, scene.corpus.size_bytes)
    if outcome != wanted:
        raise SystemExit(f"{scene.name}: {wanted} should have come of the run, and {outcome} did")
    return measured


def stages(scene: Scene) -> Stages:
    """How one run's time divides; `start` is what lies before and behind the day itself, imports above all."""
    measured, printed = run(scene, "-m", "benchmarks.stages", str(DAY))
    spent = {name: (wall_s, cpu_s) for name, (wall_s, cpu_s) in printed.items()}
    started = (
        measured.wall_s - sum(wall_s for wall_s, _ in spent.values()),
        measured.cpu_s - sum(cpu_s for _, cpu_s in spent.values()),
    )
    return {"start": started, **spent}


def measure(scene: Scene, *, repeat: int) -> Iterator[Figures]:
    """The day's figures, a first run and a repetition by turns."""
    count = len(scene.corpus.samples)
    runs: dict[str, list[Measured]] = {kind: [] for kind in _KINDS}
    parts: dict[str, list[Stages]] = {kind: [] for kind in _KINDS}
    for number in range(1, repeat + 1):
        scene.clear()
        for kind, fetched in zip(_KINDS, (count, 0), strict=True):
            runs[kind].append(archive(scene, fetched=fetched))
            print(f"{scene.name}, {kind}, {number} of {repeat}: {runs[kind][-1].wall_s:.2f} s", file=sys.stderr)
        scene.clear()
        for kind in _KINDS:
            parts[kind].append(stages(scene))
    for kind in _KINDS:
        yield Figures(scene.name, kind, count, scene.corpus.size_bytes, tuple(runs[kind]), tuple(parts[kind]))


def main() -> None:
    """Measures, prints and writes the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.main_job", description=__doc__)
    parser.add_argument("--recordings", type=int, default=5000, help="of the day on S3; 0 leaves it out")
    parser.add_argument("--sftp-recordings", type=int, default=2000, help="of the day on SFTP; 0 leaves it out")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each kind; medians are told")
    parser.add_argument("--directory", type=Path, help="where the corpus is kept (and archives are made) between runs")
    parser.add_argument("--print-only", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    figures: list[Figures] = []
    with ExitStack() as stack:
        directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callarchive-")))
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        corpus = make_corpus(directory, max(options.recordings, options.sftp_recordings))
        for name, count in (("S3", options.recordings), ("SFTP", options.sftp_recordings)):
            if name == "SFTP" and count and sshd() is None:
                print("SFTP is left out: sshd is not installed (on Debian: openssh-server)", file=sys.stderr)
            elif count:
                with set_up(name, corpus.first(count), directory / f"{name.lower()}-day") as scene:
                    figures += measure(scene, repeat=options.repeat)
        words = (
            f"--recordings {options.recordings} --sftp-recordings {options.sftp_recordings} --repeat {options.repeat}"
        )
        command = f".venv/bin/python -m benchmarks.main_job {words}"
        print_figures(figures)
        if not options.print_only:
            write_report(figures, command=command, directory=directory, load=load)


if __name__ == "__main__":
    main()
