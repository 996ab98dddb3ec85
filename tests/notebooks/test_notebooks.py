"""The notebooks run from top to bottom on a catalog, draw their pictures, show no phone number, and are committed stripped."""

import ast
import base64
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sized
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from callarchive.archiving.transforms.public_tables import status_stats_table
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.parquet_files import to_arrow

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# Jupyter's own: the kernel says that its connection on loopback is not encrypted, and asks for asyncio's policy.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::ResourceWarning"
)


class Shown:
    """What a notebook shows when it was run.

    Attributes:
        text: all that it printed, and its tables as HTML.
        pictures: its charts, PNG.
        audio: what its players hold.
        warnings: what it wrote to stderr.
    """

    def __init__(self, notebook: Any) -> None:
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        data = [output.get("data", {}) for output in outputs]
        html = [one.get("text/html", "") for one in data]
        players = [
            found for one in html for found in re.findall(r'<audio controls src="data:audio/mpeg;base64,([^"]*)"', one)
        ]
        self.text = "".join([*(output.get("text", "") for output in outputs), *(h for h in html if "<audio" not in h)])
        self.text += "".join(one.get("text/plain", "") for one in data)
        self.warnings = "".join(output["text"] for output in outputs if output.get("name") == "stderr")
        self.pictures = [base64.b64decode(one["image/png"]) for one in data if "image/png" in one]
        self.audio = [base64.b64decode(player) for player in players]


def run(name: str, archived: Any, monkeypatch: pytest.MonkeyPatch, **parameters: object) -> Shown:
    """The notebook is run with these in place of its own parameters."""
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(archived.config))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.startswith("# Parameters")
    assert set(parameters) <= {target.id for line in ast.parse(first.source).body for target in line.targets}
    first.source += "".join(f"\n{key} = {value!r}" for key, value in parameters.items())
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = Shown(notebook)
    assert shown.warnings == ""
    return shown


def execute(name: str, config: Path, monkeypatch: pytest.MonkeyPatch, **parameters: object) -> list[Sized]:
    """Run the cells without a kernel, which takes seconds to start, and return what they display."""
    displayed: list[Sized] = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(config))
    names: dict[str, object] = {}
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}, cell {cell.id}", "exec"), names)
            names |= parameters if cell.source.startswith("# Parameters") else {}
    return displayed


