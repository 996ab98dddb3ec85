"""The links of one account: its key, what 8x8 was told, the landing, who names its sessions, events and their receiver."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from urllib.parse import urlsplit

from callarchive.archiving.connections import Connections
from callarchive.domain.errors import ArchiveError, HostKeyError, UnavailableError
from callarchive.domain.evidence import Absent, Unknown
from callarchive.monitoring.doctor.findings import Finding, Verdict
from callarchive.monitoring.doctor.pushing import pushed_destination
from callarchive.settings import AccountSettings, FilesSource, PushSettings, WebhookSettings
from callarchive.voice_api.account_setup import PushConfig
from callarchive.voice_api.failures import describe_failure
from callarchive.voice_api.push_config import differs, push_differences
from callarchive.voice_api.webhook_registrations import webhook_drift

_SILENT_AFTER = timedelta(hours=24)
_RECEIVER_TIMEOUT_S = 10.0
_PIN = (
    "ask the server's owner about the fingerprint, pin the key with the command of the finding, then callarchive doctor"
)


def findings(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """The account's findings, from 8x8 inwards."""
    api = _api(connections, account)
    yield api
    if api.verdict is not Verdict.BROKEN:
        yield from _push_config(connections, account)
        yield from _webhooks(connections, account)
        yield from _log_export(connections, account)
    else:
        why = "8x8's settings and exports of the account lie behind the API key"
        yield Finding(f"{account.subaccount_id}: what 8x8 knows", Verdict.NOT_CHECKED, why, api.advice)
    # What keeps us out of the landing (no such bucket, another host key) keeps the pushed credentials out too: it comes first.
    yield from _landing(connections, account)
    if account.push is not None:
        yield _destination(connections, account, account.push)
    if account.webhooks is not None:
        yield _receiver(connections, account, account.webhooks)
    yield from _id_files(account)
    yield from _arrivals(connections, account)


def _destination(connections: Connections, account: AccountSettings, push: PushSettings) -> Finding:
    """Whether it can be written to. An address that is 8x8's way in and not ours need not be reachable from here."""
    link = f"{account.subaccount_id}: destination with the pushed credentials"
    key = connections.settings.key_of(account, "push")
    advice = f"check {key}: 8x8 logs in with just these; then callarchive push-config apply"
    try:
        found = Finding(link, Verdict.OK, pushed_destination(account))
    except HostKeyError as err:
        found = Finding(link, Verdict.BROKEN, str(err), _PIN)
    except ArchiveError as err:
        found = Finding(link, Verdict.BROKEN, str(err), advice)
    another_address = push.protocol == "SFTP" and push.host != urlsplit(account.landing).hostname
    if found.verdict is Verdict.BROKEN and another_address:
        detail = f"could not be tried from this machine, for which {push.host} is another way in: {found.detail}"
        return Finding(link, Verdict.WARNING, detail, found.advice)
    return found


def _api(connections: Connections, account: AccountSettings) -> Finding:
    link = f"{account.subaccount_id}: API key"
    try:
        doubt = connections.voice(account).check()
    except ArchiveError as err:
        api_key, api_url = (connections.settings.key_of(account, name) for name in ("api_key", "api_url"))
        advice = f"check {api_key} and {api_url}, then callarchive doctor"
        return Finding(link, Verdict.BROKEN, str(err), advice)
    if doubt is not None:
        return Finding(link, Verdict.WARNING, doubt, "check api_url: is that 8x8's address?")
    return Finding(link, Verdict.OK, f"{account.api_url} accepts it")


