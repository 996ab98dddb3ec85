"""Makes mp3s with five encoders, and cuts, joins, pads, wraps and damages them. Each file has the verdict that it must get."""

import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from callarchive.simulator.audio import make_recording
from tools.mp3_corpus.packages import files_in

SOUND_S = 4.3
INTACT, TRUNCATED, DAMAGED, REJECTED = "intact", "truncated", "damaged", "rejected"
# By sampling frequency, kbit/s for mono.
_RATES = {8000: 16, 11025: 16, 12000: 24, 16000: 32, 22050: 32, 24000: 40, 32000: 48, 44100: 64, 48000: 64}
_CONTAINERS = {
    "MP4": "-c:a aac -f mp4",
    "MP4 with mp3": "-c:a libmp3lame -ar 44100 -f mp4",
    "M4A": "-c:a aac -f ipod",
    "MOV with mp3": "-c:a libmp3lame -ar 44100 -f mov",
    "3GP": "-c:a aac -f 3gp",
    "CAF": "-c:a pcm_s16be -f caf",
    "AVI with mp3": "-c:a libmp3lame -ar 44100 -f avi",
    "Matroska with mp3": "-c:a libmp3lame -f matroska",
    "WebM": "-c:a libopus -ar 48000 -f webm",
    "Ogg": "-c:a libvorbis -ar 44100 -f ogg",
    "FLAC": "-c:a flac -f flac",
    "WAV": "-c:a pcm_s16le -f wav",
    "WAV mu-law": "-c:a pcm_mulaw -f wav",
    "AU": "-c:a pcm_mulaw -f au",
    "AIFF": "-c:a pcm_s16be -f aiff",
    "ADTS": "-c:a aac -f adts",
    "FLV with mp3": "-c:a libmp3lame -ar 44100 -f flv",
    "MPEG-TS with mp3": "-c:a libmp3lame -ar 44100 -f mpegts",
    "Windows Media": "-c:a wmav2 -ar 44100 -f asf",
}
_MP3_IN_WAVE = "-c:a libmp3lame -f wav"
_ID3V1 = b"TAG".ljust(128, b"x")


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of the corpus.

    Attributes:
        group: the class of files in the report.
        verdict: the expected one, None if it is not known.
    """

    name: str
    group: str
    data: bytes
    verdict: str | None = None


def run(*command: str | Path) -> bytes:
    """Return what the command writes to stdout."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=120).stdout


def id3v2(size: int) -> bytes:
    """Return an ID3v2 tag with this size in its header."""
    return b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"x" * size


def _ape() -> bytes:
    fields = b"".join(number.to_bytes(4, "little") for number in (2000, 32 + 300, 1))
    return (
        b"APETAGEX" + fields + b"\0\0\0\xa0" + bytes(8) + b"x" * 300 + b"APETAGEX" + fields + b"\0\0\0\x80" + bytes(8)
    )


