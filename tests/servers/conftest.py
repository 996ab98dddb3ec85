"""One landing on each server. Servers are session-wide; every test gets a folder of its own."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from callarchive.storage.landing import Landing
from tests.servers.running import Place, Server
from tests.servers.s3_servers import S3_SERVERS
from tests.servers.sftp_servers import SFTP_SERVERS

SERVERS = (*SFTP_SERVERS, *S3_SERVERS)
_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.servers)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of `server` once on each; with a marker `refusing` or `stores`, on those that it concerns."""
    if "server" in metafunc.fixturenames:
        refusing, stores = map(metafunc.definition.get_closest_marker, ("refusing", "stores"))
        servers = [
            server
            for server in SERVERS
            if (refusing is None or refusing.args[0] in server.refuses)
            and (stores is None or server.conditional_writes is stores.kwargs["conditional_writes"])
        ]
        # All tests of a server run in one of xdist's processes, so that it is started once.
        params = [
            pytest.param(server, id=server.name, marks=pytest.mark.xdist_group(server.name)) for server in servers
        ]
        metafunc.parametrize("server", params, scope="session", indirect=True)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """A server that is installed here."""
    server: Server = request.param
    if absent := server.absent():
        reason = (
            f"{server.name}: {', '.join(absent)} is not installed (make test-servers; .ci/run lists Debian's packages)"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return server


@pytest.fixture(scope="session")
def running_server(server: Server) -> Iterator[Place]:
    """The landing at the root of the server."""
    folder = Path(tempfile.mkdtemp(prefix="callarchive-servers-"))
    try:
        with server.run(folder) as place:
            yield place
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place(running_server: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A landing of the test's own. Its folder exists."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "CALLARCHIVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACME_SG_API_KEY", "key-of-the-tests")
    for name, value in running_server.environment.items():
        monkeypatch.setenv(name, value)
    place = running_server.below(f"upload-{next(_numbers)}")
    place.files.put("marker.txt", b"The folder exists.")
    return place


@pytest.fixture
def open_landing() -> Iterator[Callable[[Place], Landing]]:
    """Opens landings, and closes them."""
    with ExitStack() as opened:

        def start(place: Place) -> Landing:
            landing = place.open()
            opened.callback(landing.close)
            return landing

        yield start
