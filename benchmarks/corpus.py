"""The recordings that benchmarks archive: whole mp3 files with the sizes of real calls, made once and kept in a folder.

What is asked of them is in `main_job`; who serves them is in `servers` and `stand_ins`.
"""

import hashlib
import json
import math
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.generation import file_name, uuid_at

DAY = date(2026, 1, 5)
"""The day on which all of them were recorded."""

_MEDIAN_BYTES = 140_000
_SPREAD = 0.755
"""Standard deviation of the sizes' natural logarithm: with this median the mean is 186 kB, so 5,000 are 0.93 GB."""
_SEED = 20260105
_RECIPE = 1
"""To be raised with every change that gives other bytes, so that a corpus kept from before is not taken for this one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording of the corpus: one to a session.

    Attributes:
        path: below the landing's root, in the folder of its day and of its session, as 8x8's events name it.
    """

    session_id: str
    recording_id: str
    path: str
    started_at: datetime
    duration_s: float
    size_bytes: int
    md5: str


@dataclass(frozen=True)
class Corpus:
    """Samples, and the folder in which each lies at its path."""

    folder: Path
    samples: tuple[Sample, ...]

    @property
    def size_bytes(self) -> int:
        """Of all samples together."""
        return sum(sample.size_bytes for sample in self.samples)

    def first(self, count: int) -> "Corpus":
        """The same folder, of which only so many samples count."""
        return Corpus(self.folder, self.samples[:count])

    def link_into(self, folder: Path) -> None:
        """The samples, and nothing else, lie below `folder` as well, as hard links."""
        shutil.rmtree(folder, ignore_errors=True)
        for sample in self.samples:
            target = folder / sample.path
            target.parent.mkdir(parents=True)
            os.link(self.folder / sample.path, target)

    def warm(self) -> None:
        """The samples are in the page cache, so that no run measures how fast the servers' disk is."""
        for sample in self.samples:
            (self.folder / sample.path).read_bytes()


def make_corpus(directory: Path, count: int) -> Corpus:
    """The corpus of that size below `directory`, made if it is not there. The same count gives the same bytes."""
    home = directory / f"corpus-{count}-{_RECIPE}"
    manifest = home / "manifest.jsonl"
    if not manifest.exists():  # written last: a corpus without it was not finished
        shutil.rmtree(home, ignore_errors=True)
        bounds = [count * part // 16 for part in range(17)]
        with ProcessPoolExecutor() as pool:
            made = pool.map(_make_samples, [home / "files"] * 16, pairwise(bounds))
            lines = [json.dumps(asdict(sample), default=str) for part in made for sample in part]
        manifest.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return load_corpus(home)


def load_corpus(home: Path) -> Corpus:
    """A corpus that `make_corpus` has made in this folder."""
    rows = map(json.loads, (home / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    samples = (Sample(**{**row, "started_at": datetime.fromisoformat(row["started_at"])}) for row in rows)
    return Corpus(home / "files", tuple(samples))


def _make_samples(folder: Path, bounds: tuple[int, int]) -> list[Sample]:
    return list(_samples(folder, range(*bounds)))


def _samples(folder: Path, numbers: range) -> Iterator[Sample]:
    for number in numbers:
        rng = random.Random(_SEED * 1_000_003 + number)
        shape = rng.choice(SHAPES)
        started_at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(
            milliseconds=rng.randrange(86_400_000)
        )
        duration_s = max(1.5, rng.lognormvariate(math.log(_MEDIAN_BYTES), _SPREAD) / _bytes_per_second(shape))
        data = make_recording(shape=shape, duration_s=duration_s, seed=rng.getrandbits(31))
        session_id, recording_id = uuid_at(started_at - timedelta(seconds=5), rng), uuid_at(started_at, rng)
        path = f"{DAY}/{session_id}/{file_name(recording_id, started_at)}"
        target = folder / path
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        yield Sample(session_id, recording_id, path, started_at, duration_s, len(data), md5)


@cache
def _bytes_per_second(shape: str) -> float:
    return len(make_recording(shape=shape, duration_s=60, seed=0)) / 60
