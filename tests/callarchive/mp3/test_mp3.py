"""The walk over frames built by hand, whose lengths are known. test_mp3_decoded compares it with decoders."""

import tracemalloc
from collections.abc import Iterator

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
    # Behind a tag a decoder has lost what the frame borrows from the ones before it.
    assert facts.frame_count == 3 * 50 - 2


def test_the_header_frame_is_not_counted_and_its_delays_are_subtracted() -> None:
    body = WIDE * 100
    assert probe_mp3(info_frame(frames=100, size=360 + len(body)) + body).duration_s == pytest.approx(3.6)
    facts = probe_mp3(info_frame(frames=100, delays=(576, 1000)) + body)
    assert facts.duration_s == pytest.approx((100 * 576 - 576 - 1000) / 16000)
    assert (facts.frame_count, facts.bitrate_kbps, facts.audio_issue) == (100, pytest.approx(32), None)
    assert probe_mp3(vbri_frame(frames=100, size=360 + len(body)) + body).duration_s == pytest.approx(3.6)


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
        (b"RIFF\x24\x08\0\0WAVEfmt " + NOISE, "WAV"),
        (b"OggS\0\x02" + NOISE, "Ogg"),
        (b"fLaC" + NOISE, "FLAC"),
        (b"\0\0\0\x20ftypM4A " + NOISE, "MP4"),
        (b"\xff\xf1\x50\x80" + NOISE, "AAC"),
        (NOISE, "no known format, no two mp3 frames in a row"),
        (PHONE, "no known format, no two mp3 frames in a row"),
        (b"\xff" * 3000, "no known format, no two mp3 frames in a row"),
        (id3v2(b"x" * 50), "tags, and no audio behind them"),
        (id3v2(b"x" * 50, claimed=5000), "tags, and no audio behind them"),
        (ID3V1, "tags, and no audio behind them"),
        (id3v2(b"x" * 50) + b"<html>", "an HTML page"),
        (info_frame(frames=100), "no frames but the Info header"),
        (id3v2(b"x") + vbri_frame(frames=9, size=9), "no frames but the VBRI header"),
        ((PHONE[:2] + b"\x08" + PHONE[3:]) * 30, "free-format mp3 (bitrate index 0), which is not supported"),
        (
            id3v2(b"x") + (b"\xff\xfb\x00\xc4" + bytes(700)) * 5,
            "free-format mp3 (bitrate index 0), which is not supported",
        ),
        (NOISE + PHONE + PHONE, "no known format, no two mp3 frames in a row"),
        (b"\x1a\x45\xdf\xa3" + (PHONE * 4 + NOISE) * 5, "Matroska or WebM"),
    ],
)
def test_other_bytes_than_audio_are_rejected_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(NotAudioError) as caught:
        probe_mp3(data)
    assert str(caught.value) == reason


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
