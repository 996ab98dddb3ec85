"""`callarchive report`: one HTML file that says what is known and what is not, with verified audio and nothing unescaped."""

import base64
import json
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect, sync_playwright

from callarchive.catalog import schemas
from callarchive.monitoring.report.calls import DayCounts, Report
from callarchive.monitoring.report.page import _chart, _notes, days_text, verdict
from callarchive.monitoring.report.wording import CallState
from callarchive.simulator import audio

CLIP = (Path(audio.__file__).parent / "clips" / "lame_8k_mono_cbr16.mp3").read_bytes()
AT = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
DAY = ("--day", "2026-11-03")
Run = Callable[..., tuple[int, str, str]]


def session(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


class Page(HTMLParser):
    """The page as a browser without JavaScript shows it: texts, and the rows of the table of calls."""

    def __init__(self, file: str = "report.html") -> None:
        super().__init__()
        self.source = Path(file).read_text(encoding="utf-8")
        self.text, self.audio, self.tags, self._hidden = "", list[bytes](), list[tuple[str, dict[str, Any]]](), False
        self.feed(self.source)
        self.text = " ".join(self.text.split())
        self.states = [attributes["data-state"] for tag, attributes in self.tags if "data-state" in attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self._hidden = tag in ("style", "script")
        if tag == "audio":
            self.audio.append(base64.b64decode(str(attributes["src"]).removeprefix("data:audio/mpeg;base64,")))

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.text += " " if self._hidden else f" {data} "


def test_the_first_sentence_is_the_verdict_and_each_state_is_explained(recorded: Any, run_here: Run) -> None:
    lost = {"archive_status": "missing", "error": "no object in <sftp> of +65 6123 4567"}
    recorded.call(session(1), AT, {"data": CLIP})
    recorded.call(session(2), AT, {"data": CLIP, "channels": 2, "silent_channels": [2], "audio_issue": "truncated"})
    recorded.call(session(3), AT, {"data": CLIP}, lost)
    recorded.call(session(4), AT, {"archive_status": "erased"})
    recorded.call(session(5), AT, lookup_status="no_recordings")
    recorded.call(session(6), AT, lookup_status="no_recordings", call_duration_s=0.0, session_status="BUSY")
    recorded.call(session(7), AT, lookup_status="no_recordings", call_duration_s=None, session_status=None)
    recorded.call(session(8), AT, lookup_status="error")
    recorded.call(session(9), AT, recording_count=1)
    code, out, err = run_here("report", *DAY)
    assert code == 0
    verdict = "2 of 5 calls of 3 November 2026 have their recording; 3 do not."
    assert out.splitlines()[0] == verdict
    assert "report.html contains recorded calls" in err
    page = Page()
    assert f"<h1>{verdict}</h1>" in page.source
    assert sorted(page.states) == sorted(
        ["archived", "archived", "missing", "erased", "not_recorded", "not_connected", "unclear", "unknown", "unknown"]
    )
    assert page.audio == [CLIP] * 3
    for text in (
        "This file contains 3 recorded telephone calls.",
        "For 2 calls it is unknown whether there is a recording",
        "1 more call was not answered, so there was nothing to record.",
        "For 1 more call 8x8 lists no recording, and it is unknown whether anybody answered.",
        "1 kept recording is cut short, damaged, or silent on one side.",
        "All times are in the time zone Asia/Singapore.",
        "2026-11-03 17:30:00",
        "Recording of 4 min 07 s",
        "Only one side can be heard: the right channel is silent.",
        "The sound ends early",
        "8x8 says that it delivered the recording, but it did not arrive in our storage. Details",
        "Technical reason no object in <sftp> of ***",
        "The kept recordings last 4 min 07 s on average (median 4 min 07 s).",
        "8x8 may list it later, within about a day of the call. After that, ask 8x8 whether recording was switched on. acme",
        "Unknown. Run that day again: callarchive archive --day 2026-11-03.",
        "8x8 has probably deleted them by now",
    ):
        assert text in page.text


def test_calls_that_were_erased_as_a_whole_are_counted_and_not_listed(recorded: Any, run_here: Run) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    recorded.call(session(2), AT, {"archive_status": "erased"}, {"archive_status": "erased"})
    left = [row for row in recorded.catalog.rows(schemas.SESSIONS, AT.date()) if row["session_id"] != session(2)]
    recorded.catalog.replace_partition(schemas.SESSIONS, AT.date(), left)
    assert run_here("report", *DAY)[0] == 0
    page = Page()
    expected = "The only call of 3 November 2026 that should have a recording has it. 2 more recordings were erased."
    assert expected in page.source
    assert session(2) not in page.source


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({}, "No calls of 3 November 2026 are known."),
        ({"archived": 1}, "The only call of 3 November 2026 that should have a recording has it."),
        ({"erased": 1}, "The only call of 3 November 2026 that should have a recording lacks it."),
        ({"archived": 1500}, "All 1,500 calls of 3 November 2026 that should have a recording have it."),
        ({"failed": 2}, "None of the 2 calls of 3 November 2026 that should have a recording has it."),
        ({"archived": 1, "pending": 1}, "1 of 2 calls of 3 November 2026 has its recording; 1 does not."),
        ({"unknown": 2, "unclear": 1}, "None of the calls of 3 November 2026 is known to have a recording."),
    ],
)
def test_the_verdict_counts_only_calls_that_should_have_a_recording(counts: dict[str, int], sentence: str) -> None:
    day = DayCounts(AT.date(), Counter({CallState(state): count for state, count in counts.items()}))
    assert verdict(Report([day], ZoneInfo("UTC"), AT, ("acme_one",))) == sentence


