"""Seeded tamperings: what somebody can do who can write to archive and catalog, but not to the anchor, and has no signing key.

A kind is a function of the archived days and a random generator. It changes something, and returns what the report has to name:
texts that one of its lines contains together. It returns None if the chosen day has nothing of that kind.
"""

import base64
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from callarchive.catalog import schemas
from callarchive.catalog.schemas import PUBLIC_TABLES, STEP_TABLES, Table
from callarchive.custody.erasures import Erasure
from callarchive.ledger.batches import Batch, redacted_line
from callarchive.ledger.ledger import Ledger
from callarchive.ledger.notes import SigningKey
from callarchive.simulator.audio import SHAPES, make_recording

Row = dict[str, Any]
Named = tuple[str, ...]
Kind = Callable[[Any, random.Random], Named | None]
KINDS: dict[str, Kind] = {}

_EDITED = "it is not a file that a run wrote: its SHA-256 is"
_UNCOMPARED = {"lookup_error", "error", "duration_mismatch", "source_number", "destination_number"}
"""Columns whose edits verification allows, or names without their values, and only the ledger's hash shows."""


def kind(function: Kind) -> Kind:
    KINDS[function.__name__] = function
    return function


# Helpers


def without_responses(days: Any) -> None:
    """Remove the stored responses of 8x8, so that they contradict nothing."""
    shutil.rmtree(days.catalog / "_answers", ignore_errors=True)


def everywhere(days: Any, change: Callable[[Row], Row | None], day: date) -> None:
    """Apply the change to every row of every table of the day; None removes the row."""
    without_responses(days)
    for table in (*PUBLIC_TABLES, *STEP_TABLES):
        if days.part(table, day).exists():
            changed = [change(row) for row in days.rows(table, day)]
            days.write(table, [row for row in changed if row is not None], day)


def counted_again(days: Any, day: date) -> None:
    """Compute the statistics of the day from its recordings, as a run does."""
    from callarchive.archiving.transforms.public_tables import duration_stats_table, status_stats_table

    rows = pa.Table.from_pylist(days.rows(schemas.RECORDINGS, day), schema=schemas.RECORDINGS.schema)
    days.write(schemas.STATUS_STATS, status_stats_table(rows).to_pylist(), day)
    days.write(schemas.DURATION_STATS, duration_stats_table(rows).to_pylist(), day)


def a_day(days: Any, rng: random.Random) -> date:
    return rng.choice(days.days)


def one(rows: list[Any], rng: random.Random) -> Any:
    return rng.choice(rows) if rows else None


def an_archived(days: Any, rng: random.Random, day: date) -> Row | None:
    return one([row for row in days.rows(schemas.RECORDINGS, day) if row["archive_uri"]], rng)


def a_file(days: Any, rng: random.Random) -> Path | None:
    row = an_archived(days, rng, a_day(days, rng))
    return None if row is None else days.file(rng.choice(row["versions"]))


def key_of(table: Table, row: Row) -> str:
    return "/".join(str(row[name]) for name in table.key)


def part(table: Table, day: date) -> str:
    return table.partition_path(day)


