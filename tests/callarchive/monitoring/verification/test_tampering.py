"""`verify` finds every change to archive or catalog, and nothing in the results of normal runs."""

import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from callarchive.catalog import schemas
from callarchive.monitoring.verification import Defect, days_in_range
from callarchive.monitoring.verification.findings import Finding

FIRST, SECOND, THIRD = (date(2026, 1, day) for day in (5, 6, 7))
Tampering = Callable[[Any], tuple[Defect, str]]
TAMPERINGS: dict[str, Tampering] = {}


def tampering(function: Tampering) -> Tampering:
    TAMPERINGS[function.__name__] = function
    return function


def replace_link(path: Path, target: Path) -> None:
    shutil.move(path, target)
    path.symlink_to(target)


@tampering
def a_file_is_deleted(days: Any) -> tuple[Defect, str]:
    uri = days.recording(archive_status="archived")["archive_uri"]
    days.file(uri).unlink()
    return Defect.MISSING, uri


@tampering
def a_bit_is_flipped(days: Any) -> tuple[Defect, str]:
    uri = days.recording(archive_status="archived")["archive_uri"]
    data = bytearray(days.file(uri).read_bytes())
    data[len(data) // 2] ^= 1
    days.file(uri).unlink()
    days.file(uri).write_bytes(data)
    return Defect.CHANGED, uri


@tampering
def two_files_are_swapped(days: Any) -> tuple[Defect, str]:
    one, other = [row["archive_uri"] for row in days.rows(schemas.RECORDINGS) if row["archive_uri"]][:2]
    days.file(one).rename(days.root / "aside")
    days.file(other).rename(days.file(one))
    (days.root / "aside").rename(days.file(other))
    return Defect.CHANGED, other


@tampering
def a_file_is_added(days: Any) -> tuple[Defect, str]:
    uri = days.recording(archive_status="archived")["archive_uri"].replace(".mp3", ".copy.mp3")
    days.file(uri).write_bytes(b"x")
    return Defect.EXTRA, uri


@tampering
def an_older_version_is_deleted(days: Any) -> tuple[Defect, str]:
    uri = next(row["versions"][0] for row in days.rows(schemas.RECORDINGS) if len(row["versions"]) > 1)
    days.file(uri).unlink()
    return Defect.MISSING, uri


@tampering
def a_link_stands_for_a_file(days: Any) -> tuple[Defect, str]:
    uri = days.recording(archive_status="archived")["archive_uri"]
    replace_link(days.file(uri), days.root / "elsewhere.mp3")
    return Defect.LINK, uri


@tampering
def a_link_stands_for_a_sessions_folder(days: Any) -> tuple[Defect, str]:
    folder = days.file(days.recording(archive_status="archived")["archive_uri"]).parent
    replace_link(folder, days.archive / "demo_s3" / "aside")
    return Defect.LINK, f"file://{folder}"


@tampering
def a_link_stands_for_a_days_folder(days: Any) -> tuple[Defect, str]:
    folder = days.archive / "demo_s3" / f"call_date={FIRST}"
    replace_link(folder, days.archive / "_aside")
    return Defect.LINK, f"file://{folder}"


@tampering
def a_link_stands_for_an_accounts_folder(days: Any) -> tuple[Defect, str]:
    replace_link(days.archive / "demo_sftp", days.archive / "_aside")
    return Defect.LINK, f"file://{days.archive}/demo_sftp"


@tampering
def a_link_stands_for_a_partition(days: Any) -> tuple[Defect, str]:
    replace_link(days.part(schemas.SESSIONS), days.root / "part.parquet")
    return Defect.LINK, "sessions/call_date=2026-01-05/part-0.parquet"


@tampering
def a_pipe_stands_for_a_file(days: Any) -> tuple[Defect, str]:
    uri = days.recording(archive_status="archived")["archive_uri"]
    days.file(uri).unlink()
    os.mkfifo(days.file(uri))
    return Defect.LINK, uri


@tampering
def a_recordings_row_is_removed(days: Any) -> tuple[Defect, str]:
    gone = days.recording(archive_status="archived")["recording_id"]
    days.keep(schemas.RECORDINGS, lambda row: row["recording_id"] != gone)
    return Defect.REMOVED, f"recordings demo_s3/{gone}"


def remove_recording(days: Any, *tables: schemas.Table) -> str:
    """Its file goes too."""
    row = days.recording(archive_status="archived")
    for uri in row["versions"]:
        days.file(uri).unlink()
    for table in tables:
        days.keep(table, lambda other: other["recording_id"] != row["recording_id"])
    return f"{row['subaccount_id']}/{row['recording_id']}"


@tampering
def a_file_is_removed_with_its_rows_in_two_tables(days: Any) -> tuple[Defect, str]:
    key = remove_recording(days, schemas.RECORDING_FILES, schemas.RECORDINGS)
    return Defect.REMOVED, f"recording_files {key}"


@tampering
def a_file_is_removed_with_its_row_in_recording_files(days: Any) -> tuple[Defect, str]:
    return Defect.REMOVED, f"recording_files {remove_recording(days, schemas.RECORDING_FILES)}"


@tampering
def a_file_is_removed_with_its_rows_in_all_tables(days: Any) -> tuple[Defect, str]:
    key = remove_recording(days, schemas.RECORDING_FILES, schemas.RECORDINGS, schemas.RECORDING_METADATA)
    return Defect.REMOVED, f"recording_metadata {key}: the row is missing, but a stored response names it"


def remove_session(days: Any, *tables: schemas.Table) -> str:
    row = days.recording(archive_status="archived")
    for table in tables:
        days.keep(table, lambda other: other["session_id"] != row["session_id"])
    shutil.rmtree(days.file(row["archive_uri"]).parent)
    return f"{row['subaccount_id']}/{row['session_id']}"


@tampering
def a_session_is_removed_from_every_table(days: Any) -> tuple[Defect, str]:
    of_steps = (schemas.SESSION_IDS, schemas.LOOKUPS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES)
    key = remove_session(days, *of_steps, schemas.SESSIONS, schemas.RECORDINGS, schemas.RECONCILIATION)
    return Defect.REMOVED, f"session_ids {key}: the row is missing, but a stored response of 8x8"


@tampering
def a_session_is_removed_with_the_kept_answers(days: Any) -> tuple[Defect, str]:
    of_steps = (schemas.SESSION_IDS, schemas.LOOKUPS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES)
    key = remove_session(days, *of_steps, schemas.SESSIONS, schemas.RECORDINGS, schemas.RECONCILIATION)
    shutil.rmtree(days.catalog / f"_answers/lookups/call_date={FIRST}")
    return Defect.REMOVED, f"session_ids {key}: the row is missing, but the stored call log"


@tampering
def a_sessions_row_is_removed(days: Any) -> tuple[Defect, str]:
    gone = days.rows(schemas.SESSIONS)[0]["session_id"]
    days.keep(schemas.SESSIONS, lambda row: row["session_id"] != gone)
    return Defect.REMOVED, f"sessions demo_s3/{gone}"


@tampering
def a_sessions_row_is_added(days: Any) -> tuple[Defect, str]:
    row = {**days.rows(schemas.SESSIONS)[0], "session_id": "00000000-065a-11ec-b119-676cb2bc33ef"}
    days.write(schemas.SESSIONS, [*days.rows(schemas.SESSIONS), row])
    return Defect.ADDED, f"sessions demo_s3/{row['session_id']}"


@tampering
def a_row_is_doubled(days: Any) -> tuple[Defect, str]:
    rows = days.rows(schemas.RECORDINGS)
    days.write(schemas.RECORDINGS, [rows[0], *rows])
    return Defect.ADDED, f"recordings demo_s3/{rows[0]['recording_id']}: the row is duplicated"


@tampering
def a_call_is_made_longer(days: Any) -> tuple[Defect, str]:
    row = days.rows(schemas.SESSIONS)[0]
    days.edit(schemas.SESSIONS, lambda other: other["session_id"] == row["session_id"], call_duration_s=4321.0)
    return Defect.EDITED, f"sessions demo_s3/{row['session_id']}: call_duration_s is 4321.0 and should be"


@tampering
def a_session_is_made_one_without_recordings(days: Any) -> tuple[Defect, str]:
    row = next(row for row in days.rows(schemas.SESSIONS) if row["recording_count"])
    days.edit(
        schemas.SESSIONS,
        lambda other: other["session_id"] == row["session_id"],
        lookup_status="not_found",
        recording_count=0,
    )
    return Defect.EDITED, f"sessions {row['subaccount_id']}/{row['session_id']}: lookup_status is not_found"


@tampering
def a_lookup_is_made_one_without_recordings(days: Any) -> tuple[Defect, str]:
    row = next(row for row in days.rows(schemas.SESSIONS) if row["recording_count"])
    for table in (schemas.SESSIONS, schemas.LOOKUPS):
        days.edit(table, lambda other: other["session_id"] == row["session_id"], lookup_status="no_recordings")
    return Defect.EDITED, f"lookups {row['subaccount_id']}/{row['session_id']}: lookup_status is no_recordings"


@tampering
def bytes_are_replaced_with_their_row(days: Any) -> tuple[Defect, str]:
    row = days.recording(archive_status="archived")
    days.file(row["archive_uri"]).unlink()
    days.file(row["archive_uri"]).write_bytes(b"other")
    sha256 = hashlib.sha256(b"other").hexdigest()
    days.edit(
        schemas.RECORDING_FILES,
        lambda other: other["recording_id"] == row["recording_id"],
        size_bytes=5,
        sha256=sha256,
        versions_sha256=[sha256],
    )
    return Defect.EDITED, f"recordings {row['subaccount_id']}/{row['recording_id']}: size_bytes"


@tampering
def older_bytes_are_put_back_with_their_rows(days: Any) -> tuple[Defect, str]:
    row = next(row for row in days.rows(schemas.RECORDING_FILES) if len(row["versions"] or ()) > 1)
    first, second = row["versions"]
    (days.archive / second).unlink()
    facts = {"size_bytes": (days.archive / first).stat().st_size, "sha256": row["versions_sha256"][0]}

    def chosen(other: dict[str, Any]) -> bool:
        return bool(other["recording_id"] == row["recording_id"])

    files = {"archive_path": first, "versions": [first], "versions_sha256": row["versions_sha256"][:1]}
    days.edit(schemas.RECORDING_FILES, chosen, **files, **facts)
    uri = f"file://{days.archive}/{first}"
    days.edit(schemas.RECORDINGS, chosen, archive_uri=uri, versions=[uri], **facts)
    return Defect.EDITED, "status_stats demo_s3/"


@tampering
def the_latest_version_is_no_longer_the_one_that_counts(days: Any) -> tuple[Defect, str]:
    row = next(row for row in days.rows(schemas.RECORDING_FILES) if len(row["versions"] or ()) > 1)
    days.edit(
        schemas.RECORDING_FILES,
        lambda other: other["recording_id"] == row["recording_id"],
        archive_path=row["versions"][0],
        sha256=row["versions_sha256"][0],
    )
    return Defect.EDITED, f"recording_files {row['subaccount_id']}/{row['recording_id']}: archive_path"


@tampering
def a_row_points_to_another_recordings_file(days: Any) -> tuple[Defect, str]:
    one, other = [row for row in days.rows(schemas.RECORDING_FILES) if row["archive_path"]][:2]
    copied = ("archive_path", "sha256", "size_bytes", "versions", "versions_sha256", "duration_s")
    days.edit(
        schemas.RECORDING_FILES,
        lambda row: row["recording_id"] == one["recording_id"],
        **{name: other[name] for name in copied},
    )
    return Defect.EDITED, f"recording_files {one['subaccount_id']}/{one['recording_id']}: "


@tampering
def a_missing_recording_is_explained_away(days: Any) -> tuple[Defect, str]:
    row = days.recording(archive_status="archived")
    days.edit(
        schemas.RECORDINGS,
        lambda other: other["recording_id"] == row["recording_id"],
        archive_status="not_uploaded",
        archive_uri=None,
    )
    return Defect.EDITED, f"recordings {row['subaccount_id']}/{row['recording_id']}: "


@tampering
def an_archive_uri_leads_elsewhere(days: Any) -> tuple[Defect, str]:
    row = days.recording(archive_status="archived")
    days.edit(
        schemas.RECORDINGS,
        lambda other: other["recording_id"] == row["recording_id"],
        archive_uri=row["archive_uri"].replace("/archive/", "/other/"),
    )
    return Defect.EDITED, f"recordings {row['subaccount_id']}/{row['recording_id']}: archive_uri"


@tampering
def a_start_is_moved(days: Any) -> tuple[Defect, str]:
    row = days.recording(archive_status="archived")
    days.edit(
        schemas.RECORDINGS,
        lambda other: other["recording_id"] == row["recording_id"],
        started_at=row["started_at"] + timedelta(hours=1),
    )
    return Defect.EDITED, f"recordings {row['subaccount_id']}/{row['recording_id']}: started_at"


@tampering
def a_duration_mismatch_is_hidden(days: Any) -> tuple[Defect, str]:
    row = days.recording(archive_status="archived", duration_mismatch=False)
    days.edit(schemas.RECORDINGS, lambda other: other["recording_id"] == row["recording_id"], duration_mismatch=True)
    return Defect.EDITED, f"recordings {row['subaccount_id']}/{row['recording_id']}: duration_mismatch"


@tampering
def a_count_is_lowered(days: Any) -> tuple[Defect, str]:
    row = days.rows(schemas.STATUS_STATS)[0]
    key = tuple(row[name] for name in schemas.STATUS_STATS.key)
    days.edit(
        schemas.STATUS_STATS,
        lambda other: tuple(other[name] for name in schemas.STATUS_STATS.key) == key,
        recording_count=row["recording_count"] - 1,
    )
    return Defect.EDITED, f"status_stats {'/'.join(key)}: recording_count"


@tampering
def a_line_of_the_statistics_is_removed(days: Any) -> tuple[Defect, str]:
    days.keep(schemas.DURATION_STATS, lambda row: row["subaccount_id"] != "demo_sftp")
    return Defect.REMOVED, "duration_stats demo_sftp"


@tampering
def a_percentile_is_edited(days: Any) -> tuple[Defect, str]:
    days.edit(schemas.DURATION_STATS, lambda row: row["subaccount_id"] == "demo_sftp", p90_s=1.0)
    return Defect.EDITED, "duration_stats demo_sftp: p90_s is 1.0"


@tampering
def a_finding_is_removed(days: Any) -> tuple[Defect, str]:
    rows = days.rows(schemas.RECONCILIATION)
    row = next(row for row in rows if row["kind"] == "duration_mismatch")
    days.keep(schemas.RECONCILIATION, lambda other: other["subject"] != row["subject"])
    return Defect.REMOVED, f"reconciliation {row['subaccount_id']}/duration_mismatch/{row['subject']}"


@tampering
def a_finding_is_called_resolved(days: Any) -> tuple[Defect, str]:
    row = next(row for row in days.rows(schemas.RECONCILIATION) if row["kind"] == "duration_mismatch")
    days.edit(schemas.RECONCILIATION, lambda other: other["subject"] == row["subject"], state="resolved")
    return Defect.EDITED, f"reconciliation {row['subaccount_id']}/duration_mismatch/{row['subject']}: state is resolved"


@tampering
def a_public_partition_is_deleted(days: Any) -> tuple[Defect, str]:
    shutil.rmtree(days.part(schemas.RECORDINGS).parent)
    return Defect.REMOVED, "recordings has no partition of the day"


@tampering
def every_public_partition_is_deleted(days: Any) -> tuple[Defect, str]:
    for table in schemas.PUBLIC_TABLES:
        shutil.rmtree(days.part(table).parent)
    return Defect.REMOVED, "sessions has no partition of the day"


@tampering
def every_table_of_a_day_is_deleted(days: Any) -> tuple[Defect, str]:
    for folder in days.catalog.rglob(f"call_date={FIRST}"):
        if "_answers" not in folder.parts:
            shutil.rmtree(folder)
    return Defect.REMOVED, f"there is no table of {FIRST}"


@tampering
def a_day_is_deleted_but_for_its_kept_answers(days: Any) -> tuple[Defect, str]:
    for folder in [*days.root.rglob(f"call_date={SECOND}")]:
        if folder.is_dir() and "_answers" not in folder.parts and "kept" not in folder.parts:
            shutil.rmtree(folder)
    return Defect.REMOVED, f"there is no table of {SECOND}"


@tampering
def the_archives_folder_of_a_day_is_deleted(days: Any) -> tuple[Defect, str]:
    shutil.rmtree(days.archive / "demo_sftp" / f"call_date={FIRST}")
    return Defect.MISSING, f"file://{days.archive}/demo_sftp/call_date={FIRST}/"


@tampering
def a_second_file_is_put_into_a_partition(days: Any) -> tuple[Defect, str]:
    part = days.part(schemas.RECORDINGS)
    shutil.copy(part, part.with_name("part-1.parquet"))
    return Defect.EXTRA, "recordings/call_date=2026-01-05/part-1.parquet"


@tampering
def a_partition_is_damaged(days: Any) -> tuple[Defect, str]:
    days.part(schemas.SESSIONS).write_bytes(b"no parquet")
    return Defect.UNREADABLE, f"{schemas.SESSIONS.partition_path(FIRST)}: not checked: "


@tampering
def a_step_table_is_damaged(days: Any) -> tuple[Defect, str]:
    days.part(schemas.RECORDING_FILES).write_bytes(b"no parquet")
    return Defect.UNREADABLE, f"{schemas.RECORDING_FILES.partition_path(FIRST)}: not checked: "


@tampering
def kept_answers_are_damaged(days: Any) -> tuple[Defect, str]:
    path = days.catalog / f"_answers/lookups/call_date={FIRST}/answers.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-20])
    return Defect.UNREADABLE, f"file://{path}: not checked: "


@tampering
def a_day_is_put_in_the_place_of_another(days: Any) -> tuple[Defect, str]:
    shutil.copy(days.part(schemas.SESSIONS, SECOND), days.part(schemas.SESSIONS))
    gone = days.rows(schemas.SESSION_IDS)[0]["session_id"]
    return Defect.REMOVED, f"sessions demo_s3/{gone}"


def quarantined(days: Any) -> Path:
    return days.file(days.recording(archive_status="rejected")["quarantine_uri"])


@tampering
def a_quarantined_file_is_deleted(days: Any) -> tuple[Defect, str]:
    path = quarantined(days)
    path.unlink()
    return Defect.MISSING, f"file://{path}"


@tampering
def a_quarantined_file_is_changed(days: Any) -> tuple[Defect, str]:
    path = quarantined(days)
    path.unlink()
    path.write_bytes(b"something else")
    return Defect.CHANGED, f"file://{path}"


@tampering
def a_file_is_put_into_quarantine(days: Any) -> tuple[Defect, str]:
    path = quarantined(days).with_name("00000000-065a-11ec-b119-676cb2bc33ef.0123456789abcdef.bin")
    path.write_bytes(b"x")
    return Defect.EXTRA, f"file://{path}"


@tampering
def an_audio_file_is_called_rejected(days: Any) -> tuple[Defect, str]:
    row = days.recording(archive_status="archived")
    for table in (schemas.RECORDINGS, schemas.RECORDING_FILES):
        days.edit(table, lambda other: other["recording_id"] == row["recording_id"], archive_status="rejected")
    return Defect.EDITED, f"recording_files {row['subaccount_id']}/{row['recording_id']}: archive_status is rejected"


def test_every_tampering_is_found(archived: Any) -> None:
    assert len(TAMPERINGS) > 40
    unseen = {}
    for name, tamper in TAMPERINGS.items():
        defect, what = tamper(archived)
        found = archived.found(SECOND if str(SECOND) in what else FIRST)
        if not any(kind is defect and what in said for kind, said in found):
            unseen[name] = what, found
        archived.restore()
    assert not unseen
    assert archived.found() == set(), "what the tamperings are compared with has no finding"
    _, key = a_recordings_row_is_removed(archived)
    why = "the row is missing, but the step tables have it"
    assert archived.found() == {Finding(Defect.REMOVED, f"{key}: {why}")}, "and no edit besides"


def test_a_day_that_was_removed_completely_is_found(archived: Any) -> None:
    for folder in [*archived.catalog.rglob(f"call_date={SECOND}"), *archived.archive.rglob(f"call_date={SECOND}")]:
        shutil.rmtree(folder)
    with archived.trial.connections() as connections:
        assert days_in_range(connections).unknown == (SECOND,)
        assert days_in_range(connections, THIRD).unknown == ()
    done = archived.trial.run("verify")
    assert done.returncode == 1
    assert f"there is no table of {SECOND}, but there are files, responses or entries in the ledger" in done.stdout
    shutil.rmtree(archived.archive / "_ledger")
    without_ledger = archived.trial.run("verify").stdout
    assert f"removed  {SECOND}  no table, API response or file of the day exists" in without_ledger
