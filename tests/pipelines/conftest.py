"""Three simulated days of two accounts, on real servers on loopback, and Dagster instances to archive them in."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from callarchive.settings import Settings, load_settings
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import Simulator
from callarchive.simulator.world import AccountPlan
from pipelines.code_location import code_location

FIRST_DAY, LAST_DAY = date(2026, 10, 23), date(2026, 10, 25)
"""The last of them is 25 hours long in Berlin."""


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Simulators of 8x8, S3 and SFTP, filled, in the time zone of Berlin."""
    world = generate_world(
        seed=3,
        accounts=(
            AccountPlan("acme_s3", "s3", "acme-recordings/pushed"),
            AccountPlan("acme_sftp", "sftp", "upload", listed_share=0.5),
        ),
        first_day=FIRST_DAY,
        last_day=LAST_DAY,
        sessions_per_day=10,
        timezone="Europe/Berlin",
    )
    with Simulator.start(tmp_path_factory.mktemp("simulator"), world=world) as running:
        yield running


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of its own, with an archive and a catalog of its own, for the simulators; the environment set."""
    for name, value in simulator.environment.items():
        monkeypatch.setenv(name, value)
    simulator.api.faults.clear()
    text = simulator.config.read_text(encoding="utf-8").replace(
        f"{simulator.directory.as_uri()}/", f"{tmp_path.as_uri()}/"
    )
    shutil.copy(simulator.directory / "known_hosts", tmp_path)
    shutil.copytree(simulator.directory / "inbox", tmp_path / "inbox")
    file = tmp_path / "callarchive.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(file))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return file


@pytest.fixture
def settings(config: Path) -> Settings:
    """The configuration, read."""
    return load_settings(config)


@pytest.fixture
def definitions(settings: Settings) -> dg.Definitions:
    """The code location for that configuration."""
    return code_location(settings)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps its events in SQLite files below `tmp_path`, as `make ui` does."""
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as local:
        yield local