def _push_config(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """What 8x8 was told about pushing, beside [accounts.push], or beside the landing that we read."""
    link = f"{account.subaccount_id}: recording push configuration"
    try:
        found = connections.voice(account).setup.push_config()
    except ArchiveError as err:
        yield Finding(link, Verdict.BROKEN, str(err), "callarchive push-config show")
        return
    if found is None:
        if account.push is not None:
            yield Finding(link, Verdict.BROKEN, "8x8 has none: it pushes nothing", "callarchive push-config apply")
        else:
            key = connections.settings.key_of(account, "push")
            yield Finding(
                link,
                Verdict.WARNING,
                "8x8 has none, so it pushes no recording",
                f"callarchive push-config show; to set one, add {key}, then callarchive push-config apply",
            )
        return
    if account.push is not None:
        wrong = [d for d in push_differences(account.push, found) if d.differs]
        if differs(wrong):
            told = ", ".join(f"{d.setting} is {d.at_8x8 or 'not set'} and should be {d.wanted}" for d in wrong)
            yield Finding(link, Verdict.BROKEN, told, "callarchive push-config plan, then apply")
            return
    elif not found.password_set:
        yield Finding(
            link,
            Verdict.WARNING,
            "8x8 has no password for it",
            f"add {connections.settings.key_of(account, 'push')}, then callarchive push-config apply",
        )
        return
    doubt = _elsewhere(found, account)
    if doubt is not None:
        advice = f"compare {connections.settings.key_of(account, 'landing')} with callarchive push-config show"
        yield Finding(link, Verdict.WARNING, doubt, advice)
    else:
        yield Finding(link, Verdict.OK, f"{found.protocol} to {found.host}, {found.path}")


def _elsewhere(found: PushConfig, account: AccountSettings) -> str | None:
    """Why 8x8 seems to push to another place than the landing that we read; null where nothing speaks for that.

    Hosts are not compared: 8x8 is given the public address of a server that we may reach by another.
    """
    landing = urlsplit(account.landing)
    protocol = (found.protocol or "").upper()
    if protocol != landing.scheme.upper():
        return f"8x8 pushes by {found.protocol or 'nothing'}, and the landing is {landing.scheme}://"
    pushed = [part for part in (found.path or "").split("/") if part]
    read = [part for part in landing.path.split("/") if part]
    if protocol == "S3" and pushed[:1] == [landing.netloc]:
        pushed = pushed[1:]
    if pushed != read and pushed[-len(read) :] != read and read[-len(pushed) :] != pushed and pushed and read:
        return f"8x8 pushes into {found.path}, and the landing is read at {landing.path or '/'}"
    return None


def _webhooks(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    link = f"{account.subaccount_id}: webhooks at 8x8"
    if account.webhooks is None:
        if any(source.kind == "inbox" for source in account.session_sources):
            yield _unconfigured_webhooks(connections, account, link)
        return
    try:
        drift = webhook_drift(account.webhooks, connections.voice(account).setup.webhooks())
    except ArchiveError as err:
        yield Finding(link, Verdict.BROKEN, str(err), "callarchive webhooks list")
        return
    wrong = [f"{hook.type} {', '.join(hook.problems)}" for hook in drift if hook.problems]
    if wrong:
        yield Finding(link, Verdict.BROKEN, "; ".join(wrong), "callarchive webhooks register")
    else:
        yield Finding(link, Verdict.OK, f"VRU and VSS go to {account.webhooks.url}")


def _log_export(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """Whether 8x8 answers about exports, of which nobody is started. Only where sessions come from them."""
    if not any(source.kind == "log_export" for source in account.session_sources):
        return
    link = f"{account.subaccount_id}: log export"
    try:
        doubt = connections.voice(account).check_log_export()
    except ArchiveError as err:
        advice = f"ask 8x8 whether {connections.settings.key_of(account, 'api_key')} may export logs"
        yield Finding(link, Verdict.BROKEN, str(err), advice)
        return
    if doubt is not None:
        yield Finding(link, Verdict.WARNING, doubt, "callarchive archive --day <a past day>")
    else:
        yield Finding(link, Verdict.OK, "8x8 answers about export jobs; none was started")


def _unconfigured_webhooks(connections: Connections, account: AccountSettings, link: str) -> Finding:
    """Whether 8x8 sends the events that the source `inbox` lives on, where no [accounts.webhooks] says where to."""
    key = connections.settings.key_of(account, "webhooks")
    try:
        hooks = connections.voice(account).setup.webhooks()
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), "callarchive webhooks list")
    lacking = sorted({"VRU", "VSS"} - {hook.type for hook in hooks if hook.enabled})
    if lacking:
        detail = f"8x8 sends no {' and no '.join(lacking)} events, on which the source inbox lives"
        return Finding(link, Verdict.WARNING, detail, f"add {key}, then callarchive webhooks register")
    detail = f"VRU and VSS are registered; whether they come here is not known without {key}"
    return Finding(link, Verdict.NOT_CHECKED, detail, f"add {key}, then callarchive doctor")


def _receiver(connections: Connections, account: AccountSettings, webhooks: WebhookSettings) -> Finding:
    """An empty event with the agreed header must be refused as no event: then the receiver is there and knows the header."""
    import requests

    link = f"{account.subaccount_id}: receiver"
    advice = f"callarchive webhooks serve, and see that {webhooks.url} leads to it"
    header_key = connections.settings.key_of(account, "webhooks.auth_header")
    try:
        headers = {} if webhooks.auth_header is None else {"Authorization": webhooks.auth_header.reveal()}
        with requests.post(
            webhooks.url,
            data=b"{",
            headers=headers,
            auth=lambda request: request,  # or a ~/.netrc would put its own header in the place of ours
            timeout=_RECEIVER_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as answer:
            status = answer.status_code
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), f"set the secret of {header_key}, then callarchive doctor")
    except (requests.RequestException, UnicodeError) as err:
        told = describe_failure(err, timeout_s=_RECEIVER_TIMEOUT_S)
        return Finding(link, Verdict.BROKEN, f"cannot be reached from here: {told}", advice)
    if status == 400:
        return Finding(link, Verdict.OK, f"{webhooks.url} answers, and knows the header")
    reasons = {
        401: "does not know the header: was it started with another secret?",
        403: "takes no events from this machine's address (receiver.allow_from): 8x8's may be fine",
        404: "does not know the account, or is not our receiver",
        503: "takes no events now: see its log",
    }
    told = reasons.get(status, f"answers HTTP {status}, as our receiver would not")
    if status == 401:
        advice = (
            f"restart callarchive webhooks serve with the secret of {header_key}; then callarchive webhooks register"
        )
    verdict = Verdict.WARNING if status == 403 else Verdict.BROKEN
    return Finding(link, verdict, f"{webhooks.url} {told}", advice)


