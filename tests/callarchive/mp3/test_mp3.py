"""The walk over frames built by hand, whose lengths are known. test_mp3_decoded compares it with decoders."""

import tracemalloc
from collections.abc import Iterator
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callarchive.domain.errors import NotAudioError
from callarchive.domain.models import AudioIssue, Mp3Facts
from callarchive.mp3 import Mp3Walk, probe_mp3

# Worked out by hand from the standards: header, bytes, samples, sampling frequency, channels.
FRAMES = {
    "MPEG 1 layer III, 128 kbit/s": ("fffb9064", 417, 1152, 44100, 2),
    "MPEG 1 layer III, 128 kbit/s, padded": ("fffb9264", 418, 1152, 44100, 2),
    "MPEG 1 layer III, 320 kbit/s": ("fffbe8c4", 1440, 1152, 32000, 1),
    "MPEG 1 layer III with CRC": ("fffa94c4", 384, 1152, 48000, 1),
    "MPEG 1 layer II, 128 kbit/s": ("fffd8064", 417, 1152, 44100, 2),
    "MPEG 1 layer I, 128 kbit/s": ("ffff4064", 136, 384, 44100, 2),
    "MPEG 1 layer I, 128 kbit/s, padded": ("ffff4264", 140, 384, 44100, 2),
    "MPEG 2 layer III, 32 kbit/s": ("fff348c4", 144, 576, 16000, 1),
    "MPEG 2 layer III, 64 kbit/s, joint stereo": ("fff38064", 208, 576, 22050, 2),
    "MPEG 2 layer II, 32 kbit/s": ("fff548c4", 288, 1152, 16000, 1),
    "MPEG 2 layer I, 32 kbit/s": ("fff710c4", 68, 384, 22050, 1),
    "MPEG 2.5 layer III, 16 kbit/s": ("ffe328c4", 144, 576, 8000, 1),
    "MPEG 2.5 layer III, 8 kbit/s": ("ffe310c4", 52, 576, 11025, 1),
    "MPEG 2.5 layer II, 160 kbit/s": ("ffe5e8c4", 2880, 1152, 8000, 1),
}
PHONE = bytes.fromhex("ffe328c4") + b"\x11" * 140  # 16 kbit/s at 8 kHz: 0.072 s
WIDE = bytes.fromhex("fff348c4") + b"\x22" * 140  # 32 kbit/s at 16 kHz: 0.036 s
NOISE = bytes(range(1, 255)) * 40
ID3V1 = b"TAG" + b"title".ljust(125)


def id3v2(content: bytes, *, claimed: int | None = None) -> bytes:
    size = len(content) if claimed is None else claimed
    return b"ID3\x04\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + content


def ape(*, version: int) -> bytes:
    item = b"\x05\0\0\0\0\0\0\0Title\0hello"
    fields = b"".join(n.to_bytes(4, "little") for n in (version, len(item) + 32, 1))
    if version == 1000:
        return item + b"APETAGEX" + fields + bytes(12)
    return b"APETAGEX" + fields + b"\0\0\0\xa0" + bytes(8) + item + b"APETAGEX" + fields + b"\0\0\0\x80" + bytes(8)


def lyrics3() -> bytes:
    body = b"LYRICSBEGINLYR00005hello"
    return body + f"{len(body):06}".encode() + b"LYRICS200"


def info_frame(*, frames: int | None = None, size: int | None = None, delays: tuple[int, int] | None = None) -> bytes:
    """Return an Info header of 80 kbit/s at 16 kHz: 360 bytes, the name at byte 13."""
    body = b"Info" + ((frames is not None) + 2 * (size is not None) + 4).to_bytes(4, "big")
    body += b"".join(n.to_bytes(4, "big") for n in (frames, size) if n is not None) + bytes(100)
    if delays is not None:
        body += b"LAME3.100" + bytes(12) + (delays[0] << 12 | delays[1]).to_bytes(3, "big")
    return (bytes.fromhex("fff398c4") + bytes(9) + body).ljust(360, b"\0")


