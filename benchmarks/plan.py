"""Sizes of the cases, and how often each is measured."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Peers


@dataclass(frozen=True)
class Sizes:
    """Sizes of the cases, in recordings unless the name has another unit."""

    s3: int = 5_000
    sftp: int = 2_000
    far_sftp: int = 500
    long_sftp_bytes: int = 500_000_000
    long_s3_bytes: int = 1_000_000_000
    lookups: int = 5_000
    rate_cap: float = 500.0
    walked: int = 1_000
    day: int = 10_000
    ten_days: int = 10_000
    table_rows: int = 1_000_000
    year_rows: int = 1_800_000
    year_days: int = 365
    verified: int = 10_500
    ledger_entries: int = 1_000_000


FULL = Sizes()
QUICK = Sizes(
    s3=400,
    sftp=200,
    far_sftp=60,
    long_sftp_bytes=100_000_000,
    long_s3_bytes=200_000_000,
    lookups=400,
    walked=300,
    day=600,
    ten_days=600,
    table_rows=100_000,
    year_rows=90_000,
    year_days=90,
    verified=500,
    ledger_entries=50_000,
)


@dataclass(frozen=True)
class Plan:
    """The parameters of a benchmark run.

    Attributes:
        directory: holds corpora and peers between runs, and the archives.
        repeat: rounds of each case.
        long: also run cases that take many minutes.
    """

    directory: Path
    sizes: Sizes
    repeat: int
    long: bool
    peers: Peers
