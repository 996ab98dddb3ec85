"""A day from an SFTP server that reports no kinds or no sizes is the same day, and its rerun downloads nothing."""

import stat
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncssh
import pytest

from callarchive.simulator import sftp
from callarchive.simulator.world import AccountPlan

Start = Callable[..., Any]
SFTP = (AccountPlan("acme_sftp", "sftp", "upload", layout="dated"),)
real_class = sftp._files_class


def leaving_out(name: str) -> Callable[..., Any]:
    """Return what makes the simulator's SFTP server, without the attribute of this name, or without types of files."""

    def files_class(*arguments: Any) -> Any:
        class Files(real_class(*arguments)):  # type: ignore[misc]
            def _changed(self, attrs: Any) -> Any:
                attrs = attrs if isinstance(attrs, asyncssh.SFTPAttrs) else asyncssh.SFTPAttrs.from_local(attrs)
                if name == "type":
                    attrs.permissions = stat.S_IMODE(attrs.permissions)
                else:
                    setattr(attrs, name, None)
                return attrs

            def stat(self, path: bytes) -> Any:
                return self._changed(super().stat(path))

            def lstat(self, path: bytes) -> Any:
                return self._changed(super().lstat(path))

            def fstat(self, file_obj: object) -> Any:
                return self._changed(super().fstat(file_obj))

            def format_longname(self, name: asyncssh.SFTPName) -> None:
                """Leave it empty."""

            async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
                async for entry in super().scandir(path):
                    self._changed(entry.attrs)
                    yield entry

        return Files

    return files_class


def rows(trial: Any) -> dict[str, dict[str, Any]]:
    return {row["recording_id"]: row for row in trial.tables()["recordings"]}


@pytest.mark.parametrize(("name", "evidence"), [("type", "ssh"), ("size", "reread")])
def test_day_is_archived_whatever_attributes_are_missing(
    start_trial: Start, monkeypatch: pytest.MonkeyPatch, name: str, evidence: str
) -> None:
    trial = start_trial(sessions_per_day=6, accounts=SFTP)
    trial.archive()
    usual = rows(trial)
    for folder in ("archive", "catalog"):
        (trial.config.parent / folder).rename(trial.config.parent / f"{folder}-usual")
    monkeypatch.setattr(sftp, "_files_class", leaving_out(name))
    trial.simulator.sftp.kill()
    trial.simulator.sftp.restart()
    trial.archive()
    found = rows(trial)
    assert {row["source_evidence"] for row in found.values() if row["archive_status"] == "archived"} == {evidence}
    ignored = ("source_evidence",)
    assert [{k: v for k, v in row.items() if k not in ignored} for row in found.values()] == [
        {k: v for k, v in row.items() if k not in ignored} for row in usual.values()
    ]
    assert [summary.fetched_count for summary in trial.archive()] == [0] * len(trial.days)
    assert rows(trial) == found


def test_link_in_place_of_a_recording_is_failed_and_named_as_a_link(start_trial: Start) -> None:
    trial = start_trial(sessions_per_day=6, accounts=SFTP)
    server = trial.simulator.sftp
    path = next(path for path in server.paths(SFTP[0]) if path.endswith(".mp3"))
    file = server._file(SFTP[0], path)
    file.rename(file.parent.parent / "kept.bin")
    file.symlink_to(file.parent.parent / "kept.bin")
    trial.archive()
    (row,) = [row for row in rows(trial).values() if row["recording_id"] in path]
    assert row["archive_status"] == "failed"
    assert "symbolic link" in row["error"]
