"""Time zone data: which files zoneinfo reads, their version, and which zone names a configuration may use.

Every process uses the pinned package `tzdata`, because the machine's files differ between machines and change with updates.
Importing `callarchive` (or `pipelines`) switches zoneinfo to it. Only `PYTHONTZPATH` takes precedence; an empty one means the
package alone.
"""

import os
import re
import sysconfig
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

PATH_VARIABLE = "PYTHONTZPATH"
_PACKAGE = "tzdata"
_VERSION_LINE = "# version "
_HEADER_BYTES = 40
_LEAP_COUNT = slice(24, 28)
"""The number of leap-second records in a TZif header (RFC 9636, section 3.1), after the four bytes `TZif`."""

_OFFSET = re.compile(r"(utc|gmt)? ?[+-] ?[0-9]", re.IGNORECASE)
_LONGEST_ABBREVIATION = 4
_NO_ZONES = {
    "localtime": "is whatever zone a machine is set to",
    "posixrules": "is whatever rules a machine has chosen",
    "factory": "is what a machine has before its zone is set",
}
_SECOND_COPIES = {
    "right": "counts leap seconds, which time stamps do not",
    "posix": "is a second copy that not every machine has",
}


@dataclass(frozen=True)
class ZoneData:
    """The version of one zone's data."""

    origin: str  # `tzdata` for the package, else the folder of the file
    version: str | None  # IANA's release, such as 2026f; `None` if unknown
    sha256: str  # of the zone's file, hex: identifies data without a version, and edited data

    def __str__(self) -> str:
        release = self.version or f"of unknown release, SHA-256 {self.sha256[:12]}"
        return f"tzdata {release}" if self.origin == _PACKAGE else f"tz data {release} in {self.origin}"


def use_package_data() -> None:
    """Make zoneinfo read the package `tzdata`, for zones opened from now on, unless PYTHONTZPATH is set."""
    if PATH_VARIABLE not in os.environ and zoneinfo.TZPATH and find_spec(_PACKAGE) is not None:
        zoneinfo.reset_tzpath(to=())
        ZoneInfo.clear_cache()


def follow_path_variable() -> None:
    """Make zoneinfo read PYTHONTZPATH again: a `.env` file may set it after the import."""
    zoneinfo.reset_tzpath()
    ZoneInfo.clear_cache()


def data_in_use(name: str) -> ZoneData:
    """Return the version of the data that zoneinfo reads for the zone. Raises ValueError if there is no such zone."""
    return (_data_below(zoneinfo.TZPATH, name) or _packaged_data(name))[0]


def opened_zone(name: str) -> ZoneInfo | None:
    """Return the zone from this process's data; `None` if there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def machine_zone(name: str) -> tuple[ZoneInfo, ZoneData] | None:
    """Return the zone from the machine's own files, and their version; `None` where the machine has none."""
    found = _data_below(_machine_folders(), name)
    return None if found is None else _opened(found, name)


def name_of_machine_zone() -> str | None:
    """Return the name of the zone that this machine is set to, if it may be configured."""
    name = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    try:
        name = name or Path("/etc/timezone").read_text(encoding="ascii").strip()
        require_zone(name)
    except (OSError, ValueError):
        return None
    return "UTC" if name == "Etc/UTC" else name


def packaged_zone(name: str) -> tuple[ZoneInfo, ZoneData] | None:
    """Return the zone from the package, and its version; `None` where the package lacks it."""
    try:
        return _opened(_packaged_data(name), name)
    except ValueError:
        return None