@pytest.mark.parametrize(
    ("unknown", "reserved"),
    [
        ({"archived": False}, True),
        ({"damaged": "it is torn"}, True),
        ({"failed_accounts": ("acme_one",)}, True),
        ({"counts": Counter({CallState.UNKNOWN: 1})}, True),
        ({"failed_accounts": ("acme_two",)}, False),
    ],
)
def test_the_verdict_is_reserved_if_not_everything_is_known(unknown: dict[str, Any], reserved: bool) -> None:
    days = [DayCounts(AT.date(), Counter({CallState.ARCHIVED: 2})), DayCounts(AT.date().replace(day=4), **unknown)]
    which, end = ("known calls", "; there may be others.") if reserved else ("calls", ".")
    sentence = f"All 2 {which} of 3–4 November 2026 that should have a recording have it{end}"
    assert verdict(Report(days, ZoneInfo("UTC"), AT, ("acme_one",))) == sentence


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("2026-11-01", "2026-11-07", "1–7 November 2026"),
        ("2026-11-30", "2026-12-02", "30 November – 2 December 2026"),
        ("2025-12-31", "2026-01-01", "31 December 2025 – 1 January 2026"),
    ],
)
def test_days_are_written_for_people(first: str, last: str, text: str) -> None:
    assert days_text(date.fromisoformat(first), date.fromisoformat(last)) == text


def test_the_file_is_for_this_user_alone_and_replaced_only_with_force(recorded: Any, run_here: Run) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    assert run_here("report", *DAY)[0] == 0
    assert stat.S_IMODE(Path("report.html").stat().st_mode) == 0o600
    before = Path("report.html").stat()
    code, _, err = run_here("report", *DAY)
    assert code == 2
    assert "report.html: exists: give another name, or replace it with --force" in err
    assert Path("report.html").stat().st_mtime_ns == before.st_mtime_ns
    code, out, _ = run_here("report", *DAY, "--force", "--json", "--no-audio")
    made = json.loads(out)
    assert code == 0
    assert made["calls"] == {"archived": 1}
    assert made["size_bytes"] == Path("report.html").stat().st_size
    assert made["output"] == str(Path("report.html").absolute())
    assert made["recordings_included"] == 0
    page = Page()
    assert page.audio == []
    assert "does not say whether they are still intact" in page.text
    assert [name for name in Path().iterdir() if name.suffix == ".part"] == []


def test_what_a_hand_edited_catalog_has_is_escaped_and_cannot_run(recorded: Any, run_here: Run) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x>\u202e"
    row = {"data": CLIP, "archive_status": evil, "error": evil, "audio_issue": evil}
    recorded.call(session(1), AT, row, account="acme_one")
    recorded.call(
        evil, AT, {"archive_status": "missing", "error": evil}, {"data": CLIP, "audio_issue": evil}, account="o"
    )
    assert run_here("report", *DAY)[0] == 0
    page = Page()
    assert [tag for tag, _ in page.tags if tag in ("script", "img", "style")] == ["style", "script"]
    assert page.text.count("<script>alert(1)</script>") >= 3
    assert "\u202e" not in page.source
    assert sorted(page.states) == ["missing", "unknown"]
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"(?:src|href)=\"(?!data:audio/mpeg)", page.source)


