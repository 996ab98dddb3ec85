"""The frame walk compared with a full decode by ffmpeg, for encoders' files and damaged ones."""

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from callarchive.domain.models import AudioIssue
from callarchive.mp3 import probe_mp3
from callarchive.simulator.audio import make_recording

SOUND_S = 4.3
ENCODERS = {
    "lame CBR 8 kHz": "lame -m m --resample 8 -b 16 --cbr",
    "lame CBR 8 kHz with Info header": "lame -m m --resample 8 -b 40 --cbr",
    "lame VBR 16 kHz": "lame -m m --resample 16 -V 5",
    "lame VBR 11 kHz without header": "lame -m m --resample 11.025 -V 7 -t",
    "lame ABR 24 kHz": "lame -m m --resample 24 --abr 40",
    "lame CBR 22 kHz with CRC": "lame -m m --resample 22.05 -b 32 -p",
    "lame CBR 44 kHz stereo": "lame -m s --resample 44.1 -b 128",
    "lame CBR 48 kHz tagged": "lame -m j --resample 48 -b 64 --tt Title --add-id3v2 --pad-id3v2",
    "ffmpeg CBR 22 kHz": "ffmpeg -ar 22050 -b:a 32k",
    "ffmpeg CBR 44 kHz without header": "ffmpeg -ar 44100 -b:a 64k -write_xing 0",
    "ffmpeg VBR 12 kHz": "ffmpeg -ar 12000 -q:a 6 -write_id3v1 1",
    "ffmpeg VBR 32 kHz without header or tag": "ffmpeg -ar 32000 -ac 2 -q:a 4 -write_xing 0 -id3v2_version 0",
    "ffmpeg into a pipe": "ffmpeg -ar 8000 -b:a 24k |",
    "layer II 16 kHz": "ffmpeg -ar 16000 -c:a mp2 -b:a 64k -f mp2",
    "layer II 44 kHz": "ffmpeg -ar 44100 -ac 2 -c:a mp2 -b:a 192k -f mp2",
}
# Without a header, with one, with one that the encoder could not fill, with frames of two lengths, with a variable bitrate.
MISHAP_ENCODERS = ("lame CBR 8 kHz", "lame VBR 16 kHz", "ffmpeg into a pipe", "ffmpeg CBR 44 kHz without header")


def run(command: list[str], stdin: bytes = b"") -> bytes:
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout


