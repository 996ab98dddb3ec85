"""Loudness from side information follows the decoded level closely enough for a picture."""

import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from callarchive.mp3 import probe_mp3
from callarchive.mp3.loudness import FLOOR_DB, loudness
from callarchive.simulator import audio

CLIPS = sorted((Path(audio.__file__).parent / "clips").glob("*.mp3"))
WINDOW_S = 0.25


def decoded_levels(file: Path) -> np.ndarray:
    """Return the level of each window of ffmpeg's output, in dBFS, down to the floor."""
    rate = 8000
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "s16le", "-ac", "1", "-ar", str(rate), "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    samples = np.frombuffer(raw, np.int16) / 32768
    length = int(rate * WINDOW_S)
    windows = samples[: len(samples) // length * length].reshape(-1, length)
    power = (windows**2).mean(axis=1) + 1e-9
    return np.maximum(10 * np.log10(power), FLOOR_DB)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_loudness_follows_the_decoded_level(clip: Path) -> None:
    noted = np.array([level.level_db for level in loudness(clip.read_bytes(), window_s=WINDOW_S)])
    decoded = decoded_levels(clip)
    count = min(len(noted), len(decoded))
    assert np.corrcoef(noted[:count], decoded[:count])[0, 1] > 0.6
    assert np.abs(noted[:count] - decoded[:count]).mean() < 13


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (44100, 1), (44100, 2)])
def test_a_tone_between_two_silences_is_at_its_position(tmp_path: Path, rate_hz: int, channels: int) -> None:
    file = tmp_path / "tone.mp3"
    sound = f"sine=frequency=440:duration=2:sample_rate={rate_hz},adelay=2000:all=1,apad=pad_dur=2"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sound, "-ac", str(channels), "-b:a", "64k", str(file)]
    subprocess.run(command, check=True, timeout=60)
    levels = {round(level.at_s, 2): level.level_db for level in loudness(file.read_bytes(), window_s=WINDOW_S)}
    # A sine of ffmpeg has an amplitude of 1/8: -21 dBFS.
    assert all(abs(levels[at] + 21) < 12 for at in (2.5, 3.0, 3.5))
    assert max(levels[at] for at in (0.5, 1.0, 1.5, 5.0, 5.5)) < -50


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_levels_reach_the_end_of_the_audio(clip: Path) -> None:
    data = clip.read_bytes()
    levels = loudness(data, window_s=WINDOW_S)
    assert [level.at_s for level in levels] == [number * WINDOW_S for number in range(len(levels))]
    assert abs(len(levels) * WINDOW_S - probe_mp3(data).duration_s) < 0.5
    assert all(FLOOR_DB <= level.level_db <= 0 for level in levels)


@pytest.mark.needs("lame")
def test_an_idle_line_is_not_loud(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.full(16000, 8, np.int16).tobytes())  # A-law 0xD5
    subprocess.run(["lame", "--quiet", "-b", "16", str(tmp_path / "x.wav"), str(tmp_path / "x.mp3")], check=True)
    assert max(level.level_db for level in loudness((tmp_path / "x.mp3").read_bytes())) < -60


def test_damage_is_skipped() -> None:
    data = CLIPS[0].read_bytes()
    whole = loudness(data)
    middle = len(data) // 2
    broken = loudness(data[:middle] + bytes(3000) + data[middle + 3000 :])
    assert 0 < len(whole) - len(broken) < 8
    assert [level.level_db for level in broken[:4]] == [level.level_db for level in whole[:4]]


@pytest.mark.parametrize("data", [b"", b"\xff", b"<html>no audio</html>", bytes(10_000), b"\xff\xfb" * 5_000])
def test_other_bytes_than_layer_iii_have_no_levels(data: bytes) -> None:
    assert loudness(data) == []
