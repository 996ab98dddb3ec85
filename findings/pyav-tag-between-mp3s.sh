#!/usr/bin/env bash
# PyAV: at a tag between joined mp3s, reading ends with an error (ID3v2), or one frame of sound is lost silently (ID3v1).
#
# Versions: av 18.1.0 (PyAV, PyPI), with the FFmpeg in its wheel. Seen on 2026-11-30.
#
# Joined recordings often keep their tags, which are then in the middle of the file. Players skip them by their declared length.
# At an ID3v2 tag, the loop `for frame in container.decode(audio=0)` ends with InvalidDataError: the rest of the file is never
# reached. If the errors of single packets are skipped, the first frame behind each tag is lost (72 ms at 8 kHz). With ID3v1 it
# is lost without an error. Without tags, all frames are decoded. mpg123 and madplay decode all frames in all three cases.
#
# Why this matters for an archive of recordings: a decoder's length is no measure of joined recordings, and a tool that catches
# the error around the whole loop keeps only the first leg of a call.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! python3 -m venv "$tmp/venv" ||
    ! "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0; then
    echo "could not install the packages" >&2
    exit 2
fi

status=0
env -i PATH="$PATH" HOME="$tmp" "$tmp/venv/bin/python" - "$tmp" <<'PYTHON' || status=$?
import math
import struct
import sys
from pathlib import Path

import av

print(f"av {av.__version__}, with libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}\n")
file = Path(sys.argv[1], "joined.mp3")
RATE_HZ, FRAME_SAMPLES, PIECES = 8000, 576, 12


def recording() -> bytes:
    """Return 3 s of telephone quality, 8 kHz, mono, 16 kbit/s, without any tag or header frame."""
    with av.open(str(file), "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
        stream.bit_rate = 16_000
        for number in range(30):
            samples = [int(9000 * math.sin((number * 800 + at) * 0.3)) for at in range(800)]
            frame = av.AudioFrame(format="s16", layout="mono", samples=800)
            frame.planes[0].update(struct.pack("<800h", *samples))
            frame.sample_rate, frame.pts = RATE_HZ, number * 800
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.read_bytes()


def by_loop(content: bytes) -> tuple[int, str]:
    """Return how many frames the usual loop yields, and the error that ends it."""
    file.write_bytes(content)
    samples = 0
    try:
        with av.open(str(file), format="mp3") as container:
            for frame in container.decode(audio=0):
                samples += frame.samples
    except av.error.InvalidDataError as err:
        return samples // FRAME_SAMPLES, type(err).__name__
    return samples // FRAME_SAMPLES, "no error"


def by_packet(content: bytes) -> int:
    """Return how many frames there are if packets that cannot be decoded are skipped."""
    file.write_bytes(content)
    samples = 0
    with av.open(str(file), format="mp3") as container:
        for packet in container.demux(audio=0):
            try:
                samples += sum(frame.samples for frame in packet.decode())
            except av.error.InvalidDataError:
                continue
    return samples // FRAME_SAMPLES


piece = recording()
title = b"TIT2\0\0\0\x05\0\0\0Call"
id3v2 = b"ID3\x04\0\0\0\0\0" + bytes((len(title),)) + title
id3v1 = b"TAG" + b"Call".ljust(125, b"\0")
frames = len(piece) // 144
found = {}
for name, tag in {"no tag": b"", "ID3v1": id3v1, "ID3v2": id3v2}.items():
    joined = tag.join([piece] * PIECES)
    found[name] = *by_loop(joined), by_packet(joined)
    print(f"{name:7} of {frames * PIECES} frames: {found[name][0]} by the loop, then {found[name][1]}; {found[name][2]} by packet")
lost = frames * PIECES - (PIECES - 1)
if not (
    found["no tag"] == (frames * PIECES, "no error", frames * PIECES)
    and found["ID3v1"] == (lost, "no error", lost)
    and found["ID3v2"][1:] == ("InvalidDataError", lost)
    and found["ID3v2"][0] <= frames
):
    sys.exit(3)
print("\nAs described: one frame is lost at each tag, and at an ID3v2 tag the usual loop ends.")
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
