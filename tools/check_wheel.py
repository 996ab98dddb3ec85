"""Check that a wheel contains the three packages with their data files, and no other package."""

import sys
import zipfile

TOPS = {"callarchive", "assets", "pipelines"}
REPORT = {f"callarchive/monitoring/report/page.{suffix}" for suffix in ("html.jinja", "css", "js")}
REQUIRED = {
    *REPORT,
    "callarchive/monitoring/evidence/how_to_check.txt.jinja",
    *("callarchive/py.typed", "callarchive/cli/__init__.py", "assets/__init__.py", "pipelines/definitions.py"),
}


def main(path: str) -> int:
    """Return 0 if the wheel is complete, otherwise 1 after printing the reasons to stderr."""
    names = zipfile.ZipFile(path).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    faults = [f"unexpected at the top level: {top}" for top in sorted(tops - TOPS)]
    faults += [f"missing: {name}" for name in sorted(REQUIRED - set(names))]
    if not any(name.startswith("callarchive/simulator/clips/") for name in names):
        faults.append("missing: callarchive/simulator/clips/")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
