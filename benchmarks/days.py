"""A day to archive, with servers that hold it, a configuration that points to them, and the ways to archive it.

Every run is a whole process, and its outcome is checked: figures of a run that archived less would be meaningless.
"""

import csv
import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from benchmarks.corpus import DAY, Corpus
from benchmarks.peers import Copy
from benchmarks.processes import BenchmarkError, Measured, measure, python
from benchmarks.servers import Place, Server, delay, s3_place, sftp_place, simulator
from benchmarks.simulators import ARRIVALS, SUBACCOUNT_ID

_KEY_VARIABLE = "BENCHMARK_API_KEY"
ASIDE = "aside"
_NO_RATE_CAP = 50_000
_COMMAND_LINE = (sys.executable, "-c", "from callarchive.cli import main; main()", "--json", "--quiet")


@dataclass(frozen=True)
class Limits:
    """Speed settings of a configuration; None leaves the default.

    Attributes:
        requests_per_second: rate limit of the account's API, by default more than any server here can handle.
    """

    transfers: int | None = None
    lookups: int | None = None
    requests_per_second: float = _NO_RATE_CAP


@dataclass(frozen=True)
class Day:
    """A day, or several, to archive. `home` contains the configuration, the archive, the catalog and the peers' copies.

    Attributes:
        place: where the corpus is available, possibly through a delay; so is `api`.
        servers: servers whose CPU time is counted, delay relays included.
    """

    home: Path
    corpus: Corpus
    place: Place
    api: Server
    servers: tuple[Server, ...]
    api_simulator: Server

    @property
    def environment(self) -> dict[str, str]:
        """The environment of callarchive processes."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_"))}
        return {
            **inherited,
            "CALLARCHIVE_CONFIG": str(self.home / "callarchive.toml"),
            _KEY_VARIABLE: "benchmark",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
        }

    def clear(self) -> None:
        """Move the output of earlier runs aside and sync the disk.

        It is not deleted until the end: for five minutes after a deletion ext4 searches long for the inode of a new file, at
        the cost of the next run (half of a transfer's CPU time, measured with perf).
        """
        aside = self.home / ASIDE
        aside.mkdir(exist_ok=True)
        for name in ("archive", "catalog", "copied"):
            if (self.home / name).exists():
                (self.home / name).rename(aside / f"{name}-{time.time_ns()}")
        os.sync()

    def prepare(self) -> None:
        """Prepare the catalog of a day that is looked up but not fetched, for `transfer`."""
        self.clear()
        self._steps("session_ids", "recording_metadata")
        shutil.rmtree(self.home / "prepared", ignore_errors=True)
        (self.home / "catalog").rename(self.home / "prepared")

    def transfer(self) -> Measured:
        """Measure the transfer alone, into an empty archive: list, fetch, hash, walk, write, sync, record."""
        self.clear()
        shutil.copytree(self.home / "prepared", self.home / "catalog")
        os.sync()
        measured = self._steps("recording_files")
        self._expect(_tree(self.home / "archive"))
        return measured

    def look_up(self) -> Measured:
        """Measure the lookup of all sessions. `output` has the seconds of the step."""
        self.clear()
        self._steps("session_ids")
        self.arrivals()
        return self._steps("recording_metadata")

    def archive(self) -> Measured:
        """Measure the whole job on an empty archive."""
        self.clear()
        self.arrivals()
        measured, fetched_count = self._archive()
        if fetched_count != len(self.corpus.samples):
            raise BenchmarkError(f"{fetched_count} recordings were downloaded instead of {len(self.corpus.samples)}")
        return measured

    def rerun(self) -> Measured:
        """Measure the whole job right after `archive`: it must not download or look up anything."""
        os.sync()
        self.arrivals()
        measured, fetched_count = self._archive()
        if fetched_count or self.arrivals():
            raise BenchmarkError(f"{fetched_count} recordings were downloaded again, or sessions looked up again")
        return measured

    def stages(self, *, clear: bool) -> Measured:
        """Measure the stages of the whole job, in `output`: on an empty archive, or as a rerun."""
        if clear:
            self.clear()
        return self._steps()

    def copy(self, command: Copy) -> Measured:
        """Measure a peer's copy into `copied`."""
        self.clear()
        measured = measure(command.words, environment=command.environment, servers=self.servers)
        self._expect(_tree(self.home / "copied"))
        return measured

    @property
    def session_ids(self) -> Path:
        """The id file of the corpus's only day."""
        return self.home / f"sessions-{DAY}.csv"

    @property
    def copied(self) -> Path:
        """The target folder of peers."""
        return self.home / "copied"

    def arrivals(self) -> list[float]:
        """Return when lookups reached the API simulator since the last call, in seconds of a monotonic clock."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api_simulator.port}{ARRIVALS}") as answer:
            times: list[float] = json.load(answer)
        return times

    def _archive(self) -> tuple[Measured, int]:
        days = sorted({sample.day for sample in self.corpus.samples})
        words = (*_COMMAND_LINE, "archive", "--from", str(days[0]), "--to", str(days[-1]))
        measured = measure(words, environment=self.environment, servers=self.servers, parse_output=True)
        days_output = measured.output["days"]
        archived = sum(day["recordings"].get("archived", 0) for day in days_output)
        self._expect((archived, sum(day["size_bytes"] for day in days_output)))
        return measured, sum(day["fetched_count"] for day in days_output)

    def _steps(self, *names: str) -> Measured:
        words = python("benchmarks.stages", DAY, *names)
        return measure(words, environment=self.environment, servers=self.servers, parse_output=True)

    def _expect(self, found: tuple[int, int]) -> None:
        wanted = (len(self.corpus.samples), self.corpus.size_bytes)
        if found != wanted:
            raise BenchmarkError(f"expected {wanted} (recordings, bytes), found {found}")


@contextmanager
def set_up(
    home: Path,
    corpus: Corpus,
    *,
    kind: str,
    limits: Limits | None = None,
    round_trip_ms: float = 0,
    api_round_trip_ms: float = 0,
) -> Iterator[Day]:
    """Start the servers, write the configuration and yield the day; stop the servers on exit.

    Args:
        kind: `s3` or `sftp`.
        round_trip_ms: round-trip time to the landing; 0 means local, without a relay.
    """
    move_aside(home)
    home.mkdir(parents=True)
    _write_sessions(home, corpus)
    corpus.warm()
    with ExitStack() as running:
        place: Place
        if kind == "s3":
            place = running.enter_context(s3_place(corpus))
        else:
            place = running.enter_context(sftp_place(corpus, home / "sshd"))
        api_simulator = api = running.enter_context(simulator("api", corpus))
        servers = [place.server, api]
        if round_trip_ms:
            relay = running.enter_context(delay(place.port, round_trip_ms))
            servers.append(relay)
            place = place.via(relay.port)
        if api_round_trip_ms:
            api = running.enter_context(delay(api.port, api_round_trip_ms))
            servers.append(api)
        _write_configuration(home, place=place, api=api, limits=limits or Limits())
        yield Day(home, corpus, place, api, tuple(servers), api_simulator)
    move_aside(home)


def move_aside(folder: Path) -> None:
    """Move the folder away and truncate its files, but delete them only in `remove_aside`; see `Day.clear`."""
    if not folder.exists():
        return
    for file in folder.rglob("*"):
        # The SFTP server's folder contains hard links to the corpus, which must stay intact.
        if file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1:
            os.truncate(file, 0)
    aside = folder.parent / ASIDE
    aside.mkdir(exist_ok=True)
    folder.rename(aside / f"{folder.name}-{time.time_ns()}")


def remove_aside(directory: Path) -> None:
    """Delete everything that was moved aside in the directory."""
    shutil.rmtree(directory / ASIDE, ignore_errors=True)


def _write_sessions(home: Path, corpus: Corpus) -> None:
    for day, samples in groupby(sorted(corpus.samples, key=attrgetter("day")), attrgetter("day")):
        with (home / f"sessions-{day}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("session_id", "started_at"))
            rows.writerows((sample.session_id, sample.started_at.isoformat()) for sample in samples)


def _write_configuration(home: Path, *, place: Place, api: Server, limits: Limits) -> None:
    """Write `home/callarchive.toml`, which archives the account's recordings below `home`."""
    transfer = "" if limits.transfers is None else f"\n[transfer]\nconcurrency = {limits.transfers}\n"
    lookups = "" if limits.lookups is None else f"\n[lookups]\nconcurrency = {limits.lookups}\n"
    (home / "callarchive.toml").write_text(
        f"""\
timezone   = "UTC"
start_date = 2026-01-01

[archive]
url = "{home.as_uri()}/archive"

[catalog]
url = "{home.as_uri()}/catalog"
{transfer}{lookups}
[[accounts]]
subaccount_id = "{SUBACCOUNT_ID}"
api_url = "http://127.0.0.1:{api.port}"
api_key = {{ env = "{_KEY_VARIABLE}" }}
requests_per_second = {limits.requests_per_second}
{place.settings}
[[accounts.session_sources]]
kind = "files"
path = "sessions-{{day}}.csv"
""",
        encoding="utf-8",
    )


def _tree(folder: Path) -> tuple[int, int]:
    """Return the number and total bytes of the recordings below the folder."""
    sizes: Sequence[int] = [file.stat().st_size for file in folder.rglob("*.mp3")]
    return len(sizes), sum(sizes)
