"""How large everything is that gets measured, and how often."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Peers


@dataclass(frozen=True)
class Sizes:
    """Numbers of recordings, unless the name says otherwise."""

    s3: int = 5_000
    sftp: int = 2_000
    far_sftp: int = 500
    long_sftp_bytes: int = 500_000_000
    long_s3_bytes: int = 1_000_000_000
    look_ups: int = 5_000
    rate_cap: float = 500.0
    walked: int = 1_000
    day: int = 10_000
    ten_days: int = 10_000
    table_rows: int = 1_000_000
    year_rows: int = 1_800_000
    year_days: int = 365


FULL = Sizes()
QUICK = Sizes(
    s3=400,
    sftp=200,
    far_sftp=60,
    long_sftp_bytes=100_000_000,
    long_s3_bytes=200_000_000,
    look_ups=400,
    walked=300,
    day=600,
    ten_days=600,
    table_rows=100_000,
    year_rows=90_000,
    year_days=90,
)


@dataclass(frozen=True)
class Plan:
    """What a case is measured with.

    Attributes:
        directory: where corpora and peers are kept between runs, and archives are made.
        repeat: rounds of each case.
        long: whether cases of many minutes are wanted as well.
    """

    directory: Path
    sizes: Sizes
    repeat: int
    long: bool
    peers: Peers
