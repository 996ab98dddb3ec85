"""`tools/try_servers.py` compares the results of `tests/servers` with docs/servers.md."""

from types import SimpleNamespace

import pytest

from tests.servers.s3_servers import S3_SERVERS
from tests.servers.sftp_servers import SFTP_SERVERS
from tools import try_servers

TEXT = try_servers.PAGE.read_text(encoding="utf-8")


def outcomes_of(*results: tuple[str, str]) -> try_servers.Outcomes:
    outcomes = try_servers.Outcomes()
    for nodeid, outcome in results:
        report = SimpleNamespace(nodeid=nodeid, when="call", passed=outcome == "passed", skipped=outcome == "skipped")
        outcomes.pytest_runtest_logreport(report)  # type: ignore[arg-type]
    return outcomes


def test_the_page_has_every_server_and_is_unchanged_by_its_own_rows() -> None:
    rows = try_servers.read_rows(TEXT)
    assert [name for name in rows if name not in ("server", "---")] == [
        server.name for server in (*SFTP_SERVERS, *S3_SERVERS)
    ]
    assert try_servers.page(TEXT, rows) == TEXT


@pytest.mark.parametrize(("second", "word"), [("passed", "yes"), ("failed", "no"), ("skipped", "yes")])
def test_a_column_is_right_if_no_test_of_it_failed(second: str, word: str) -> None:
    moto = S3_SERVERS[0]
    outcomes = outcomes_of(
        ("tests/servers/test_landings.py::test_a_listing[moto]@moto", "passed"),
        ("tests/servers/test_landings.py::test_a_large_folder[moto]@moto", second),
    )
    assert outcomes.row(moto)[2:] == (word, "–", "–", "–", "–", moto.remark)


def test_the_version_is_compared_only_where_it_is_pinned() -> None:
    openssh, moto = SFTP_SERVERS[0], S3_SERVERS[0]
    row, other = ("name", "1.0", "yes"), ("name", "2.0", "yes")
    assert try_servers.is_current(openssh, row, other)
    assert not try_servers.is_current(moto, row, other)
    assert not try_servers.is_current(openssh, row, ("name", "1.0", "no"))
    assert not try_servers.is_current(openssh, None, row)
