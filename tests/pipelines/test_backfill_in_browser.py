"""A backfill as a person makes one, and retention: in a browser, in the UI that `make ui` starts, on the simulator's days."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import days_between
from callarchive.simulator.generation import generate_world
from callarchive.simulator.landings import free_port
from callarchive.simulator.running import Simulator
from callarchive.simulator.world import AccountPlan

pytestmark = [pytest.mark.live, pytest.mark.needs("chromium")]

DAYS = [f"2026-01-{number:02}" for number in range(5, 11)]
ASSETS = (
    schemas.SESSION_IDS,
    schemas.RECORDING_METADATA,
    schemas.RECORDING_FILES,
    *schemas.PUBLIC_TABLES,
)
PATIENCE_S = 240
"""Dagster's daemon looks every 30 s whether there is a backfill to begin, or whether one has ended."""


@dataclass
class Ui:
    """The running UI, a page of a browser on it, and what that page asked for."""

    url: str
    page: Page
    folder: Path
    requests: list[str]
    environment: dict[str, str]

    def ask(self, query: str) -> dict[str, Any]:
        """What the UI's server answers to a GraphQL query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def backfill(self, first: str, last: str) -> str:
        """All assets are backfilled over these days by clicking, and the backfill's page is open. Returns how it ended."""
        page, before = self.page, self._backfills()
        self.open("/asset-groups")
        page.get_by_role("button", name="Materialize all").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Show all partitions").click()
        days = dialog.get_by_role("textbox").first
        days.fill(f"[{first}...{last}]")
        days.press("Enter")
        dialog.get_by_role("button", name=re.compile("^Launch")).click()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            made = {key: status for key, status in self._backfills().items() if key not in before}
            for key, status in made.items():
                if status not in ("REQUESTED", "FAILING", "CANCELING"):
                    self.open(f"/runs/b/{key}")
                    return status
            assert time.monotonic() < deadline, f"the backfill does not end: {made}; the log is {self.folder / 'log'}"
            time.sleep(1)

    def _backfills(self) -> dict[str, str]:
        """The status of each, by id."""
        answer = self.ask("{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }")
        return {found["id"]: found["status"] for found in answer["partitionBackfillsOrError"]["results"]}

    def runs(self) -> dict[str, str]:
        """The status of each run, by id."""
        answer = self.ask("{ runsOrError { ... on Runs { results { id status } } } }")
        return {found["id"]: found["status"] for found in answer["runsOrError"]["results"]}

    def launch(self, job: str, **tags: str) -> str:
        """A run of the job is queued, and has ended. Returns its status."""
        before = self.runs()
        dagster = Path(sys.executable).with_name("dagster")
        words = ["job", "launch", "-m", "pipelines.definitions", "-j", job, "--tags", json.dumps(tags)]
        subprocess.run([dagster, *words], env=self.environment, check=True, capture_output=True, timeout=120)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            (status,) = (status for key, status in self.runs().items() if key not in before)
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            assert time.monotonic() < deadline, f"the run does not end; the log is {self.folder / 'log'}"
            time.sleep(1)

    def days(self, asset: str, status: str) -> set[str]:
        """The days of the asset that the UI shows with that status: MATERIALIZED in green, FAILED in red."""
        ranges = "assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } }"
        node = self.ask(
            f'{{ assetNodeOrError(assetKey: {{path: ["{asset}"]}}) {{ ... on AssetNode {{ {ranges} }} }} }}'
        )
        found = [
            days_between(date.fromisoformat(span["startKey"]), date.fromisoformat(span["endKey"]))
            for span in node["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
            if span["status"] == status
        ]
        return {str(day) for days in found for day in days}


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """`python -m pipelines.ui` on six days of two accounts, three days a run, and a browser."""
    folder = tmp_path_factory.mktemp("backfill")
    world = generate_world(
        seed=3,
        accounts=(
            AccountPlan("acme_s3", "s3", "acme-recordings/pushed"),
            AccountPlan("acme_sftp", "sftp", "upload", listed_share=0.5),
        ),
        first_day=date.fromisoformat(DAYS[0]),
        last_day=date.fromisoformat(DAYS[-1]),
        sessions_per_day=6,
    )
    port = free_port(0)
    with Simulator.start(folder, world=world) as simulator, (folder / "log").open("wb") as log:
        head, marker, accounts = simulator.config.read_text().partition("[[accounts]]")
        simulator.config.write_text(
            f"{head}[dagster]\ndays_per_run = 3\n\n[retention]\nkeep_days = 30\n\n{marker}{accounts}"
        )
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("CALLARCHIVE_", "AWS_", "DAGSTER_"))},
            **simulator.environment,
            "CALLARCHIVE_CONFIG": str(simulator.config),
            "DAGSTER_HOME": str(folder / "dagster"),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.ui", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport={"width": 1500, "height": 1000})
                page.set_default_timeout(30_000)
                expect.set_options(timeout=30_000)
                started = Ui(f"http://127.0.0.1:{port}", page, folder, [], environment)
                page.on("request", lambda request: started.requests.append(request.url))
                wait_until_up(started, process)
                yield started
                browser.close()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until_up(ui: Ui, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 90
    while True:
        assert process.poll() is None, (ui.folder / "log").read_text()
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if ui.ask("{ assetNodes { id } }")["assetNodes"]:
                return
        assert time.monotonic() < deadline, "the UI did not come up in time"
        time.sleep(0.3)


def test_a_backfill_of_three_days_is_clicked_to_success_and_its_plot_looked_at(ui: Ui) -> None:
    assert ui.backfill(DAYS[0], DAYS[2]) == "COMPLETED_SUCCESS"
    expect(ui.page.get_by_text("100% completed")).to_have_count(len(ASSETS))
    for table in ASSETS:
        assert set(DAYS[:3]) <= ui.days(table.name, "MATERIALIZED")
    published = Catalog.open(ui.folder / "catalog").days(schemas.RECONCILIATION)
    assert set(DAYS[:3]) <= {str(day) for day in published}

    ui.open(f"/assets/status_stats?view=partitions&partition={DAYS[2]}")
    expect(ui.page.get_by_text("Materialized", exact=True)).to_be_visible()
    ui.page.get_by_role("row", name="last_30_days").get_by_text("[Show Markdown]").click()
    picture = ui.page.get_by_role("img", name=f"the 30 days up to {DAYS[2]}")
    expect(picture).to_be_visible()
    width, height, shown_width = picture.evaluate(
        "image => [image.naturalWidth, image.naturalHeight, image.clientWidth]"
    )
    assert (width, height) == (640, 400)
    assert shown_width == width, "it is shown whole"


def test_the_tables_of_a_day_fit_the_pane_at_1280_pixels(ui: Ui) -> None:
    ui.page.set_viewport_size({"width": 1280, "height": 1000})
    for table in ASSETS:
        ui.open(f"/assets/{table.name}?view=partitions&partition={DAYS[0]}")
        row = ui.page.get_by_role("row", name=f"file call_date={DAYS[0]}/part-0.parquet")
        expect(row).to_be_visible()
        overflow = row.evaluate(
            "row => { const pane = row.closest('table').parentElement; return pane.scrollWidth - pane.clientWidth }"
        )
        assert overflow <= 0, table.name
    ui.page.set_viewport_size({"width": 1500, "height": 1000})


def test_the_texts_about_retention_are_shown_whole_at_1280_pixels(ui: Ui) -> None:
    page = ui.page
    page.set_viewport_size({"width": 1280, "height": 1000})
    location = "/locations/pipelines.definitions"
    plan = "callarchive retention plan"
    for path, texts in (
        (f"{location}/schedules/nightly_retention", ["At 05:00 AM UTC", f"Off by default; {plan} shows what it would"]),
        (f"{location}/jobs/retention", ["It cannot be undone", "Remove days past their retention, unless held."]),
        (
            "/assets/recordings?view=checks&checkDetail=nothing_kept_past_its_time",
            ["The archive has no day that is past its retention", f"(keep_days = 30): {plan} lists what is past"],
        ),
    ):
        ui.open(path)
        for text in texts:
            shown = page.get_by_text(text).first
            expect(shown).to_be_visible()
            assert shown.evaluate("text => text.scrollWidth - text.clientWidth") <= 0, text
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, path
    page.set_viewport_size({"width": 1500, "height": 1000})


def test_a_failed_day_of_a_batch_stays_failed_beside_its_good_neighbours(ui: Ui) -> None:
    (ui.folder / "inbox" / f"sessions-{DAYS[4]}.csv").unlink()
    assert ui.backfill(DAYS[3], DAYS[5]) == "COMPLETED_FAILED"
    for table in ASSETS:
        assert ui.days(table.name, "MATERIALIZED") & set(DAYS[3:]) == {DAYS[3], DAYS[5]}
        assert ui.days(table.name, "FAILED") == {DAYS[4]}
    for day in (DAYS[3], DAYS[5]):
        ui.open(f"/assets/status_stats?view=partitions&partition={day}")
        expect(ui.page.get_by_text("Materialized", exact=True)).to_be_visible()
        expect(ui.page.get_by_role("row", name="audio_hours")).to_be_visible()
    ui.open(f"/assets/status_stats?view=partitions&partition={DAYS[4]}")
    expect(ui.page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    expect(ui.page.get_by_text("Failed (1)")).to_be_visible()
    ui.open("/assets/recordings?view=checks&checkDetail=nothing_kept_past_its_time")
    expect(ui.page.get_by_text("days are kept past their time")).to_be_visible()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (ASSETS[0], "One row per session: the sources that list it"),
        (schemas.RECORDINGS, "One row per recording: state, file, duration"),
        (schemas.STATUS_STATS, "One row per account and pair of states"),
    ],
    ids=["session_ids", "recordings", "status_stats"],
)
def test_an_assets_page_says_what_a_row_is_and_asks_nobody_but_dagster(ui: Ui, table: schemas.Table, row: str) -> None:
    ui.open(f"/assets/{table.name}")
    expect(ui.page.get_by_text(row)).to_be_visible()
    expect(ui.page.get_by_text("Fails if more than 36 hours since last materialization")).to_be_visible()
    assert {urlsplit(url).hostname for url in ui.requests} - {None} == {"127.0.0.1"}


