"""How a process is run and measured, and how several take turns. What they do is for the cases to say."""

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
from statistics import median
from typing import Any

from benchmarks.servers import ROOT, Server

_SETTLE_S = 0.3
"""A server's own processes end a little after the connections that they served."""


_LIMIT_S = 300.0
"""What takes longer hangs, and is killed."""
_LOOK_S = 0.02


class BenchmarkError(Exception):
    """A run failed, or did not do what it should have: its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process cost.

    Attributes:
        cpu_s: its own and that of processes that it started and waited for.
        peak_rss_bytes: of the largest of these; where that is less than this program's own peak, of the process itself, as
            seen every 20 ms. Linux hands the peak of whoever starts a process down to it.
        servers_cpu_s: what the servers, and a delay between, spent meanwhile.
        told: what the process printed of itself, as one JSON object.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    servers_cpu_s: float = 0.0
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """Something that is measured by turns with others: `run` clears away what was there before, then measures."""

    name: str
    run: Callable[[], Measured]


Runs = Mapping[str, Sequence[Measured]]
"""What each contender's runs cost, by its name, in the order of the rounds."""


def measure(
    words: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    servers: Sequence[Server] = (),
    tells: bool = False,
) -> Measured:
    """What a whole process cost, from its start to its end.

    Args:
        tells: it prints a JSON object, which is wanted. Otherwise its output is thrown away.

    Raises:
        BenchmarkError: it ended with anything but 0. Its last words are in the message.
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
        watchman = _Watchman(process)
        watchman.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun_at
        watchman.ended.set()
        watchman.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            last_words = errors.read()[-800:].decode(errors="replace")
            raise BenchmarkError(f"{' '.join(map(str, words))} ended with {process.returncode}: {last_words}")
        output.seek(0)
        told = json.load(output) if tells else {}
    if servers:
        time.sleep(_SETTLE_S)
    return Measured(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=watchman.peak_bytes if usage.ru_maxrss <= own_peak else usage.ru_maxrss * 1024,
        servers_cpu_s=sum(server.cpu_s() for server in servers) - servers_before_s,
        told=told,
    )


class _Watchman(threading.Thread):
    """Kills a process that hangs, and looks how much memory it has held."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="watchman")
        self.ended = threading.Event()
        self.peak_bytes = 0
        self._process = process
        self._status = Path(f"/proc/{process.pid}/status")

    def run(self) -> None:
        """Until `ended` is set."""
        kill_at = time.monotonic() + _LIMIT_S
        while not self.ended.wait(_LOOK_S):
            if time.monotonic() > kill_at:
                self._process.kill()
            with suppress(OSError):  # it has just ended
                line = next((line for line in self._status.read_text().splitlines() if line.startswith("VmHWM:")), "")
                if line:  # else it is ending
                    self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)


def python(module: str, *words: object) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *map(str, words)]


def by_turns(contenders: Sequence[Contender], repeat: int) -> dict[str, list[Measured]]:
    """The contenders' runs: in each round every one once, so that a slow minute of the machine is everybody's."""
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
    """The runs' wall seconds."""
    return [run.wall_s for run in runs]


def cpu(runs: Sequence[Measured]) -> list[float]:
    """The runs' CPU seconds."""
    return [run.cpu_s for run in runs]


def peak_mb(runs: Sequence[Measured]) -> list[float]:
    """The runs' peak memory, MB of 1,000,000 bytes."""
    return [run.peak_rss_bytes / 1e6 for run in runs]


def told(runs: Sequence[Measured], name: str) -> list[float]:
    """What the processes told of themselves under that name."""
    return [float(run.told[name]) for run in runs]


def with_told(measured: Measured, **more: float) -> Measured:
    """The same, and something that was found out beside it."""
    return replace(measured, told={**measured.told, **more})


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))
