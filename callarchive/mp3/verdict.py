"""Judges the result of a scan: not audio, intact, truncated or damaged audio.

The tolerances are here: which other bytes (tags, padding, some junk at either end) an intact file may have.
"""

from dataclasses import dataclass

from callarchive.domain.errors import NotAudioError
from callarchive.domain.models import AudioIssue, Mp3Facts
from callarchive.mp3.frames import LengthClaim, read_length_claim
from callarchive.mp3.lookalikes import container_of, describe_non_audio, document_of
from callarchive.mp3.main_data import ends_overwritten
from callarchive.mp3.scan import ScanResult

# Encoders differ by a frame or two in whether they count the header frame and the last, partly filled frames. The size that
# they declare decides, if there is one.
_CLAIM_TOLERANCE_FRAMES = 3
_HEADER_FRAMES = 1
# More than this after the last frame is not a leftover of editing but overwritten audio.
_TRAILING_JUNK_BYTES = 1024
# File systems and download tools pad with zeros to a block. Zeros that overwrote audio begin within a frame.
_ZERO_PADDING_BYTES = 4096
# A recording may begin with the last part of a frame, or with bytes that an encoder or a server added.
_LEADING_JUNK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The part of the file that was scanned.

    Attributes:
        head: the first bytes after the opening tags.
        scanned_from, scanned_to: offsets; before and after them are tags.
        follows_tag: whether the file begins with a tag.
        tag_claims_audio: whether the declared length of that tag is wrong, because it includes frames.
        wave_claims_bytes, wave_missing_bytes: of a WAVE file's audio, by its header; 0 if it is no WAVE file.
    """

    head: bytes
    size_bytes: int
    scanned_from: int
    scanned_to: int
    follows_tag: bool
    tag_claims_audio: bool
    wave_claims_bytes: int = 0
    wave_missing_bytes: int = 0


def judge(scan: ScanResult, around: Surroundings) -> Mp3Facts:
    """Return the facts of a file.

    Raises:
        NotAudioError: there is no audio, or so little among other bytes that it is a coincidence.
    """
    _refuse_non_audio(scan, around)
    cut, broken = _cut_short(scan, around), _broken(scan, around)
    # The declared length alone does not show whether frames are missing at the end or in the middle.
    if broken and not _end_is_missing(scan, around):
        issue, details = AudioIssue.DAMAGED, broken + cut
    elif cut:
        issue, details = AudioIssue.TRUNCATED, cut + broken
    else:
        issue, details = None, ()
    return Mp3Facts(
        duration_s=_duration_s(scan, around),
        frame_count=scan.frame_count,
        bitrate_kbps=scan.audio_bytes * 8 / 1000 / scan.raw_duration_s,
        sample_rate_hz=scan.sample_rate_hz,
        channels=scan.channels,
        silent_channels=scan.silent_channels,
        audio_issue=issue,
        issue_detail="; ".join(details) or None,
    )


def _refuse_non_audio(scan: ScanResult, around: Surroundings) -> None:
    if (container := container_of(around.head)) is not None:
        raise NotAudioError(f"is {container}, not mp3")
    if not scan.frame_count:
        claim = scan.claim or read_length_claim(around.head)
        if claim is not None:
            raise NotAudioError(f"no frames but the {claim.kind} header")
        raise NotAudioError(describe_non_audio(around.head))
    other_bytes = around.scanned_to - around.scanned_from - scan.audio_bytes
    # Random bytes sometimes end in two frames, other formats are full of them; documents and pictures contain a few.
    accident = scan.frame_count < 3 * (scan.gap_count + 1) and scan.claim is None
    if other_bytes > scan.audio_bytes and (accident or document_of(around.head)):
        raise NotAudioError(describe_non_audio(around.head))


def _duration_s(scan: ScanResult, around: Surroundings) -> float:
    """Return the length of a full decode: all frames, less the delay and padding that the header frame declares.

    Decoders use the header frame only if it comes first.
    """
    claim = scan.claim
    if claim is None or scan.begin != around.scanned_from:
        return scan.raw_duration_s
    played = scan.samples[scan.sample_rate_hz]
    trimmed = claim.skip_samples
    if claim.frame_count is not None:
        claimed = claim.frame_count * scan.samples_per_frame
        trimmed += max(0, min(played, claimed) - (claimed - claim.padding_samples))
    return scan.raw_duration_s - min(trimmed, played) / scan.sample_rate_hz


def _end_is_missing(scan: ScanResult, around: Surroundings) -> bool:
    return scan.cut_frame_bytes is not None or _ends_in_zeros(scan, around)


def _has_all_claimed_frames(scan: ScanResult) -> bool:
    """Return whether all declared frames exist, so that what follows them cannot have been audio."""
    claimed = scan.claim.frame_count if scan.claim is not None else None
    return claimed is not None and 0 <= scan.frame_count - claimed <= _CLAIM_TOLERANCE_FRAMES


def _ends_in_zeros(scan: ScanResult, around: Surroundings) -> bool:
    zero_bytes = around.scanned_to - scan.rest_offset
    if not scan.rest_is_zero or scan.rest_offset != scan.end or _has_all_claimed_frames(scan):
        return False
    mean_frame_bytes = scan.audio_bytes / scan.frame_count
    return zero_bytes > _ZERO_PADDING_BYTES or (zero_bytes >= mean_frame_bytes and ends_overwritten(scan.last_bytes))


def _cut_short(scan: ScanResult, around: Surroundings) -> tuple[str, ...]:
    """Return the signs that the file is truncated."""
    details = []
    if around.wave_missing_bytes * scan.frame_count >= scan.audio_bytes:
        details.append(
            f"the WAV header claims {around.wave_claims_bytes} bytes of audio, {around.wave_missing_bytes} of them are missing"
        )
    if scan.claim is not None and (claimed := _broken_claim(scan, scan.claim, around)):
        details.append(claimed)
    if scan.cut_frame_bytes is not None:
        there, whole = scan.cut_frame_bytes
        part = "header" if whole == 4 else "frame"
        at = f"byte {scan.end} ({scan.raw_duration_s:.2f} s)"
        details.append(f"the last {part}, at {at}, is cut after {there} of {whole} bytes")
    elif _ends_in_zeros(scan, around):
        details.append(
            f"from byte {scan.rest_offset} ({scan.raw_duration_s:.2f} s) to the end there are only zeros, "
            f"{around.scanned_to - scan.rest_offset} bytes"
        )
    return tuple(details)


def _broken_claim(scan: ScanResult, claim: LengthClaim, around: Surroundings) -> str | None:
    begin, there = scan.begin or 0, scan.end - (scan.begin or 0)
    # Some encoders include the tags in the size.
    size_is_right = claim.size_bytes in (there, around.size_bytes - begin, around.size_bytes)
    if claim.frame_count is None:
        if claim.size_bytes is None or size_is_right or claim.size_bytes - there < scan.audio_bytes / scan.frame_count:
            return None
        return f"the {claim.kind} header claims {claim.size_bytes} bytes, the file has {there}"
    if claim.size_bytes is None:
        tolerance_frames = _HEADER_FRAMES
    else:
        tolerance_frames = _CLAIM_TOLERANCE_FRAMES if size_is_right or claim.size_bytes < there else 0
    if claim.frame_count <= scan.frame_count + tolerance_frames:
        return None
    claimed_s = claim.frame_count * scan.samples_per_frame / scan.sample_rate_hz
    return (
        f"the {claim.kind} header claims {claim.frame_count} frames ({claimed_s:.2f} s), "
        f"the file has {scan.frame_count} ({scan.raw_duration_s:.2f} s)"
    )


def _broken(scan: ScanResult, around: Surroundings) -> tuple[str, ...]:
    """Return the places with bytes that are neither frames nor tags."""
    details = []
    if around.tag_claims_audio:
        details.append("the tag that opens the file claims bytes that hold audio, which players pass over")
    leading_bytes = (scan.begin or 0) - around.scanned_from
    if leading_bytes > _LEADING_JUNK_BYTES and not around.follows_tag:
        details.append(f"the first {leading_bytes} bytes are not mp3 frames")
    if scan.first_gap is not None:
        gap = scan.first_gap
        more = scan.gap_count - 1
        details.append(
            f"{gap.size_bytes} bytes at byte {gap.offset} ({gap.at_s:.2f} s) are not mp3 frames"
            + (f", and {scan.gap_bytes - gap.size_bytes} bytes in {more} more places" if more else "")
        )
    trailing_bytes = around.scanned_to - scan.rest_offset
    is_cut = scan.cut_frame_bytes is not None
    if trailing_bytes > _TRAILING_JUNK_BYTES and not (scan.rest_is_zero or is_cut or _has_all_claimed_frames(scan)):
        details.append(f"the last {trailing_bytes} bytes, from byte {scan.rest_offset} on, are not mp3 frames")
    return tuple(details)
