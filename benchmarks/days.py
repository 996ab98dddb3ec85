"""A day to be archived, with servers that hold it and a configuration that points to them; and how it is archived.

Every run is a whole process and its outcome is checked: figures of a run that archived less would mean nothing.
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
from benchmarks.servers import Place, Server, delay, s3_place, sftp_place, stand_in
from benchmarks.stand_ins import ARRIVALS, SUBACCOUNT_ID

_KEY_VARIABLE = "BENCHMARK_API_KEY"
ASIDE = "aside"
_NO_RATE_CAP = 50_000
_COMMAND_LINE = (sys.executable, "-c", "from callarchive.cli import main; main()", "--json", "--quiet")


@dataclass(frozen=True)
class Limits:
    """What a configuration says of speed; null leaves the default.

    Attributes:
        requests_per_second: of the account's API, by default more than any server here answers.
    """

    transfers: int | None = None
    look_ups: int | None = None
    requests_per_second: float = _NO_RATE_CAP


@dataclass(frozen=True)
class Day:
    """`home` holds the configuration, the archive, the catalog, and what peers copy. The corpus may be of several days.

    Attributes:
        place: where the corpus is reached, which may be far away; `api` likewise.
        servers: those whose CPU time is counted, delays among them.
    """

    home: Path
    corpus: Corpus
    place: Place
    api: Server
    servers: tuple[Server, ...]
    api_stand_in: Server

    @property
    def environment(self) -> dict[str, str]:
        """That of a process of callarchive's."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_"))}
        return {
            **inherited,
            "CALLARCHIVE_CONFIG": str(self.home / "callarchive.toml"),
            _KEY_VARIABLE: "benchmark",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
        }

    def clear(self) -> None:
        """Nothing is archived or copied, and nothing of an earlier run waits to be written to disk.

        What there was is put aside until the end: for five minutes after a deletion ext4 looks long for the inode of a new
        file, and whoever runs next would pay for it (half of a transfer's CPU time, seen with perf).
        """
        aside = self.home / ASIDE
        aside.mkdir(exist_ok=True)
        for name in ("archive", "catalog", "copied"):
            if (self.home / name).exists():
                (self.home / name).rename(aside / f"{name}-{time.time_ns()}")
        os.sync()

    def prepare(self) -> None:
        """The catalog of a day that has been looked up and not fetched is kept for `transfer`."""
        self.clear()
        self._steps("find_sessions", "look_up_recordings")
        shutil.rmtree(self.home / "prepared", ignore_errors=True)
        (self.home / "catalog").rename(self.home / "prepared")

    def transfer(self) -> Measured:
        """What the transfer alone costs, into an empty archive: list, fetch, hash, walk, write, sync, record."""
        self.clear()
        shutil.copytree(self.home / "prepared", self.home / "catalog")
        os.sync()
        measured = self._steps("fetch_recordings")
        self._expect(_tree(self.home / "archive"))
        return measured

    def look_up(self) -> Measured:
        """What looking all sessions up costs; `told` also has the step's seconds, and the arrivals at the API's stand-in."""
        self.clear()
        self._steps("find_sessions")
        self.arrivals()
        return self._steps("look_up_recordings")

    def archive(self) -> Measured:
        """What archiving the whole of it costs, with nothing there before."""
        self.clear()
        self.arrivals()
        measured, fetched_count = self._archive()
        if fetched_count != len(self.corpus.samples):
            raise BenchmarkError(f"{fetched_count} recordings were fetched, not {len(self.corpus.samples)}")
        return measured

    def archive_again(self) -> Measured:
        """What it costs right after `archive`: nothing may be fetched and nothing looked up."""
        os.sync()
        self.arrivals()
        measured, fetched_count = self._archive()
        if fetched_count or self.arrivals():
            raise BenchmarkError(f"{fetched_count} recordings were fetched again, or sessions looked up again")
        return measured

    def stages(self, *, clear: bool) -> Measured:
        """How long the stages of archiving take, in `told`, with nothing there before or right after."""
        if clear:
            self.clear()
        return self._steps()

    def copy(self, command: Copy) -> Measured:
        """What a peer's copy into `copied` costs."""
        self.clear()
        measured = measure(command.words, environment=command.environment, servers=self.servers)
        self._expect(_tree(self.home / "copied"))
        return measured

    @property
    def copied(self) -> Path:
        """Where peers copy to."""
        return self.home / "copied"

    def arrivals(self) -> list[float]:
        """When look-ups reached the API's stand-in since this was last asked, seconds of a steady clock."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api_stand_in.port}{ARRIVALS}") as answer:
            times: list[float] = json.load(answer)
        return times

    def _archive(self) -> tuple[Measured, int]:
        days = sorted({sample.day for sample in self.corpus.samples})
        words = (*_COMMAND_LINE, "archive", "--from", str(days[0]), "--to", str(days[-1]))
        measured = measure(words, environment=self.environment, servers=self.servers, tells=True)
        told = measured.told["days"]
        archived = sum(day["recordings"].get("archived", 0) for day in told)
        self._expect((archived, sum(day["size_bytes"] for day in told)))
        return measured, sum(day["fetched_count"] for day in told)

    def _steps(self, *names: str) -> Measured:
        words = python("benchmarks.stages", DAY, *names)
        return measure(words, environment=self.environment, servers=self.servers, tells=True)

    def _expect(self, found: tuple[int, int]) -> None:
        wanted = (len(self.corpus.samples), self.corpus.size_bytes)
        if found != wanted:
            raise BenchmarkError(f"{wanted} recordings and bytes should have come of the run, and {found} did")


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
    """Servers run and the configuration is written, until the block is left.

    Args:
        kind: `s3` or `sftp`.
        round_trip_ms: how far away the landing is; 0 is next door, with nothing between.
    """
    put_aside(home)
    home.mkdir(parents=True)
    _write_sessions(home, corpus)
    corpus.warm()
    with ExitStack() as running:
        place: Place
        if kind == "s3":
            place = running.enter_context(s3_place(corpus))
        else:
            place = running.enter_context(sftp_place(corpus, home / "sshd"))
        stand_in_ = api = running.enter_context(stand_in("api", corpus))
        servers = [place.server, api]
        if round_trip_ms:
            way = running.enter_context(delay(place.port, round_trip_ms))
            servers.append(way)
            place = place.at(way.port)
        if api_round_trip_ms:
            api = running.enter_context(delay(api.port, api_round_trip_ms))
            servers.append(api)
        _write_configuration(home, place=place, api=api, limits=limits or Limits())
        yield Day(home, corpus, place, api, tuple(servers), stand_in_)
    put_aside(home)


def put_aside(folder: Path) -> None:
    """The folder is out of the way and takes no room, but its files are not deleted before `remove_aside`: see `Day.clear`."""
    if not folder.exists():
        return
    for file in folder.rglob("*"):
        # The corpus is linked into what an SFTP server shows: it must stay whole.
        if file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1:
            os.truncate(file, 0)
    aside = folder.parent / ASIDE
    aside.mkdir(exist_ok=True)
    folder.rename(aside / f"{folder.name}-{time.time_ns()}")


def remove_aside(directory: Path) -> None:
    """What was put aside in the directory is gone."""
    shutil.rmtree(directory / ASIDE, ignore_errors=True)


def _write_sessions(home: Path, corpus: Corpus) -> None:
    for day, samples in groupby(sorted(corpus.samples, key=attrgetter("day")), attrgetter("day")):
        with (home / f"sessions-{day}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("session_id", "started_at"))
            rows.writerows((sample.session_id, sample.started_at.isoformat()) for sample in samples)


def _write_configuration(home: Path, *, place: Place, api: Server, limits: Limits) -> None:
    """`home/callarchive.toml` archives the account's recordings below `home`."""
    transfer = "" if limits.transfers is None else f"\n[transfer]\nconcurrency = {limits.transfers}\n"
    look_ups = "" if limits.look_ups is None else f"\n[lookups]\nconcurrency = {limits.look_ups}\n"
    (home / "callarchive.toml").write_text(
        f"""\
timezone   = "UTC"
start_date = 2026-01-01

[archive]
url = "{home.as_uri()}/archive"

[catalog]
url = "{home.as_uri()}/catalog"
{transfer}{look_ups}
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
    """How many recordings lie below the folder, and how many bytes they have together."""
    sizes: Sequence[int] = [file.stat().st_size for file in folder.rglob("*.mp3")]
    return len(sizes), sum(sizes)