def decoded_s(data: bytes, path: Path) -> float:
    """Return the length of ffmpeg's output. Its input is a file: from a pipe it reads header frames differently."""
    path.write_bytes(data)
    command = ["ffmpeg", "-v", "quiet", "-f", "mp3", "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", "48000", "-"]
    return len(run(command)) / 2 / 48000


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return a function that encodes speech-like sound with one of `ENCODERS`."""
    folder = tmp_path_factory.mktemp("encoded")
    wav = folder / "speech.wav"
    recording = make_recording(shape="mpeg1_44k_stereo", duration_s=SOUND_S, seed=11)
    run(["ffmpeg", "-v", "error", "-i", "-", str(wav)], recording)
    made: dict[str, bytes] = {}

    def encode(name: str) -> bytes:
        if name not in made:
            program, *options = ENCODERS[name].split()
            mp3 = folder / "speech.mp3"
            if program == "lame":
                run(["lame", "--quiet", *options, str(wav), str(mp3)])
                made[name] = mp3.read_bytes()
            elif options[-1] == "|":
                made[name] = run(["ffmpeg", "-v", "error", "-i", str(wav), *options[:-1], "-f", "mp3", "-"])
            else:
                run(["ffmpeg", "-v", "error", "-y", "-i", str(wav), *options, str(mp3)])
                made[name] = mp3.read_bytes()
        return made[name]

    return encode


@pytest.mark.needs("ffmpeg", "lame")
@pytest.mark.parametrize("name", ENCODERS)
def test_an_intact_file_is_as_long_as_its_full_decode(
    name: str, encode: Callable[[str], bytes], tmp_path: Path
) -> None:
    data = encode(name)
    facts = probe_mp3(data)
    assert facts.duration_s == pytest.approx(decoded_s(data, tmp_path / "x.mp3"), abs=0.005)
    assert facts.duration_s == pytest.approx(SOUND_S, abs=0.3)
    assert facts.audio_issue is None


def without(data: bytes, begin: int, size: int, *, instead: bytes) -> bytes:
    """Return the data with other bytes in one place.

    Behind it, what looks like a header of another stream is taken out: ffmpeg believes the first one that it sees, and
    loses up to a second of what other decoders and the walk hear.
    """
    behind = data[begin + size :]
    return data[:begin] + instead + re.sub(rb"\xff(?![\xe3\xf3\xfb])", b"\0", behind[:1500]) + behind[1500:]


def hole(data: bytes) -> bytes:
    size = len(data) // 10
    noise = random.Random(5).randbytes(size).replace(b"\xff", b"\0")
    return without(data, len(data) // 2 + 13, size, instead=noise)


def several_holes(data: bytes) -> bytes:
    for share in range(2, 9, 2):
        data = without(data, len(data) * share // 10, 700, instead=bytes(700))
    return data


def wrong_count(data: bytes) -> bytes:
    at = max(data.find(b"Xing"), data.find(b"Info"))
    return data if at < 0 else data[: at + 8] + b"\0\0\x7f\xff\0\x7f\xff\xff" + data[at + 16 :]


def tag(size: int, *, claimed: int) -> bytes:
    return b"ID3\x04\0\0" + bytes(claimed >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


OK, CUT, BROKEN = None, AudioIssue.TRUNCATED, AudioIssue.DAMAGED
MISHAPS: dict[str, tuple[Callable[[bytes], bytes], AudioIssue | None]] = {
    "cut in half": (lambda data: data[: len(data) // 2 + 13], CUT),
    "cut within the last frame": (lambda data: data[:-20], CUT),
    "zero-filled tail": (lambda data: data[: -len(data) // 5] + bytes(len(data) // 5), CUT),
    "wrong count": (wrong_count, CUT),
    "hole": (hole, BROKEN),
    "several holes": (several_holes, BROKEN),
    "bytes missing": (lambda data: without(data, len(data) // 2 + 13, 2000, instead=b""), BROKEN),
    "junk before": (lambda data: random.Random(6).randbytes(1500) + data, OK),
    "junk behind": (lambda data: data + random.Random(7).randbytes(500), OK),
    "zeros behind": (lambda data: data + bytes(1000), OK),
    "ID3v2 before": (lambda data: tag(3000, claimed=3000) + data, OK),
    "two ID3v2 before": (lambda data: tag(300, claimed=300) * 2 + data, OK),
    "large ID3v2 before": (lambda data: tag(300_000, claimed=300_000) + data, OK),
    "ID3v2 that claims too little": (lambda data: tag(3000, claimed=1000) + data, OK),
    "ID3v2 that claims audio": (lambda data: tag(1000, claimed=3001) + data, BROKEN),
    "ID3v1 behind": (lambda data: data + b"TAG".ljust(128, b"x"), OK),
    "concatenated": (lambda data: data + data, OK),
    "start in the middle": (lambda data: data[len(data) // 2 :], OK),
}


@pytest.mark.needs("ffmpeg", "lame")
@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_damaged_file_is_as_long_as_its_full_decode(
    mishap: str, encode: Callable[[str], bytes], tmp_path: Path
) -> None:
    happen, issue = MISHAPS[mishap]
    for name in MISHAP_ENCODERS:
        sound = encode(name)
        data = happen(sound)
        facts = probe_mp3(data)
        # Two frames at 8 kHz: decoders differ among themselves in the frames at either end of a gap.
        assert facts.duration_s == pytest.approx(decoded_s(data, tmp_path / "x.mp3"), abs=0.15), name
        assert facts.audio_issue is (issue if data != sound else None), name


@pytest.mark.needs("ffmpeg", "lame")
def test_an_excerpt_cut_by_an_editor_is_intact(encode: Callable[[str], bytes], tmp_path: Path) -> None:
    whole, excerpt = tmp_path / "whole.mp3", tmp_path / "excerpt.mp3"
    for name in ("lame VBR 16 kHz", "lame CBR 44 kHz stereo", "lame CBR 8 kHz"):
        whole.write_bytes(encode(name))
        run(["ffmpeg", "-v", "error", "-y", "-ss", "1", "-t", "2", "-i", str(whole), "-c", "copy", str(excerpt)])
        data = excerpt.read_bytes()
        facts = probe_mp3(data)
        assert facts.audio_issue is None
        assert facts.duration_s == pytest.approx(decoded_s(data, tmp_path / "x.mp3"), abs=0.005)


@pytest.mark.needs("ffmpeg", "lame")
def test_a_change_of_the_sampling_frequency_is_as_long_as_its_full_decode(
    encode: Callable[[str], bytes], tmp_path: Path
) -> None:
    data = encode("lame CBR 8 kHz") + encode("lame VBR 11 kHz without header")
    assert probe_mp3(data).duration_s == pytest.approx(decoded_s(data, tmp_path / "x.mp3"), abs=0.15)


@pytest.mark.needs("ffmpeg")
def test_layer_1_is_as_long_as_its_full_decode(tmp_path: Path) -> None:
    data = (bytes.fromhex("ffff4064") + bytes(132)) * 200
    assert probe_mp3(data).duration_s == pytest.approx(decoded_s(data, tmp_path / "x.mp3"), abs=0.001)