_LYRICS3 = b"LYRICSBEGIN" + b"x" * 89 + b"000100LYRICS200" + _ID3V1
TAGS = {"ID3v1": _ID3V1, "ID3v2": id3v2(700), "large ID3v2": id3v2(200_000), "APE": _ape(), "Lyrics3": _LYRICS3}


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes files, or a sound of `SOUND_S` seconds at any sampling frequency, with lame, ffmpeg, lamejs or lameenc."""

    folder: Path
    lamejs: Path
    lameenc: Path

    def wav(self, rate_hz: int, channels: int) -> Path:
        """Return a file with the sound."""
        path = self.folder / f"{rate_hz}-{channels}.wav"
        if not path.exists():
            source = self.folder / "sound.mp3"
            source.write_bytes(make_recording(shape="mpeg1_44k_stereo", duration_s=SOUND_S, seed=11))
            options = ["-ar", str(rate_hz), "-ac", str(channels), "-bitexact"]
            run("ffmpeg", "-v", "error", "-i", source, *options, path)
        return path

    def encode(self, program: str, rate_hz: int, channels: int, options: str) -> bytes:
        """Return an mp3 (or a file of the format that the options of ffmpeg name)."""
        return self.encode_wav(program, self.wav(rate_hz, channels), options)

    def encode_wav(self, program: str, wav: Path, options: str) -> bytes:
        """Return what the program makes of a file with 16-bit samples and a header of 44 bytes."""
        out, raw = self.folder / "out.mp3", self.folder / "sound.raw"
        if program == "lame":
            run("lame", "--quiet", *options.split(), wav, out)
        elif program == "ffmpeg":
            run("ffmpeg", "-v", "error", "-y", "-i", wav, *options.split(), out)
        else:
            data = wav.read_bytes()
            raw.write_bytes(data[44:])
            numbers = (*map(str, struct.unpack_from("<HI", data, 22)), options)
            if program == "lamejs":
                return run("node", Path(__file__).with_name("encode.js"), self.lamejs, raw, *numbers)
            script = (
                "import sys, lameenc; e = lameenc.Encoder(); c, r, k = map(int, sys.argv[2:5]);"
                "e.set_channels(c); e.set_in_sample_rate(r); e.set_out_sample_rate(r); e.set_bit_rate(k); e.silence();"
                "sys.stdout.buffer.write(e.encode(open(sys.argv[1], 'rb').read()) + e.flush())"
            )
            return run("env", f"PYTHONPATH={self.lameenc}", sys.executable, "-c", script, raw, *numbers)
        return out.read_bytes()


@contextmanager
def encoders(lamejs_archive: Path, lameenc: Path) -> Iterator[Encoder]:
    """Yield the encoders, with a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        library = Path(temporary, "lame.all.js")
        library.write_bytes(dict(files_in(lamejs_archive, ("lame.all.js",)))["lame.all.js"])
        yield Encoder(Path(temporary), library, lameenc)


def made_files(lamejs_archive: Path, lameenc: Path) -> Iterator[Sample]:
    """Yield the files, by group."""
    with encoders(lamejs_archive, lameenc) as encoder:
        mp3s = dict(_encoded(encoder))
        yield from (Sample(name, f"made by {name.split()[0]}", data, INTACT) for name, data in mp3s.items())
        for name in ("lame 8000 1 -b 16 -t", "lame 16000 1 -V 5", "ffmpeg 22050 1 -b:a 32k", "lamejs 8000 1 16"):
            yield from _changed(name, mp3s[name])
        for rate_hz, kbps in _RATES.items():
            for name in (f"lamejs {rate_hz} 1 {kbps}", f"lame {rate_hz} 1 -b {kbps} -t --nores"):
                yield from _zeros(name, mp3s[name])
        yield from _joined(mp3s)
        yield from _counted(mp3s)
        yield from _in_wave(encoder)
        for name, options in _CONTAINERS.items():
            rate_hz = 16000 if "44100" not in options else 44100
            yield Sample(name, "containers, made by ffmpeg", encoder.encode("ffmpeg", rate_hz, 1, options), REJECTED)
        for rate_hz in (8000, 16000, 44100):
            data = encoder.encode("lame", rate_hz, 1, f"--freeformat -b {_RATES[rate_hz] + 9}")
            yield Sample(f"{rate_hz} Hz", "free format", data, INTACT)


def _encoded(encoder: Encoder) -> Iterator[tuple[str, bytes]]:
    for rate_hz, kbps in _RATES.items():
        orders = [
            ("lame", 1, f"-b {kbps} -t"),
            ("lame", 1, f"-b {kbps} -t --nores"),
            ("lame", 2, f"-m d -b {2 * kbps} -p"),
            ("lame", 1, "-V 5"),
            ("lame", 2, f"--abr {2 * kbps}"),
            ("ffmpeg", 1, f"-b:a {kbps}k"),
            ("ffmpeg", 2, "-q:a 6 -write_xing 0"),
            ("lamejs", 1, str(kbps)),
            ("lamejs", 2, str(2 * kbps)),
            ("lameenc", 1, str(kbps)),
        ]
        if rate_hz >= 32000:
            orders += [("ffmpeg", 1, f"-c:a mp2 -b:a {kbps}k -f mp2"), ("ffmpeg", 2, "-c:a libshine -b:a 128k")]
        elif rate_hz >= 16000:
            orders += [("ffmpeg", 2, "-c:a libtwolame -b:a 64k -f mp2"), ("ffmpeg", 1, "-c:a libshine -b:a 32k")]
        for program, channels, options in orders:
            name = f"{program} {rate_hz} {channels} {options}"
            yield name, encoder.encode(program, rate_hz, channels, options)


