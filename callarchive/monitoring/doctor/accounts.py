"""The checks of an account: API key, configuration at 8x8, landing, session sources, events and their receiver."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from urllib.parse import urlsplit

from callarchive.archiving.connections import Connections
from callarchive.domain.errors import ArchiveError, ColdObjectError, HostKeyError, UnavailableError
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
    """Yield the account's findings, from 8x8 inwards."""
    api = _api(connections, account)
    yield api
    if api.verdict is not Verdict.BROKEN:
        yield from _push_config(connections, account)
        yield from _webhooks(connections, account)
        yield from _log_export(connections, account)
    else:
        why = "8x8's settings and exports need the API key"
        yield Finding(f"{account.subaccount_id}: what 8x8 knows", Verdict.NOT_CHECKED, why, api.advice)
    # First: a fault of the landing (no bucket, another host key) also breaks the destination.
    yield from _landing(connections, account)
    if account.push is not None:
        yield _destination(connections, account, account.push)
    if account.webhooks is not None:
        yield _receiver(connections, account, account.webhooks)
    yield from _id_files(account)
    yield from _arrivals(connections, account)


def _destination(connections: Connections, account: AccountSettings, push: PushSettings) -> Finding:
    """Check that 8x8 can write there. 8x8's address for the server need not be reachable from here."""
    link = f"{account.subaccount_id}: destination with the pushed credentials"
    key = connections.settings.key_of(account, "push")
    advice = f"check {key}: 8x8 logs in with these; then callarchive push-config apply"
    try:
        found = Finding(link, Verdict.OK, pushed_destination(account))
    except HostKeyError as err:
        found = Finding(link, Verdict.BROKEN, str(err), _PIN)
    except ArchiveError as err:
        found = Finding(link, Verdict.BROKEN, str(err), advice)
    another_address = push.protocol == "SFTP" and push.host != urlsplit(account.landing).hostname
    if found.verdict is Verdict.BROKEN and another_address:
        detail = f"not reachable from this machine, which uses another address than {push.host}: {found.detail}"
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
        return Finding(link, Verdict.WARNING, doubt, "check api_url: is it 8x8's address?")
    return Finding(link, Verdict.OK, f"{account.api_url} accepts it")


def _push_config(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """Compare 8x8's push configuration with [accounts.push], or else with the landing."""
    link = f"{account.subaccount_id}: recording push configuration"
    try:
        found = connections.voice(account).setup.push_config()
    except ArchiveError as err:
        yield Finding(link, Verdict.BROKEN, str(err), "callarchive push-config show")
        return
    if found is None:
        if account.push is not None:
            yield Finding(
                link, Verdict.BROKEN, "8x8 has none, so it pushes no recording", "callarchive push-config apply"
            )
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
            text = ", ".join(f"{d.setting} is {d.at_8x8 or 'not set'} and should be {d.wanted}" for d in wrong)
            yield Finding(link, Verdict.BROKEN, text, "callarchive push-config plan, then apply")
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
    """Return why 8x8 seems to push elsewhere than to the landing, or None.

    Hosts are not compared: 8x8 has the server's public address, and we may use another.
    """
    landing = urlsplit(account.landing)
    protocol = (found.protocol or "").upper()
    if protocol != landing.scheme.upper():
        return f"8x8 pushes by {found.protocol or 'no protocol'}, but the landing is {landing.scheme}://"
    pushed = [part for part in (found.path or "").split("/") if part]
    read = [part for part in landing.path.split("/") if part]
    if protocol == "S3" and pushed[:1] == [landing.netloc]:
        pushed = pushed[1:]
    if pushed != read and pushed[-len(read) :] != read and read[-len(pushed) :] != pushed and pushed and read:
        return f"8x8 pushes into {found.path}, but the landing is {landing.path or '/'}"
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
    """Check that 8x8 responds about exports, if they are a session source. No export is started."""
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
        yield Finding(link, Verdict.OK, "8x8 responds about export jobs; none was started")


def _unconfigured_webhooks(connections: Connections, account: AccountSettings, link: str) -> Finding:
    """Check that 8x8 sends the events that the source `inbox` needs, without [accounts.webhooks] to compare with."""
    key = connections.settings.key_of(account, "webhooks")
    try:
        hooks = connections.voice(account).setup.webhooks()
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), "callarchive webhooks list")
    lacking = sorted({"VRU", "VSS"} - {hook.type for hook in hooks if hook.enabled})
    if lacking:
        detail = f"8x8 sends no {' and no '.join(lacking)} events, which the source inbox needs"
        return Finding(link, Verdict.WARNING, detail, f"add {key}, then callarchive webhooks register")
    detail = f"VRU and VSS are registered; without {key} their target cannot be compared"
    return Finding(link, Verdict.NOT_CHECKED, detail, f"add {key}, then callarchive doctor")


