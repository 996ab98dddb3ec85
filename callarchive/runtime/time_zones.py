"""Time zone data: which files zoneinfo reads, what identifies them, and which zone names a configuration may use.

One source for every process: the package `tzdata`, which is pinned, and not the machine's files, which change with its
updates and differ between machines. Importing `callarchive` (or `pipelines`, as Dagster's processes do) switches zoneinfo
over. Only `PYTHONTZPATH`, which somebody has set on purpose, comes first; an empty one means the package alone.
"""

import os
import sysconfig
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

PATH_VARIABLE = "PYTHONTZPATH"
_PACKAGE = "tzdata"
_VERSION_LINE = "# version "
_HEADER_BYTES = 44
_LEAP_COUNT = slice(28, 32)
"""Where a TZif header gives the number of leap-second records (RFC 9636, section 3.1)."""

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
    """The data of one zone, as it lies in a file.

    Attributes:
        origin: `tzdata` for the package, else the folder that holds the file.
        version: IANA's release, such as 2026f; None where the folder does not say.
        sha256: of the zone's file, hex: identifies data without a version, and data that was edited.
    """

    origin: str
    version: str | None
    sha256: str

    def __str__(self) -> str:
        release = self.version or f"of unknown release, SHA-256 {self.sha256[:12]}"
        return f"tzdata {release}" if self.origin == _PACKAGE else f"tz data {release} in {self.origin}"


def use_package_data() -> None:
    """Make zoneinfo read the package `tzdata` and no files of the machine, unless PYTHONTZPATH is set.

    Zones that were opened before keep their data, but are not handed out again.
    """
    if PATH_VARIABLE not in os.environ and zoneinfo.TZPATH and find_spec(_PACKAGE) is not None:
        zoneinfo.reset_tzpath(to=())
        ZoneInfo.clear_cache()


def follow_path_variable() -> None:
    """Make zoneinfo read PYTHONTZPATH, which it does by itself only when it is imported: a `.env` may set it later."""
    zoneinfo.reset_tzpath()
    ZoneInfo.clear_cache()


def data_in_use(name: str) -> ZoneData:
    """Return what identifies the data that zoneinfo reads for the zone.

    Raises:
        ValueError: there is no such zone.
    """
    found = _data_below(zoneinfo.TZPATH, name)
    if found is not None:
        return found[0]
    return _packaged_data(name)[0]


def opened_zone(name: str) -> ZoneInfo | None:
    """Return the zone as this process knows it; None where there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def machine_zone(name: str) -> tuple[ZoneInfo, ZoneData] | None:
    """Return the zone as the machine's own files give it, and what identifies them; None where the machine has none."""
    found = _data_below(_machine_folders(), name)
    return None if found is None else _opened(found, name)


def packaged_zone(name: str) -> tuple[ZoneInfo, ZoneData] | None:
    """Return the zone as the package gives it, and what identifies it; None where the package lacks it."""
    try:
        return _opened(_packaged_data(name), name)
    except ValueError:
        return None


def require_zone(name: str) -> None:
    """Return when the name is an IANA zone that means the same on every machine.

    Raises:
        ValueError: it is none. The message continues "timezone: ...", and names a zone that may be meant.
    """
    first, _, rest = name.partition("/")
    if name.casefold() in _NO_ZONES:
        raise ValueError(f"{name} {_NO_ZONES[name.casefold()]}: name the zone itself, such as Asia/Singapore")
    if rest and first.casefold() in _SECOND_COPIES:
        raise ValueError(f"{name} {_SECOND_COPIES[first.casefold()]}: {_suggestion(rest) or 'use a plain name'}")
    if name not in zoneinfo.available_timezones():
        hint = _suggestion(name)
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
    """A question about the zone that may be meant; an empty text where none is near."""
    from difflib import get_close_matches

    known = {
        zone.casefold(): zone for zone in sorted(zoneinfo.available_timezones()) if zone.casefold() not in _NO_ZONES
    }
    wanted = name.strip().casefold().replace(" ", "_")
    by_city = {zone.rpartition("/")[2]: zone for zone in known}
    near = [zone for zone in (wanted, by_city.get(wanted, "")) if zone in known] or get_close_matches(
        wanted[:60], known, n=1
    )
    near = near or [by_city[city] for city in get_close_matches(wanted[:60], by_city, n=1, cutoff=0.75)]
    return f"did you mean {known[near[0]]}?" if near else ""


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 60 else f"{name[:57]}...")[1:-1] or "an empty text"


def _machine_folders() -> tuple[str, ...]:
    """Where zoneinfo looks when nobody tells it anything."""
    return tuple(filter(os.path.isabs, (sysconfig.get_config_var("TZPATH") or "").split(os.pathsep)))


def _data_below(folders: Sequence[str], name: str) -> tuple[ZoneData, bytes] | None:
    """The zone's data in the first of the folders that has it."""
    for folder in folders:
        try:
            data = Path(folder, name).read_bytes()
        except (OSError, ValueError):
            continue
        return ZoneData(folder, _version_in(Path(folder)), _sha256(data)), data
    return None


def _packaged_data(name: str) -> tuple[ZoneData, bytes]:
    from importlib.resources import files  # 15 ms of import, which no process needs that only opens zones

    try:
        data = files(_PACKAGE).joinpath("zoneinfo", *name.split("/")).read_bytes()
        from tzdata import IANA_VERSION
    except (ImportError, OSError, ValueError) as err:
        raise ValueError(f"there is no data of {name}: {type(err).__name__}") from err
    return ZoneData(_PACKAGE, IANA_VERSION, _sha256(data)), data


def _sha256(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()


def _opened(found: tuple[ZoneData, bytes], name: str) -> tuple[ZoneInfo, ZoneData] | None:
    from io import BytesIO

    try:
        return ZoneInfo.from_file(BytesIO(found[1]), key=name), found[0]
    except ValueError:
        return None


def _version_in(folder: Path) -> str | None:
    """The release in `+VERSION` (BSD, macOS) or in the first line of `tzdata.zi` (Debian, Red Hat); None without either."""
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
    """Whether a header of the TZif data, of which version 2 and later have two, announces leap-second records."""
    return any(any(header[_LEAP_COUNT]) for header in _headers(data))


def _headers(data: bytes) -> Iterable[bytes]:
    for part in data.split(b"TZif")[1:]:
        header = b"TZif" + part[: _HEADER_BYTES - 4]
        if len(header) == _HEADER_BYTES:
            yield header
