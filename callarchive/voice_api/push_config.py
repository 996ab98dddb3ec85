"""Compares the recording push configuration at 8x8 with the wanted one, and applies that."""

from dataclasses import dataclass

from callarchive.settings import PushSettings
from callarchive.voice_api.account_setup import AccountSetup, PushConfig


@dataclass(frozen=True)
class PushDifference:
    """A push setting at 8x8 (`None`: not set) and as wanted. `differs` is `None` for the password, never returned."""

    setting: str
    at_8x8: str | None
    wanted: str
    differs: bool | None


def push_differences(wanted: PushSettings, found: PushConfig | None) -> list[PushDifference]:
    """Return every setting, the password last. S3 uses no port: it differs only if the configuration sets it."""
    any_port = found is not None and wanted.protocol == "S3" and "port" not in wanted.model_fields_set
    differences = []
    for name in ("protocol", "host", "port", "username", "path"):
        value = getattr(found, name, None)
        current, target = None if value is None else str(value), str(getattr(wanted, name))
        same = _plain(name, current) == _plain(name, target) or (name == "port" and any_port)
        differences.append(PushDifference(name, current, target, not same))
    is_set = found is not None and found.password_set
    at_8x8 = None if found is None else "set" if is_set else "not set"
    return [*differences, PushDifference("password", at_8x8, "set", None if is_set else True)]


def differs(differences: list[PushDifference]) -> bool:
    """Return whether any comparable setting differs."""
    return any(difference.differs for difference in differences)


def apply_push_config(setup: AccountSetup, wanted: PushSettings) -> list[PushDifference]:
    """Apply the wanted configuration. Return the differences to what 8x8 reports afterwards. Raises like `AccountSetup`."""
    setup.set_push_config(
        protocol=wanted.protocol,
        host=wanted.host,
        port=wanted.port,
        username=wanted.username,
        password=wanted.password.reveal(),
        path=wanted.path,
    )
    return push_differences(wanted, setup.push_config())


def _plain(setting: str, value: str | None) -> str | None:
    """Normalize the value: the case of a protocol or a host, trailing slashes of a path."""
    if value is None:
        return None
    if setting in ("protocol", "host"):
        return value.strip().casefold()
    if setting == "path":
        return value.rstrip("/") or "/"
    return value
