"""What `callarchive init` asks, except about the landing. Each answer goes into the draft, which validates it."""

import os
from datetime import timedelta
from pathlib import Path

import typer

from callarchive.cli.days import parse_day
from callarchive.cli.init.landing import ask_for_secret, forget
from callarchive.cli.init.questions import again, answer, can_ask
from callarchive.cli.init.trials import try_key
from callarchive.domain.days import utc_now
from callarchive.domain.errors import ConfigurationError
from callarchive.domain.mistakes import did_you_mean
from callarchive.runtime.time_zones import name_of_machine_zone
from callarchive.settings.drafts import Draft
from callarchive.voice_api.api_key import check_api_key

_KINDS = ("log_export", "files", "inbox", "sql")
_FILES = "inbox/sessions-{day}.csv"
_SHARED = Path("/srv/callarchive")


def ask_for_account(draft: Draft, given: str | None, api_url: str | None, api_key_file: str | None) -> str:
    """Ask for the subaccount and its API key, and return the subaccount's id."""

    def accept(text: str) -> str:
        draft.put_account("subaccount_id", text)
        return text

    def accept_url(text: str) -> None:
        draft.put_account("api_url", text)

    account = answer("--account", "8x8 subaccount id", given, accept)
    if api_url is not None:
        answer("--api-url", "", api_url, accept_url)
    while True:
        key = ask_for_secret(draft, "API_KEY", f"API key of {account}", api_key_file, "--api-key-file", check_api_key)
        draft.put_account("api_key", key)
        if not can_ask():  # doctor checks it at the end
            return account
        if (problem := try_key(draft.account())) is None:
            typer.echo("  8x8 accepts the API key", err=True)
            return account
        if not again(problem.text, "the API key"):
            return account
        forget(draft, draft.variable("API_KEY"))


def ask_for_source(draft: Draft, given: str | None, files: str | None) -> None:
    """Ask where the session ids come from."""

    def accept(kind: str) -> str:
        if kind not in _KINDS:
            raise ConfigurationError(f"{kind!a} is not one of {', '.join(_KINDS[:3])}{did_you_mean(kind, _KINDS)}")
        if kind == "sql":
            raise ConfigurationError("choose another, then write the query into the file: see docs/session-sources.md")
        return kind

    def accept_path(path: str) -> None:
        draft.put_account("session_sources", [{"kind": "files", "path": path}])

    question = "Source of session ids: log_export (8x8's export), files or inbox (webhooks); sql can be added later"
    kind = answer(
        "--source", question, given or ("files" if files is not None else None), accept, suggestion="log_export"
    )
    if kind == "files":
        question = "Path of the files; {day} is YYYY-MM-DD"
        answer("--files", question, files, accept_path, suggestion=_FILES)
    elif files is not None:
        raise typer.BadParameter("it requires --source files", param_hint="--files")
    else:
        draft.put_account("session_sources", [{"kind": kind}])


def ask_for_days(draft: Draft, timezone: str | None, start_date: str | None) -> None:
    """Ask for the time zone and the first day."""

    def accept_zone(name: str) -> None:
        draft.put("timezone", name)

    def accept_day(text: str) -> None:
        day = parse_day(text)
        if day > today:
            raise typer.BadParameter(f"{day} has not begun: choose {today} or an earlier day")
        draft.put("start_date", day)

    today = utc_now().date() + timedelta(days=1)  # somewhere
    machine = name_of_machine_zone() if can_ask() else None  # it cannot be changed later, so nobody else decides
    answer("--timezone", "Time zone of the days; it cannot be changed later", timezone, accept_zone, suggestion=machine)
    question = "First day that Dagster offers; it can be changed later"
    first = (today - timedelta(days=30)).replace(day=1).isoformat()
    answer("--start-date", question, start_date, accept_day, suggestion=first)


def ask_for_places(draft: Draft, archive: str | None, catalog: str | None) -> None:
    """Ask where the archive and the catalog go."""

    def accept_archive(url: str) -> str:
        draft.put("archive.url", url)
        return url

    def accept_catalog(url: str) -> None:
        draft.put("catalog.url", url)

    home = _SHARED if os.access(_SHARED, os.W_OK) else Path.home() / "callarchive-data"
    suggestion = f"{home}/archive" if can_ask() else None
    place = answer(
        "--archive",
        "Folder or s3://bucket/prefix of the archive (mp3 files)",
        archive,
        accept_archive,
        suggestion=suggestion,
    )
    folder, _, name = place.rstrip("/").rpartition("/")
    beside = f"{folder}{folder and '/'}{'catalog' if name == 'archive' else f'{name}-catalog'}"
    question = "Folder or s3://bucket/prefix of the catalog (Parquet tables)"
    answer("--catalog", question, catalog, accept_catalog, suggestion=beside)
