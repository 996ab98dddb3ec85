#!/usr/bin/env bash
# miniaudio: of recordings joined into one mp3 it decodes only the first, without an error, if that one has an Info header.
#
# Versions: miniaudio 1.71 (PyPI), av 18.1.0 (PyAV, with FFmpeg's LAME and decoder). Seen on 2026-11-30.
#
# Recordings of a call that were joined byte by byte are a valid mp3: frames follow frames. Encoders write an Info frame first,
# which declares how many frames follow, and after joining, only those of the first recording. miniaudio 1.71 takes that as the
# length of the stream and ends there, as if the file were complete, with `decode_file` and `mp3_read_file_s16`. If the first
# recording has no Info frame, it decodes all of them. FFmpeg decodes all of them in both cases.
#
# Why this matters for an archive of recordings: a transcription or a check that decodes with miniaudio loses all but the first
# leg of a call, and its length agrees with that of readers that trust the header. Compare with a count of the frames.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check miniaudio==1.71 av==18.1.0; then
    echo "could not install the packages" >&2
    exit 2
fi

status=0
env -i PATH="$PATH" HOME="$tmp" "$tmp/venv/bin/python" - "$tmp" <<'PYTHON' || status=$?
import math
import struct
import sys
from importlib.metadata import version
from pathlib import Path

import av
import miniaudio

print(*(f"{name} {version(name)}" for name in ("miniaudio", "av")), sep=", ", end="\n\n")
folder = Path(sys.argv[1])
RATE_HZ, SECONDS = 8000, 6


def encode(path: Path, *, header: bool) -> bytes:
    """Return a recording of telephone quality: 8 kHz, mono, 32 kbit/s, with or without an Info frame."""
    with av.open(str(path), "w", format="mp3", options={"write_xing": str(int(header)), "id3v2_version": "0"}) as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
        stream.bit_rate = 32_000
        for number in range(SECONDS * 10):
            samples = [int(9000 * math.sin((number * 800 + at) * 0.3)) for at in range(800)]
            frame = av.AudioFrame(format="s16", layout="mono", samples=800)
            frame.planes[0].update(struct.pack("<800h", *samples))
            frame.sample_rate, frame.pts = RATE_HZ, number * 800
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


def ffmpeg_s(path: Path) -> float:
    with av.open(str(path), format="mp3") as file:
        return sum(frame.samples for frame in file.decode(audio=0)) / RATE_HZ


def miniaudio_s(path: Path) -> float:
    whole = miniaudio.decode_file(str(path), nchannels=1, sample_rate=RATE_HZ)
    direct = miniaudio.mp3_read_file_s16(str(path))
    assert direct.num_frames == whole.num_frames
    return whole.num_frames / RATE_HZ


with_header = encode(folder / "a.mp3", header=True)
without = encode(folder / "b.mp3", header=False)
assert b"Info" in with_header[:100] and b"Info" not in without[:100]
file = folder / "joined.mp3"
found = {}
for name, content in {
    "one, with an Info frame": with_header,
    "three without": without * 3,
    "three, each with one": with_header * 3,
    "one with, two without": with_header + without * 2,
}.items():
    file.write_bytes(content)
    found[name] = miniaudio_s(file), ffmpeg_s(file)
    print(f"{name:24} miniaudio {found[name][0]:6.2f} s   FFmpeg {found[name][1]:6.2f} s")
one, plain, *joined = found.values()
if not (
    abs(one[0] - SECONDS) < 0.3
    and abs(plain[0] - 3 * SECONDS) < 0.6
    and all(abs(by_ffmpeg - 3 * SECONDS) < 0.6 for _, by_ffmpeg in joined)
    and all(by_miniaudio == one[0] for by_miniaudio, _ in joined)
):
    sys.exit(3)
print("\nAs described: behind an Info frame, miniaudio decodes the first recording and ends.")
PYTHON
case $status in
    0) ;;
    3)
        printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
        exit 1
        ;;
    *)
        echo "could not be tried: see the error above" >&2
        exit 2
        ;;
esac