def vbri_frame(*, frames: int, size: int) -> bytes:
    body = b"VBRI" + bytes((0, 1, 0, 0, 0, 75)) + size.to_bytes(4, "big") + frames.to_bytes(4, "big")
    return (bytes.fromhex("fff398c4") + bytes(32) + body).ljust(360, b"\0")


def test_the_header_frames_of_the_test_are_valid_frames() -> None:
    assert probe_mp3((bytes.fromhex("fff398c4") + bytes(356)) * 5).frame_count == 5


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_has_its_standard_length(kind: str) -> None:
    header, size_bytes, samples, sample_rate_hz, channels = FRAMES[kind]
    facts = probe_mp3((bytes.fromhex(header) + b"\x11" * (size_bytes - 4)) * 50)
    assert facts.frame_count == 50
    assert facts.duration_s == pytest.approx(50 * samples / sample_rate_hz)
    assert (facts.sample_rate_hz, facts.channels, facts.audio_issue) == (sample_rate_hz, channels, None)
    assert facts.bitrate_kbps == pytest.approx(size_bytes * 8 * sample_rate_hz / samples / 1000)


def test_all_frames_of_a_variable_bitrate_are_counted() -> None:
    long = bytes.fromhex("ffe338c4") + bytes(212)  # 24 kbit/s
    facts = probe_mp3((PHONE + long + long) * 30)
    assert (facts.frame_count, facts.duration_s) == (90, pytest.approx(90 * 0.072))
    assert facts.bitrate_kbps == pytest.approx((16 + 24 + 24) / 3)


def test_a_change_of_the_sampling_frequency_is_no_damage() -> None:
    facts = probe_mp3(PHONE * 20 + WIDE * 50 + PHONE * 5)
    assert facts.duration_s == pytest.approx(25 * 0.072 + 50 * 0.036)
    assert (facts.sample_rate_hz, facts.audio_issue) == (8000, None)


def test_a_change_from_mono_to_stereo_is_no_damage() -> None:
    stereo = bytes.fromhex("ffe32844") + PHONE[4:]
    facts = probe_mp3(PHONE * 20 + stereo * 20)
    assert (facts.frame_count, facts.channels, facts.audio_issue) == (40, 1, None)


def test_false_headers_within_frames_are_ignored() -> None:
    decoy = (PHONE[:50] + PHONE[:4] + WIDE[:4]).ljust(144, b"\xff")
    assert probe_mp3(decoy * 40).duration_s == pytest.approx(40 * 0.072)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (id3v2(b"x" * 300), b""),
        (id3v2(b"x" * 300) + id3v2(b"y" * 20), b""),
        (id3v2(NOISE * 200), b""),
        (id3v2(b"\xff\xfb\x90\x64" * 5000), b""),
        (ape(version=2000), b""),
        (b"", ID3V1),
        (b"", ape(version=1000)),
        (b"", ape(version=2000)),
        (b"", ape(version=2000) + ID3V1),
        (b"", lyrics3() + ID3V1),
        (b"", b"LYRICSBEGINhello LYRICSEND" + ID3V1),
        (b"", b"TAG+".ljust(227) + ID3V1),
        (b"", id3v2(b"z" * 500)),
        (NOISE[:1000], b""),
        (bytes(3000), b""),
        (b"", NOISE[:300]),
        (b"", bytes(2000)),
        (b"", bytes(600) + ID3V1),
        (id3v2(b"x" * 300, claimed=100), b""),
        (PHONE[77:], b""),
    ],
)
def test_a_file_with_tags_and_some_junk_is_intact(before: bytes, after: bytes) -> None:
    facts = probe_mp3(before + PHONE * 100 + after)
    assert (facts.frame_count, facts.duration_s, facts.audio_issue) == (100, pytest.approx(7.2), None)


def test_tags_between_concatenated_files_are_no_damage() -> None:
    whole = id3v2(NOISE) + PHONE * 50 + ID3V1
    facts = probe_mp3(whole * 3)
    assert facts.audio_issue is None
    assert facts.frame_count == 3 * 50


