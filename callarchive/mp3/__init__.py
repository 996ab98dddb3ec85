"""What an mp3 holds, found by walking its frames: how long it plays, and whether it is cut short or broken inside.

Nothing is decoded and no header's claim about the length is believed. A decoder plays every frame that it can reach,
and the length of a frame in samples is fixed by its four header bytes, so the sum over the frames is the length of a
full decode. What other formats' bytes are called is in `lookalikes`; the headers are in `frames`, the tags around the
audio in `tags`, the walk over the frames in `scan`, and the whole file's facts in `walk`.
"""

from callarchive.domain.models import Mp3Facts
from callarchive.mp3.walk import Mp3Walk

__all__ = ["Mp3Walk", "probe_mp3"]


def probe_mp3(data: bytes) -> Mp3Facts:
    """The facts of an mp3 whose bytes are in memory.

    Raises:
        NotAudioError: the bytes hold no two frames in a row; its message is what they seem to be.
    """
    walk = Mp3Walk()
    walk.feed(data)
    return walk.finish()
