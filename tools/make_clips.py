"""Create the clips in `callarchive/simulator/clips`: synthetic speech-like sound, encoded without a bit reservoir.

Run it manually with lame and ffmpeg installed: `.venv/bin/python tools/make_clips.py`. The clips are in the repository, so
nothing else needs an encoder. They contain no real voices: a pulse train of varying pitch passes through three moving
resonances (the formants of vowels), with hiss for consonants, pauses between phrases and the background noise of a telephone
line. Without a bit reservoir (frames that use bytes of earlier frames), every frame can follow any other.
"""

import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLIPS = Path(__file__).parent.parent / "callarchive" / "simulator" / "clips"

# First three formants in Hz of vowels as in "father", "bed", "see", "law", "boot", "bird".
VOWELS_HZ = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
    (490, 1350, 1690),
)
FORMANT_WIDTHS_HZ = (80, 110, 160)
STEP_S = 0.005

Sound = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """The sound and encoding of one clip. `options` are appended to the common options of lame or ffmpeg."""

    name: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    speaker: int
    encoder: str
    options: tuple[str, ...]


CLIP_LIST = (
    Clip("lame_8k_mono_cbr16", 16, 8000, 1, 1, "lame", ("-m", "m", "-b", "16", "--cbr")),
    Clip("lame_16k_mono_cbr32", 10, 16000, 1, 2, "lame", ("-m", "m", "-b", "32", "--cbr")),
    Clip("lame_16k_mono_vbr", 12, 16000, 1, 3, "lame", ("-m", "m", "-V", "6")),
    Clip("lame_11k_mono_vbr", 12, 11025, 1, 4, "lame", ("-m", "m", "-V", "7")),
    Clip("ffmpeg_22k_mono_cbr32", 10, 22050, 1, 5, "ffmpeg", ("-b:a", "32k")),
    Clip("lame_44k_stereo_cbr64", 8, 44100, 2, 6, "lame", ("-m", "j", "-b", "64", "--cbr")),
)


def synthesise_speech(*, duration_s: float, sample_rate_hz: int, speaker: int) -> Sound:
    """Return sound between -1 and 1 with the pitch, formants, rhythm and pauses of a telephone voice."""
    rng = np.random.default_rng(speaker)
    steps = int(duration_s / STEP_S)
    loudness, hiss = np.zeros(steps), np.zeros(steps)
    formants_hz = np.tile(np.array(VOWELS_HZ[0], float), (steps, 1))
    pitch_hz = np.full(steps, 120.0)
    base_hz = rng.uniform(95, 210)
    at = int(0.15 / STEP_S)
    while at < steps:
        syllables = rng.integers(4, 11)
        for number in range(syllables):
            consonant = int(rng.uniform(0.03, 0.09) / STEP_S)
            vowel = int(rng.uniform(0.09, 0.22) / STEP_S)
            hiss[at : at + consonant] = rng.uniform(0.05, 0.35)
            at += consonant
            here = slice(at, at + vowel)
            count = len(loudness[here])
            loudness[here] = np.sin(np.linspace(0, np.pi, vowel))[:count] ** 0.6 * rng.uniform(0.5, 1.0)
            begin, end = (np.array(VOWELS_HZ[rng.integers(len(VOWELS_HZ))], float) for _ in range(2))
            formants_hz[here] = (begin + (end - begin) * np.linspace(0, 1, vowel)[:, None])[:count]
            # The pitch falls during a phrase.
            pitch_hz[here] = (base_hz * (1.15 - 0.3 * number / syllables) * np.linspace(1.04, 0.96, vowel))[:count]
            at += vowel
        at += int(rng.uniform(0.25, 0.9) / STEP_S)
    return _render(loudness, hiss, formants_hz, pitch_hz, sample_rate_hz, rng)


