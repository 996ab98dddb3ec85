"""Says whether a wheel carries what it must: the three packages, the type marker, the simulator's clips; and no tests."""

import sys
import zipfile

TOPS = {"callarchive", "assets", "pipelines"}
MUST = {"callarchive/py.typed", "callarchive/cli/__init__.py", "assets/__init__.py", "pipelines/definitions.py"}


def main(path: str) -> int:
    """0 if the wheel is as it should be, else 1 with the reasons on stderr."""
    names = zipfile.ZipFile(path).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    faults = [f"not expected at the top: {top}" for top in sorted(tops - TOPS)]
    faults += [f"lacking: {name}" for name in sorted(MUST - set(names))]
    if not any(name.startswith("callarchive/simulator/clips/") for name in names):
        faults.append("lacking: callarchive/simulator/clips/")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
