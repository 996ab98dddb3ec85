"""Decodes a file with ffmpeg, mpg123 and madplay, and returns how long the output is."""

import subprocess
from pathlib import Path

_RATE_HZ = 48000
_OUTPUT = ["-f", "s16le", "-ac", "1", "-ar", str(_RATE_HZ), "-"]
DECODERS = ("ffmpeg", "mpg123", "madplay")


def decoded_s(decoder: str, path: Path) -> float:
    """Return the length of the decoder's output in seconds; 0 if there is none."""
    is_riff = path.read_bytes()[:4] in (b"RIFF", b"RF64")
    command = {
        # The format is given, because ffmpeg sometimes mistakes an mp3 in noise or a tag for another one.
        "ffmpeg": ["ffmpeg", "-v", "quiet", *(() if is_riff else ("-f", "mp3")), "-i", path, "-map", "0:a:0", *_OUTPUT],
        "mpg123": ["mpg123", "-q", "-s", "-m", "-r", str(_RATE_HZ), "-e", "s16", path],
        "madplay": ["madplay", "-Q", "-m", "-b", "16", "-R", str(_RATE_HZ), "-o", "raw:-", path],
    }[decoder]
    run = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120
    )
    return len(run.stdout) / 2 / _RATE_HZ
