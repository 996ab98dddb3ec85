"""Whatever encoder wrote a call's telephone lines, exactly the dead ones are silent channels."""

import subprocess
import wave
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from callarchive.mp3 import probe_mp3
from callarchive.simulator.audio import make_recording
from tools.mp3_corpus.made import Encoder, encoders
from tools.mp3_corpus.packages import LAMEJS, fetch, install_lameenc

ROOT = Path(__file__).parents[2]
LINE_HZ, SECONDS = 8000, 10
Silent = tuple[int, ...] | None
Samples = NDArray[np.int16]
Legs = tuple[str, ...]

DEAD = (
    "digital zero, mu-law 0xFF",
    "A-law 0xD5",
    "A-law 0xD5 and 0x55",
    "comfort noise, A-law",
    "comfort noise, mu-law",
)
SPEECH_DBFS = {"speech": -26, "speech, -10 dB": -36, "speech, -20 dB": -46}
OTHER_VOICE = " of the other voice"
MONO = (
    ("lame", 8000, "-b 8 --cbr"),
    ("lame", 8000, "-b 16 --cbr"),
    ("lame", 16000, "-b 16 --cbr"),
    ("lame", 16000, "-V 4"),
    ("lame", 16000, "-V 6"),
    ("ffmpeg", 16000, "-c:a libmp3lame -q:a 5"),
    ("ffmpeg", 8000, "-c:a libmp3lame -b:a 16k"),
    ("ffmpeg", 16000, "-c:a libshine -b:a 32k"),
    ("lamejs", 8000, "16"),
    ("lameenc", 16000, "32"),
)
STEREO = (
    ("lame", 8000, "-m s -b 32 --cbr"),
    ("lame", 16000, "-m j -b 32 --cbr"),
    ("lame", 16000, "-m j -V 5"),
    ("lame", 16000, "-m d -b 64 --cbr"),
    ("lame", 32000, "-m j -b 64 --cbr"),
    ("ffmpeg", 16000, "-c:a libmp3lame -q:a 5"),
    ("ffmpeg", 16000, "-c:a libshine -b:a 64k"),
    ("lamejs", 8000, "32"),
    ("lameenc", 16000, "48"),
    ("lame", 16000, "-m f -b 64 --cbr"),
)
pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300), pytest.mark.needs("ffmpeg", "lame", "node", "npm")]


def ffmpeg(data: bytes, options: str) -> bytes:
    command = ["ffmpeg", "-v", "error", *options.split(), "-"]
    return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout


def noise() -> Samples:
    """-60 dBm0, which is -66 dBFS."""
    return (
        (np.random.default_rng(3).standard_normal(SECONDS * LINE_HZ) * 10 ** (-66 / 20) * 32768)
        .round()
        .astype(np.int16)
    )


def speech(dbfs: float) -> Samples:
    recording = make_recording(shape="lame_cbr_16k_mono", duration_s=SECONDS + 1, seed=11)
    sound = np.frombuffer(ffmpeg(recording, f"-i - -f s16le -ar {LINE_HZ}"), np.int16)[: SECONDS * LINE_HZ].astype(
        float
    )
    return (sound * 10 ** (dbfs / 20) * 32768 / np.sqrt((sound**2).mean())).round().clip(-32768, 32767).astype(np.int16)


def octets(line: str) -> tuple[str, bytes]:
    """Return the G.711 law and what the line carries."""
    count = SECONDS * LINE_HZ
    if line == DEAD[0]:
        return "mulaw", b"\xff" * count
    if line == DEAD[1]:
        return "alaw", b"\xd5" * count
    if line == DEAD[2]:
        return "alaw", np.random.default_rng(2).choice(np.array([0xD5, 0x55], np.uint8), count).tobytes()
    name = line.removesuffix(OTHER_VOICE)
    samples = speech(SPEECH_DBFS[name]) if name in SPEECH_DBFS else noise()
    law = "alaw" if line == DEAD[3] else "mulaw"
    return law, ffmpeg(samples[:: -1 if name != line else 1].tobytes(), f"-f s16le -ar {LINE_HZ} -i - -f {law}")


@cache
def samples_of(line: str, rate_hz: int) -> Samples:
    law, data = octets(line)
    return np.frombuffer(ffmpeg(data, f"-f {law} -ar {LINE_HZ} -i - -f s16le -ar {rate_hz}"), np.int16)


def lines_of(channels: int, program: str, options: str) -> dict[Legs, tuple[Silent, ...]]:
    """Return the results that are correct, by the lines of the legs."""
    dead_lines = DEAD[::2] if program == "lamejs" else DEAD  # it takes most of a second for a file
    if channels == 1:
        return {(line,): ((1,),) for line in dead_lines} | {(line,): ((),) for line in SPEECH_DBFS}
    expected: dict[Legs, tuple[Silent, ...]] = {(line, line): ((1, 2),) for line in dead_lines}
    unclear: tuple[Silent, ...] = (None, ()) if "-m f" in options else ()
    for line in SPEECH_DBFS:
        expected |= {(line, line): ((),), (line, line + OTHER_VOICE): unclear or ((),)}
    for line, dead in product(SPEECH_DBFS, dead_lines):
        expected |= {(line, dead): unclear or ((2,),), (dead, line): unclear or ((1,),)}
    return expected


MATRIX = [(*order, lines_of(channels, order[0], order[2])) for channels, of in ((1, MONO), (2, STEREO)) for order in of]


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    folder = ROOT / ".corpus"
    folder.mkdir(exist_ok=True)
    with encoders(fetch(folder, LAMEJS), install_lameenc(folder)) as made:
        yield made


def silent_channels(encoder: Encoder, program: str, rate_hz: int, options: str, *legs: Samples) -> Silent:
    path = encoder.folder / "lines.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((len(legs), 2, rate_hz, 0, "NONE", ""))
        file.writeframes(np.stack(legs, 1).tobytes())
    return probe_mp3(encoder.encode_wav(program, path, options)).silent_channels


@pytest.mark.parametrize(
    ("program", "rate_hz", "options", "expected"), MATRIX, ids=[" ".join(map(str, row[:3])) for row in MATRIX]
)
def test_exactly_the_dead_lines_are_silent(
    encoder: Encoder, program: str, rate_hz: int, options: str, expected: dict[Legs, tuple[Silent, ...]]
) -> None:
    wrong = {}
    for legs, correct in expected.items():
        samples = (samples_of(line, rate_hz) for line in legs)
        found = silent_channels(encoder, program, rate_hz, options, *samples)
        if found not in correct:
            wrong[legs] = found
    assert wrong == {}


def test_the_documentation_has_the_number_of_files() -> None:
    page = " ".join((ROOT / "docs" / "checks.md").read_text().split())
    assert f"{sum(len(row[3]) for row in MATRIX)} files made with {len(MATRIX)} settings of five encoders" in page