def _render(
    loudness: Sound, hiss: Sound, formants_hz: Sound, pitch_hz: Sound, sample_rate_hz: int, rng: np.random.Generator
) -> Sound:
    per_step = round(STEP_S * sample_rate_hz)
    samples = len(loudness) * per_step
    phase = np.cumsum(np.repeat(pitch_hz, per_step) / sample_rate_hz)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    smooth = np.hanning(2 * per_step + 1)
    smooth /= smooth.sum()
    noise = rng.standard_normal(samples)
    voiced = pulses * np.convolve(np.repeat(loudness, per_step), smooth, "same")
    source = voiced + 0.02 * noise * np.convolve(np.repeat(loudness, per_step), smooth, "same")
    sound = source
    for number, width_hz in enumerate(FORMANT_WIDTHS_HZ):
        sound = _resonate(sound, np.minimum(formants_hz[:, number], 0.45 * sample_rate_hz), width_hz, sample_rate_hz)
    sound /= np.abs(sound).max()
    hissing = np.diff(noise, prepend=0.0) * np.convolve(np.repeat(hiss, per_step), smooth, "same")
    line = 0.003 * rng.standard_normal(samples)
    return _telephone_band(0.7 * sound + 0.05 * hissing + line, sample_rate_hz)


def _resonate(sound: Sound, centre_hz: Sound, width_hz: float, sample_rate_hz: int) -> Sound:
    """Apply a two-pole resonance whose centre frequency changes with every step."""
    per_step = round(STEP_S * sample_rate_hz)
    radius = np.exp(-np.pi * width_hz / sample_rate_hz)
    out = np.empty_like(sound)
    last = before_last = 0.0
    for step, hz in enumerate(centre_hz):
        first = 2 * radius * np.cos(2 * np.pi * hz / sample_rate_hz)
        gain = 1 - first + radius**2
        for at in range(step * per_step, (step + 1) * per_step):
            last, before_last = gain * sound[at] + first * last - radius**2 * before_last, last
            out[at] = last
    return out


def _telephone_band(sound: Sound, sample_rate_hz: int) -> Sound:
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / sample_rate_hz)
    spectrum *= 1 / (1 + (200 / np.maximum(hz, 1)) ** 6) / (1 + (hz / 3600) ** 12)
    band = np.fft.irfft(spectrum, len(sound))
    scaled: Sound = 0.8 * band / np.abs(band).max()
    return scaled


def write_wav(path: Path, clip: Clip) -> None:
    """Write the clip's sound to a WAV file with 16 bits per sample. A second channel has a different speaker."""
    speakers = [clip.speaker + 100 * channel for channel in range(clip.channels)]
    voices = [
        synthesise_speech(duration_s=clip.duration_s, sample_rate_hz=clip.sample_rate_hz, speaker=speaker)
        for speaker in speakers
    ]
    frames = (np.stack(voices, axis=1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(clip.channels)
        file.setsampwidth(2)
        file.setframerate(clip.sample_rate_hz)
        file.writeframes(frames.tobytes())


def encode(clip: Clip, wav: Path, mp3: Path) -> None:
    """Encode the clip as frames only, without tags or a header frame."""
    if clip.encoder == "lame":
        rate = f"{clip.sample_rate_hz / 1000:g}"
        command = ["lame", "--quiet", "--nores", "-t", "-q", "2", "--resample", rate, *clip.options, str(wav), str(mp3)]
    else:
        common = [
            "-reservoir",
            "0",
            "-write_xing",
            "0",
            "-id3v2_version",
            "0",
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
        ]
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-i",
            str(wav),
            "-c:a",
            "libmp3lame",
            *common,
            *clip.options,
            str(mp3),
        ]
    subprocess.run(command, check=True, timeout=120)


def main() -> None:
    """Create all clips."""
    missing = [program for program in ("lame", "ffmpeg") if shutil.which(program) is None]
    if missing:
        sys.exit(f"make_clips: {' and '.join(missing)} not installed")
    CLIPS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for clip in CLIP_LIST:
            wav, mp3 = Path(folder) / "clip.wav", CLIPS / f"{clip.name}.mp3"
            write_wav(wav, clip)
            encode(clip, wav, mp3)
            print(f"{mp3.name}: {mp3.stat().st_size} bytes")


if __name__ == "__main__":
    main()