def test_the_header_frame_is_not_counted_and_its_delays_are_subtracted() -> None:
    body = WIDE * 100
    assert probe_mp3(info_frame(frames=100, size=360 + len(body)) + body).duration_s == pytest.approx(3.6)
    facts = probe_mp3(info_frame(frames=100, delays=(576, 1000)) + body)
    assert facts.duration_s == pytest.approx((100 * 576 - 576 - 1000) / 16000)
    assert (facts.frame_count, facts.bitrate_kbps, facts.audio_issue) == (100, pytest.approx(32), None)
    assert probe_mp3(vbri_frame(frames=100, size=360 + len(body)) + body).duration_s == pytest.approx(3.6)


@pytest.mark.parametrize(
    "between",
    [ID3V1, id3v2(NOISE), ape(version=1000), ape(version=2000) + ID3V1, lyrics3() + ID3V1, ID3V1 + id3v2(b"x" * 50)],
)
def test_no_frame_is_left_out_at_tags_between_pieces(between: bytes) -> None:
    piece = info_frame(frames=60, size=360 + 60 * 144) + WIDE * 60
    facts = probe_mp3(between.join([piece] * 20))
    # Decoders play the header frames of all pieces but the first.
    assert facts.frame_count == 20 * 61 - 1
    assert facts.audio_issue is None


def test_tags_behind_a_large_tag_between_pieces_are_skipped() -> None:
    between = ID3V1 + id3v2(b"x" * 200_000) + id3v2(b"y" * 45)
    for before in range(1000, 1012):
        facts = probe_mp3(between.join([PHONE * before] * 3))
        assert (facts.frame_count, facts.audio_issue) == (3 * before, None)


def test_a_frame_behind_a_gap_counts_if_it_borrows_no_data() -> None:
    independent = bytes.fromhex("ffe328c4") + bytes(1) + b"\x11" * 139
    assert probe_mp3(PHONE * 50 + NOISE + independent * 50).frame_count == 100
    assert probe_mp3(PHONE * 50 + NOISE + PHONE * 50).frame_count == 99


@pytest.mark.parametrize("missing", [1, 2, 3])
@pytest.mark.parametrize("behind", [b"", ID3V1])
def test_whole_frames_that_are_missing_of_the_declared_ones_mean_truncated(missing: int, behind: bytes) -> None:
    claims = info_frame(frames=100, size=360 + 100 * 144)
    facts = probe_mp3(claims + WIDE * (100 - missing) + behind)
    assert facts.audio_issue is AudioIssue.TRUNCATED
    assert facts.issue_detail == (
        f"the Info header claims 100 frames (3.60 s), the file has {100 - missing} ({3.6 - missing * 0.036:.2f} s)"
    )
    facts = probe_mp3(info_frame(size=360 + 100 * 144) + WIDE * (100 - missing) + behind)
    assert facts.audio_issue is AudioIssue.TRUNCATED


@pytest.mark.parametrize("size", [360 + 100 * 144, 360 + 100 * 144 + 128, 310 + 360 + 100 * 144 + 128])
def test_a_count_that_includes_the_header_frame_is_no_issue_if_the_size_is_right(size: int) -> None:
    for header in (info_frame(frames=101, size=size), info_frame(size=size), info_frame(frames=101)):
        assert probe_mp3(id3v2(b"x" * 300) + header + WIDE * 100 + ID3V1).audio_issue is None


def test_the_first_of_joined_pieces_declares_only_its_own_length() -> None:
    joined = info_frame(frames=50, size=360 + 50 * 144) + WIDE * 50 + info_frame(frames=70, size=360 + 70 * 144)
    assert probe_mp3(joined + WIDE * 70).audio_issue is None


@pytest.mark.parametrize("count", [1, 97, 99, 101, 103])
def test_a_declared_length_that_is_low_or_a_few_frames_off_is_no_issue(count: int) -> None:
    facts = probe_mp3(info_frame(frames=count, size=20) + WIDE * 100)
    assert (facts.duration_s, facts.audio_issue) == (pytest.approx(3.6), None)


@pytest.mark.parametrize(
    "header",
    [
        info_frame(frames=200),
        info_frame(size=28_000),
        vbri_frame(frames=200, size=28_000),
        info_frame(frames=2**32 - 1),
    ],
)
def test_a_declared_length_is_not_trusted_and_a_high_one_means_truncated(header: bytes) -> None:
    facts = probe_mp3(header + WIDE * 100)
    assert (facts.duration_s, facts.audio_issue) == (pytest.approx(3.6), AudioIssue.TRUNCATED)
    assert facts.issue_detail is not None
    assert "header claims" in facts.issue_detail


