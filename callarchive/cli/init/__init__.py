"""`callarchive init`: ask for what a first configuration needs, write it, and check it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from callarchive.cli.doctor import check_setup
from callarchive.cli.output import Output
from callarchive.domain.days import utc_now
from callarchive.domain.errors import ConfigurationError


def _text_option(name: str, metavar: str, description: str, variable: str | None = None) -> Any:
    return typer.Option(name, metavar=metavar, help=description, show_default=False, envvar=variable, show_envvar=False)


def init(
    context: typer.Context,
    account: Annotated[str | None, _text_option("--account", "ID", "8x8 subaccount id.")] = None,
    api_url: Annotated[str | None, _text_option("--api-url", "URL", "API, if not https://voice.8x8.com.")] = None,
    api_key_file: Annotated[str | None, _text_option("--api-key-file", "FILE", "File with the API key.")] = None,
    landing: Annotated[
        str | None, _text_option("--landing", "URL", "s3://bucket/prefix or sftp://user@host:port/path.")
    ] = None,
    s3_endpoint: Annotated[
        str | None, _text_option("--s3-endpoint", "URL", "Endpoint of the landing, if not AWS.")
    ] = None,
    s3_region: Annotated[str | None, _text_option("--s3-region", "REGION", "Region of the landing.")] = None,
    private_key: Annotated[str | None, _text_option("--private-key", "FILE", "SFTP: key to log in with.")] = None,
    passphrase_file: Annotated[
        str | None, _text_option("--passphrase-file", "FILE", "SFTP: file with the key's passphrase.")
    ] = None,
    password_file: Annotated[
        str | None, _text_option("--password-file", "FILE", "SFTP: file with the password.")
    ] = None,
    host_key: Annotated[
        str | None, _text_option("--host-key", "SHA256:...", "SFTP: the server's fingerprint, as its owner says.")
    ] = None,
    timezone: Annotated[
        str | None, _text_option("--timezone", "ZONE", "Zone of the days.", "CALLARCHIVE_TIMEZONE")
    ] = None,
    start_date: Annotated[
        str | None, _text_option("--start-date", "YYYY-MM-DD", "First day.", "CALLARCHIVE_START_DATE")
    ] = None,
    archive: Annotated[
        str | None, _text_option("--archive", "URL", "Where mp3 files go.", "CALLARCHIVE_ARCHIVE__URL")
    ] = None,
    catalog: Annotated[
        str | None, _text_option("--catalog", "URL", "Where tables go.", "CALLARCHIVE_CATALOG__URL")
    ] = None,
    source: Annotated[
        str | None, _text_option("--source", "KIND", "Source of session ids: log_export, files or inbox.")
    ] = None,
    files: Annotated[
        str | None, _text_option("--files", "PATH", "For --source files, such as inbox/sessions-{day}.csv.")
    ] = None,
    add_account: Annotated[
        bool, typer.Option("--add-account", help="Add an account to the existing configuration.")
    ] = False,
) -> None:
    """Ask for account, landing, time zone and places, write `callarchive.toml` and `.env`, and run doctor.

    An invalid answer is asked for again. On a terminal, the API key is tried and the landing is listed as soon as they are
    known; without one, only doctor tries them, at the end. Nothing is written before the last answer, and no existing file is
    overwritten. Secrets go into `.env`, which only you can read, or stay in the files that the options name. An SFTP server's
    host key is pinned after you confirm its fingerprint. Without a terminal, give the answers as options, and the secrets as
    environment variables: for the account acme_sg, these are ACME_SG_API_KEY and ACME_SG_SFTP_PASSWORD.

    \b
    Examples:
        callarchive init
        callarchive init --add-account
        callarchive init --account acme_sg --landing s3://acme-recordings/voice --timezone Asia/Singapore
    """
    from callarchive.cli.init.answers import ask_for_account, ask_for_days, ask_for_places, ask_for_source
    from callarchive.cli.init.files import existing_text, write_files
    from callarchive.cli.init.landing import LandingOptions, ask_for_landing
    from callarchive.cli.init.questions import can_ask
    from callarchive.settings.drafts import Draft
    from callarchive.settings.loading import configuration_file

    output: Output = context.obj
    config = configuration_file(output.config)
    existing = existing_text(config, add_account=add_account)
    if can_ask():
        what = "adds an account to" if add_account else "writes"
        output.print_note(
            f"This {what} {config}. Enter accepts the suggestion in brackets. Ctrl-C ends it: nothing is written."
        )
    else:
        needed = {"--account": account, "--landing": landing}
        needed |= {} if add_account else {"--timezone": timezone, "--archive": archive}
        lacking = [option for option, value in needed.items() if value is None]
        if lacking:
            raise ConfigurationError(f"no terminal to ask on: give {', '.join(lacking)}; see callarchive init --help")
    options = LandingOptions(
        landing=landing,
        s3_endpoint=s3_endpoint,
        s3_region=s3_region,
        password_file=password_file,
        private_key=private_key,
        passphrase_file=passphrase_file,
        host_key=host_key,
    )
    draft = Draft(config.parent, existing)
    try:
        name = ask_for_account(draft, account, api_url, api_key_file)
        pin = ask_for_landing(draft, config.parent, name, options)
        ask_for_source(draft, source, files)
        if not add_account:
            ask_for_days(draft, timezone, start_date)
            ask_for_places(draft, archive, catalog)
        written = write_files(draft, config, existing, pin)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("\nnothing was written", err=True)
        raise KeyboardInterrupt from None
    for line in written:
        output.print_note(line)
    _check_and_advise(output, config)


def _check_and_advise(output: Output, config: Path) -> None:
    """Run doctor, and print the next command. Exits with 1 if a check failed."""
    from callarchive.cli.init.files import command_for, files_with_secrets
    from callarchive.settings import load_settings

    settings = load_settings(config)
    yesterday = utc_now().astimezone(settings.zone).date() - timedelta(days=1)
    archive = command_for(config, f"archive --day {yesterday}")
    try:
        check_setup(replace(output, config=config))
    except typer.Exit:
        secrets = " or ".join(map(str, files_with_secrets(config, settings))) or "the environment"
        output.print_note(
            f"The files are written. Correct a key or password in {secrets}, anything else in {config}; then:"
            f" {command_for(config, 'doctor')}, and {archive}"
        )
        output.print_path_hint()
        raise
    output.print_note(f"To archive yesterday: {archive}")
    output.print_path_hint()
