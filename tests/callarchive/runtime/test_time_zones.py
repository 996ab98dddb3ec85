"""The time zone data of a process, its version, and valid zone names."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import tzdata

from callarchive.runtime.time_zones import (
    ZoneData,
    data_in_use,
    machine_zone,
    name_of_machine_zone,
    packaged_zone,
    require_zone,
)

TzAge = Callable[..., Path]
Use = Callable[[Path | None], None]
LOADED = (
    "import {module}, zoneinfo, json; from datetime import datetime as d; "
    "print(json.dumps([zoneinfo.TZPATH, str(d(2026, 1, 5, tzinfo=zoneinfo.ZoneInfo('Africa/Casablanca')).utcoffset())]))"
)


def loaded(module: str, **environment: str) -> list[object]:
    """Return where a new process that imports the module reads zones, and an offset from them."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONTZPATH"}
    command = [sys.executable, "-c", LOADED.format(module=module)]
    done = subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, check=True, timeout=60
    )
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("module", ["callarchive", "pipelines.run_launcher"])
def test_a_process_reads_the_package_and_no_file_of_the_machine(module: str) -> None:
    assert loaded(module)[0] == []
    assert loaded(module, PYTHONTZPATH="")[0] == []


def test_pythontzpath_takes_precedence_over_the_package(tz_age: TzAge) -> None:
    folder = tz_age("Africa/Casablanca", "Asia/Kathmandu")
    assert loaded("callarchive", PYTHONTZPATH=str(folder)) == [[str(folder)], "5:45:00"]


def test_a_zone_that_was_opened_before_is_opened_again_from_the_package() -> None:
    before = "zoneinfo\nzoneinfo.ZoneInfo('Africa/Casablanca')\nopened = zoneinfo.ZoneInfo('Africa/Casablanca')\n"
    code = f"import {before}import callarchive\nassert zoneinfo.ZoneInfo('Africa/Casablanca') is not opened"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONTZPATH"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_data_is_identified_by_release_and_hash(tz_age: TzAge, use_tz_data: Use) -> None:
    def sha256(zone: str) -> str:
        return hashlib.sha256(files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()).hexdigest()

    assert data_in_use("Asia/Tokyo") == ZoneData("tzdata", tzdata.IANA_VERSION, sha256("Asia/Tokyo"))
    folder = tz_age("Asia/Tokyo", "Asia/Seoul", version="2019c")
    use_tz_data(folder)
    assert data_in_use("Asia/Tokyo") == ZoneData(str(folder), "2019c", sha256("Asia/Seoul"))
    assert data_in_use("Asia/Singapore").origin == "tzdata", "the folder lacks it, and zoneinfo goes on to the package"
    (folder / "tzdata.zi").unlink()
    assert data_in_use("Asia/Tokyo").version is None
    (folder / "+VERSION").write_text("2020a\n")
    assert data_in_use("Asia/Tokyo").version == "2020a"
    packaged = packaged_zone("Asia/Tokyo")
    assert packaged is not None
    assert packaged[1].sha256 == sha256("Asia/Tokyo")
    assert machine_zone("Mars/Olympus") is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("localtime", "localtime is whatever zone a machine is set to: name the zone itself"),
        ("Localtime", "whatever zone a machine is set to"),
        ("Factory", "Factory is what a machine has before its zone is set: name the zone itself"),
        ("posixrules", "posixrules is whatever rules a machine has chosen: name the zone itself"),
        (
            "right/Asia/Tokyo",
            "right/Asia/Tokyo counts leap seconds, which time stamps do not: did you mean Asia/Tokyo?",
        ),
        ("posix/Asia/Tokyo", "did you mean Asia/Tokyo?"),
        ("asia/singapore", "did you mean Asia/Singapore?"),
        ("ASIA/SINGAPORE", "did you mean Asia/Singapore?"),
        ("Asia/Singapor", "did you mean Asia/Singapore?"),
        ("New York", "did you mean America/New_York?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        (" UTC", "did you mean UTC?"),
        ("/usr/share/zoneinfo/UTC", "is not an IANA time zone name"),
        ("../zoneinfo/UTC", "is not an IANA time zone name"),
        ("Asia/../UTC", "is not an IANA time zone name"),
        ("Asia", "is not an IANA time zone name"),
        ("zone.tab", "is not an IANA time zone name"),
        ("leapseconds", "is not an IANA time zone name"),
        ("", "an empty text is not an IANA time zone name"),
        ("x" * 5000, "is not an IANA time zone name"),
        ("UTC\n", "is not an IANA time zone name"),
    ],
)
@pytest.mark.parametrize("folder", [None, Path("/usr/share/zoneinfo")], ids=["package", "machine"])
def test_unknown_and_machine_dependent_zones_are_refused(
    name: str, why: str, folder: Path | None, use_tz_data: Use
) -> None:
    use_tz_data(folder)
    with pytest.raises(ValueError, match=r".") as refusal:
        require_zone(name)
    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Asia/Kolkata", "Asia/Calcutta", "Etc/GMT+5", "EST5EDT", "GMT-0"])
def test_every_iana_name_is_accepted(name: str) -> None:
    require_zone(name)


def test_data_with_leap_seconds_is_refused_under_any_name(tmp_path: Path, use_tz_data: Use) -> None:
    # RFC 9636: a version 1 block with one type, no transition and one leap second (2016-12-31, 4 + 4 bytes).
    header = b"TZif" + bytes(16) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 1, 0, 1, 4))
    block = (0).to_bytes(4, "big") + b"\0\0" + b"UTC\0" + (1483228826).to_bytes(4, "big") + (27).to_bytes(4, "big")
    (tmp_path / "UTC").write_bytes(header + block)
    use_tz_data(tmp_path)
    assert ZoneInfo("UTC").key == "UTC", "zoneinfo takes it"
    with pytest.raises(ValueError, match="UTC counts leap seconds in "):
        require_zone("UTC")


@pytest.mark.parametrize(
    ("variable", "name"),
    [("Asia/Singapore", "Asia/Singapore"), (":Asia/Tokyo", "Asia/Tokyo"), ("Etc/UTC", "UTC"), ("SGT-8", None)],
)
def test_the_zone_of_the_machine_is_suggested_if_it_may_be_configured(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str | None
) -> None:
    monkeypatch.setenv("TZ", variable)
    assert name_of_machine_zone() == name
