"""Walks a whole mp3 file, fed in chunks: separates the tags at both ends, scans the rest (`scan`), judges it (`verdict`)."""

from callarchive.domain.errors import NotAudioError
from callarchive.domain.models import Mp3Facts
from callarchive.mp3.frames import free_format_stream_of
from callarchive.mp3.scan import FrameScan
from callarchive.mp3.tags import end_of_audio, tag_length_bytes
from callarchive.mp3.verdict import Surroundings, judge
from callarchive.mp3.wave import WaveChunks, begins_wave

_BLOCK_BYTES = 128 * 1024
# A tag at the end of the file is found from its end, so the last bytes are held back until more arrive. Longer tags have
# a header, or are recognized by the scan.
_HELD_BACK_BYTES = 16 * 1024
_HEAD_BYTES = 16 * 1024


class Mp3Walk:
    """Determines the facts of one mp3 from its bytes in order. The facts do not depend on the sizes of the chunks.

    It keeps two copies of a chunk and less than 1 MiB, however long the file is.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._offset = 0
        self._head = b""
        self._opening_tag_left = 0
        self._opening_tag: FrameScan | None = None
        self._tag_claims_audio = False
        self._scan: FrameScan | None = None
        self._wave: WaveChunks | None = None

    def feed(self, chunk: bytes | memoryview) -> None:
        """Process the next chunk."""
        self._waiting.append(bytes(chunk))
        self._waiting_bytes += len(chunk)
        # Whole blocks only, so that what is held back at the end of the file does not depend on the chunks.
        end = (self._waiting_bytes - _HELD_BACK_BYTES) // _BLOCK_BYTES * _BLOCK_BYTES
        if end > 0:
            data = b"".join(self._waiting)
            self._walk(data, end)
            self._waiting = [data[end:]]
            self._waiting_bytes -= end

    def finish(self) -> Mp3Facts:
        """Return the facts of everything that was fed.

        Raises:
            NotAudioError: there are no two frames in a row; the message says what the bytes seem to be.
        """
        last = b"".join(self._waiting)
        size_bytes = self._offset + len(last)
        end = end_of_audio(last)
        self._walk(last[:end], end)
        if self._wave is not None and self._wave.other_format is not None:
            raise NotAudioError(f"is {self._wave.other_format}, not mp3")
        if self._scan is not None:
            return judge(self._scan.finish(), self._surroundings(size_bytes, self._scan, bytes_behind=len(last) - end))
        if self._opening_tag is not None and self._opening_tag_left:
            self._tag_claims_audio = True
            scan = self._opening_tag.finish()
            if scan.frame_count:
                return judge(scan, self._surroundings(size_bytes, self._opening_tag))
        if self._wave is not None:
            raise NotAudioError("WAV without mp3 frames")
        raise NotAudioError("tags, and no audio behind them" if last else "empty")

    def _walk(self, data: bytes, end: int) -> None:
        """Pass the audio before `end` on; of a WAVE file, the chunk `data`."""
        at = 0
        while at < end:
            step, is_audio = self._wave.step(data, at, end) if self._wave is not None else (end - at, True)
            at = self._walk_audio(data, at, at + step) if is_audio else at + step
        self._offset += end

    def _walk_audio(self, data: bytes, at: int, end: int) -> int:
        """Pass the bytes before `end` to the scan that they belong to, and return where they end or a WAVE file begins."""
        while at < end:
            if self._opening_tag is not None and self._opening_tag_left:
                step = min(self._opening_tag_left, end - at)
                self._opening_tag.feed(data[at : at + step])
                self._opening_tag_left -= step
                if not self._opening_tag_left:
                    self._tag_claims_audio |= self._opening_tag.finish().cut_frame_bytes is not None
            elif self._scan is None and (tag_bytes := tag_length_bytes(data, at)):
                # A tag is skipped by its declared length, as players do. It is scanned nevertheless: if the file ends
                # before the tag, the length is wrong, and the audio is in the supposed tag.
                step = 0
                self._opening_tag_left = tag_bytes
                self._opening_tag = FrameScan(offset=self._offset + at)
            elif self._scan is None and self._wave is None and begins_wave(data, at):
                self._wave = WaveChunks()
                return at
            else:
                if self._scan is None:
                    self._head = data[at : at + _HEAD_BYTES]
                    self._scan = FrameScan(offset=self._offset + at, free_format=free_format_stream_of(self._head))
                step = end - at
                self._scan.feed(data[at:end])
            at += step
        return at

    def _surroundings(self, size_bytes: int, scan: FrameScan, *, bytes_behind: int = 0) -> Surroundings:
        return Surroundings(
            head=self._head,
            size_bytes=size_bytes,
            scanned_from=scan.begin,
            scanned_to=scan.offset,
            follows_tag=self._opening_tag is not None,
            tag_claims_audio=self._tag_claims_audio,
            wave_claims_bytes=self._wave.claimed_bytes if self._wave is not None else 0,
            wave_missing_bytes=self._wave.missing_bytes - bytes_behind if self._wave is not None else 0,
        )