def _changed(name: str, data: bytes) -> Iterator[Sample]:
    noise = random.Random(name).randbytes(3000).replace(b"\xff", b"\0")
    third = len(data) // 3
    yield Sample(f"{name}, cut in half", "cut", data[: len(data) // 2 + 13], TRUNCATED)
    yield Sample(f"{name}, cut in the last frame", "cut", data[:-20], TRUNCATED)
    yield Sample(f"{name}, cut, with ID3v1", "cut", data[: 2 * third + 11] + _ID3V1, TRUNCATED)
    yield Sample(f"{name}, noise in the middle", "damaged", data[:third] + noise + data[third + len(noise) :], DAMAGED)
    yield Sample(f"{name}, zeros in the middle", "damaged", data[:third] + bytes(700) + data[third + 700 :], DAMAGED)
    yield Sample(f"{name}, bytes missing", "damaged", data[:third] + data[third + 700 :], DAMAGED)
    for tag, content in TAGS.items():
        yield Sample(f"{name}, {tag} before", "tags", content + data, INTACT)
        if tag != "large ID3v2":
            yield Sample(f"{name}, {tag} behind", "tags", data + content, INTACT)
    yield Sample(f"{name}, junk on both sides", "tags", noise[:1500] + data + noise[:500], INTACT)


def _zeros(name: str, data: bytes) -> Iterator[Sample]:
    for size in (500, 1500, 4000):
        yield Sample(f"{name}, {size} zeros behind", "zero padding", data + bytes(size), INTACT)
    half = len(data) // 2
    yield Sample(
        f"{name}, second half zeros", "zeros instead of the tail", data[:half] + bytes(len(data) - half), TRUNCATED
    )


def _joined(mp3s: dict[str, bytes]) -> Iterator[Sample]:
    pieces = ("lame 8000 1 -b 16 -t", "lame 16000 1 -V 5", "ffmpeg 22050 1 -b:a 32k", "lamejs 11025 1 16")
    for name in pieces:
        yield Sample(f"{name}, twelve times", "joined", mp3s[name] * 12, INTACT)
        for tag in ("ID3v1", "ID3v2", "APE", "Lyrics3"):
            yield Sample(f"{name}, twelve times, {tag}", "joined", TAGS[tag].join([mp3s[name]] * 12), INTACT)
        yield Sample(f"{name}, large ID3v2 between", "joined", TAGS["large ID3v2"].join([mp3s[name]] * 3), INTACT)
    yield Sample("one of each sampling frequency", "joined", b"".join(mp3s[name] for name in pieces), INTACT)
    dual = mp3s["lame 8000 2 -m d -b 32 -p"]
    yield Sample("mono and dual channel", "joined", (mp3s["lame 8000 1 -b 16 -t"] + dual) * 3, INTACT)


def _counted(mp3s: dict[str, bytes]) -> Iterator[Sample]:
    """Yield files with a header frame without their last frames. They are of constant size, so the places are known."""
    for rate_hz, kbps in ((8000, 16), (16000, 32), (24000, 40), (32000, 48), (48000, 64)):
        data = mp3s[f"ffmpeg {rate_hz} 1 -b:a {kbps}k"]
        frame_bytes = (1152 if rate_hz >= 32000 else 576) * kbps * 125 // rate_hz
        for count in (1, 2, 3):
            yield Sample(
                f"{rate_hz} Hz, {count} frames missing", "frames missing", data[: -count * frame_bytes], TRUNCATED
            )


def _in_wave(encoder: Encoder) -> Iterator[Sample]:
    for rate_hz in (8000, 11025, 16000, 44100):
        data = encoder.encode("ffmpeg", rate_hz, 1, _MP3_IN_WAVE)
        at = data.index(b"data")
        yield Sample(f"WAV {rate_hz}", "mp3 in WAV", data, INTACT)
        for size in (3000, 300_001):
            chunk = b"LIST" + size.to_bytes(4, "little") + b"x" * size + bytes(size % 2)
            yield Sample(f"WAV {rate_hz}, LIST of {size}", "mp3 in WAV", data[:at] + chunk + data[at:], INTACT)
        yield Sample(f"WAV {rate_hz}, streamed", "mp3 in WAV", data[: at + 4] + b"\xff" * 4 + data[at + 8 :], INTACT)
        yield Sample(f"WAV {rate_hz}, cut", "mp3 in WAV", data[: 2 * len(data) // 3], TRUNCATED)