def _receiver(connections: Connections, account: AccountSettings, webhooks: WebhookSettings) -> Finding:
    """Send an invalid event with the configured header: 400 means that the receiver is there and accepts the header."""
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
            auth=lambda request: request,  # or requests would replace our header by one from ~/.netrc
            timeout=_RECEIVER_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as response:
            status = response.status_code
    except ArchiveError as err:
        return Finding(link, Verdict.BROKEN, str(err), f"set the secret of {header_key}, then callarchive doctor")
    except (requests.RequestException, UnicodeError) as err:
        reason = describe_failure(err, timeout_s=_RECEIVER_TIMEOUT_S)
        return Finding(link, Verdict.BROKEN, f"cannot be reached from here: {reason}", advice)
    if status == 400:
        return Finding(link, Verdict.OK, f"{webhooks.url} responds and accepts the header")
    reasons = {
        401: "rejects the header: was it started with another secret?",
        403: "accepts no events from this machine's address (receiver.allow_from); 8x8's address may be fine",
        404: "does not know the account, or is not our receiver",
        503: "accepts no events now: see its log",
    }
    reason = reasons.get(status, f"responds with HTTP {status}, which our receiver does not")
    if status == 401:
        advice = (
            f"restart callarchive webhooks serve with the secret of {header_key}; then callarchive webhooks register"
        )
    verdict = Verdict.WARNING if status == 403 else Verdict.BROKEN
    return Finding(link, verdict, f"{webhooks.url} {reason}", advice)


def _landing(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """Check the host key of an SFTP server, and that the landing can be listed and read. A wrong key ends the check."""
    link = f"{account.subaccount_id}: landing"
    host_key = f"{account.subaccount_id}: host key"
    try:
        landing = connections.landings.of(account)
        landing.check()
        if account.sftp is not None:
            yield Finding(host_key, Verdict.OK, f"{landing.uri} has a key in {account.sftp.known_hosts}")
        found = landing.sample()
        if isinstance(found, Unknown):
            yield Finding(
                link,
                Verdict.WARNING,
                f"{landing.uri} can be listed, but could not be read: {found.reason}",
                "give the user read permission for all folders below the landing",
            )
            return
        if isinstance(found, Absent):
            yield Finding(
                link,
                Verdict.WARNING,
                f"{landing.uri} can be listed and is empty",
                "make sure that 8x8 pushes there: callarchive push-config show",
            )
            return
        with landing.open(found.value.path) as download:
            next(islice(download, 1), b"")
        yield Finding(link, Verdict.OK, f"{landing.uri} can be listed and read")
    except ColdObjectError as err:
        yield Finding(
            link,
            Verdict.WARNING,
            f"{landing.uri} can be listed, but its first object could not be read: {err}",
            "archive recordings before the bucket's lifecycle rule moves them, then callarchive doctor",
        )
    except HostKeyError as err:
        yield Finding(host_key, Verdict.BROKEN, str(err), _PIN)
        what = f"{account.subaccount_id}: landing's contents"
        yield Finding(what, Verdict.NOT_CHECKED, "nothing is sent to a server whose host key is not pinned", _PIN)
    except ArchiveError as err:
        key = connections.settings.key_of(account, "landing")
        yield Finding(link, Verdict.BROKEN, str(err), f"check {key}, then callarchive doctor")


def _id_files(account: AccountSettings) -> Iterator[Finding]:
    """Check that the folders of local id files exist. Other id sources are read when a day is archived."""
    for source in account.session_sources:
        if isinstance(source, FilesSource):
            link = f"{account.subaccount_id}: session ids from files"
            folder = source.folder
            if source.path.startswith("s3://"):
                why = f"{source.path} is read when a day is archived"
                yield Finding(link, Verdict.NOT_CHECKED, why, "callarchive archive --day <a past day>")
            elif folder.is_dir():
                yield Finding(link, Verdict.OK, f"{folder} exists")
            else:
                yield Finding(
                    link, Verdict.BROKEN, f"{folder} does not exist", "create it, or correct the source's path"
                )
        elif source.kind == "sql":
            link = f"{account.subaccount_id}: session ids from a database"
            why = "the query runs when a day is archived"
            yield Finding(link, Verdict.NOT_CHECKED, why, "callarchive archive --day <a past day>")


def _arrivals(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """Check when the last event came, if events are expected."""
    expected = account.webhooks is not None or any(source.kind == "inbox" for source in account.session_sources)
    if not expected:
        return
    link = f"{account.subaccount_id}: last event"
    advice = "callarchive webhooks list; has there been no call for a day?"
    try:
        inbox = connections.inbox()
        if inbox is None:
            yield Finding(link, Verdict.WARNING, "there is no inbox yet", "callarchive webhooks serve creates it")
            return
        last = {item.subaccount_id: item.last_received_at for item in inbox.statistics()}.get(account.subaccount_id)
    except (ArchiveError, UnavailableError) as err:
        yield Finding(link, Verdict.BROKEN, str(err), "check inbox.url, then callarchive doctor")
        return
    if last is None:
        yield Finding(link, Verdict.WARNING, "no event was ever received", advice)
    elif connections.clock() - last > _SILENT_AFTER:
        yield Finding(link, Verdict.WARNING, f"received at {last:%Y-%m-%d %H:%M:%S} UTC, over a day ago", advice)
    else:
        yield Finding(link, Verdict.OK, f"received at {last:%Y-%m-%d %H:%M:%S} UTC")
