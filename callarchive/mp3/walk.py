"""A whole mp3 file, fed in pieces: tags at its beginning and end are set aside, and the rest is walked.

How frames are found is in `scan`, what the findings mean in `verdict`.
"""

from callarchive.domain.errors import NotAudioError
from callarchive.domain.models import Mp3Facts
from callarchive.mp3.scan import FrameScan
from callarchive.mp3.tags import end_of_audio, tag_length_bytes
from callarchive.mp3.verdict import Surroundings, judge

_BLOCK_BYTES = 128 * 1024
# A tag that ends the file is found from its end, so the last bytes are held back until more have come. Longer ones have
# a header in front, or are taken for what they are by the scan.
_HELD_BACK_BYTES = 16 * 1024
_HEAD_BYTES = 16 * 1024


class Mp3Walk:
    """Finds the facts of one mp3 from its bytes in order. However they are cut in pieces, the facts are the same.

    It holds two copies of a piece and less than 1 MiB besides, however long the file.
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

    def feed(self, chunk: bytes | memoryview) -> None:
        """The chunk belongs to the walk."""
        self._waiting.append(bytes(chunk))
        self._waiting_bytes += len(chunk)
        # Whole blocks only, so that what is held back at the end of the file does not depend on the pieces.
        end = (self._waiting_bytes - _HELD_BACK_BYTES) // _BLOCK_BYTES * _BLOCK_BYTES
        if end > 0:
            data = b"".join(self._waiting)
            self._walk(data, end)
            self._waiting = [data[end:]]
            self._waiting_bytes -= end

    def finish(self) -> Mp3Facts:
        """The facts of all that was fed.

        Raises:
            NotAudioError: there are no two frames in a row; its message is what the bytes seem to be.
        """
        last = b"".join(self._waiting)
        size_bytes = self._offset + len(last)
        self._walk(last, end_of_audio(last))
        if self._scan is not None:
            return judge(self._scan.finish(), self._surroundings(size_bytes, self._scan))
        if self._opening_tag is not None and self._opening_tag_left:
            self._tag_claims_audio = True
            heard = self._opening_tag.finish()
            if heard.frame_count:
                return judge(heard, self._surroundings(size_bytes, self._opening_tag))
        raise NotAudioError("tags, and no audio behind them" if last else "empty")

    def _walk(self, data: bytes, end: int) -> None:
        """The bytes before `end` have been walked, each by the scan that it belongs to."""
        at = 0
        while at < end:
            if self._opening_tag is not None and self._opening_tag_left:
                step = min(self._opening_tag_left, end - at)
                self._opening_tag.feed(data[at : at + step])
                self._opening_tag_left -= step
                if not self._opening_tag_left:
                    self._tag_claims_audio |= self._opening_tag.finish().cut_frame_bytes is not None
            elif self._scan is None and (tag_bytes := tag_length_bytes(data, at)):
                # A tag is passed over by the length that it claims, as players do. It is scanned all the same: should
                # the file end before the tag does, the claim is false and the audio is in what was taken for the tag.
                step = 0
                self._opening_tag_left = tag_bytes
                self._opening_tag = FrameScan(offset=self._offset + at)
            else:
                if self._scan is None:
                    self._scan = FrameScan(offset=self._offset + at)
                    end_of_block = at - at % _BLOCK_BYTES + _BLOCK_BYTES
                    self._head = data[at : min(end, end_of_block, at + _HEAD_BYTES)]
                step = end - at
                self._scan.feed(data[at:end])
            at += step
        self._offset += end

    def _surroundings(self, size_bytes: int, scan: FrameScan) -> Surroundings:
        return Surroundings(
            head=self._head,
            size_bytes=size_bytes,
            scanned_from=scan.begin,
            scanned_to=scan.offset,
            follows_tag=self._opening_tag is not None,
            tag_claims_audio=self._tag_claims_audio,
        )
