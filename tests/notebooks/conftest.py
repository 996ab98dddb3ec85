"""Days with everything that goes wrong, archived once for all notebooks, from accounts that keep phone numbers."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from callarchive.archiving.connections import Connections
from callarchive.cli.day_results import DaySummary, archive_day
from callarchive.settings import load_settings
from callarchive.simulator.generation import generate_world
from callarchive.simulator.running import DEMO_ACCOUNTS, Simulator
from callarchive.simulator.world import World

FIRST_DAY, LAST_DAY = date(2026, 1, 5), date(2026, 1, 6)


@dataclass(frozen=True)
class ArchivedDays:
    """What notebooks are run on. Nothing listens any more: they need the files alone."""

    config: Path
    world: World
    summaries: list[DaySummary]


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> ArchivedDays:
    world = generate_world(seed=3, accounts=DEMO_ACCOUNTS, first_day=FIRST_DAY, last_day=LAST_DAY, sessions_per_day=24)
    with (
        pytest.MonkeyPatch.context() as patch,
        Simulator.start(tmp_path_factory.mktemp("days"), world=world) as simulator,
    ):
        for name, value in simulator.environment.items():
            patch.setenv(name, value)
        text = simulator.config.read_text()
        simulator.config.write_text(text.replace("api_key = ", 'phone_numbers = "keep"\napi_key = '))
        with Connections(load_settings(simulator.config), clock=simulator.clock) as connections:
            summaries = [archive_day(connections, day) for day in (FIRST_DAY, LAST_DAY)]
    return ArchivedDays(simulator.config, world, summaries)
