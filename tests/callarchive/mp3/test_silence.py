"""Channels with nothing to hear are recognized whatever encoder wrote the file, and quiet speech is not among them."""

import subprocess
import wave
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from callarchive.mp3 import probe_mp3
from callarchive.mp3.frames import stream_of
from callarchive.simulator import audio

RATE_HZ = 16000
CLIP = Path(audio.__file__).parent / "clips" / "lame_16k_mono_cbr32.mp3"
ENCODERS = {
    "lame_cbr": ("lame", "--quiet", "-b", "32", "--cbr", "IN", "OUT"),
    "lame_vbr": ("lame", "--quiet", "-V", "4", "IN", "OUT"),
    "libshine": ("ffmpeg", "-y", "-v", "error", "-i", "IN", "-c:a", "libshine", "-b:a", "64k", "OUT"),
    "mpeg1": ("ffmpeg", "-y", "-v", "error", "-i", "IN", "-ar", "44100", "-c:a", "libmp3lame", "-b:a", "96k", "OUT"),
}
Sound = NDArray[np.float64]
pytestmark = pytest.mark.needs("ffmpeg", "lame")


def noise(dbfs: float) -> Sound:
    return np.random.default_rng(3).standard_normal(4 * RATE_HZ) * 10 ** (dbfs / 20) * 32768


IDLE = {
    "digital zero and mu-law 0xFF": np.zeros(4 * RATE_HZ),
    "A-law 0xD5": np.full(4 * RATE_HZ, 8.0),
    "A-law 0xD5 and 0x55": np.random.default_rng(2).choice([-8.0, 8.0], 4 * RATE_HZ),
    "comfort noise of -60 dBm0": noise(-66),
}


@cache
def speech(dbfs: float) -> Sound:
    """Four seconds with the given RMS."""
    command = ["ffmpeg", "-v", "error", "-i", str(CLIP), "-f", "s16le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    sound = np.frombuffer(raw, np.int16)[: 4 * RATE_HZ].astype(float)
    return sound * 10 ** (dbfs / 20) * 32768 / np.sqrt((sound**2).mean())


def encode(folder: Path, encoder: str, *channels: Sound) -> bytes:
    source, target = folder / "x.wav", folder / "x.mp3"
    with wave.open(str(source), "wb") as file:
        file.setparams((len(channels), 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(np.stack(channels, 1).round().astype(np.int16).tobytes())
    words = {"IN": str(source), "OUT": str(target)}
    subprocess.run([words.get(word, word) for word in ENCODERS[encoder]], check=True, timeout=60)
    return target.read_bytes()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("line", IDLE)
def test_an_idle_line_is_silent_and_the_other_leg_is_not(tmp_path: Path, encoder: str, line: str) -> None:
    assert probe_mp3(encode(tmp_path, encoder, IDLE[line])).silent_channels == (1,)
    assert probe_mp3(encode(tmp_path, encoder, IDLE[line], speech(-46))).silent_channels == (1,)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_speech_20_db_below_the_usual_level_is_not_silent(tmp_path: Path, encoder: str) -> None:
    quiet = speech(-46)
    assert probe_mp3(encode(tmp_path, encoder, quiet)).silent_channels == ()
    assert probe_mp3(encode(tmp_path, encoder, quiet, quiet)).silent_channels == ()
    assert probe_mp3(encode(tmp_path, encoder, quiet, -quiet)).silent_channels == ()
    assert probe_mp3(encode(tmp_path, encoder, quiet, speech(-26)[::-1])).silent_channels == ()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_word_in_a_silent_minute_is_something_to_hear(tmp_path: Path, encoder: str) -> None:
    length = RATE_HZ // 2
    begin = max(range(0, 3 * RATE_HZ, 1000), key=lambda at: (speech(-26)[at : at + length] ** 2).sum())
    minute = np.tile(IDLE["A-law 0xD5"], 15)
    minute[30 * RATE_HZ :][:length] += speech(-26)[begin : begin + length]
    assert probe_mp3(encode(tmp_path, encoder, minute)).silent_channels == ()


def test_channels_that_only_frames_with_sum_and_difference_hold_are_unknown(tmp_path: Path) -> None:
    command = ("lame", "--quiet", "-m", "f", "-b", "64", "--cbr", "IN", "OUT")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "only_sums", command)
        assert probe_mp3(encode(tmp_path, "only_sums", speech(-26), IDLE["A-law 0xD5"])).silent_channels is None


@pytest.mark.parametrize(("header", "frame_count"), [("fffd4000", 100), ("fffb5000", 2)])
def test_another_layer_and_too_few_frames_are_not_measured(header: str, frame_count: int) -> None:
    stream = stream_of(bytes.fromhex(header))
    assert stream is not None
    frame = bytes.fromhex(header).ljust(stream.lengths[bytes.fromhex(header)[:3]], b"\0")
    assert probe_mp3(frame * frame_count).silent_channels is None