@pytest.mark.parametrize(("rest_bytes", "frame_count"), [(1, 99), (3, 99), (40, 99), (80, 100), (143, 100)])
def test_a_file_that_ends_within_a_frame_is_truncated(rest_bytes: int, frame_count: int) -> None:
    for tail in (b"", ID3V1):
        facts = probe_mp3(PHONE * 99 + PHONE[:rest_bytes] + tail)
        assert (facts.frame_count, facts.audio_issue) == (frame_count, AudioIssue.TRUNCATED)
        assert facts.issue_detail is not None
        assert f"byte {99 * 144} " in facts.issue_detail


@pytest.mark.parametrize("there_bytes", [72, 100, 143])
def test_a_file_cut_within_its_first_audio_frame_has_the_facts_of_that_frame(there_bytes: int) -> None:
    facts = probe_mp3(info_frame(frames=50) + WIDE[:there_bytes])
    assert (facts.frame_count, facts.sample_rate_hz, facts.channels) == (1, 16000, 1)
    assert facts.duration_s == pytest.approx(0.036)
    assert facts.audio_issue is AudioIssue.TRUNCATED


@pytest.mark.parametrize("length", [24, 144, 369, 2880])
def test_frames_of_free_format_have_the_length_of_the_first(length: int) -> None:
    frame = bytes.fromhex("ffe308c4") + bytes(1) + b"\x11" * (length - 5)
    padded = bytes.fromhex("ffe30ac4") + bytes(1) + b"\x11" * (length - 4)
    for before in (b"", id3v2(NOISE)):
        for pieces in ([frame] * 90, [frame, padded] * 45, [padded, frame, frame] * 30):
            facts = probe_mp3(before + b"".join(pieces))
            assert (facts.frame_count, facts.audio_issue) == (90, None)
            assert facts.duration_s == pytest.approx(6.48)
    assert probe_mp3(frame * 40 + NOISE + frame * 40).frame_count == 80
    assert probe_mp3(frame * 40 + frame[:10]).audio_issue is AudioIssue.TRUNCATED
    assert probe_mp3(frame * 40 + ID3V1 + PHONE * 40).frame_count == 80


def test_runs_of_equal_headers_end_where_another_begins() -> None:
    slower = bytes.fromhex("fff338c4") + b"\x33" * 104  # 24 kbit/s at 16 kHz
    padded = bytes.fromhex("fff34ac4") + b"\x22" * 141
    for runs in ([(WIDE, 15), (slower, 16), (WIDE, 17)], [(WIDE, 500), (padded, 1), (WIDE, 500)], [(slower, 4000)]):
        facts = probe_mp3(b"".join(frame * count for frame, count in runs))
        assert facts.frame_count == sum(count for _, count in runs)
        assert facts.audio_issue is None
    cut = probe_mp3(WIDE * 400 + WIDE[:50])
    assert (cut.frame_count, cut.audio_issue) == (400, AudioIssue.TRUNCATED)
    holed = probe_mp3(WIDE * 300 + NOISE[:500] + WIDE * 300)
    assert (holed.frame_count, holed.audio_issue) == (599, AudioIssue.DAMAGED)


@pytest.mark.parametrize("zero_bytes", [1000, 5000, 50_000, 500_000])
def test_a_tail_overwritten_with_zeros_is_truncated(zero_bytes: int) -> None:
    facts = probe_mp3(PHONE * 100 + PHONE[:70] + bytes(74) + bytes(zero_bytes))
    assert (facts.frame_count, facts.audio_issue) == (101, AudioIssue.TRUNCATED)
    assert facts.issue_detail is not None
    assert f"from byte {101 * 144} (7.27 s)" in facts.issue_detail
    assert probe_mp3(PHONE * 100 + PHONE[:2] + bytes(6000)).audio_issue is AudioIssue.TRUNCATED


