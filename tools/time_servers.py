"""Time a day of 5,000 recordings on several SFTP servers, in one date folder with 7,500 session folders, beside OpenSSH.

    .venv/bin/python tools/time_servers.py --directory .bench [SERVER...]

By default Erlang's and ProFTPD's server. Prints the median wall times of the whole job and of a rerun, in interleaved
rounds. The corpus and the simulator of the API are the benchmarks'; OpenSSH comes first in each round.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.corpus import DAY, Corpus, make_corpus
from benchmarks.servers import simulator
from benchmarks.simulators import SUBACCOUNT_ID
from tests.servers.day import in_toml
from tests.servers.running import LocalFiles, Server
from tests.servers.sftp_servers import SFTP_SERVERS

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS, FOLDERS = 5_000, 7_500
_SECRETS = {"BENCHMARK_API_KEY": "benchmark"}


@contextmanager
def configured(server: Server, home: Path, corpus: Corpus, api_port: int) -> Iterator[dict[str, str]]:
    """Run the server with the corpus and further empty session folders; yield the environment of callarchive."""
    home.mkdir()
    with server.run(home) as place:
        assert isinstance(place.files, LocalFiles)
        landing = place.files.folder / "upload"
        corpus.link_into(landing)
        for _ in range(FOLDERS - len(corpus.samples)):
            (landing / str(DAY) / str(uuid4())).mkdir()
        lines = "".join(f"{sample.session_id},{sample.started_at.isoformat()}\n" for sample in corpus.samples)
        (home / "sessions.csv").write_text(f"session_id,started_at\n{lines}", encoding="utf-8")
        section = "".join(f"{name} = {in_toml(value)}\n" for name, value in place.section.items())
        (home / "callarchive.toml").write_text(
            f"""\
start_date = {DAY}
archive.url = "{home.as_uri()}/archive"
catalog.url = "{home.as_uri()}/catalog"
[[accounts]]
subaccount_id = "{SUBACCOUNT_ID}"
api_url = "http://127.0.0.1:{api_port}"
api_key = {{ env = "BENCHMARK_API_KEY" }}
requests_per_second = 50000
landing = "{place.landing}/upload"
[accounts.sftp]
{section}
[[accounts.session_sources]]
kind = "files"
path = "sessions.csv"
""",
            encoding="utf-8",
        )
        yield {**os.environ, **place.environment, **_SECRETS, "CALLARCHIVE_CONFIG": str(home / "callarchive.toml")}


def timed(environment: dict[str, str], *, downloads: int) -> float:
    """Archive the day in a process of its own, check the number of downloads and return the seconds."""
    os.sync()
    words = [sys.executable, "-m", "callarchive", "--json", "--quiet", "archive", "--day", str(DAY), "--ignore-checks"]
    begun_at = time.perf_counter()
    process = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    wall_s = time.perf_counter() - begun_at
    if process.returncode:
        sys.exit(process.stderr[-2000:])
    (day,) = json.loads(process.stdout)["days"]
    found = (day["recordings"].get("archived"), day["fetched_count"])
    if found != (RECORDINGS, downloads):
        sys.exit(f"expected {(RECORDINGS, downloads)} (archived, downloaded), found {found}")
    return wall_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path(".bench"), help="for the corpus and the archives")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("servers", nargs="*", default=["Erlang", "ProFTPD"], help="beginnings of names")
    options = parser.parse_args()
    directory = options.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    chosen = [server for server in SFTP_SERVERS if server.name.startswith(("OpenSSH", *options.servers))]
    corpus = make_corpus(directory, RECORDINGS)
    homes = directory / "servers"
    shutil.rmtree(homes, ignore_errors=True)
    homes.mkdir()
    walls: dict[str, list[tuple[float, float]]] = {server.name: [] for server in chosen}
    with ExitStack() as running:
        api = running.enter_context(simulator("api", corpus))
        places = {
            server.name: running.enter_context(configured(server, homes / str(number), corpus, api.port))
            for number, server in enumerate(chosen)
        }
        for _ in range(options.repeat):
            for name, environment in places.items():
                _clear(Path(environment["CALLARCHIVE_CONFIG"]).parent)
                walls[name].append((timed(environment, downloads=RECORDINGS), timed(environment, downloads=0)))
    _report(walls)


def _clear(home: Path) -> None:
    """Move the output of an earlier run aside; deleting it would slow down the next one."""
    for name in ("archive", "catalog"):
        if (home / name).exists():
            (home / name).rename(home / f"{name}-{time.time_ns()}")


def _report(walls: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    first = [median(times) for times in zip(*walls["OpenSSH"], strict=True)]
    for name, runs in walls.items():
        job, rerun = (median(times) for times in zip(*runs, strict=True))
        each = ", ".join(f"{one:.1f}" for one, _ in runs)
        print(
            f"{name}: whole job {job:.1f} s ({each}), {job / first[0]:.2f} x OpenSSH; "
            f"rerun {rerun:.1f} s, {rerun / first[1]:.2f} x OpenSSH"
        )


if __name__ == "__main__":
    main()