@pytest.mark.parametrize("recorded", ["file", "s3"], indirect=True)
def test_a_changed_or_missing_file_is_reported_and_never_included(recorded: Any, run_here: Run) -> None:
    for number in range(1, 6):
        recorded.call(session(number), AT, {"data": CLIP})
    path = [recorded.path(session(number), day="2026-11-03") for number in range(6)]
    recorded.archive.replace(path[1], CLIP[:-1] + b"x")
    recorded.archive.delete(path[2])
    recorded.archive.replace(path[3], b"")
    recorded.archive.replace(path[4], CLIP + CLIP)
    code, out, err = run_here("report", *DAY, "--json")
    assert code == 0
    made = json.loads(out)
    assert made["verdict"] == "1 of 5 calls of 3 November 2026 has its recording; 4 do not."
    assert made["calls"] == {"archived": 1, "not_intact": 4}
    assert (made["recordings_included"], made["files_not_intact"]) == (1, 4)
    assert "4 archived files are missing or changed, and not included: callarchive verify lists all of them" in err
    page = Page()
    assert page.audio == [CLIP]
    for text in (
        "(SHA-256 differs)",
        "its file is missing in the archive",
        "its file is empty",
        "its file is larger than the one",
    ):
        assert page.text.count(text) == 1


def test_days_that_were_never_archived_or_are_damaged_are_unknown(recorded: Any, run_here: Run) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    recorded.call(session(2), AT.replace(day=5), {"data": CLIP})
    partition = recorded.catalog.partition_uri(schemas.SESSIONS, date(2026, 11, 5)).removeprefix("file://")
    Path(partition).write_bytes(b"PAR1 no PAR1")
    recorded.catalog.replace_partition(schemas.ACCOUNT_FAILURES, AT.date(), [{"subaccount_id": "acme_one"}])
    code, out, _ = run_here("report", "--from", "2026-11-01", "--to", "2026-11-06", "--json")
    made = json.loads(out)
    assert code == 0
    assert made["days_never_archived"] == ["2026-11-01", "2026-11-02", "2026-11-04", "2026-11-06"]
    assert made["days_not_readable"] == ["2026-11-05"]
    page = Page()
    assert "4 days were never archived" in page.text
    assert "calls of 1–2 November 2026, 4 November 2026, 6 November 2026: there may have been any number." in page.text
    assert "The data of 5 November 2026 cannot be read, so nothing is known about that day" in page.text
    assert "The last run of 3 November 2026 failed for the account acme_one" in page.text
    assert page.source.count('fill="url(#hatch)"><title>') == 5
    code, _, err = run_here("report", "--day", "2026-11-04", "--force")
    assert code == 1
    assert "2026-11-04 is not archived" in err
    assert "callarchive archive --day 2026-11-04" in err


def test_days_without_a_call_are_named_and_durations_summarized(recorded: Any, run_here: Run) -> None:
    for number, seconds in enumerate((10.0, 20.0, 60.0)):
        recorded.call(session(number), AT, {"archive_status": "archived", "duration_s": seconds})
    for day in (4, 5, 7, 8):
        for table in (schemas.SESSIONS, schemas.RECORDINGS):
            recorded.catalog.replace_partition(table, date(2026, 11, day), [])
    recorded.catalog.replace_partition(schemas.ACCOUNT_FAILURES, date(2026, 11, 8), [{"subaccount_id": "acme_one"}])
    words = ("report", "--from", "2026-11-03", "--to", "2026-11-08", "--no-audio")
    assert run_here(*words)[0] == 0
    text = Page().text
    assert "On 3 days there was no call: 4–5 November 2026, 7 November 2026." in text
    assert "The kept recordings last 30 s on average (median 20 s)." in text
    assert run_here(*words, "--force", "--session", session(1))[0] == 0
    text = Page().text
    assert "there was no call" not in text
    assert "The kept recording lasts 20 s." in text


def test_many_days_without_a_call_are_not_all_named() -> None:
    days = [DayCounts(date(2026, 1, 1 + n), Counter({CallState.ARCHIVED: n % 2})) for n in range(24)]
    (note, *_) = _notes(Report(days, ZoneInfo("UTC"), AT, ("acme_one",)), None)
    assert note.startswith("On 12 days there was no call: 1 January 2026, 3 January 2026,")
    assert note.endswith("19 January 2026, and others, which “The numbers of each day” shows.")


@pytest.mark.parametrize("count", [1, 7, 29, 366])
def test_every_label_of_the_chart_is_inside_it(count: int) -> None:
    days = [DayCounts(date(2026, 11, 1) + timedelta(days=n)) for n in range(count)]
    chart = _chart(Report(days, ZoneInfo("UTC"), AT, ("acme_one",)))
    assert all(24 <= x <= chart.width - 24 for x, _ in chart.labels)


def test_a_day_that_is_not_over_is_not_called_never_archived(recorded: Any, run_here: Run) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    assert run_here("report", "--from", "2026-11-03", "--to", "2029-01-01")[0] == 0
    assert "1 January 2029 had not ended when this page was made" in Page().text