def frame_with(*, size_bits: int, borrowed_bytes: int = 0, own: bytes) -> bytes:
    """Return a frame of 16 kbit/s at 8 kHz, mono, whose side information says where its data are."""
    side = borrowed_bytes << 64 | size_bits << 51 | 0x1234
    return bytes.fromhex("ffe328c4") + side.to_bytes(9, "big") + own.ljust(131, b"\0")


@pytest.mark.parametrize(
    ("last", "lost"),
    [
        (frame_with(size_bits=800, own=b"\x55" * 100), False),
        (frame_with(size_bits=805, own=b"\x55" * 101), False),
        (frame_with(size_bits=0, own=b""), False),
        (frame_with(size_bits=800, own=b"\x55" * 100 + b"LAME3.100"), False),
        (frame_with(size_bits=804, own=b"\x55" * 100 + (int.from_bytes(b"\x05LAME") << 4).to_bytes(5, "big")), False),
        (frame_with(size_bits=800, borrowed_bytes=100, own=b""), False),
        (frame_with(size_bits=900, borrowed_bytes=100, own=b"\x55" * 13), False),
        (frame_with(size_bits=800, own=b"\x55" * 90), True),
        (frame_with(size_bits=900, borrowed_bytes=90, own=b"\x55" * 10), True),
        (frame_with(size_bits=800, own=b"\x55" * 120), True),  # data of the next frames
        (frame_with(size_bits=400, borrowed_bytes=100, own=b""), True),
        (PHONE[:4] + bytes(140), True),
    ],
)
def test_zeros_in_the_last_frame_are_lost_data_only_where_its_data_are(last: bytes, lost: bool) -> None:
    for padding in (500, 4000):
        facts = probe_mp3(PHONE * 50 + last + bytes(padding))
        assert facts.frame_count == 51
        assert facts.audio_issue is (AudioIssue.TRUNCATED if lost else None)


def test_zeros_after_all_declared_frames_are_padding() -> None:
    facts = probe_mp3(info_frame(frames=100) + WIDE * 100 + bytes(100_000))
    assert (facts.duration_s, facts.audio_issue) == (pytest.approx(3.6), None)


@pytest.mark.parametrize("hole", [NOISE[:3000], bytes(3000), NOISE * 100, b"<html>", PHONE[30:]])
def test_other_bytes_between_frames_are_damage(hole: bytes) -> None:
    facts = probe_mp3(PHONE * 100 + hole + PHONE * 100)
    assert facts.audio_issue is AudioIssue.DAMAGED
    assert facts.issue_detail == f"{len(hole)} bytes at byte 14400 (7.20 s) are not mp3 frames"
    assert facts.duration_s == pytest.approx(199 * 0.072)


def test_several_gaps_are_summed() -> None:
    facts = probe_mp3((PHONE * 50 + NOISE[:500]) * 3 + PHONE * 50)
    assert facts.issue_detail == "500 bytes at byte 7200 (3.60 s) are not mp3 frames, and 1000 bytes in 2 more places"
    assert facts.frame_count == 4 * 50 - 3


def test_a_gap_in_a_file_with_a_header_is_damage() -> None:
    facts = probe_mp3(info_frame(frames=300) + WIDE * 100 + NOISE + WIDE * 100)
    assert facts.audio_issue is AudioIssue.DAMAGED


def test_a_file_with_a_gap_that_also_ends_early_is_truncated_and_both_are_reported() -> None:
    facts = probe_mp3(PHONE * 100 + NOISE + PHONE * 100 + PHONE[:100])
    assert facts.audio_issue is AudioIssue.TRUNCATED
    assert facts.issue_detail is not None
    assert "is cut after 100 of 144 bytes" in facts.issue_detail
    assert f"{len(NOISE)} bytes at byte 14400" in facts.issue_detail


def test_much_junk_at_either_end_is_damage() -> None:
    assert probe_mp3(PHONE * 100 + NOISE).audio_issue is AudioIssue.DAMAGED
    assert probe_mp3(NOISE + PHONE * 100).audio_issue is AudioIssue.DAMAGED


