"""Temporary folders are private and removed afterwards; a failed removal is a warning."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callarchive.runtime.temporary_folders import remove_left_folders, temporary_folder


def test_the_folder_is_private_and_gone_afterwards_with_what_is_in_it() -> None:
    with temporary_folder("callarchive-test-") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
    assert not folder.exists()


def test_it_is_gone_after_an_error_too() -> None:
    with pytest.raises(KeyError), temporary_folder("callarchive-test-") as folder:
        raise KeyError
    assert not folder.exists()


def test_a_folder_that_somebody_removed_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_folder("callarchive-test-") as folder:
        folder.rmdir()
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["rmdir", "unlink"])
@pytest.mark.parametrize(
    "error",
    [PermissionError(1, "Operation not permitted"), OSError(39, "Directory not empty"), OSError(5, "I/O error")],
)
def test_a_failed_removal_is_a_warning_and_not_an_error(
    name: str, error: OSError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    done: list[Path] = []
    with temporary_folder("callarchive-test-") as folder:
        (folder / "file").write_text("x")
        monkeypatch.setattr(os, name, refuse)
        done.append(folder)
    monkeypatch.undo()
    assert f"temporary folder {done[0]} cannot be removed" in caplog.text
    assert "by hand" in caplog.text
    shutil.rmtree(done[0])


def test_the_error_of_the_work_is_not_replaced_by_that_of_the_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(KeyError), temporary_folder("callarchive-test-") as folder:
        raise KeyError
    monkeypatch.undo()
    folder.rmdir()


def test_what_a_killed_process_left_is_removed_and_what_others_use_stays(tmp_path: Path) -> None:
    names = ("callarchive-export-abcd1234.locked", "callarchive-backup", "callarchive-export-abcd1234", "kept")
    left, foreign, of_older_version, linked = (tmp_path / name for name in names)
    for folder in (left, foreign, of_older_version, linked):
        folder.mkdir()
        (folder / "0000.csv").write_text("session id and numbers")
    (tmp_path / "callarchive-log-abcd1234.locked").symlink_to(linked)
    program = (
        "import time; from callarchive.runtime.temporary_folders import temporary_folder as folder\n"
        "with folder('callarchive-export-') as one: print(one, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        used = Path(process.stdout.readline().strip())
        assert not left.exists()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(tmp_path))
            remove_left_folders()
            assert used.is_dir()
            process.kill()
            process.wait()
            remove_left_folders()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "callarchive-backup",
        "callarchive-export-abcd1234",
        "callarchive-log-abcd1234.locked",
        "kept",
    ]
    assert (linked / "0000.csv").exists()
