"""Measures an mp3 by walking its frames: how long it plays, and whether it is truncated or damaged.

Nothing is decoded, and no header's claim about the length is trusted. A decoder plays every frame that it finds, and a
frame's header determines its number of samples, so the sum over the frames is the length of a full decode.
"""

from callarchive.domain.models import Mp3Facts
from callarchive.mp3.walk import Mp3Walk

__all__ = ["Mp3Walk", "probe_mp3"]


def probe_mp3(data: bytes) -> Mp3Facts:
    """Return the facts of an mp3 in memory.

    Raises:
        NotAudioError: there are no two frames in a row; the message says what the bytes seem to be.
    """
    walk = Mp3Walk()
    walk.feed(data)
    return walk.finish()
