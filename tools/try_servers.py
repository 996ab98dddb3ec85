"""Run the contract of `tests/servers` against every installed server, and compare the results with docs/servers.md.

With --write, write them there instead. Rows of servers that are not installed are kept. Exit code 1: a test failed,
or the page is not current. Further arguments are pytest's.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.servers.running import Server
from tests.servers.s3_servers import S3_SERVERS
from tests.servers.sftp_servers import SFTP_SERVERS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "servers.md"
SERVERS = (*SFTP_SERVERS, *S3_SERVERS)
COLUMNS = {
    "landing": ("test_landings.py",),
    "main job, and a rerun without a download": ("test_a_day_",),
    "changed and late files": ("test_a_changed_file_",),
    "errors": ("_refused_", "_wrong_credentials_", "_does_not_exist_", "_is_gone_"),
    "archive and catalog": ("test_stores.py",),
}
"""By heading: parts of the names of tests. A test counts in the last column that has one."""
_HEADER = ("server", "version", *COLUMNS)


class Outcomes:
    """A plugin that notes whether all tests of a column passed, by server and column."""

    def __init__(self) -> None:
        self.passed: dict[tuple[str, str], bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = re.fullmatch(r"(?P<test>.+)\[(?P<server>.+)\](@.+)?", report.nodeid)
        if found is None or report.skipped or (report.passed and report.when != "call"):
            return
        columns = [name for name, parts in COLUMNS.items() if any(part in found["test"] for part in parts)]
        if columns:
            key = (found["server"], columns[-1])
            self.passed[key] = self.passed.get(key, True) and report.passed

    def row(self, server: Server) -> tuple[str, ...]:
        """Return the server's row."""
        words = {True: "yes", False: "no", None: "–"}
        cells = {name: words[self.passed.get((server.name, name))] for name in COLUMNS}
        if cells["archive and catalog"] == "yes" and not server.conditional_writes:
            cells["archive and catalog"] = "refused"
        return (server.name, server.version(), *cells.values(), server.remark)


def read_rows(text: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of the page's tables, each with the remark below the table, by server."""
    rows = [tuple(line[2:-2].split(" | ")) for line in text.splitlines() if line.startswith("| ")]
    tables = text.partition("## Run the tests\n")[0]
    remarks = dict(re.findall(r"^- (.+?): (.+)$", tables, re.MULTILINE))
    return {row[0]: (*row, remarks.get(row[0], "")) for row in rows}


def page(text: str, rows: dict[str, tuple[str, ...]]) -> str:
    """Return the page with tables of these rows in place of its own."""

    def table(servers: Sequence[Server]) -> str:
        known = [rows[server.name] for server in servers if server.name in rows]
        lines = "".join(
            f"| {' | '.join(row)} |\n" for row in (_HEADER, ["---"] * len(_HEADER), *(row[:-1] for row in known))
        )
        return lines + "\n" + "".join(f"- {row[0]}: {row[-1]}\n" for row in known if row[-1])

    head, tail = text.partition("## SFTP servers\n")[0], text.partition("## Run the tests\n")[2]
    return f"{head}## SFTP servers\n\n{table(SFTP_SERVERS)}\n## S3 servers\n\n{table(S3_SERVERS)}\n## Run the tests\n{tail}"


def main() -> int:
    """Run the tests, and compare or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/servers.md")
    options, rest = parser.parse_known_args()
    outcomes = Outcomes()
    code = int(
        pytest.main(
            ["-m", "servers", "-n", "2", "--dist", "loadgroup", str(ROOT / "tests" / "servers"), *rest],
            plugins=[outcomes],
        )
    )
    text = PAGE.read_text(encoding="utf-8")
    known = read_rows(text)
    ran = {name for name, _ in outcomes.passed}
    rows = {server.name: outcomes.row(server) for server in SERVERS if server.name in ran}
    if options.write:
        PAGE.write_text(page(text, {**known, **rows}), encoding="utf-8")
        return code
    for server in SERVERS:
        if server.name in rows and not is_current(server, known.get(server.name), rows[server.name]):
            print(
                f"docs/servers.md is not current: {server.name}: {rows[server.name]}; run tools/try_servers.py --write"
            )
            code = code or 1
    return code


def is_current(server: Server, known: tuple[str, ...] | None, row: tuple[str, ...]) -> bool:
    """Return whether the page has this row. The versions of Debian's packages differ between machines."""
    if known is None:
        return False
    return known == row or (not server.pinned and (known[0], *known[2:]) == (row[0], *row[2:]))


if __name__ == "__main__":
    sys.exit(main())
