"""Finds the audio in a WAVE file, so that an mp3 wrapped in one is scanned like any other.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE); EBU Tech 3306 (RF64).
"""

_MPEG_FORMATS = (0x50, 0x55)
_EXTENSIBLE = 0xFFFE
_FORMATS = {
    1: "PCM",
    2: "ADPCM",
    3: "float",
    6: "A-law",
    7: "mu-law",
    0x11: "ADPCM",
    0x31: "GSM",
    0x45: "G.726",
    0xFF: "AAC",
}
# Programs that cannot seek back to fill in the size write 0, 0xFFFFFFFF (ffmpeg) or 0x7FFFF000 (sox).
_UNKNOWN_FROM_BYTES = 0x7FFF0000
_CHUNK_HEADER_BYTES = 8
_REST = 1 << 62


def begins_wave(data: bytes, at: int) -> bool:
    """Return whether a WAVE file begins at `at`."""
    return data[at : at + 4] in (b"RIFF", b"RF64", b"BW64") and data[at + 8 : at + 12] == b"WAVE"


class WaveChunks:
    """Steps through the chunks of a WAVE file. Audio that continues behind the declared end of `data` counts too.

    Attributes:
        claimed_bytes: the size of `data`, 0 if the file does not declare it.
    """

    def __init__(self) -> None:
        self.claimed_bytes = 0
        self._format: int | None = None
        self._size_in_ds64 = 0
        self._left = 12
        self._is_odd = self._audio_is_next = self._in_audio = False

    @property
    def missing_bytes(self) -> int:
        """The bytes of `data` that did not arrive."""
        return self._left if self._in_audio and self._left < _UNKNOWN_FROM_BYTES else 0

    @property
    def other_format(self) -> str | None:
        """The format if it is not MPEG audio."""
        if self._format is None or self._format in _MPEG_FORMATS:
            return None
        return f"WAV ({_FORMATS.get(self._format, f'format {self._format:#x}')})"

    def step(self, data: bytes, at: int, end: int) -> tuple[int, bool]:
        """Return how many bytes from `at` on belong together, at most up to `end`, and whether they are audio."""
        if not self._left:
            self._next_part(data, at)
        step = min(self._left, end - at)
        self._left -= step
        return step, self._in_audio

    def _next_part(self, data: bytes, at: int) -> None:
        name, content = data[at : at + 4], data[at + _CHUNK_HEADER_BYTES : at + _CHUNK_HEADER_BYTES + 26]
        size_bytes = int.from_bytes(data[at + 4 : at + _CHUNK_HEADER_BYTES], "little")
        was_odd, self._is_odd = self._is_odd, False
        if self._audio_is_next:
            self._audio_is_next, self._in_audio = False, True
            self._left, self._is_odd = self.claimed_bytes or _REST, bool(self.claimed_bytes & 1)
        elif was_odd and name[:1] == b"\0":
            self._in_audio, self._left = False, 1
        elif not all(0x20 <= byte < 0x7F for byte in name):  # no chunk: the size of the last one is wrong
            self._in_audio, self._left = True, _REST
        else:
            self._in_audio = False
            self._left, self._is_odd = _CHUNK_HEADER_BYTES + size_bytes, bool(size_bytes & 1)
            if name == b"data":
                if size_bytes == 0xFFFFFFFF:
                    size_bytes = self._size_in_ds64
                self.claimed_bytes = size_bytes if size_bytes < _UNKNOWN_FROM_BYTES else 0
                self._left, self._audio_is_next = _CHUNK_HEADER_BYTES, True
            elif name == b"fmt ":
                tag = int.from_bytes(content[:2], "little")
                self._format = int.from_bytes(content[24:26], "little") if tag == _EXTENSIBLE else tag
            elif name == b"ds64":
                self._size_in_ds64 = int.from_bytes(content[8:16], "little")
