"""`python -m tools.take_screenshots`: retake the pictures in docs/images from the UI on the demo's week.

Needs chromium (a Debian package) and a minute or two. Review the pictures before you commit them.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import requests
from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

from callarchive.archiving.connections import Connections
from callarchive.cli.day_results import archive_days
from callarchive.settings import load_settings
from callarchive.simulator.landings import free_port
from callarchive.simulator.running import Simulator

IMAGES = Path(__file__).parents[1] / "docs" / "images"
LARGEST_BYTES = 150_000
_SIZE: ViewportSize = {"width": 1400, "height": 1000}
_PATIENCE_S = 120


def main() -> int:
    """Return 0 if every picture was taken."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed: apt install chromium", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="callarchive-screenshots-") as folder,
        _demo(Path(folder)) as (days, environment),
        _ui(Path(folder), environment) as url,
        sync_playwright() as playwright,
    ):
        # The sandbox needs a non-root user or namespaces, which a container may lack.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=_SIZE)
        page.set_default_timeout(60_000)
        _take_all(page, url, days)
        _take_report(page, Path(folder) / "report.html", days, environment)
        browser.close()
    return 0


def _take_all(page: Page, url: str, days: list[date]) -> None:
    # Groups are collapsed by default; the URL lists the expanded ones.
    query = {"query": "{ assetNodes { groupName } }"}
    nodes = requests.post(f"{url}/graphql", json=query, timeout=60).json()["data"]["assetNodes"]
    groups = sorted({f"global@global:{node['groupName']}" for node in nodes})
    page.goto(f"{url}/asset-groups?{urlencode({'expanded': ','.join(groups)})}")
    page.locator("svg :text-is('reconciliation'):visible").first.wait_for()
    page.locator("[aria-label=zoom_out]:visible").first.click()
    _settle(page)
    _keep("asset-graph", page.screenshot())

    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    partitions = dialog.get_by_role("textbox").first
    partitions.fill(f"[{days[0]}...{days[-1]}]")
    partitions.press("Enter")
    _settle(page)
    _keep("backfill", dialog.screenshot())

    page.goto(f"{url}/assets/recordings")
    page.locator(":text('Latest materialization'):visible").first.wait_for()
    _settle(page)
    _keep("asset", page.screenshot())

    page.goto(f"{url}/assets/duration_stats?view=partitions&partition={days[-2]}")
    page.get_by_text("[Show Markdown]").first.click()
    page.get_by_role("dialog").locator("img").wait_for()
    _settle(page)
    _keep("partition-plot", page.screenshot())


def _take_report(page: Page, file: Path, days: list[date], environment: dict[str, str]) -> None:
    words = ["report", "--from", str(days[0]), "--to", str(days[-1]), "--output", str(file)]
    subprocess.run([sys.executable, "-m", "callarchive", *words], env=environment, check=True, timeout=_PATIENCE_S)
    page.goto(file.as_uri())
    _keep("report", page.screenshot())
    page.get_by_role("heading", name="The calls").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('calls').scrollIntoView()")
    _keep("report-calls", page.screenshot(clip={"x": 0, "y": 0, "width": 1400, "height": 640}))


def _settle(page: Page) -> None:
    """Wait until loading and animations have ended. A fixed time is needed because the UI never stops polling."""
    page.wait_for_timeout(4_000)


def _keep(name: str, png: bytes) -> None:
    """Save the picture in docs/images with few colours, and scaled down if it would be too large."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    while True:
        packed = io.BytesIO()
        picture.quantize(128, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= LARGEST_BYTES:
            break
        picture = picture.resize((picture.width * 9 // 10, picture.height * 9 // 10))
    (IMAGES / f"{name}.png").write_bytes(packed.getvalue())
    print(f"{name}.png: {picture.width} x {picture.height}, {packed.tell() / 1000:.0f} kB")


@contextmanager
def _demo(folder: Path) -> Iterator[tuple[list[date], dict[str, str]]]:
    """Archive the demo's week. Yield its days and an environment for its clients while the simulator runs."""
    for name in [name for name in os.environ if name.startswith(("CALLARCHIVE_", "AWS_", "DAGSTER_"))]:
        del os.environ[name]
    with Simulator.start(folder) as simulator:
        os.environ.update(simulator.environment)
        days = sorted({session.started_at.date() for session in simulator.world.sessions})
        with Connections(load_settings(simulator.config)) as connections:
            for result in archive_days(connections, days):
                print(f"archived {result.day}")
        yield days, {**os.environ, "CALLARCHIVE_CONFIG": str(simulator.config), "DAGSTER_HOME": str(folder / "dagster")}


@contextmanager
def _ui(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run the UI and yield its URL."""
    port = free_port(0)
    command = [sys.executable, "-m", "pipelines.ui", "--port", str(port)]
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not _responds(f"{url}/server_info"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the UI did not start:\n" + (folder / "ui.log").read_text())
            time.sleep(0.5)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _responds(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    sys.exit(main())