def overwrite(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def audio(rng: random.Random) -> bytes:
    return make_recording(shape=rng.choice(SHAPES), duration_s=rng.uniform(3, 30), seed=rng.getrandbits(20))


def other_value(value: Any, type_: pa.DataType, rng: random.Random) -> Any:
    """Return another value of the column."""
    if pa.types.is_boolean(type_):
        return not value
    if pa.types.is_integer(type_):
        return (value or 0) + rng.randint(1, 9)
    if pa.types.is_floating(type_):
        return (value or 0.0) + rng.uniform(0.5, 99)
    if pa.types.is_decimal(type_):
        return (value or Decimal(0)) + Decimal(rng.randint(1, 99)) / 100
    if pa.types.is_timestamp(type_):
        return (value or datetime(2026, 1, 5, tzinfo=UTC)) + timedelta(minutes=rng.randint(1, 600))
    if pa.types.is_list(type_):
        return [*(value or []), 1 if pa.types.is_integer(type_.value_type) else "forged"]
    return None if value is not None and rng.random() < 0.3 else f"{value or ''}x"


# Cells and rows of the catalog


@kind
def a_cell_is_edited(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    rows = days.rows(table, day)
    if not rows:
        return None
    row, field = rng.choice(rows), rng.choice([field for field in table.schema if field.name not in table.key])
    before = row[field.name]
    row[field.name] = other_value(before, field.type, rng)
    days.write(table, rows, day)
    if table is schemas.RECONCILIATION or field.name in _UNCOMPARED:
        return part(table, day), _EDITED
    key = key_of(table, row)
    if field.name == "archive_status" and row["archive_status"] is not None and not row["archived_at"]:
        return part(table, day), _EDITED
    return f"{table.name} {key}: ", f"{field.name} is ", " and should be "


@kind
def a_cell_is_edited_in_all_tables(days: Any, rng: random.Random) -> Named | None:
    """Consistently: in each table that has the column and the key."""
    day, table = a_day(days, rng), rng.choice((schemas.SESSIONS, schemas.RECORDINGS))
    rows = days.rows(table, day)
    if not rows:
        return None
    columns = [f for f in table.schema if f.name not in (*table.key, "session_id", "archive_uri", "versions")]
    row, field = rng.choice(rows), rng.choice(columns)
    forged = other_value(row[field.name], field.type, rng)

    def edit(found: Row) -> Row:
        same = all(found.get(name) == row[name] for name in table.key) and field.name in found
        return {**found, field.name: forged} if same else found

    everywhere(days, edit, day)
    counted_again(days, day)
    if field.name in ("duration_s", "size_bytes") and row["archive_uri"] is not None:
        return row["archive_uri"], f"its {field.name} in recording_files is {forged}, but was {row[field.name]}"
    return part(table, day), _EDITED


@kind
def a_row_is_removed(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    rows = days.rows(table, day)
    if not rows:
        return None
    gone = rows.pop(rng.randrange(len(rows)))
    days.write(table, rows, day)
    if table is schemas.RECONCILIATION:
        return part(table, day), _EDITED
    return (f"{table.name} {key_of(table, gone)}: the row is missing",)


@kind
def a_row_is_added(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    rows = days.rows(table, day)
    if not rows:
        return None
    new = {**rng.choice(rows), table.key[-1]: f"00000000-065a-11ec-b119-{rng.getrandbits(48):012x}"}
    days.write(table, [*rows, new], day)
    if table is schemas.RECONCILIATION:
        return part(table, day), _EDITED
    return (f"{table.name} {key_of(table, new)}: the row is not in",)


@kind
def a_row_is_doubled(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    rows = days.rows(table, day)
    if not rows:
        return None
    days.write(table, [*rows, rng.choice(rows)], day)
    return part(table, day), _EDITED


@kind
def a_recording_is_removed_from_all_tables(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    gone = an_archived(days, rng, day)
    if gone is None:
        return None
    everywhere(days, lambda row: None if row.get("recording_id") == gone["recording_id"] else row, day)
    counted_again(days, day)
    for uri in gone["versions"]:
        days.file(uri).unlink()
    return gone["archive_uri"], "recording_files does not name it, but the ledger does (entry "


@kind
def a_call_is_removed_from_all_tables(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    gone = an_archived(days, rng, day)
    if gone is None:
        return None
    everywhere(days, lambda row: None if row.get("session_id") == gone["session_id"] else row, day)
    counted_again(days, day)
    shutil.rmtree(days.file(gone["archive_uri"]).parent)
    return gone["archive_uri"], "recording_files does not name it, but the ledger does (entry "


@kind
def a_session_without_audio_is_removed_from_all_tables(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    gone = one([row for row in days.rows(schemas.SESSIONS, day) if not row["recording_count"]], rng)
    if gone is None:
        return None
    everywhere(days, lambda row: None if row.get("session_id") == gone["session_id"] else row, day)
    return part(schemas.SESSIONS, day), _EDITED


@kind
def a_recording_is_made_not_uploaded(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    gone = an_archived(days, rng, day)
    if gone is None:
        return None
    nothing = dict.fromkeys(("archive_uri", "archive_path", "sha256", "size_bytes", "duration_s", "archived_at"))
    facts = {**nothing, "archive_status": "not_uploaded", "versions": [], "versions_sha256": []}

    def edit(row: Row) -> Row:
        mine = row.get("recording_id") == gone["recording_id"]
        return {name: facts.get(name, value) if mine else value for name, value in row.items()}

    everywhere(days, edit, day)
    counted_again(days, day)
    for uri in gone["versions"]:
        days.file(uri).unlink()
    return gone["archive_uri"], "recording_files does not name it, but the ledger does"


@kind
def a_recording_is_called_erased(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    gone = an_archived(days, rng, day)
    if gone is None:
        return None
    everywhere(
        days,
        lambda row: (
            {**row, "archive_status": "erased"}
            if row.get("recording_id") == gone["recording_id"] and "archive_status" in row
            else row
        ),
        day,
    )
    counted_again(days, day)
    for uri in gone["versions"]:
        days.file(uri).unlink()
    return part(schemas.RECORDINGS, day), _EDITED


@kind
def a_cell_of_a_step_table_is_edited(days: Any, rng: random.Random) -> Named | None:
    """One that the public tables show; the others are compared with nothing (docs/ledger.md)."""
    day = a_day(days, rng)
    step, public = rng.choice(
        [
            (schemas.SESSION_IDS, schemas.SESSIONS),
            (schemas.RECORDING_METADATA, schemas.RECORDINGS),
            (schemas.RECORDING_FILES, schemas.RECORDINGS),
        ]
    )
    shown = set(public.schema.names) - set(public.key) - _UNCOMPARED - {"session_id", "versions", "archive_status"}
    fields = [field for field in step.schema if field.name in shown]
    rows = days.rows(step, day)
    if step is schemas.RECORDING_FILES:
        rows.sort(key=lambda row: row["archive_path"] is None)
        row = one([row for row in rows if row["archive_path"]], rng)
    else:
        row = one(rows, rng)
    if row is None:
        return None
    field = rng.choice(fields)
    row[field.name] = other_value(row[field.name], field.type, rng)
    days.write(step, rows, day)
    return f"{public.name} {key_of(public, row)}: ", field.name, " and should be "


@kind
def a_row_of_a_step_table_is_removed(days: Any, rng: random.Random) -> Named | None:
    day, step = a_day(days, rng), rng.choice((schemas.SESSION_IDS, schemas.RECORDING_METADATA, schemas.RECORDING_FILES))
    rows = days.rows(step, day)
    gone = one(rows, rng)
    if gone is None:
        return None
    days.write(step, [row for row in rows if row is not gone], day)
    return (key_of(step, gone),)


@kind
def an_account_fails_by_its_table(days: Any, rng: random.Random) -> Named | None:
    """So that its tables are left out; then one of them is edited."""
    day = a_day(days, rng)
    row = {"subaccount_id": "demo_s3", "step": "session_ids", "error_type": "StoreError", "reason": "x"}
    path = days.part(schemas.ACCOUNT_FAILURES, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    days.write(schemas.ACCOUNT_FAILURES, [{**row, "retryable": True, "exit_code": 1}], day)
    days.edit(schemas.SESSIONS, lambda _: True, day, call_count=77)
    return part(schemas.SESSIONS, day), _EDITED


@kind
def a_run_is_feigned(days: Any, rng: random.Random) -> Named | None:
    """So that the tables need not agree; then one of them is edited."""
    day = a_day(days, rng)
    begun = days.catalog / f"_steps/begun/call_date={day}/run"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"")
    days.edit(schemas.RECORDINGS, lambda _: True, day, channels=7)
    return part(schemas.RECORDINGS, day), _EDITED


# Partitions and days


@kind
def a_partition_is_written_again(days: Any, rng: random.Random) -> Named | None:
    """The same rows in a file that no run wrote."""
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    days.write(table, days.rows(table, day), day)
    return part(table, day), _EDITED


@kind
def a_partition_is_rolled_back(days: Any, rng: random.Random) -> Named | None:
    changed = [
        path
        for table in PUBLIC_TABLES
        if (days.earlier / (path := f"catalog/{part(table, days.days[0])}")).read_bytes()
        != (days.root / path).read_bytes()
    ]
    path = rng.choice(changed)
    shutil.copy(days.earlier / path, days.root / path)
    return path.removeprefix("catalog/"), "it was rolled back to the file of", "but that of"


@kind
def a_partition_is_removed(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    shutil.rmtree(days.part(table, day).parent)
    return part(table, day), "it does not exist, but the ledger has it (entry "


@kind
def a_partition_is_copied_to_another_day(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    other = rng.choice([other for other in days.all_days if other != day])
    if days.part(table, day).read_bytes() == days.part(table, other).read_bytes():
        return None
    shutil.copy(days.part(table, other), days.part(table, day))
    return part(table, day), _EDITED


@kind
def a_partition_is_copied_to_a_new_day(days: Any, rng: random.Random) -> Named | None:
    table = rng.choice(PUBLIC_TABLES)
    new = days.all_days[-1] + timedelta(days=rng.choice((1, 2, 400)))
    days.part(table, new).parent.mkdir(parents=True)
    shutil.copy(days.part(table), days.part(table, new))
    return part(table, new), "no run recorded it in the ledger"


@kind
def tables_of_two_days_are_swapped(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice((schemas.SESSIONS, schemas.RECORDINGS))
    other = rng.choice([other for other in days.all_days if other != day])
    mine, others = days.part(table, day), days.part(table, other)
    data = mine.read_bytes(), others.read_bytes()
    overwrite(mine, data[1])
    overwrite(others, data[0])
    return part(table, day), _EDITED


@kind
def two_tables_are_swapped(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    one_table, other = rng.sample(PUBLIC_TABLES, 2)
    mine, others = days.part(one_table, day), days.part(other, day)
    data = mine.read_bytes(), others.read_bytes()
    overwrite(mine, data[1])
    overwrite(others, data[0])
    return part(one_table, day), "SHA-256 is"


@kind
def a_partition_is_damaged(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice((*PUBLIC_TABLES, schemas.RECORDING_FILES, schemas.LOOKUPS))
    path = days.part(table, day)
    data = bytearray(path.read_bytes())
    how = rng.randrange(3)
    if how == 0:
        overwrite(path, bytes(data[: rng.randrange(len(data))]))
    elif how == 1:
        overwrite(path, bytes(data) + b"x")
    else:
        overwrite(path, b"")
    return part(table, day), "not checked"


@kind
def a_bit_of_a_partition_is_flipped(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice(PUBLIC_TABLES)
    path = days.part(table, day)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    overwrite(path, bytes(data))
    return part(table, day), _EDITED


@kind
def a_second_file_is_put_into_a_partition(days: Any, rng: random.Random) -> Named | None:
    day, table = a_day(days, rng), rng.choice((*PUBLIC_TABLES, schemas.SESSION_IDS))
    name = rng.choice(("part-1.parquet", "part-0.parquet.crc", ".hidden.parquet", "x.txt", "below/part-0.parquet"))
    path = days.part(table, day).parent / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(days.part(table, day), path)
    return f"{part(table, day).rpartition('/')[0]}/{name}", "extra"


@kind
def a_partition_gets_an_invalid_day(days: Any, rng: random.Random) -> Named | None:
    """Readers that take every folder for a partition would read it."""
    table = rng.choice((*PUBLIC_TABLES, schemas.LOOKUPS))
    name = rng.choice(
        ("call_date=2026-1-5", "call_date=20260105", "call_date=2026-W02-1", "call_date=", "call_date=x", "x")
    )
    path = days.catalog / table.folder / name / "part-0.parquet"
    path.parent.mkdir()
    shutil.copy(days.part(table), path)
    return f"{table.folder}/{name}/part-0.parquet", "extra"


@kind
def a_file_is_put_beside_the_tables(days: Any, rng: random.Random) -> Named | None:
    folder = rng.choice(
        ("", "sessions/", "_steps/", "_steps/lookups/", "_answers/", "notes/", "_steps/notes/call_date=2026-01-05/")
    )
    name = rng.choice(("part-0.parquet", "x.txt", ".x"))
    path = days.catalog / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return f"catalog/{folder}{name}", "extra", "no run writes a file of that name"


@kind
def a_link_is_put_beside_the_tables(days: Any, rng: random.Random) -> Named | None:
    name = rng.choice(("sessions/call_date=2026-02-30", "recordings/latest", "link", "_steps/link"))
    (days.catalog / name).symlink_to(rng.choice((days.root, days.part(schemas.SESSIONS).parent)))
    return f"catalog/{name}", "extra"


@kind
def a_day_is_removed(days: Any, rng: random.Random) -> Named | None:
    """Any day, also the first or the last one."""
    day = a_day(days, rng)
    row = an_archived(days, rng, day)
    if row is None:
        return None
    without_responses(days)
    for root in (days.archive, days.catalog):
        for folder in list(root.rglob(f"call_date={day}")):
            shutil.rmtree(folder)
    return row["archive_uri"], "but the ledger does (entry "


@kind
def all_days_up_to_one_are_removed(days: Any, rng: random.Random) -> Named | None:
    day = rng.choice(days.all_days)
    without_responses(days)
    for root in (days.archive, days.catalog):
        for other in days.all_days:
            for folder in list(root.rglob(f"call_date={other}")) if other <= day else ():
                shutil.rmtree(folder)
    return part(schemas.SESSIONS, days.days[0]), "it does not exist, but the ledger has it (entry "


@kind
def a_day_is_removed_from_the_archive(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    row = an_archived(days, rng, day)
    if row is None:
        return None
    shutil.rmtree(days.archive / row["subaccount_id"] / f"call_date={day}")
    return row["archive_uri"], "missing"


@kind
def the_catalog_of_an_earlier_day_is_put_back(days: Any, rng: random.Random) -> Named | None:
    put_back(days, "catalog")
    return part(schemas.RECORDINGS, days.days[0]), "it was rolled back to the file of"


@kind
def the_archive_of_an_earlier_day_is_put_back(days: Any, rng: random.Random) -> Named | None:
    """Without the ledger."""
    shutil.copytree(days.archive / "_ledger", days.root / "_ledger")
    put_back(days, "archive")
    shutil.rmtree(days.archive / "_ledger")
    shutil.move(days.root / "_ledger", days.archive / "_ledger")
    row = next(row for row in days.rows(schemas.RECORDING_FILES) if len(row["versions"] or ()) > 1)
    return row["versions"][-1], "missing"


def put_back(days: Any, *names: str) -> None:
    for name in names:
        shutil.rmtree(days.root / name)
        shutil.copytree(days.earlier / name, days.root / name)


# Files of the archive


@kind
def bytes_of_a_file_are_changed(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    data = bytearray(path.read_bytes())
    how, at = rng.randrange(5), rng.randrange(len(data))
    if how == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif how == 1:
        del data[at:]
    elif how == 2:
        data += rng.randbytes(rng.randint(1, 500))
    elif how == 3:
        data = bytearray(audio(rng))
    else:
        data.insert(at, 0)
    overwrite(path, bytes(data))
    return str(path), "changed"


@kind
def a_file_is_replaced_in_all_tables(days: Any, rng: random.Random) -> Named | None:
    """With hash and size in every table."""
    day = a_day(days, rng)
    row = an_archived(days, rng, day)
    if row is None:
        return None
    data = audio(rng)
    new = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    if len(row["versions"]) > 1:
        return None
    overwrite(days.file(row["archive_uri"]), data)

    def edit(found: Row) -> Row:
        if found.get("recording_id") != row["recording_id"] or "sha256" not in found:
            return found
        return {**found, **new, **({"versions_sha256": [new["sha256"]]} if "versions_sha256" in found else {})}

    everywhere(days, edit, day)
    counted_again(days, day)
    return row["archive_uri"], f"its hash in recording_files is {new['sha256']}, but was {row['sha256']}"


@kind
def two_files_are_swapped(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    uris = [row["archive_uri"] for row in days.rows(schemas.RECORDINGS, day) if row["archive_uri"]]
    if len(uris) < 2:
        return None
    mine, other = map(days.file, rng.sample(uris, 2))
    mine.rename(days.root / "aside")
    other.rename(mine)
    (days.root / "aside").rename(other)
    return str(mine), "changed"


@kind
def a_file_is_removed(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    path.unlink()
    return str(path), "missing"


@kind
def a_folder_takes_a_files_place(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    path.rename(days.root / "elsewhere")
    path.mkdir()
    (days.root / "elsewhere").rename(path / rng.choice((path.name, "part-0.parquet")))
    return str(path), "is not a regular file"


@kind
def a_file_is_renamed(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    new = path.with_name(rng.choice((f"{path.stem}x.mp3", f"{path.stem}.MP3", path.stem, f".{path.name}")))
    path.rename(new)
    return (str(rng.choice((path, new))),)


@kind
def a_file_is_added(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    name = rng.choice(
        (f"{path.stem}.copy.mp3", f"{path.stem}.wav", ".hidden.mp3", ".x", "notes.txt", f"{path.stem}", "below/a.mp3")
    )
    new = path.parent.parent / rng.choice((path.parent.name, "00000000-065a-11ec-b119-676cb2bc33ef")) / name
    new.parent.mkdir(parents=True, exist_ok=True)
    if rng.random() < 0.5:
        os.link(path, new)
    else:
        new.write_bytes(rng.choice((b"", path.read_bytes())))
    return str(new), "extra"


@kind
def a_file_is_put_beside_the_days(days: Any, rng: random.Random) -> Named | None:
    folder = rng.choice(
        (
            "",
            "demo_s3/",
            "demo_s3/call_date=2026-1-5/",
            "_quarantine/",
            "_quarantine/demo_s3/",
            "_quarantine/demo_s3/20260105/",
            "_x/",
        )
    )
    path = days.archive / folder / rng.choice(("a.mp3", "notes.txt", ".x"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return f"archive/{folder}{path.name}", "extra"


@kind
def an_account_is_added(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    new = days.archive / "acme_new" / path.relative_to(days.archive / path.relative_to(days.archive).parts[0])
    new.parent.mkdir(parents=True)
    shutil.copy(path, new)
    return str(new), "extra"


@kind
def a_link_or_a_pipe_takes_a_files_place(days: Any, rng: random.Random) -> Named | None:
    path = a_file(days, rng)
    if path is None:
        return None
    target = days.root / "elsewhere"
    if rng.random() < 0.2:
        path.unlink()
        os.mkfifo(path)
    else:
        path = rng.choice((path, path.parent, path.parent.parent))
        shutil.move(path, target)
        path.symlink_to(target)
    return str(path), "link"


@kind
def a_version_is_added(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    known = one([row for row in days.rows(schemas.RECORDING_FILES, day) if row["archive_path"]], rng)
    if known is None:
        return None
    data = audio(rng)
    digest = hashlib.sha256(data).hexdigest()
    path = f"{known['subaccount_id']}/call_date={day}/{known['session_id']}/{known['recording_id']}.{digest[:16]}.mp3"
    (days.archive / path).write_bytes(data)

    def edit(row: Row) -> Row:
        if row.get("recording_id") != known["recording_id"] or "versions" not in row:
            return row
        own = {
            "archive_path": path,
            "archive_uri": f"file://{days.archive}/{path}",
            "sha256": digest,
            "size_bytes": len(data),
            "versions_sha256": [*(row.get("versions_sha256") or ()), digest],
            "versions": [*row["versions"], path if "archive_path" in row else f"file://{days.archive}/{path}"],
        }
        return {name: own.get(name, value) for name, value in row.items()}

    everywhere(days, edit, day)
    counted_again(days, day)
    return path, "recording_files names it, but no run recorded it in the ledger"


@kind
def a_recording_is_added_to_all_tables(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    known = an_archived(days, rng, day)
    if known is None:
        return None
    data, new_id = audio(rng), f"00000000-065a-11ec-b119-{rng.getrandbits(48):012x}"
    digest = hashlib.sha256(data).hexdigest()
    file = days.file(known["archive_uri"]).with_name(f"{new_id}.mp3")
    file.write_bytes(data)
    path = str(file.relative_to(days.archive))
    facts = {"recording_id": new_id, "sha256": digest, "size_bytes": len(data)}
    for table, place in (
        (schemas.RECORDING_METADATA, {}),
        (schemas.RECORDING_FILES, {"archive_path": path, "versions": [path], "versions_sha256": [digest]}),
        (schemas.RECORDINGS, {"archive_uri": f"file://{file}", "versions": [f"file://{file}"]}),
    ):
        rows = days.rows(table, day)
        row = next(row for row in rows if row["recording_id"] == known["recording_id"])
        new = {name: value for name, value in {**row, **facts, **place}.items() if name in row}
        days.write(table, sorted([*rows, new], key=lambda r: (r["subaccount_id"], r["recording_id"])), day)
    counted_again(days, day)
    return path, "recording_files names it, but no run recorded it in the ledger"


@kind
def a_version_is_removed(days: Any, rng: random.Random) -> Named | None:
    row = next(row for row in days.rows(schemas.RECORDING_FILES) if len(row["versions"] or ()) > 1)
    gone = rng.randrange(2)
    left = {
        "versions": [row["versions"][1 - gone]],
        "versions_sha256": [row["versions_sha256"][1 - gone]],
        "archive_path": row["versions"][1 - gone],
        "sha256": row["versions_sha256"][1 - gone],
        "size_bytes": (days.archive / row["versions"][1 - gone]).stat().st_size,
    }
    uri = f"file://{days.archive}/{left['archive_path']}"

    def edit(found: Row) -> Row:
        if found.get("recording_id") != row["recording_id"] or "versions" not in found:
            return found
        own = left if "archive_path" in found else {**left, "versions": [uri], "archive_uri": uri}
        return {name: own.get(name, value) for name, value in found.items()}

    everywhere(days, edit, days.days[0])
    counted_again(days, days.days[0])
    (days.archive / row["versions"][gone]).unlink()
    return row["versions"][gone], "recording_files does not name it, but the ledger does"


@kind
def quarantined_bytes_are_changed(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    row = one([row for row in days.rows(schemas.RECORDINGS, day) if row["quarantine_uri"]], rng)
    if row is None:
        return None
    path = days.file(row["quarantine_uri"])
    if rng.random() < 0.5:
        path.unlink()
        return str(path), "missing"
    overwrite(path, path.read_bytes() + b"x")
    return str(path), "changed"


@kind
def quarantined_bytes_are_forgotten(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    row = one([row for row in days.rows(schemas.RECORDINGS, day) if row["quarantine_uri"]], rng)
    if row is None:
        return None
    days.file(row["quarantine_uri"]).unlink()
    facts = {"quarantine_uri": None, "archive_status": "missing"}

    def edit(found: Row) -> Row:
        mine = found.get("recording_id") == row["recording_id"]
        return {name: facts.get(name, value) if mine else value for name, value in found.items()}

    everywhere(days, edit, day)
    counted_again(days, day)
    return row["quarantine_uri"], "but the ledger does (entry "


@kind
def a_file_is_put_into_quarantine(days: Any, rng: random.Random) -> Named | None:
    day = a_day(days, rng)
    path = (
        days.archive
        / f"_quarantine/demo_s3/call_date={day}/00000000-065a-11ec-b119-676cb2bc33ef/a.{rng.getrandbits(64):016x}.bin"
    )
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return str(path), "extra"


# The ledger


def entry_files(days: Any) -> list[Path]:
    return sorted((days.archive / "_ledger" / "entries").iterdir())


def a_batch(days: Any, rng: random.Random, *, at_least: int = 1) -> tuple[Path, list[bytes]]:
    """Return a file of the ledger with at least this many entries, and its lines."""
    path = rng.choice([path for path in entry_files(days) if path.read_bytes().count(b"\n") > at_least])
    return path, path.read_bytes().split(b"\n")[:-1]


def write_lines(path: Path, lines: list[bytes]) -> None:
    overwrite(path, b"".join(line + b"\n" for line in lines))


def forger(days: Any) -> Ledger:
    """Return the ledger as somebody without the key can append to it."""
    with days.trial.connections() as connections:
        return Ledger(connections.ledger.store, origin=connections.ledger.origin, clock=connections.clock)


_ENTRIES = "its entries do not have the hash in its checkpoint: entries were edited"


@kind
def an_entry_is_edited(days: Any, rng: random.Random) -> Named | None:
    path, lines = a_batch(days, rng)
    number = rng.randrange(1, len(lines))
    facts = json.loads(lines[number])
    name = rng.choice(sorted(facts))
    facts[name] = f"{facts[name]}x"
    lines[number] = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    write_lines(path, lines)
    return path.name, _ENTRIES


@kind
def an_entry_is_edited_with_the_tables(days: Any, rng: random.Random) -> Named | None:
    """The file, the tables and the entry agree, and the checkpoint is computed again, without the key."""
    named = a_file_is_replaced_in_all_tables(days, rng)
    if named is None:
        return None
    old, new = named[1].split("but was ")[1], named[1].split(" is ")[1].split(",")[0]
    for path in entry_files(days):
        data = path.read_bytes()
        if old.encode() in data:
            batch = Batch.decode(data.replace(old.encode(), new.encode()))
            forged, _ = forger(days)._batch(batch.before, batch.lines)
            overwrite(path, forged.encode())
            return path.name, "its checkpoint is not signed with a known key, but earlier ones are"
    return None


@kind
def an_entry_is_removed(days: Any, rng: random.Random) -> Named | None:
    path, lines = a_batch(days, rng, at_least=2)
    del lines[rng.randrange(1, len(lines))]
    write_lines(path, lines)
    return path.name, _ENTRIES


@kind
def an_entry_is_inserted(days: Any, rng: random.Random) -> Named | None:
    path, lines = a_batch(days, rng)
    other = a_batch(days, rng)[1]
    lines.insert(rng.randrange(1, len(lines) + 1), rng.choice((other[1], b"{}", b'{"event":"x"}', lines[-1])))
    write_lines(path, lines)
    return path.name, _ENTRIES


@kind
def entries_are_reordered(days: Any, rng: random.Random) -> Named | None:
    path, lines = a_batch(days, rng, at_least=2)
    first, second = rng.sample(range(1, len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    write_lines(path, lines)
    return path.name, _ENTRIES


@kind
def an_entry_is_blackened(days: Any, rng: random.Random) -> Named | None:
    """As an erasure does, but without the entry that says so."""
    path, lines = a_batch(days, rng)
    number = rng.randrange(1, len(lines))
    if lines[number].startswith(b'{"redacted":'):
        return None
    lines[number] = redacted_line(lines[number])
    write_lines(path, lines)
    return (f"entry {int(path.stem) + number - 1} was erased, and no entry says so",)


@kind
def a_file_of_the_ledger_is_removed(days: Any, rng: random.Random) -> Named | None:
    files = entry_files(days)
    number = rng.randrange(len(files) - 1)
    files[number].unlink()
    return files[number + 1].name, f"entries {int(files[number].stem)} to {int(files[number + 1].stem) - 1} are missing"


@kind
def a_file_of_the_ledger_is_cut_off(days: Any, rng: random.Random) -> Named | None:
    path, _ = a_batch(days, rng)
    data = path.read_bytes()
    overwrite(path, data[: rng.randrange(len(data))])
    return (path.name,)


@kind
def a_file_of_the_ledger_is_duplicated(days: Any, rng: random.Random) -> Named | None:
    files = entry_files(days)
    path = rng.choice(files)
    name = f"{int(files[-1].stem) + rng.randint(1, 50):020d}.jsonl"
    shutil.copy(path, path.with_name(name))
    return name, "its name is wrong"


@kind
def two_files_of_the_ledger_are_swapped(days: Any, rng: random.Random) -> Named | None:
    one_file, other = rng.sample(entry_files(days), 2)
    data = one_file.read_bytes(), other.read_bytes()
    overwrite(one_file, data[1])
    overwrite(other, data[0])
    return one_file.name, "its name is wrong"


@kind
def a_file_of_the_ledger_is_renamed(days: Any, rng: random.Random) -> Named | None:
    path, _ = a_batch(days, rng)
    new = path.with_name(rng.choice((f"{int(path.stem) + 1000:020d}.jsonl", "x.jsonl", f"{path.stem}.json")))
    path.rename(new)
    return (new.name,)


@kind
def a_checkpoint_is_replaced(days: Any, rng: random.Random) -> Named | None:
    path, lines = a_batch(days, rng)
    header = json.loads(lines[0])
    how = rng.randrange(4)
    if how == 0:
        other = rng.choice([file for file in entry_files(days) if file != path])
        header["checkpoint"] = json.loads(other.read_bytes().split(b"\n")[0])["checkpoint"]
    elif how == 1 and path != entry_files(days)[0]:
        header["checkpoint"] = header["checkpoint"].partition("\n\n")[0] + "\n"
    elif how == 2:
        header["checkpoint"] = SigningKey.generate("callarchive").sign(
            f"callarchive\n1\n{base64.b64encode(bytes(32)).decode()}\n"
        )
    else:
        header["checkpoint"] = header["checkpoint"].replace("callarchive\n", "elsewhere\n", 1)
    lines[0] = json.dumps(header).encode()
    write_lines(path, lines)
    return path.name, "its checkpoint" if how in (1, 3) else ""


@kind
def the_state_before_a_file_is_edited(days: Any, rng: random.Random) -> Named | None:
    path, lines = a_batch(days, rng)
    header = json.loads(lines[0])
    if rng.random() < 0.5 and header["frontier"]:
        header["frontier"][0] = base64.b64encode(rng.randbytes(32)).decode()
    else:
        header["first"] += 2 ** rng.randrange(6)
    lines[0] = json.dumps(header).encode()
    write_lines(path, lines)
    return (path.name,)


@kind
def the_end_is_cut_off(days: Any, rng: random.Random) -> Named | None:
    files = entry_files(days)
    gone = files[-rng.randrange(1, len(files)) :]
    for path in gone:
        path.unlink()
    return f"the ledger has {int(gone[0].stem)} entries, but had ", "its end was cut off"


@kind
def the_end_is_replaced(days: Any, rng: random.Random) -> Named | None:
    """A fork: other entries, without the key, take the place of the last ones."""
    files = entry_files(days)
    for path in files[-rng.randrange(1, len(files) - 1) :]:
        lines = len(path.read_bytes().split(b"\n")) - 2
        path.unlink()
    forged = forger(days)
    for _ in range(rng.randint(1, 4)):
        path = days.archive / forged.append([{"event": "forged"}] * lines).path
    return path.name, "not signed with a known key, but earlier ones are"


@kind
def entries_are_appended(days: Any, rng: random.Random) -> Named | None:
    batch = forger(days).append([{"event": "erased", "entries": [rng.randrange(20)]}] * rng.randint(1, 3))
    return batch.path, "its checkpoint is not signed with a known key, but earlier ones are"


@kind
def the_ledger_is_written_again(days: Any, rng: random.Random) -> Named | None:
    """From the first entry, without the key, without one of the entries."""
    batches = [Batch.decode(path.read_bytes()) for path in entry_files(days)]
    for path in entry_files(days):
        path.unlink()
    forged, left = forger(days), rng.randrange(len(batches))
    for number, batch in enumerate(batches):
        if number != left:
            forged.append([json.loads(line) for line in batch.lines])
    if batches[left].lines and len(batches) > 1:
        return (f"the ledger has {sum(len(b.lines) for n, b in enumerate(batches) if n != left)} entries, but had ",)
    return None


@kind
def the_ledger_is_written_again_with_as_many_entries(days: Any, rng: random.Random) -> Named | None:
    batches = [Batch.decode(path.read_bytes()) for path in entry_files(days)]
    for path in entry_files(days):
        path.unlink()
    forged, left = forger(days), rng.randrange(len(batches))
    for number, batch in enumerate(batches):
        facts = [json.loads(line) for line in batch.lines]
        forged.append([{"event": "forged"}] * len(facts) if number == left else facts)
    return "entries are not those of", "the ledger was rewritten"


@kind
def everything_of_an_earlier_day_is_put_back(days: Any, rng: random.Random) -> Named | None:
    put_back(days, "archive", *rng.choice(((), ("catalog",))))
    return "entries, but had ", "its end was cut off"


@kind
def the_ledger_is_removed(days: Any, rng: random.Random) -> Named | None:
    shutil.rmtree(rng.choice((days.archive / "_ledger", days.archive / "_ledger/entries")))
    return ("there is no ledger",)


@kind
def a_file_is_put_into_the_ledgers_folder(days: Any, rng: random.Random) -> Named | None:
    name = rng.choice(
        ("entries/x.jsonl", "entries/1.jsonl", "notes.txt", "open/x", "open/.x", "entries/below/1.jsonl", "started.txt")
    )
    path = days.archive / "_ledger" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return f"_ledger/{name}", "no run wrote it"


@kind
def the_mark_of_the_ledgers_beginning_is_removed(days: Any, rng: random.Random) -> Named | None:
    (days.archive / "_ledger/started").unlink()
    return "_ledger/started", "it was removed"


# Holds and erasures


def holds_of(days: Any) -> tuple[Path, Path]:
    """Return the folders of the hold in force and of the released one."""
    released, held = sorted((days.archive / "_holds").iterdir(), key=lambda hold: not (hold / "release.json").exists())
    return held, released


def erasure_of(days: Any) -> tuple[Path, Row]:
    """Return the register's file of the erasure, and the row of a recording before it was erased."""
    first = days.all_days[0]
    [register] = (days.archive / f"_erased/call_date={first}").iterdir()
    [erased] = json.loads(register.read_text())["recording_ids"]
    rows = pq.ParquetFile(days.earlier / "catalog" / part(schemas.RECORDINGS, first)).read().to_pylist()
    return register, next(row for row in rows if row["recording_id"] == erased)


@kind
def a_hold_is_removed(days: Any, rng: random.Random) -> Named | None:
    hold = rng.choice(holds_of(days))
    if rng.random() < 0.5:
        shutil.rmtree(hold)
    else:
        (hold / "hold.json").unlink()
    return (f"hold {hold.name}: its object is gone, but the ledger has it",)


@kind
def a_hold_is_edited(days: Any, rng: random.Random) -> Named | None:
    hold = rng.choice(holds_of(days)) / "hold.json"
    facts = json.loads(hold.read_text())
    name = rng.choice([name for name in ("reason", "by", "session_id", "subaccount_id") if facts.get(name) is not None])
    facts[name] = "00000000-065a-11ec-b119-676cb2bc33ef" if name == "session_id" else f"{facts[name]}x"
    overwrite(hold, json.dumps(facts).encode())
    return f"edited hold {hold.parent.name}: ", " in the ledger (entry "


@kind
def a_release_is_forged(days: Any, rng: random.Random) -> Named | None:
    held, released = holds_of(days)
    shutil.copy(released / "release.json", held / "release.json")
    return (f"hold {held.name}: released by bob in the archive, but the ledger has no",)


@kind
def an_erasure_is_removed_from_the_register(days: Any, rng: random.Random) -> Named | None:
    register, row = erasure_of(days)
    shutil.rmtree(rng.choice((register.parent, register.parent.parent)))
    return register.stem, row["subaccount_id"], "its part of the register is gone"


@kind
def an_erasure_is_edited_in_the_register(days: Any, rng: random.Random) -> Named | None:
    register, _ = erasure_of(days)
    facts = json.loads(register.read_text())
    name = rng.choice(("recording_ids", "session_hashes", "subaccount_id"))
    facts[name] = rng.choice(([], facts[name] * 2)) if isinstance(facts[name], list) else "acme"
    overwrite(register, json.dumps(facts).encode())
    return register.name, f"its {name} differ from those in the ledger (entry "


@kind
def a_file_is_removed_as_if_erased(days: Any, rng: random.Random) -> Named | None:
    """With a row as an erasure writes it, and its part of the register."""
    register, _ = erasure_of(days)
    day = a_day(days, rng)
    gone = an_archived(days, rng, day)
    if gone is None:
        return None
    kept = {name: gone[name] for name in ("subaccount_id", "session_id", "recording_id")} | {"archive_status": "erased"}

    def edit(row: Row) -> Row:
        mine = row.get("recording_id") == gone["recording_id"]
        return {name: kept.get(name) if mine else value for name, value in row.items()}

    everywhere(days, edit, day)
    counted_again(days, day)
    for uri in gone["versions"]:
        days.file(uri).unlink()
    if rng.random() < 0.5:
        facts = json.loads(register.read_text()) | {"recording_ids": [gone["recording_id"]]}
        forged = days.archive / f"_erased/call_date={day}/erasure-forged.json"
        forged.parent.mkdir(exist_ok=True)
        forged.write_text(json.dumps(facts))
    return (f"recording_files {key_of(schemas.RECORDINGS, gone)}: it is erased, but the ledger has no erasure of it",)


@kind
def an_erased_recording_is_put_back(days: Any, rng: random.Random) -> Named | None:
    """From a backup of the archive, with or without its rows."""
    _, row = erasure_of(days)
    file, first = days.file(row["archive_uri"]), days.all_days[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(days.earlier / "archive" / file.relative_to(days.archive), file)
    if rng.random() < 0.3:
        return str(file), "extra"
    for table in (schemas.RECORDING_FILES, schemas.RECORDINGS):
        old = pq.ParquetFile(days.earlier / "catalog" / part(table, first)).read().to_pylist()
        mine = [found for found in old if found["recording_id"] == row["recording_id"]]
        rest = [found for found in days.rows(table) if found["recording_id"] != row["recording_id"]]
        days.write(table, sorted([*rest, *mine], key=lambda r: (r["subaccount_id"], r["recording_id"])))
    counted_again(days, first)
    return (f"{key_of(schemas.RECORDINGS, row)}: it is archived, but it was erased (entry ",)


@kind
def an_erased_entry_is_put_back(days: Any, rng: random.Random) -> Named | None:
    redacted = [path for path in entry_files(days) if b'{"redacted":' in path.read_bytes()]
    path = rng.choice([path for path in redacted if (days.earlier / path.relative_to(days.root)).exists()])
    shutil.copy(days.earlier / path.relative_to(days.root), path)
    return ("was erased and is readable again (",)


@kind
def an_erasure_is_feigned(days: Any, rng: random.Random) -> Named | None:
    """So that the day is not checked; then a table is edited."""
    _, row = erasure_of(days)
    day = a_day(days, rng)
    with days.trial.connections() as connections:
        erasure = Erasure(
            erasure_id="erasure-forged", subaccount_id=row["subaccount_id"], call_date=day, reason="x", by="eve"
        )
        connections.register.begin(erasure)
    days.edit(schemas.SESSIONS, lambda _: True, day, call_count=77)
    return f"not checked {day}", "erasure-forged of ", " was begun by eve and is not complete"
