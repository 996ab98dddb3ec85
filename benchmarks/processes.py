"""Run and measure processes, and run several contenders in interleaved rounds. The cases define what they do."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.servers import ROOT, Server

_SETTLE_S = 0.3
"""A server's child processes end shortly after the connections that they served."""
_LIMIT_S = 300.0
_POLL_S = 0.02


class BenchmarkError(Exception):
    """A run failed or produced the wrong result, so that its figures are meaningless."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The cost of one process.

    Attributes:
        cpu_s: CPU time of the process and of the children that it waited for.
        peak_rss_bytes: of the largest of these. If that is not above this program's own peak, the peak of the process itself,
            sampled every 20 ms: on Linux a process inherits the peak of its parent.
        servers_cpu_s: CPU time of the servers, delay relays included, during the run.
        output: the JSON object that the process printed.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    servers_cpu_s: float = 0.0
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """Something to measure in turn with others: `run` removes earlier results, then measures."""

    name: str
    run: Callable[[], Measured]


Runs = Mapping[str, Sequence[Measured]]
"""The runs of each contender, by its name, in the order of the rounds."""


def measure(
    words: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    servers: Sequence[Server] = (),
    parse_output: bool = False,
    limit_s: float = _LIMIT_S,
) -> Measured:
    """Run a process and return its cost from start to end.

    Args:
        parse_output: parse standard output as a JSON object. Otherwise it is discarded.
        limit_s: a process that runs longer is considered hung and killed.

    Raises:
        BenchmarkError: The exit code is not 0. The message has the end of standard error.
    """
    servers_before_s = sum(server.cpu_s() for server in servers)
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        begun_at = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in words],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        watchdog = _Watchdog(process, limit_s)
        watchdog.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun_at
        watchdog.ended.set()
        watchdog.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            end = errors.read()[-800:].decode(errors="replace")
            raise BenchmarkError(f"{' '.join(map(str, words))} exited with {process.returncode}: {end}")
        output.seek(0)
        printed = json.load(output) if parse_output else {}
    if servers:
        time.sleep(_SETTLE_S)
    return Measured(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=watchdog.peak_bytes if usage.ru_maxrss <= own_peak else usage.ru_maxrss * 1024,
        servers_cpu_s=sum(server.cpu_s() for server in servers) - servers_before_s,
        output=printed,
    )


class _Watchdog(threading.Thread):
    """Kill a process that hangs, and sample its peak memory."""

    def __init__(self, process: "subprocess.Popen[bytes]", limit_s: float) -> None:
        super().__init__(name="watchdog")
        self.ended = threading.Event()
        self.peak_bytes = 0
        self._process = process
        self._limit_s = limit_s
        self._status = Path(f"/proc/{process.pid}/status")

    def run(self) -> None:
        """Sample until `ended` is set."""
        kill_at = time.monotonic() + self._limit_s
        while not self.ended.wait(_POLL_S):
            if time.monotonic() > kill_at:
                self._process.kill()
            with suppress(OSError):  # it has just ended
                line = next((line for line in self._status.read_text().splitlines() if line.startswith("VmHWM:")), "")
                if line:  # else it is ending
                    self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)


def python(module: str, *words: object) -> list[str]:
    """Return the command that runs a module with this Python."""
    return [sys.executable, "-m", module, *map(str, words)]


def run_rounds(contenders: Sequence[Contender], repeat: int) -> dict[str, list[Measured]]:
    """Run every contender once per round, so that a slow minute of the machine affects all of them."""
    runs: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    for number in range(1, repeat + 1):
        for contender in contenders:
            measured = contender.run()
            runs[contender.name].append(measured)
            print(
                f"  {number} of {repeat}: {contender.name}: {measured.wall_s:.2f} s, CPU {measured.cpu_s:.2f} s",
                file=sys.stderr,
            )
    return runs


def wall(runs: Sequence[Measured]) -> list[float]:
    """Return the wall seconds of the runs."""
    return [run.wall_s for run in runs]


def cpu(runs: Sequence[Measured]) -> list[float]:
    """Return the CPU seconds of the runs."""
    return [run.cpu_s for run in runs]


def peak_mb(runs: Sequence[Measured]) -> list[float]:
    """Return the peak memory of the runs, in MB of 1,000,000 bytes."""
    return [run.peak_rss_bytes / 1e6 for run in runs]


def output_values(runs: Sequence[Measured], name: str) -> list[float]:
    """Return the value that each process printed under that name."""
    return [float(run.output[name]) for run in runs]


def with_output(measured: Measured, **more: float) -> Measured:
    """Return the measurement with additional values."""
    return replace(measured, output={**measured.output, **more})
