"""`python scripted.py S5CMD ENDPOINT SOURCE API IDS FOLDER`: what a user would script instead of callarchive's whole job.

s5cmd copies the recordings, `sync` makes them durable, two processes hash each file and read its duration with tinytag, 64
threads look up the sessions with requests, and pandas writes one Parquet table. It imports nothing of callarchive. It does not
resume, write a name only once, compare a file with the store's hash, decode audio, retry, or check anything.
"""

import csv
import hashlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from threading import local

_PROCESSES = 2
_THREADS = 64
_own = local()


def main(s5cmd: str, endpoint: str, source: str, api: str, ids: str, folder: str) -> None:
    """Archive the recordings, and write `recordings.parquet` into the folder."""
    import pandas as pd

    target = Path(folder)
    subprocess.run(
        [s5cmd, "--endpoint-url", endpoint, "--log", "error", "cp", f"{source}/*", f"{target}/archive/"], check=True
    )
    subprocess.run(["sync"], check=True)
    files = sorted((target / "archive").rglob("*.mp3"))
    with ProcessPoolExecutor(_PROCESSES) as processes:
        facts = list(processes.map(_facts, files, chunksize=64))
    with Path(ids).open(encoding="utf-8", newline="") as rows:
        session_ids = [row["session_id"] for row in csv.DictReader(rows)]
    with ThreadPoolExecutor(_THREADS) as threads:
        answers = list(threads.map(lambda session_id: _look_up(api, session_id), session_ids))
    named = pd.DataFrame([recording for answer in answers for recording in answer])
    kept = pd.DataFrame(facts, columns=["recordingId", "path", "size_bytes", "sha256", "duration_s"])
    named.merge(kept, how="left", on="recordingId").to_parquet(target / "recordings.parquet", compression="zstd")


def _facts(path: Path) -> tuple[str, str, int, str, float | None]:
    from tinytag import TinyTag

    data = path.read_bytes()
    return path.stem[-36:], str(path), len(data), hashlib.sha256(data).hexdigest(), TinyTag.get(path).duration


def _look_up(api: str, session_id: str) -> list[dict[str, object]]:
    import requests

    if not hasattr(_own, "session"):
        _own.session = requests.Session()
        _own.session.headers["Authorization"] = "Bearer benchmark"
    response = _own.session.get(f"{api}/{session_id}", timeout=30)
    response.raise_for_status()
    recordings: list[dict[str, object]] = response.json()["recordings"]
    return recordings


if __name__ == "__main__":
    main(*sys.argv[1:])
