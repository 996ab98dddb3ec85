"""The simulator's recordings: valid ones decode without errors, and faults break them as named."""

import hashlib
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from callarchive.domain.errors import NotAudioError
from callarchive.domain.models import AudioIssue
from callarchive.mp3 import probe_mp3
from callarchive.simulator.audio import FAULTS, SHAPES, break_recording, make_recording

RATES = {"8k": (8000, 1), "11k": (11025, 1), "16k": (16000, 1), "22k": (22050, 1), "44k": (44100, 2)}
REASONS = {
    "html": "an HTML page",
    "empty": "empty",
}
ISSUES = {
    "cut_half": (AudioIssue.TRUNCATED, 0.5),
    "cut_mid_frame": (AudioIssue.TRUNCATED, 1.0),
    "zero_tail": (AudioIssue.TRUNCATED, 0.75),
    "hole": (AudioIssue.DAMAGED, 0.94),
}


def rate_of(shape: str) -> tuple[int, int]:
    return next(rate for name, rate in RATES.items() if name in shape)


@pytest.mark.parametrize("duration_s", [0.4, 3, 61.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_recording_is_valid_and_has_the_requested_duration(shape: str, duration_s: float) -> None:
    facts = probe_mp3(make_recording(shape=shape, duration_s=duration_s, seed=4))
    assert facts.duration_s == pytest.approx(duration_s, abs=0.04)
    assert (facts.sample_rate_hz, facts.channels) == rate_of(shape)
    assert facts.audio_issue is None


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_returns_the_same_bytes_and_another_seed_does_not(shape: str) -> None:
    made = [make_recording(shape=shape, duration_s=3, seed=seed) for seed in (*range(100), 2**31 - 1, 7)]
    assert made[7] == made[-1]
    assert len({hashlib.sha256(data).digest() for data in made}) == 101


def test_every_fault_is_tested() -> None:
    assert set(FAULTS) == set(REASONS) | set(ISSUES)


@pytest.mark.parametrize("fault", ISSUES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fault_leaves_the_expected_audio(shape: str, fault: str) -> None:
    issue, share = ISSUES[fault]
    facts = probe_mp3(break_recording(make_recording(shape=shape, duration_s=20, seed=8), fault))
    assert facts.audio_issue is issue
    assert facts.duration_s == pytest.approx(20 * share, abs=0.2)


@pytest.mark.parametrize("fault", REASONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_files_without_audio_are_rejected(shape: str, fault: str) -> None:
    with pytest.raises(NotAudioError, match=REASONS[fault]):
        probe_mp3(break_recording(make_recording(shape=shape, duration_s=5, seed=9), fault))


def test_clips_are_small_and_have_no_bit_reservoir() -> None:
    clips = [clip.read_bytes() for clip in (files("callarchive.simulator") / "clips").iterdir()]
    assert len(clips) >= 6
    assert sum(map(len, clips)) <= 400_000
    for clip in clips:
        # The first two bytes are those of every frame's header; the byte behind the header says how far back the frame's
        # data begin (in MPEG 1 there is a ninth bit, which alone would be one byte).
        starts = [match.start() for match in re.finditer(re.escape(clip[:2]), clip)]
        borrowed = [clip[at + 4] for at in starts]
        assert len(starts) >= probe_mp3(clip).frame_count
        assert borrowed.count(0) >= probe_mp3(clip).frame_count


def ffmpeg(data: bytes, path: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    path.write_bytes(data)
    command = ["ffmpeg", "-hide_banner", "-nostats", *options[:2], "-i", str(path), *options[2:], "-"]
    return subprocess.run(command, capture_output=True, check=True, timeout=60)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("shape", SHAPES)
def test_ffmpeg_decodes_a_recording_without_errors(shape: str, tmp_path: Path) -> None:
    data = make_recording(shape=shape, duration_s=12.34, seed=10)
    rate, channels = rate_of(shape)
    done = ffmpeg(data, tmp_path / "x.mp3", "-v", "warning", "-f", "s16le")
    assert len(done.stdout) / 2 / channels / rate == pytest.approx(12.34, abs=0.04)
    complaints = [line for line in done.stderr.decode().splitlines() if "Estimating duration" not in line]
    assert complaints == []


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_recording_has_the_loudness_of_speech(shape: str, tmp_path: Path) -> None:
    data = make_recording(shape=shape, duration_s=12, seed=10)
    said = ffmpeg(data, tmp_path / "x.mp3", "-v", "info", "-af", "volumedetect", "-f", "null").stderr.decode()
    mean_db = float(said.split("mean_volume: ")[1].split()[0])
    assert -35 < mean_db < -15


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("fault", ISSUES)
def test_ffmpeg_and_the_frame_walk_agree_on_the_duration_of_a_broken_recording(fault: str, tmp_path: Path) -> None:
    for shape in SHAPES:
        data = break_recording(make_recording(shape=shape, duration_s=6, seed=11), fault)
        rate, channels = rate_of(shape)
        decoded_s = len(ffmpeg(data, tmp_path / "x.mp3", "-v", "quiet", "-f", "s16le").stdout) / 2 / channels / rate
        assert probe_mp3(data).duration_s == pytest.approx(decoded_s, abs=0.08), shape