def require_zone(name: str) -> None:
    """Raise ValueError, with a suggestion, unless the name is an IANA zone that means the same on every machine."""
    first, _, rest = name.partition("/")
    if name.casefold() in _NO_ZONES:
        raise ValueError(f"{name} {_NO_ZONES[name.casefold()]}: name the zone itself, such as Asia/Singapore")
    if rest and first.casefold() in _SECOND_COPIES:
        raise ValueError(f"{name} {_SECOND_COPIES[first.casefold()]}: {_suggestion(rest) or 'use a plain name'}")
    if name not in zoneinfo.available_timezones():
        hint = _suggestion(name)
        if _OFFSET.match(name.strip()):  # in Etc/GMT+8 the sign is reversed, so it is hardly what is meant
            hint = "an offset is not a zone, name a place that has it"
        raise ValueError(f"{_shown(name)} is not an IANA time zone name such as Asia/Singapore{hint and f': {hint}'}")
    found = _data_below(zoneinfo.TZPATH, name) or _packaged_data(name)
    if _counts_leap_seconds(found[1]):
        raise ValueError(
            f"{name} counts leap seconds in {found[0].origin}, which time stamps do not: unset {PATH_VARIABLE}"
        )
    try:
        ZoneInfo(name)
    except (ValueError, OSError) as err:
        raise ValueError(f"{name} cannot be read in {found[0].origin}: {err}") from None


def _suggestion(name: str) -> str:
    """Return "did you mean ...?" with the zone that is probably meant, else an empty string."""
    from difflib import get_close_matches

    known = {
        zone.casefold(): zone for zone in sorted(zoneinfo.available_timezones()) if zone.casefold() not in _NO_ZONES
    }
    wanted = name.strip().casefold().replace(" ", "_")
    by_city = {zone.rpartition("/")[2]: zone for zone in known}
    near = [zone for zone in (wanted, by_city.get(wanted, "")) if zone in known]
    if len(wanted) <= _LONGEST_ABBREVIATION and not near:  # every abbreviation resembles another zone's
        return ""
    near = near or get_close_matches(wanted[:60], known, n=1)
    near = near or [by_city[city] for city in get_close_matches(wanted[:60], by_city, n=1, cutoff=0.75)]
    return f"did you mean {known[near[0]]}?" if near else ""


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 60 else f"{name[:57]}...")[1:-1] or "an empty text"


def _machine_folders() -> tuple[str, ...]:
    """Return zoneinfo's default folders."""
    return tuple(filter(os.path.isabs, (sysconfig.get_config_var("TZPATH") or "").split(os.pathsep)))


def _data_below(folders: Sequence[str], name: str) -> tuple[ZoneData, bytes] | None:
    """Return the zone's data in the first folder that has it."""
    for folder in folders:
        try:
            data = Path(folder, name).read_bytes()
        except (OSError, ValueError):
            continue
        return ZoneData(folder, _version_in(Path(folder)), sha256(data).hexdigest()), data
    return None


def _packaged_data(name: str) -> tuple[ZoneData, bytes]:
    from importlib.resources import files  # 15 ms of import, which no process needs that only opens zones

    try:
        data = files(_PACKAGE).joinpath("zoneinfo", *name.split("/")).read_bytes()
        from tzdata import IANA_VERSION
    except (ImportError, OSError, ValueError) as err:
        raise ValueError(f"there is no data of {name}: {type(err).__name__}") from err
    return ZoneData(_PACKAGE, IANA_VERSION, sha256(data).hexdigest()), data


def _opened(found: tuple[ZoneData, bytes], name: str) -> tuple[ZoneInfo, ZoneData] | None:
    try:
        return ZoneInfo.from_file(BytesIO(found[1]), key=name), found[0]
    except ValueError:
        return None


def _version_in(folder: Path) -> str | None:
    """Return the release in `+VERSION` (BSD, macOS) or the first line of `tzdata.zi` (Debian, Red Hat), else `None`."""
    try:
        return (folder / "+VERSION").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        pass
    try:
        with (folder / "tzdata.zi").open(encoding="ascii") as lines:
            line = lines.readline().strip()
    except (OSError, ValueError):
        return None
    return line.removeprefix(_VERSION_LINE) if line.startswith(_VERSION_LINE) else None


def _counts_leap_seconds(data: bytes) -> bool:
    """Return whether a header of the TZif data (version 2 and later have two) announces leap-second records."""
    return any(any(header[_LEAP_COUNT]) for header in data.split(b"TZif")[1:] if len(header) >= _HEADER_BYTES)