def write_day(catalog: Catalog, day: date, *, count: int, without: tuple[str, ...] = ()) -> None:
    """Write tables of `count` calls of two accounts. In those of acme_sg channel 2 is always silent.

    Args:
        without: columns that the files lack, as those of older versions do.
    """
    started_at = datetime.combine(day, datetime.min.time(), UTC)
    facts = {"archive_status": "archived", "api_status": "UPLOAD_COMPLETED", "channels": 2, "size_bytes": 4000}
    rows = [
        {
            "subaccount_id": account,
            "session_id": f"{account}-{day}-{n}",
            "recording_id": f"{account}-{day}-{n}",
            **facts,
        }
        | {"silent_channels": silent, "duration_s": 10.0 + n, "duration_api_s": 10.0 + n, "duration_mismatch": False}
        | {"started_at": started_at + timedelta(minutes=n), "lookup_status": "ok", "mos": 3.0 + n % 20 / 10}
        for account, silent in (("acme_ph", []), ("acme_sg", [2]))
        for n in range(count // 2)
    ]
    for table in (schemas.SESSIONS, schemas.RECORDINGS):
        columns = tuple(column for column in table.columns if column.name not in without)
        catalog.replace_partition(replace(table, columns=columns), day, rows)
    catalog.replace_partition(schemas.STATUS_STATS, day, status_stats_table(to_arrow(schemas.RECORDINGS, rows)))


def kept_numbers(archived: Any) -> set[str]:
    """Phone numbers that the catalog holds, as digits."""
    sessions = Catalog.open(archived.config.parent / "catalog").arrow("sessions").to_pylist()
    texts = {row[name] for row in sessions for name in ("source_number", "destination_number")} - {None}
    return {re.sub(r"\D", "", text) for text in texts}


def assert_no_number(shown: Shown, archived: Any) -> None:
    numbers = kept_numbers(archived)
    assert len(numbers) > 20
    assert [number for number in numbers if number in shown.text] == []


def test_explore_catalog_shows_states_durations_trends_hours_and_cost(
    archived: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("explore_catalog", archived, monkeypatch)
    assert len(shown.pictures) == 6
    assert "2 days, from 2026-01-05 to 2026-01-06" in shown.text
    kept = sum(summary.recordings["archived"] for summary in archived.summaries)
    hours = sum(summary.duration_s for summary in archived.summaries) / 3600
    assert f"{kept} recordings, {hours:,.1f} hours" in shown.text
    sessions = Catalog.open(archived.config.parent / "catalog").arrow("sessions").to_pylist()
    priced = [row for row in sessions if row["price"] is not None and row["subaccount_id"] == "demo_s3"]
    assert f"<td>{len(priced)}</td>" in shown.text
    assert f"{sum(row['price'] for row in priced):.4f}".rstrip("0") in shown.text
    assert_no_number(shown, archived)


def test_data_quality_counts_outcomes_and_names_everything_that_is_to_be_chased(
    archived: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("data_quality", archived, monkeypatch)
    assert len(shown.pictures) >= 2
    assert "no day is missing" in shown.text
    catalog = Catalog.open(archived.config.parent / "catalog")
    recordings = catalog.arrow("recordings").to_pylist()
    incomplete = [row for row in recordings if row["archive_status"] != "archived" or row["audio_issue"]]
    apart = {"recording_without_file", "duration_mismatch"}
    unfit = [
        row
        for row in catalog.arrow("reconciliation").to_pylist()
        if row["state"] == "open" and row["kind"] not in apart
    ]
    assert incomplete
    assert f"{len(incomplete) + len(unfit)} items" in shown.text
    urgent = [row for row in incomplete if row["archive_status"] in ("missing", "not_uploaded")]
    assert urgent
    assert all(row["recording_id"] in shown.text for row in urgent[:10])
    # Whatever the tables call trouble has a line that says what to do.
    assert re.search(r"<td>(NaN)?</td>\s*</tr>", shown.text.partition("items")[2]) is None
    assert_no_number(shown, archived)


def test_data_quality_names_days_between_others_that_nobody_archived(
    archived: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog"
    shutil.copytree(archived.config.parent / "catalog", catalog)
    for folder in catalog.glob("*/call_date=2026-01-05"):
        folder.rename(folder.with_name("call_date=2026-01-02"))
    monkeypatch.setenv("CALLARCHIVE_CATALOG__URL", str(catalog))
    execute("data_quality", archived.config, monkeypatch)
    printed = capsys.readouterr().out
    assert "3 days were never archived: 2026-01-03 to 2026-01-05" in printed
    assert "callarchive archive --from 2026-01-03 --to 2026-01-05" in printed


@pytest.mark.parametrize("name", ["explore_catalog", "data_quality", "listen"])
def test_an_empty_catalog_gives_sentences_and_no_chart(
    name: str, archived: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLARCHIVE_CATALOG__URL", str(tmp_path / "empty"))
    assert execute(name, archived.config, monkeypatch) == []
    assert re.search("no archived days in file://|no archived recording matches", capsys.readouterr().out)


def test_charts_of_6000_recordings_also_from_older_files_show_a_channel_that_is_always_silent(
    archived: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More rows than a chart of altair may have, half of them in files without the columns of silence and call quality."""
    catalog = Catalog.open(tmp_path / "catalog")
    for number in range(6):
        older = () if number >= 3 else ("silent_channels", "mos")
        write_day(catalog, date(2026, 1, 5) + timedelta(days=number), count=1000, without=older)
    monkeypatch.setenv("CALLARCHIVE_CATALOG__URL", str(tmp_path / "catalog"))
    charts = execute("explore_catalog", archived.config, monkeypatch)
    charts += execute("data_quality", archived.config, monkeypatch)
    printed = capsys.readouterr().out
    # A chart with more than 5,000 rows raises an error when it is converted.
    assert len([chart.to_dict() for chart in charts if isinstance(chart, alt.TopLevelMixin)]) == 5 + 4
    assert "6,000 recordings" in printed
    assert "3,000 of 6,000 archived recordings are not measured" in printed
    faults = [line for line in printed.splitlines() if line.startswith("RECORDING FAULT?")]
    assert faults == ["RECORDING FAULT? acme_sg: channel 2 is silent in 100 % of the last 7 days' recordings"]


def test_listen_finds_the_recording_of_an_id_and_plays_just_its_bytes_also_from_an_archive_that_was_moved(
    archived: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(archived.config.parent / "archive", tmp_path / "moved")
    monkeypatch.setenv("CALLARCHIVE_ARCHIVE__URL", str(tmp_path / "moved"))
    recordings = Catalog.open(archived.config.parent / "catalog").arrow("recordings").to_pylist()
    wanted = min(
        (row for row in recordings if row["archive_status"] == "archived"), key=lambda row: row["recording_id"]
    )
    shown = run("listen", archived, monkeypatch, FIND=wanted["recording_id"].upper())
    assert "1 recordings; using the first one" in shown.text
    assert wanted["sha256"] in shown.text
    assert len(shown.pictures) == 1
    assert [hashlib.sha256(audio).hexdigest() for audio in shown.audio] == [wanted["sha256"]]
    assert_no_number(shown, archived)


def test_listen_without_an_id_takes_the_longest_sound_one_and_says_when_there_is_none(
    archived: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = Catalog.open(archived.config.parent / "catalog").arrow("recordings").to_pylist()
    sound = [row for row in recordings if row["archive_status"] == "archived" and not row["audio_issue"]]
    longest = max((row for row in sound if not row["duration_mismatch"]), key=lambda row: row["duration_s"])
    tables = [shown for shown in execute("listen", archived.config, monkeypatch) if isinstance(shown, pd.DataFrame)]
    assert longest["sha256"] in tables[-1]["value"].tolist()
    capsys.readouterr()
    assert execute("listen", archived.config, monkeypatch, LONGER_THAN_S=100_000) == []
    assert "no archived recording matches" in capsys.readouterr().out


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_committed_without_outputs(file: Path) -> None:
    command = [sys.executable, "-m", "nbstripout", "--verify", str(file)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    for cell in nbformat.read(file, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_of_ours_it_imports_callarchive_only(file: Path) -> None:
    cells = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    nodes = [node for source in cells for node in ast.walk(ast.parse(source))]
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    tops = {name.split(".")[0] for name in imported}
    assert "callarchive" in tops
    assert tops & {"assets", "pipelines", "dagster", "tests"} == set()
