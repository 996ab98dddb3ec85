"""`callarchive play`: the player gets the archived file, once its bytes were compared with the catalog."""

import json
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callarchive.simulator import audio

CLIP = (Path(audio.__file__).parent / "clips" / "lame_8k_mono_cbr16.mp3").read_bytes()
SESSION = "e35e3d0e-065a-41ec-b119-676cb2bc33e0"
RECORDING = f"a{SESSION[1:]}"
AT = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A player on PATH, the only one, that writes its last argument, and that file's mode and hash, into a list."""
    programs, played = tmp_path / "bin", tmp_path / "played"
    programs.mkdir()
    player = programs / "mpg123"
    sums, read_mode = shutil.which("sha256sum"), shutil.which("stat")
    player.write_text(
        f'#!/bin/sh\nfor file; do :; done\n[ -e "{programs}/broken" ] && exit 3\n'
        f'echo "$file $({read_mode} -c %a "$file") $({sums} < "$file")" >> "{played}"\n'
    )
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return lambda: played.read_text().splitlines() if played.exists() else []


def test_a_recording_is_played_from_the_archive(recorded: Any, run_here: Run, played: Callable[[], list[str]]) -> None:
    recorded.call(SESSION, AT, {"data": CLIP})
    code, out, err = run_here("play", RECORDING)
    assert (code, out) == (0, ""), err
    assert err == f"recording {RECORDING} of 2026-11-03 09:30:00 UTC, 4 min 07 s: mpg123\n"
    path = Path(recorded.archive.url.removeprefix("file://")) / recorded.path(SESSION, day="2026-11-03")
    assert played()[0].split()[0] == str(path)


def test_all_recordings_of_a_session_are_played_in_order_and_the_absent_one_is_an_error(
    recorded: Any, run_here: Run, played: Callable[[], list[str]]
) -> None:
    later = {"data": CLIP + CLIP, "started_at": AT.replace(hour=10)}
    lost = {"archive_status": "missing", "error": "no object", "started_at": AT.replace(hour=11)}
    recorded.call(SESSION, AT, later, {"data": CLIP}, lost)
    code, out, err = run_here("play", SESSION, "--json")
    assert code == 1
    assert [row["recording_id"][0] for row in json.loads(out)["recordings"]] == ["b", "a"]
    assert [Path(line.split()[0]).stem[0] for line in played()] == ["b", "a"]
    assert "not archived (missing: no object): to try again: callarchive archive --day 2026-11-03" in err


@pytest.mark.parametrize("recorded", ["s3"], indirect=True)
def test_a_recording_in_s3_is_played_from_a_private_file_that_is_removed(
    recorded: Any, run_here: Run, played: Callable[[], list[str]]
) -> None:
    recorded.call(SESSION, AT, {"data": CLIP})
    code, _, err = run_here("play", RECORDING)
    assert code == 0, err
    path, mode, digest, *_ = played()[0].split()
    assert mode == "600"
    assert digest == recorded.catalog.arrow("recordings")["sha256"][0].as_py()
    assert not Path(path).parent.exists()
    code, _, err = run_here("play", RECORDING, "--print-path")
    assert code == 2
    assert "has no path on this machine: save it with --output FILE" in err


def test_a_file_that_was_changed_or_is_gone_is_not_played(
    recorded: Any, run_here: Run, played: Callable[[], list[str]]
) -> None:
    recorded.call(SESSION, AT, {"data": CLIP})
    recorded.archive.replace(recorded.path(SESSION, day="2026-11-03"), CLIP[:-1])
    for option in ((), ("--print-path",), ("--output", "copy.mp3")):
        code, out, err = run_here("play", RECORDING, *option)
        assert (code, out) == (1, "")
        assert "are not those that were archived" in err
    recorded.archive.delete(recorded.path(SESSION, day="2026-11-03"))
    code, _, err = run_here("play", RECORDING)
    assert code == 1
    assert "is gone: restore it from a backup" in err
    assert played() == []
    assert not [name for name in Path().iterdir() if "copy.mp3" in name.name]


def test_the_file_is_saved_for_this_user_alone_and_replaced_only_with_force(
    recorded: Any, run_here: Run, played: Callable[[], list[str]]
) -> None:
    recorded.call(SESSION, AT, {"data": CLIP})
    assert run_here("play", RECORDING, "-o", "copy.mp3")[:2] == (0, "copy.mp3\n")
    assert Path("copy.mp3").read_bytes() == CLIP
    assert stat.S_IMODE(Path("copy.mp3").stat().st_mode) == 0o600
    code, _, err = run_here("play", RECORDING, "-o", "copy.mp3")
    assert code == 2
    assert "copy.mp3: exists: give another name, or replace it with --force" in err
    assert run_here("play", RECORDING, "-o", "copy.mp3", "--force")[0] == 0
    recorded.call(f"{SESSION[:-1]}1", AT, {"data": CLIP}, {"data": CLIP})
    code, _, err = run_here("play", f"{SESSION[:-1]}1", "-o", "other.mp3")
    assert code == 2
    assert "--output saves one recording, and the session has 2" in err
    assert played() == []


def test_a_player_that_is_absent_or_fails_is_named_with_the_path(
    recorded: Any, run_here: Run, played: Callable[[], list[str]], tmp_path: Path
) -> None:
    recorded.call(SESSION, AT, {"data": CLIP})
    code, out, _ = run_here("play", RECORDING, "--print-path")
    assert code == 0
    (tmp_path / "bin" / "broken").touch()
    code, _, err = run_here("play", RECORDING)
    assert code == 1
    assert f"mpg123 failed (exit code 3); the file is {out.strip()}; --output FILE saves it" in err
    (tmp_path / "bin" / "mpg123").unlink()
    code, _, err = run_here("play", RECORDING)
    assert code == 1
    assert f"open {out.strip()} yourself, or save it with --output FILE" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nope",), 2, "'nope' is not a session or recording id"),
        ((SESSION,), 1, f"the catalog has no recording of {SESSION}: callarchive find {SESSION}"),
        ((SESSION, "--print-path", "-o", "x"), 2, "give either --print-path or --output"),
        ((SESSION, "-o", "absent/x.mp3"), 2, "there is no folder absent"),
    ],
)
def test_a_mistake_has_a_message_and_an_exit_code(
    recorded: Any, run_here: Run, words: tuple[str, ...], code: int, message: str
) -> None:
    found, _, err = run_here("play", *words)
    assert found == code
    assert message in " ".join(err.split())


@pytest.mark.needs("mpg123")
def test_mpg123_decodes_what_it_is_given(
    recorded: Any, run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.call(SESSION, AT, {"data": CLIP})
    (tmp_path / "bin").mkdir()
    player = tmp_path / "bin" / "mpg123"
    player.write_text(f'#!/bin/sh\nexec {shutil.which("mpg123")} --test -v "$2"\n')  # decodes without a sound device
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(player.parent))
    code, _, err = run_here("play", RECORDING)
    assert code == 0
    assert "MPEG 2.5 L III cbr16 8000 mono" in err