def test_audio_is_limited_in_total_and_the_newest_recordings_are_included(recorded: Any, run_here: Run) -> None:
    for number in (1, 2, 3):
        recorded.call(session(number), AT.replace(hour=number), {"data": CLIP})
    recorded.call(session(4), AT.replace(hour=12), {"data": CLIP, "size_bytes": 24_000_001})
    limit = f"{2.5 * len(CLIP) / 1e6}"
    code, out, _ = run_here("report", *DAY, "--max-audio", limit, "--json")
    assert code == 0
    assert json.loads(out)["recordings_included_bytes"] == 2 * len(CLIP)
    page = Page()
    rows = page.source.split("<tr data-state=")[1:]
    assert [row.count("<audio") for row in rows] == [0, 1, 1, 0]
    assert "larger than 24.0 MB" in rows[0]
    assert "of audio was reached" in rows[3]


def test_the_page_is_of_the_selected_account_and_sessions(recorded: Any, run_here: Run) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    recorded.call(session(2), AT, {"data": CLIP}, account="acme_old")
    recorded.call(session(3), AT, {"data": CLIP})
    assert json.loads(run_here("report", *DAY, "--account", "acme_one", "--json")[1])["calls"] == {"archived": 2}
    assert session(2) not in Page().source
    assert run_here("report", *DAY, "--session", session(1).upper(), "--session", session(2), "--force")[0] == 0
    assert [session(number) in Page().source for number in (1, 2, 3)] == [True, True, False]
    code, _, err = run_here("report", *DAY, "--session", session(7), "-o", "other.html")
    assert code == 1
    assert f"2026-11-03 does not have session {session(7)}: callarchive find {session(7)}" in err
    assert not Path("other.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*DAY, "-o", "absent/r.html"), "there is no folder absent: create it first"),
        ((*DAY, "-o", "catalog"), "is a folder: give a file in it"),
        ((*DAY, "-o", "/dev/null", "--force"), "exists and is not a regular file"),
        ((*DAY, "--max-audio", "0"), "'0' is not a number of megabytes above 0"),
        (
            (*DAY, "--session", "abc"),
            "'abc' is not a session or recording id: an id has 32 hexadecimal digits, this has 3",
        ),
        ((*DAY, "--account", "acme_two"), "'acme_two': no such account; the configuration has acme_one"),
        (("--from", "2020-01-01", "--to", "2026-01-01"), "is longer than 1,100 days"),
        ((), "give it, such as --day"),
    ],
)
def test_a_mistake_has_a_message_and_exit_code_2(
    recorded: Any, run_here: Run, words: tuple[str, ...], message: str
) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    code, _, err = run_here("report", *words)
    assert code == 2
    assert message in " ".join(err.split())
    assert not Path("report.html").exists()


def test_a_full_disk_is_an_error_that_leaves_nothing(
    recorded: Any, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    recorded.call(session(1), AT, {"data": CLIP})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CLIP) // 2, hard))  # no file may be larger: like a disk that is full
    try:
        code, _, err = run_here("report", *DAY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert "report.html cannot be written: File too large" in err
    assert not [name for name in Path().iterdir() if "report" in name.name]


@pytest.mark.live
@pytest.mark.needs("chromium")
def test_a_browser_without_network_plays_and_filters_and_shows_the_table_without_javascript(
    recorded: Any, run_here: Run, tmp_path: Path
) -> None:
    recorded.call(session(1), AT, {"data": CLIP})
    recorded.call(session(2), AT, {"archive_status": "missing", "error": "no object"})
    assert run_here("report", *DAY)[0] == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(offline=True, viewport={"width": 390, "height": 844}).new_page()
        seen: list[str] = []
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: seen.append(request.url[:40]))
        page.goto((tmp_path / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        player = page.locator("audio")
        played = "audio => audio.play().then(() => audio.duration)"
        assert player.evaluate(played) == pytest.approx(len(CLIP) * 8 / 16_000, abs=0.3)
        page.get_by_label("Search").fill("missing NOT delivered")
        expect(page.get_by_text("0 of 2 calls shown")).to_be_visible()
        page.get_by_label("Search").fill("not delivered")
        expect(page.get_by_text("1 of 2 calls shown")).to_be_visible()
        expect(player).to_be_hidden()
        page.get_by_label("Search").fill("")
        page.get_by_label("Show").select_option("calls to listen to")
        expect(page.get_by_text("1 of 2 calls shown")).to_be_visible()
        assert [url for url in seen if not url.startswith(("file:///", "data:audio/mpeg;base64,"))] == []
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto((tmp_path / "report.html").as_uri())
        expect(plain.get_by_text("17:30:00")).to_have_count(2)
        expect(plain.get_by_label("Search")).to_be_hidden()
        browser.close()