def test_ids_of_what_retention_removes_are_gone_from_dagster_and_its_history_stays(ui: Ui) -> None:
    home, catalog = ui.folder / "dagster", Catalog.open(ui.folder / "catalog")
    ids = {
        row[name].encode()
        for table, name in ((schemas.SESSIONS, "session_id"), (schemas.RECORDINGS, "recording_id"))
        for row in catalog.arrow(table).to_pylist()
    }
    in_dagster = re.compile(b"|".join(one[:13] for one in ids), re.IGNORECASE)

    def files_with_ids() -> list[Path]:
        return [path for path in home.rglob("*") if path.is_file() and in_dagster.search(path.read_bytes())]

    before, runs = {table.name: ui.days(table.name, "MATERIALIZED") for table in ASSETS}, ui.runs()
    assert files_with_ids()
    assert ui.launch("retention") == "SUCCESS"
    assert files_with_ids() == []
    assert {table.name: ui.days(table.name, "MATERIALIZED") for table in ASSETS} == before
    assert ui.runs().items() > runs.items()
    ui.open("/assets/recordings?view=checks&checkDetail=nothing_kept_past_its_time")
    expect(ui.page.get_by_text("nothing is kept past its time")).to_be_visible()
    ui.open(f"/assets/recordings?view=partitions&partition={DAYS[0]}")
    expect(ui.page.get_by_role("row", name="needs_attention_count")).to_be_visible()

    assert ui.launch("archive_day", **{"dagster/partition": DAYS[0]}) == "SUCCESS"
    assert files_with_ids() == [], "a later run does not bring them back"
