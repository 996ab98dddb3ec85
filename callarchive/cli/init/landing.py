"""What `callarchive init` asks about a landing: S3's endpoint and credentials, or SFTP's login and host key."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from callarchive.cli.init.questions import again, agree, answer, can_ask, secret
from callarchive.cli.init.trials import try_landing
from callarchive.domain.errors import ConfigurationError, HostKeyError
from callarchive.settings import Secret, SftpSettings
from callarchive.settings.drafts import Draft
from callarchive.settings.values import BASE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callarchive.settings import AccountSettings, S3Settings
    from callarchive.storage.landing.sftp.host_key_scan import ShownKey
    from callarchive.storage.landing.sftp.server import Server

KNOWN_HOSTS = "known_hosts"
_TIMEOUT_S = 15.0
_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True, kw_only=True)
class LandingOptions:
    """The options about the landing, as given."""

    landing: str | None = None
    s3_endpoint: str | None = None
    s3_region: str | None = None
    password_file: str | None = None
    private_key: str | None = None
    passphrase_file: str | None = None
    host_key: str | None = None


def ask_for_landing(draft: Draft, folder: Path, account: str, options: LandingOptions) -> str | None:
    """Ask for the landing and how to read it. Return the line for known_hosts, if a host key is to be pinned.

    On a terminal, list it, and repeat the questions if that shows a problem, unless the user wants to go on.
    Credentials that were not refused are kept.
    """
    before, pin = None, None
    while True:
        pin = _ask_once(draft, folder, account, options, before, pin)
        if not can_ask():  # doctor checks it at the end
            return pin
        before = draft.account()
        if (problem := try_landing(before, pin)) is None:
            typer.echo(f"  {before.landing} can be listed and has files", err=True)
            return pin
        if not again(problem.text, "the landing and how to read it"):
            return pin
        options = LandingOptions()
        if problem.is_refused:
            forget(draft, *_AWS_KEYS, draft.variable("SFTP_PASSWORD"), draft.variable("SFTP_PASSPHRASE"))


def forget(draft: Draft, *variables: str) -> None:
    """Remove secrets from the draft and the environment, so that they are asked for."""
    for name in variables:
        draft.secrets.pop(name, None)
        os.environ.pop(name, None)


def _ask_once(
    draft: Draft,
    folder: Path,
    account: str,
    options: LandingOptions,
    before: "AccountSettings | None",
    agreed: str | None,
) -> str | None:
    """Ask for the landing and how to read it. The answers `before` are suggestions; an `agreed` host key is not asked about."""

    def accept(url: str) -> "tuple[Server, Sequence[ShownKey]] | None":
        """Return an SFTP server and the host keys that it shows, None for S3."""
        is_sftp = url.startswith("sftp:")
        draft.put_account("sftp", {"known_hosts": KNOWN_HOSTS, "private_key": "unset"} if is_sftp else None)
        draft.put_account("landing", url)
        return _contact(url, folder, account) if is_sftp else None

    question = "Where 8x8 pushes recordings, s3://bucket/prefix or sftp://user@host:port/path"
    suggestion = None if before is None else before.landing
    server = answer("--landing", question, options.landing, accept, suggestion=suggestion)
    of_sftp = [options.password_file, options.private_key, options.passphrase_file, options.host_key]
    if server is None:
        if any(value is not None for value in of_sftp):
            raise typer.BadParameter("the landing is s3://, which has no SFTP login", param_hint="--landing")
        _ask_for_s3(draft, options, None if before is None else before.s3)
        return None
    if options.s3_endpoint is not None or options.s3_region is not None:
        raise typer.BadParameter("the landing is sftp://, which has no S3 endpoint", param_hint="--landing")
    pin = _host_key(*server, options.host_key, agreed)
    _ask_for_login(draft, folder, account, options, None if before is None else before.sftp)
    return pin


def _contact(url: str, folder: Path, account: str) -> "tuple[Server, Sequence[ShownKey]]":
    from callarchive.storage.landing.sftp.host_key_scan import shown_keys
    from callarchive.storage.landing.sftp.server import Server

    nobody = SftpSettings(known_hosts=folder / KNOWN_HOSTS, private_key=folder, timeout_s=_TIMEOUT_S)
    server = Server.from_landing(url, account=account, settings=nobody, stall_timeout_s=_TIMEOUT_S)
    return server, shown_keys(server)


def _ask_for_s3(draft: Draft, options: LandingOptions, before: "S3Settings | None") -> None:
    from callarchive.storage.s3.clients import usual_chain

    s3: dict[str, str] = {}

    def part(name: str) -> "Callable[[str], None]":
        def accept(text: str) -> None:
            draft.put_account("s3", {**s3, name: text} if text else s3 or None)
            s3.update({name: text} if text else {})

        return accept

    suggestion = (before and before.endpoint_url) or ""
    question = f"S3 endpoint, such as https://minio.acme.example:9000{'' if suggestion else ' (Enter: AWS)'}"
    answer("--s3-endpoint", question, options.s3_endpoint, part("endpoint_url"), suggestion=suggestion)
    region, found = usual_chain()
    if options.s3_region is not None or region is None:
        suggestion = (before and before.region) or ""
        question = f"S3 region, such as ap-southeast-1{'' if suggestion else ' (Enter: none)'}"
        answer("--s3-region", question, options.s3_region, part("region"), suggestion=suggestion)
    if found is None:
        missing = f"AWS credentials are missing: set {' and '.join(_AWS_KEYS)}, or a profile"
        key_id = _required("the access key ID")
        if not can_ask():
            raise ConfigurationError(f"{missing}: there is no terminal to ask on")
        draft.secrets[_AWS_KEYS[0]] = answer("", "AWS access key ID", None, key_id)
        draft.secrets[_AWS_KEYS[1]] = secret("AWS secret access key", None, _required("the key"), missing=missing)
        os.environ.update({name: draft.secrets[name] for name in _AWS_KEYS})
    elif found.method == "env" and not found.token:
        draft.secrets.update({name: os.environ[name] for name in _AWS_KEYS})
    else:
        typer.echo(f"AWS credentials are found ({found.method}), and not written to .env", err=True)


def _ask_for_login(
    draft: Draft, folder: Path, account: str, options: LandingOptions, before: SftpSettings | None
) -> None:
    from callarchive.storage.landing.sftp.credentials import load_private_key

    sftp: dict[str, Any] = {"known_hosts": KNOWN_HOSTS}

    def login() -> SftpSettings:
        draft.put_account("sftp", sftp)
        return SftpSettings.model_validate(sftp, context={BASE_FOLDER: folder})

    def is_encrypted(key: str) -> bool:
        """Set the private key if it can be read, and return whether it needs a passphrase."""
        sftp["private_key"] = key
        try:
            load_private_key(login(), account=account)
        except ConfigurationError as err:
            if "is encrypted" not in str(err):
                del sftp["private_key"]
                raise
            return True
        return False

    def opens_the_key(passphrase: str) -> None:
        name = draft.variable("SFTP_PASSPHRASE")
        os.environ[name] = passphrase
        load_private_key(login().model_copy(update={"passphrase": Secret(env=name)}), account=account)

    if options.private_key is not None and options.password_file is not None:
        raise typer.BadParameter("give either --private-key or --password-file", param_hint="--private-key")
    needs_passphrase = False
    if options.password_file is None:
        suggestion = "" if before is None or before.private_key is None else str(before.private_key)
        question = f"Private key file to log in with{'' if suggestion else ' (Enter: a password)'}"
        needs_passphrase = answer(
            "--private-key",
            question,
            options.private_key,
            lambda key: bool(key) and is_encrypted(key),
            suggestion=suggestion,
        )
    if options.passphrase_file is not None and not needs_passphrase:
        raise typer.BadParameter("it requires a --private-key that is encrypted", param_hint="--passphrase-file")
    if needs_passphrase:
        what, file = "passphrase of the private key", options.passphrase_file
        sftp["passphrase"] = ask_for_secret(draft, "SFTP_PASSPHRASE", what, file, "--passphrase-file", opens_the_key)
    elif "private_key" not in sftp:
        file = options.password_file
        sftp["password"] = ask_for_secret(draft, "SFTP_PASSWORD", "password", file, "--password-file")
    load_private_key(login(), account=account)  # with a passphrase from a file


def ask_for_secret(
    draft: Draft,
    name: str,
    what: str,
    file: str | None,
    option: str,
    check: "Callable[[str], object]" = lambda _: None,
) -> dict[str, str]:
    """Return the reference to a secret of the account: to the file, else to a variable whose value is asked for.

    `check` raises ConfigurationError if the value is invalid.
    """

    def accept(text: str) -> str:
        check(_required(f"the {what}")(text))
        return text

    if file is not None:
        return {"file": file}
    variable = draft.variable(name)
    missing = f"{variable} or {option} is missing"
    if os.environ.get(variable) and variable not in draft.secrets and can_ask():
        typer.echo(f"The {what} is taken from the environment; if it is wrong: unset {variable}", err=True)
    value = secret(f"{what[0].upper()}{what[1:]}", os.environ.get(variable) or None, accept, missing=missing)
    draft.secrets[variable] = os.environ[variable] = value
    return {"env": variable}


def _required(what: str) -> "Callable[[str], str]":
    def accept(text: str) -> str:
        if not text.strip():
            raise ConfigurationError(f"{what} is missing")
        return text

    return accept


def _host_key(server: "Server", keys: "Sequence[ShownKey]", expected: str | None, agreed: str | None) -> str | None:
    """Return the line that pins the server's key, after the user has confirmed its fingerprint; `None` if it is pinned.

    `agreed` are the lines of keys that the user has confirmed already.
    """
    from callarchive.storage.landing.sftp.host_keys import read_known_hosts

    shown = ", ".join(f"{key.key_type} {key.fingerprint}" for key in keys)
    confirmed = next((key for key in keys if key.fingerprint == (expected or "").strip()), None)
    if expected is not None and confirmed is None:
        raise HostKeyError(
            f"{server.uri} shows {shown}, and not the --host-key {expected}: it has another key, or it is another server. "
            "Nothing was sent to it or written. Ask the server's owner for the fingerprint"
        )
    file = server.settings.known_hosts
    if file.exists():
        pinned = read_known_hosts(file, host=server.host, port=server.port, account=server.account)
        known = {blob for _, blob in pinned.keys}
        if known or pinned.revoked:
            shown_first = next((key for key in keys if key.blob in known), keys[0])
            pinned.verify(shown_first.key_type, shown_first.blob)
            return None
    if confirmed is not None:
        return confirmed.known_hosts_line(server)
    lines = {line for key in keys for line in key.known_hosts_line(server).splitlines()}
    if agreed and lines.issuperset(agreed.splitlines()):
        return agreed
    if not can_ask():
        raise ConfigurationError(
            f"--host-key is missing, and there is no terminal to ask on: {server.uri} shows {shown}. "
            "Ask the server's owner for the fingerprint, and pass it as --host-key"
        )
    typer.echo(f"{server.uri} shows {'this host key' if len(keys) == 1 else 'these host keys'}:", err=True)
    for key in keys:
        typer.echo(f"  {key.key_type:<20} {key.fingerprint}", err=True)
    if not agree("Compare it with what the server's owner says. Is it right, and should it be pinned?"):
        raise HostKeyError(
            f"the host key of {server.uri} was not confirmed, so nothing was sent to it or written: ask the server's owner for "
            "its fingerprint, then callarchive init"
        )
    return "".join(key.known_hosts_line(server) for key in keys)