def _landing(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """The host key of an SFTP server, and whether the landing can be listed and read. Behind a wrong key nothing is tried."""
    link = f"{account.subaccount_id}: landing"
    host_key = f"{account.subaccount_id}: host key"
    try:
        landing = connections.landings.of(account)
        landing.check()
        if account.sftp is not None:
            yield Finding(host_key, Verdict.OK, f"{landing.uri} shows one that {account.sftp.known_hosts} holds")
        found = landing.sample()
        if isinstance(found, Unknown):
            yield Finding(
                link,
                Verdict.WARNING,
                f"{landing.uri} can be listed; whether it can be read is not known: {found.reason}",
                "let the user read all folders below the landing",
            )
            return
        if isinstance(found, Absent):
            yield Finding(
                link,
                Verdict.WARNING,
                f"{landing.uri} can be listed and holds nothing yet",
                "make sure that 8x8 pushes there: callarchive push-config show",
            )
            return
        with landing.open(found.value.path) as download:
            next(islice(download, 1), b"")
        yield Finding(link, Verdict.OK, f"{landing.uri} can be listed and read")
    except HostKeyError as err:
        yield Finding(host_key, Verdict.BROKEN, str(err), _PIN)
        what = f"{account.subaccount_id}: landing's contents"
        yield Finding(what, Verdict.NOT_CHECKED, "nothing is sent to a server whose host key is not pinned", _PIN)
    except ArchiveError as err:
        key = connections.settings.key_of(account, "landing")
        yield Finding(link, Verdict.BROKEN, str(err), f"check {key}, then callarchive doctor")


def _id_files(account: AccountSettings) -> Iterator[Finding]:
    """Whether the folders of local id files are there; a day's file is looked for when the day is archived."""
    for source in account.session_sources:
        if isinstance(source, FilesSource):
            link = f"{account.subaccount_id}: session ids from files"
            folder = source.folder
            if source.path.startswith("s3://"):
                why = f"{source.path} is read when a day is archived"
                yield Finding(link, Verdict.NOT_CHECKED, why, "callarchive archive --day <a past day>")
            elif folder.is_dir():
                yield Finding(link, Verdict.OK, f"{folder} is there")
            else:
                yield Finding(link, Verdict.BROKEN, f"{folder} is not there", "create it, or correct the source's path")
        elif source.kind == "sql":
            link = f"{account.subaccount_id}: session ids from a database"
            why = "the query is asked when a day is archived"
            yield Finding(link, Verdict.NOT_CHECKED, why, "callarchive archive --day <a past day>")


def _arrivals(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """When the last event came. Only where events are expected."""
    expected = account.webhooks is not None or any(source.kind == "inbox" for source in account.session_sources)
    if not expected:
        return
    link = f"{account.subaccount_id}: last event"
    advice = "callarchive webhooks list; has there been no call for a day?"
    try:
        inbox = connections.inbox()
        if inbox is None:
            yield Finding(link, Verdict.WARNING, "there is no inbox yet", "callarchive webhooks serve makes it")
            return
        last = {told.subaccount_id: told.last_received_at for told in inbox.statistics()}.get(account.subaccount_id)
    except (ArchiveError, UnavailableError) as err:
        yield Finding(link, Verdict.BROKEN, str(err), "check inbox.url, then callarchive doctor")
        return
    if last is None:
        yield Finding(link, Verdict.WARNING, "none ever came", advice)
    elif connections.clock() - last > _SILENT_AFTER:
        yield Finding(link, Verdict.WARNING, f"came at {last:%Y-%m-%d %H:%M:%S} UTC, over a day ago", advice)
    else:
        yield Finding(link, Verdict.OK, f"came at {last:%Y-%m-%d %H:%M:%S} UTC")
