"""A small world and its API, for the tests of the simulator."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from callarchive.simulator.api import SimulatedApi
from callarchive.simulator.clock import MovableClock
from callarchive.simulator.generation import generate_world
from callarchive.simulator.world import AccountPlan, World

ACCOUNTS = (
    AccountPlan("acme_sg", "s3", "acme-test-recordings/pushed/here"),
    AccountPlan("b&b.asia", "sftp", "upload", layout="dated", export_offsets=False, listed_share=0.5),
)
KEYS = {"acme_sg": "key-of-acme", "b&b.asia": "key-of-b"}


@pytest.fixture(scope="session")
def world() -> World:
    return generate_world(
        seed=1, accounts=ACCOUNTS, first_day=date(2026, 3, 2), last_day=date(2026, 3, 8), sessions_per_day=25
    )


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(datetime(2026, 4, 1, tzinfo=UTC))


@pytest.fixture
def api(world: World, clock: MovableClock) -> Iterator[SimulatedApi]:
    with SimulatedApi(world, keys=KEYS, clock=clock, export_rows_per_file=40) as running:
        yield running