def test_a_tag_that_includes_audio_is_skipped_and_reported() -> None:
    facts = probe_mp3(id3v2(b"x" * 300, claimed=300 + 20 * 144 - 50) + PHONE * 100)
    assert (facts.frame_count, facts.audio_issue) == (80, AudioIssue.DAMAGED)
    facts = probe_mp3(id3v2(b"x" * 300, claimed=1_000_000) + PHONE * 100)
    assert (facts.frame_count, facts.audio_issue) == (100, AudioIssue.DAMAGED)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (bytes(5000), "zero bytes where mp3 frames should be"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>503</body></html>", "an HTML page"),
        (b"<HTML><HEAD>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "XML"),
        (b"<Error><Code>AccessDenied</Code></Error>", "XML"),
        (b'{"message": "not found"}', "JSON"),
        (b'[{"id": 1, "cut', "JSON"),
        (b"The recording was moved.\r\n", "plain text"),
        (b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0\1\0" + NOISE, "is WAV (PCM), not mp3"),
        (b"OggS\0\x02" + NOISE, "is Ogg, not mp3"),
        (b"fLaC" + NOISE, "is FLAC, not mp3"),
        (b"\0\0\0\x20ftypM4A " + NOISE, "is M4A (MP4), not mp3"),
        (b"\xff\xf1\x50\x80" + NOISE, "is AAC, not mp3"),
        (NOISE, "no known format, no two mp3 frames in a row"),
        (PHONE, "no known format, no two mp3 frames in a row"),
        (b"\xff" * 3000, "no known format, no two mp3 frames in a row"),
        (id3v2(b"x" * 50), "tags, and no audio behind them"),
        (id3v2(b"x" * 50, claimed=5000), "tags, and no audio behind them"),
        (ID3V1, "tags, and no audio behind them"),
        (id3v2(b"x" * 50) + b"<html>", "an HTML page"),
        (info_frame(frames=100), "no frames but the Info header"),
        (id3v2(b"x") + vbri_frame(frames=9, size=9), "no frames but the VBRI header"),
        ((PHONE[:2] + b"\x08" + PHONE[3:]) * 4, "no known format, no two mp3 frames in a row"),
        (NOISE + PHONE + PHONE, "no known format, no two mp3 frames in a row"),
        ((NOISE[:900] + PHONE * 3) * 30, "no known format, no two mp3 frames in a row"),
        (b"\x1a\x45\xdf\xa3" + (PHONE * 4 + NOISE) * 5, "is Matroska or WebM, not mp3"),
    ],
)
def test_other_bytes_than_audio_are_rejected_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(NotAudioError) as caught:
        probe_mp3(data)
    assert str(caught.value) == reason


def chunk(name: bytes, content: bytes, *, claimed: int | None = None) -> bytes:
    size = len(content) if claimed is None else claimed
    return name + size.to_bytes(4, "little") + content + bytes(len(content) % 2)


def wave(*chunks: bytes, tag: int = 0x55, outer: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + chunk(b"fmt ", tag.to_bytes(2, "little") + bytes(28)) + b"".join(chunks)
    return outer + min(len(body), 0xFFFFFFFF).to_bytes(4, "little") + body


BODY = PHONE * 100
DS64 = chunk(b"ds64", bytes(8) + len(BODY).to_bytes(8, "little") + bytes(12))


@pytest.mark.parametrize(
    "data",
    [
        wave(chunk(b"data", BODY)),
        wave(chunk(b"LIST", NOISE * 40), chunk(b"data", BODY)),
        wave(chunk(b"JUNK", bytes(400_000)), chunk(b"data", BODY), chunk(b"LIST", NOISE * 40)),
        wave(chunk(b"LIST", b"odd"), chunk(b"data", BODY)),
        wave(chunk(b"LIST", b"odd")[:-1], chunk(b"data", BODY)),
        wave(chunk(b"data", PHONE[77:] + BODY), chunk(b"LIST", NOISE * 20)),
        wave(chunk(b"data", BODY, claimed=0)),
        wave(chunk(b"data", BODY, claimed=0xFFFFFFFF)),
        wave(chunk(b"data", BODY, claimed=0x7FFFF000)),
        wave(chunk(b"data", BODY, claimed=4096)),
        wave(DS64, chunk(b"data", BODY, claimed=0xFFFFFFFF), chunk(b"LIST", NOISE * 20), outer=b"RF64"),
        wave(DS64, chunk(b"data", BODY, claimed=0xFFFFFFFF), outer=b"BW64"),
        wave(chunk(b"data", BODY + ID3V1)),
        wave(chunk(b"data", BODY)) + ID3V1,
        id3v2(b"x" * 500) + wave(chunk(b"data", BODY)),
        wave(chunk(b"data", id3v2(b"x" * 500) + BODY)),
    ],
)
def test_an_mp3_in_a_wave_file_is_scanned_without_the_other_chunks(data: bytes) -> None:
    for size in (len(data), 1000):
        facts = walk_in_chunks(data, repeat(size))
        assert isinstance(facts, Mp3Facts)
        assert (facts.frame_count, facts.audio_issue) == (100, None)


def test_the_extensible_format_of_a_wave_file_is_read() -> None:
    guid = b"\x55" + bytes(15)
    fmt = chunk(b"fmt ", b"\xfe\xff" + bytes(22) + guid)
    assert probe_mp3(b"RIFF\0\0\0\0WAVE" + fmt + chunk(b"data", BODY)).frame_count == 100


@pytest.mark.parametrize("outer", [b"RIFF", b"RF64"])
def test_a_wave_file_without_all_of_its_declared_audio_is_truncated(outer: bytes) -> None:
    size = {"claimed": 0xFFFFFFFF} if outer == b"RF64" else {}
    data = wave(chunk(b"LIST", b"x" * 50), DS64, chunk(b"data", BODY, **size), outer=outer)
    facts = probe_mp3(data[: -40 * 144])
    assert (facts.frame_count, facts.audio_issue) == (60, AudioIssue.TRUNCATED)
    assert facts.issue_detail == "the WAV header claims 14400 bytes of audio, 5760 of them are missing"
    assert probe_mp3(data[: -40 * 144] + ID3V1).audio_issue is AudioIssue.TRUNCATED


FRAMES_INSIDE = PHONE * 200
GSM = (b"\xd5" + bytes(range(32))) * 50
ADTS = (bytes.fromhex("fff15080") + (7 + 100 << 5 | 0x1F).to_bytes(2, "big") + b"\xfc" + b"a" * 100) * 30


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x20ftypisom" + bytes(20), "MP4"),
        (b"\0\0\0\x20ftypM4A " + bytes(20), "M4A (MP4)"),
        (b"\0\0\0\x14ftypqt  " + bytes(8), "MOV (QuickTime)"),
        (b"\0\0\0\x08wide\0\0\xff\xffmdat", "MOV (QuickTime)"),
        (b"\0\0\xff\xffmoov\0\0\0\x6cmvhd", "MOV (QuickTime)"),
        (b"\0\0\0\x18ftyp3gp4" + bytes(12), "3GP"),
        (b"caff\0\1\0\0desc", "CAF"),
        (b"RIFF\xff\xff\0\0AVI LIST", "AVI"),
        (b"RIFF\xff\xff\0\0CDXA", "RIFF"),
        (wave(tag=1), "WAV (PCM)"),
        (wave(tag=0x31), "WAV (GSM)"),
        (wave(tag=7), "WAV (mu-law)"),
        (b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska", "Matroska or WebM"),
        (b"OggS\0\x02", "Ogg"),
        (b"fLaC\0\0\0\x22", "FLAC"),
        (b"#!AMR\n", "AMR"),
        (b"#!AMR-WB\n", "AMR"),
        (b".snd\0\0\0\x18", "Sun audio (AU)"),
        (b"FORM\0\0\xff\xffAIFF", "AIFF"),
        (b"FLV\1\4\0\0\0\x09", "FLV"),
        (b"PK\3\4\x14\0\0\0\0\0", "a ZIP archive"),
        (GSM, "GSM"),
        (ADTS, "AAC"),
        (id3v2(b"x" * 30) + ADTS, "AAC"),
        ((b"G" + bytes(187)) * 20, "an MPEG transport stream"),
        ((b"timeG" + bytes(187)) * 20, "an MPEG transport stream"),
        (b"\x7f\xfe\x80\1", "DTS"),
    ],
)
def test_a_container_is_rejected_by_name_whatever_it_contains(head: bytes, name: str) -> None:
    for content in (b"", FRAMES_INSIDE, NOISE + FRAMES_INSIDE, FRAMES_INSIDE[:-50], bytes(5000)):
        with pytest.raises(NotAudioError) as caught:
            probe_mp3(head + content)
        assert str(caught.value) == f"is {name}, not mp3"


def walk_in_chunks(data: bytes, sizes: Iterator[int]) -> Mp3Facts | str:
    walk = Mp3Walk()
    at = 0
    while at < len(data):
        size = next(sizes)
        walk.feed(memoryview(data)[at : at + size])
        at += size
    try:
        return walk.finish()
    except NotAudioError as err:
        return str(err)


PARTS = st.sampled_from(
    [
        PHONE,
        PHONE * 3,
        PHONE * 1000,
        PHONE[:100],
        PHONE[:2],
        WIDE * 20,
        b"\xff",
        b"\xff\xe3\x08\xc4",
        info_frame(frames=9, size=99),
        vbri_frame(frames=3, size=9),
        NOISE[:700],
        bytes(900),
        bytes(140_000),
        ID3V1,
        id3v2(b"x" * 40),
        id3v2(b"x", claimed=2000),
        ape(version=2000),
        ape(version=1000),
        lyrics3(),
        b"LYRICSBEGIN",
        b"APETAGEX",
        b"ID3",
        b"<html>",
        b'{"a":',
        b"RIFF",
        wave(chunk(b"LIST", NOISE[:300]), chunk(b"data", PHONE * 9)),
        wave(chunk(b"data", PHONE * 9, claimed=90_000)),
    ]
)


def join(parts: list[bytes]) -> bytes:
    return b"".join(parts)


FILES = st.lists(st.one_of(PARTS, st.binary(max_size=300)), max_size=12).map(join)


@settings(deadline=None, max_examples=150)
@given(data=FILES, sizes=st.lists(st.sampled_from([1, 2, 7, 143, 144, 4096, 65_536, 10**6]), min_size=1, max_size=4))
def test_the_result_does_not_depend_on_the_chunks(data: bytes, sizes: list[int]) -> None:
    def in_turn() -> Iterator[int]:
        # Large files are not fed byte by byte: that is slow and says nothing more.
        smallest = 1 if len(data) < 4000 else 61
        while True:
            yield from (max(smallest, size) for size in sizes)

    whole = walk_in_chunks(data, iter([len(data) or 1]))
    assert walk_in_chunks(data, in_turn()) == whole
    if isinstance(whole, Mp3Facts):
        assert 0 <= whole.duration_s <= whole.frame_count * 1152 / 8000
        assert (whole.audio_issue is None) == (whole.issue_detail is None)


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=5000))
def test_random_bytes_are_not_audio(data: bytes) -> None:
    with pytest.raises(NotAudioError):
        probe_mp3(data)


@pytest.mark.parametrize("inside", [1, 2, 5])
def test_bytes_like_headers_inside_frames_of_changing_length_are_not_counted(inside: int) -> None:
    lengths = [144, 72, 108, 72, 72, 36]
    headers = ["fff348c4", "fff328c4", "fff338c4", "fff328c4", "fff328c4", "fff318c4"]
    fake = bytes.fromhex("fff348c4") * inside
    frames = [
        (bytes.fromhex(header) + (b"\0" * (5 + number % 7) + fake if number % 5 == 3 else b"")).ljust(length, b"\x22")
        for number, (header, length) in enumerate(list(zip(headers, lengths, strict=True)) * 500)
    ]
    facts = probe_mp3(b"".join(frames))
    assert (facts.frame_count, facts.audio_issue) == (3000, None)
    assert facts.duration_s == pytest.approx(3000 * 576 / 16000)


@pytest.mark.parametrize(
    "piece", [PHONE * 500, NOISE * 7, bytes(70_000), b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + PHONE * 500]
)
def test_a_long_stream_needs_little_memory(piece: bytes) -> None:
    walk = Mp3Walk()
    tracemalloc.start()
    try:
        for _ in range(8_000_000 // len(piece)):
            walk.feed(piece)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1024 * 1024
