"""The recordings that benchmarks archive: whole mp3 files with the sizes of real calls, made once and kept in a folder.

What is asked of them is for the cases to say; who serves them is in `servers` and `stand_ins`.
"""

import hashlib
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

from callarchive.simulator.audio import SHAPES, make_recording
from callarchive.simulator.generation import file_name, uuid_at

DAY = date(2026, 1, 5)
"""The first day, and mostly the only one, on which they were recorded."""

_SEED = 20260105
_VERSION = 2
"""To be raised with every change that gives other bytes, so that a corpus kept from before is not taken for this one."""


@dataclass(frozen=True)
class Recipe:
    """How a corpus is made.

    Attributes:
        median_bytes, spread: of the sizes, which are log-normal; the spread is their natural logarithm's standard deviation.
        days: over how many days the samples are spread, beginning with `DAY`, as many on each.
    """

    name: str
    median_bytes: int
    spread: float
    days: int = 1


CALLS = Recipe("calls", median_bytes=140_000, spread=0.755)
"""Sizes of real calls: their mean is 186 kB, so 5,000 are 0.93 GB."""
SHORT_CALLS = Recipe("short-calls", median_bytes=8_000, spread=0.2)
"""So small that what is done for each recording, and not its bytes, is what costs."""
SHORT_CALLS_OF_TEN_DAYS = Recipe("ten-days", median_bytes=8_000, spread=0.2, days=10)
_PIECE_BYTES = 16_000_000


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

    @property
    def day(self) -> date:
        """On which it was recorded."""
        return self.started_at.date()


@dataclass(frozen=True)
class Corpus:
    """Samples, kept in a folder of their own, `home`."""

    home: Path
    samples: tuple[Sample, ...]

    @property
    def folder(self) -> Path:
        """Where the samples lie at their paths."""
        return self.home / "files"

    @property
    def size_bytes(self) -> int:
        """Of all samples together."""
        return sum(sample.size_bytes for sample in self.samples)

    def first(self, count: int) -> "Corpus":
        """The same folder, of which only so many samples count."""
        return Corpus(self.home, self.samples[:count])

    def link_into(self, folder: Path) -> None:
        """The samples, and nothing else, lie below `folder` as well, as hard links."""
        shutil.rmtree(folder, ignore_errors=True)
        for sample in self.samples:
            target = folder / sample.path
            target.parent.mkdir(parents=True)
            os.link(self.folder / sample.path, target)

    def warm(self) -> None:
        """The samples are in the page cache, so that no run measures how fast the servers' disk is."""
        block = bytearray(1_000_000)  # not the whole file: what this process holds is counted as its children's peak
        for sample in self.samples:
            with (self.folder / sample.path).open("rb", buffering=0) as file:
                while file.readinto(block):
                    pass


def make_corpus(directory: Path, count: int, recipe: Recipe = CALLS) -> Corpus:
    """The corpus of that size below `directory`, made if it is not there. The same count gives the same bytes."""
    home = directory / f"{recipe.name}-{count}-{_VERSION}"

    def samples() -> Iterator[Sample]:
        bounds = [count * part // 16 for part in range(17)]
        with ProcessPoolExecutor() as pool:
            numbers = [range(*pair) for pair in pairwise(bounds)]
            for part in pool.map(_make_samples, [home / "files"] * 16, numbers, [count] * 16, [recipe] * 16):
                yield from part

    return _made(home, samples)


def make_long_recording(directory: Path, size_bytes: int) -> Corpus:
    """A corpus below `directory` of one recording that has about this size: as a line left open for a week would give."""
    home = directory / f"long-{size_bytes}-{_VERSION}"

    def samples() -> Iterator[Sample]:
        with ProcessPoolExecutor(1) as pool:  # not here: what this process once held is counted as its children's peak
            yield pool.submit(_make_long_sample, home / "files", size_bytes).result()

    return _made(home, samples)


def load_corpus(home: Path) -> Corpus:
    """A corpus that was made in this folder."""
    rows = map(json.loads, (home / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    samples = (Sample(**{**row, "started_at": datetime.fromisoformat(row["started_at"])}) for row in rows)
    return Corpus(home, tuple(samples))


def _made(home: Path, samples: Callable[[], Iterator[Sample]]) -> Corpus:
    manifest = home / "manifest.jsonl"
    if not manifest.exists():  # written last: a corpus without it was not finished
        shutil.rmtree(home, ignore_errors=True)
        lines = [json.dumps(asdict(sample), default=str) for sample in samples()]
        manifest.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return load_corpus(home)


def _make_samples(folder: Path, numbers: range, count: int, recipe: Recipe) -> list[Sample]:
    return [_make_sample(folder, number, number * recipe.days // count, recipe) for number in numbers]


def _make_sample(folder: Path, number: int, day: int, recipe: Recipe) -> Sample:
    rng = random.Random(_SEED * 1_000_003 + number)
    shape = rng.choice(SHAPES)
    started_at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(
        days=day, milliseconds=rng.randrange(86_400_000)
    )
    duration_s = max(1.5, rng.lognormvariate(math.log(recipe.median_bytes), recipe.spread) / _bytes_per_second(shape))
    data = make_recording(shape=shape, duration_s=duration_s, seed=rng.getrandbits(31))
    return _keep([data], folder, started_at, duration_s, rng)


def _make_long_sample(folder: Path, size_bytes: int) -> Sample:
    shape = "ffmpeg_cbr_22k_no_xing"  # has neither header nor tag, so that pieces after one another are one recording
    pieces = max(1, round(size_bytes / _PIECE_BYTES))
    piece_s = size_bytes / pieces / _bytes_per_second(shape)
    piece = make_recording(shape=shape, duration_s=piece_s, seed=_SEED)
    started_at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    return _keep([piece] * pieces, folder, started_at, piece_s * pieces, random.Random(_SEED))


def _keep(pieces: Sequence[bytes], folder: Path, started_at: datetime, duration_s: float, rng: random.Random) -> Sample:
    session_id, recording_id = uuid_at(started_at - timedelta(seconds=5), rng), uuid_at(started_at, rng)
    path = f"{started_at.date()}/{session_id}/{file_name(recording_id, started_at)}"
    target = folder / path
    target.parent.mkdir(parents=True)
    md5 = hashlib.md5(usedforsecurity=False)
    with target.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            md5.update(piece)
    return Sample(session_id, recording_id, path, started_at, duration_s, sum(map(len, pieces)), md5.hexdigest())


@cache
def _bytes_per_second(shape: str) -> float:
    return len(make_recording(shape=shape, duration_s=60, seed=0)) / 60
