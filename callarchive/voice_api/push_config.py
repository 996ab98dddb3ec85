"""The recording push configuration that 8x8 should have, beside the one that it has."""

from dataclasses import dataclass

from callarchive.settings import PushSettings
from callarchive.voice_api.account_setup import AccountSetup, PushConfig


@dataclass(frozen=True)
class PushDifference:
    """One setting of a push configuration: at 8x8 (null where nothing is set), wanted, and whether they differ.

    `differs` is null for the password: 8x8 never tells it.
    """

    setting: str
    at_8x8: str | None
    wanted: str
    differs: bool | None


def push_differences(wanted: PushSettings, found: PushConfig | None) -> list[PushDifference]:
    """Every setting, in the order of 8x8's page, the password last.

    S3 has no use for a port, and 8x8's own samples tell any: it differs only where the configuration names one.
    """
    told = {
        "protocol": None if found is None else found.protocol,
        "host": None if found is None else found.host,
        "port": None if found is None or found.port is None else str(found.port),
        "username": None if found is None else found.username,
        "path": None if found is None else found.path,
    }
    settings = {
        "protocol": wanted.protocol,
        "host": wanted.host,
        "port": str(wanted.port),
        "username": wanted.username,
        "path": wanted.path,
    }
    any_port = found is not None and wanted.protocol == "S3" and "port" not in wanted.model_fields_set
    differences = [
        PushDifference(
            name,
            told[name],
            value,
            _plain(name, told[name]) != _plain(name, value) and not (name == "port" and any_port),
        )
        for name, value in settings.items()
    ]
    is_set = found is not None and found.password_set
    password = PushDifference("password", None if found is None else _set(is_set), "set", None if is_set else True)
    return [*differences, password]


def differs(differences: list[PushDifference]) -> bool:
    """Whether anything that can be compared differs."""
    return any(difference.differs for difference in differences)


def apply_push_config(setup: AccountSetup, wanted: PushSettings) -> list[PushDifference]:
    """8x8 has been told what is wanted. Returns what it then says of it: the same, if all went well.

    Raises:
        ConfigurationError: the password's secret is not set.
        RejectedError, AccessDeniedError, UnavailableError: 8x8 did not take it.
    """
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
    """What may be spelled in two ways: a protocol's and a host's case, slashes at a path's end."""
    if value is None:
        return None
    if setting in ("protocol", "host"):
        return value.strip().casefold()
    if setting == "path":
        return value.rstrip("/") or "/"
    return value


def _set(is_set: bool) -> str:
    return "set" if is_set else "not set"
