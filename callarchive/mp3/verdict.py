"""What a scan's findings mean: no audio, sound audio, audio that is cut short, audio that is broken inside.

Here is where the tolerances are: what belongs to a sound file (tags, padding, a little junk at either end) and what
does not.
"""

from dataclasses import dataclass

from callarchive.domain.errors import NotAudioError
from callarchive.domain.models import AudioIssue, Mp3Facts
from callarchive.mp3.frames import LengthClaim, read_length_claim
from callarchive.mp3.lookalikes import container_of, describe_non_audio
from callarchive.mp3.scan import Heard

# Encoders disagree by a frame or two whether the header frame and the last, partly filled frames count.
_CLAIM_TOLERANCE_FRAMES = 3
_CLAIM_TOLERANCE_BYTES = 1024
# Behind the last frame, more than this is not a leftover of editing but audio that was overwritten.
_TRAILING_JUNK_BYTES = 1024
# File systems and download tools pad with zeros to a block. Where zeros were written over audio they begin within a
# frame.
_ZERO_PADDING_BYTES = 4096
# A recording may begin with the last part of a frame or with what an encoder or a server put before it.
_LEADING_JUNK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where in the file a scan took place.

    Attributes:
        head: the first bytes behind the tags that open the file.
        scanned_from, scanned_to: offsets; before and behind them are tags.
        follows_tag: whether a tag opens the file.
        tag_claims_audio: whether that tag claims bytes that hold frames: its length is false.
    """

    head: bytes
    size_bytes: int
    scanned_from: int
    scanned_to: int
    follows_tag: bool
    tag_claims_audio: bool


def judge(heard: Heard, around: Surroundings) -> Mp3Facts:
    """The facts of a file.

    Raises:
        NotAudioError: there is no audio, or so little between other bytes that it is there by accident.
    """
    _refuse_non_audio(heard, around)
    cut, broken = _cut_short(heard, around), _broken(heard, around)
    # A header's claim alone does not tell whether frames are missing at the end or in the middle.
    if broken and not _end_is_missing(heard, around):
        issue, details = AudioIssue.DAMAGED, broken + cut
    elif cut:
        issue, details = AudioIssue.TRUNCATED, cut + broken
    else:
        issue, details = None, ()
    return Mp3Facts(
        duration_s=_duration_s(heard, around),
        frame_count=heard.frame_count,
        bitrate_kbps=heard.audio_bytes * 8 / 1000 / heard.raw_duration_s,
        sample_rate_hz=heard.sample_rate_hz,
        channels=heard.channels,
        audio_issue=issue,
        issue_detail="; ".join(details) or None,
    )


def _refuse_non_audio(heard: Heard, around: Surroundings) -> None:
    if not heard.frame_count:
        claim = heard.claim or read_length_claim(around.head)
        if claim is not None:
            raise NotAudioError(f"no frames but the {claim.kind} header")
        raise NotAudioError(describe_non_audio(around.head))
    other_bytes = around.scanned_to - around.scanned_from - heard.audio_bytes
    # Two frames at the very end are found in random bytes now and then; films and archives carry mp3 frames in small
    # pieces.
    accident = heard.frame_count < 3 and heard.claim is None
    container = container_of(around.head)
    if other_bytes > heard.audio_bytes and (accident or container):
        raise NotAudioError(container or describe_non_audio(around.head))


def _duration_s(heard: Heard, around: Surroundings) -> float:
    """What a decoder gives out: all frames, less the encoder's delay and padding where the header frame tells them.

    The header frame is heeded by decoders only where it opens the audio.
    """
    claim = heard.claim
    if claim is None or heard.begin != around.scanned_from:
        return heard.raw_duration_s
    played = heard.samples[heard.sample_rate_hz]
    trimmed = claim.skip_samples
    if claim.frame_count is not None:
        claimed = claim.frame_count * heard.samples_per_frame
        trimmed += max(0, min(played, claimed) - (claimed - claim.padding_samples))
    return heard.raw_duration_s - min(trimmed, played) / heard.sample_rate_hz


def _end_is_missing(heard: Heard, around: Surroundings) -> bool:
    return heard.cut_frame_bytes is not None or _ends_in_zeros(heard, around)


def _has_all_claimed_frames(heard: Heard) -> bool:
    """Whether the frames are those that the header claims, so that what follows them cannot have been audio."""
    claimed = heard.claim.frame_count if heard.claim is not None else None
    return claimed is not None and 0 <= heard.frame_count - claimed <= _CLAIM_TOLERANCE_FRAMES


def _ends_in_zeros(heard: Heard, around: Surroundings) -> bool:
    zero_bytes = around.scanned_to - heard.rest_offset
    if not heard.rest_is_zero or heard.rest_offset != heard.end or _has_all_claimed_frames(heard):
        return False
    mean_frame_bytes = heard.audio_bytes / heard.frame_count
    return zero_bytes > _ZERO_PADDING_BYTES or (heard.last_frame_zeroed and zero_bytes >= mean_frame_bytes)


def _cut_short(heard: Heard, around: Surroundings) -> tuple[str, ...]:
    """Why the file is shorter than it was meant to be; nothing if it is not."""
    details = []
    if heard.claim is not None and (claimed := _broken_claim(heard, heard.claim, around)):
        details.append(claimed)
    if heard.cut_frame_bytes is not None:
        there, whole = heard.cut_frame_bytes
        part = "header" if whole == 4 else "frame"
        at = f"byte {heard.end} ({heard.raw_duration_s:.2f} s)"
        details.append(f"the last {part}, at {at}, is cut after {there} of {whole} bytes")
    elif _ends_in_zeros(heard, around):
        details.append(
            f"from byte {heard.rest_offset} ({heard.raw_duration_s:.2f} s) to the end there are only zeros, "
            f"{around.scanned_to - heard.rest_offset} bytes"
        )
    return tuple(details)


def _broken_claim(heard: Heard, claim: LengthClaim, around: Surroundings) -> str | None:
    if claim.frame_count is not None:
        if claim.frame_count <= heard.frame_count + _CLAIM_TOLERANCE_FRAMES:
            return None
        claimed_s = claim.frame_count * heard.samples_per_frame / heard.sample_rate_hz
        return f"the {claim.kind} header claims {claimed_s:.2f} s, {heard.raw_duration_s:.2f} s are there"
    there = around.size_bytes - (heard.begin or 0)
    if claim.size_bytes is None or claim.size_bytes * 0.99 <= there + _CLAIM_TOLERANCE_BYTES:
        return None
    return f"the {claim.kind} header claims {claim.size_bytes} bytes, {there} are there"


def _broken(heard: Heard, around: Surroundings) -> tuple[str, ...]:
    """Where there are other bytes than frames and tags; nothing if all is sound."""
    details = []
    if around.tag_claims_audio:
        details.append("the tag that opens the file claims bytes that hold audio, which players pass over")
    leading_bytes = (heard.begin or 0) - around.scanned_from
    if leading_bytes > _LEADING_JUNK_BYTES and not around.follows_tag:
        details.append(f"the first {leading_bytes} bytes are no mp3 frames")
    if heard.first_gap is not None:
        gap = heard.first_gap
        more = heard.gap_count - 1
        details.append(
            f"{gap.size_bytes} bytes at byte {gap.offset} ({gap.at_s:.2f} s) are no mp3 frames"
            + (f", and {heard.gap_bytes - gap.size_bytes} bytes in {more} more places" if more else "")
        )
    trailing_bytes = around.scanned_to - heard.rest_offset
    is_cut = heard.cut_frame_bytes is not None
    if trailing_bytes > _TRAILING_JUNK_BYTES and not (heard.rest_is_zero or is_cut or _has_all_claimed_frames(heard)):
        details.append(f"the last {trailing_bytes} bytes, from byte {heard.rest_offset} on, are no mp3 frames")
    return tuple(details)
