"""The checks of an account: API key, configuration at 8x8, landing, session sources, events and their receiver."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from urllib.parse import urlsplit

from callarchive.archiving.connections import Connections
from callarchive.domain.errors import ArchiveError, ColdObjectError, HostKeyError
from callarchive.domain.evidence import Absent, Unknown
from callarchive.monitoring.doctor.findings import Finding, Result, Verdict, broken, tried
from callarchive.monitoring.doctor.pushing import pushed_destination
from callarchive.settings import AccountSettings, FilesSource, PushSettings, WebhookSettings
from callarchive.storage.landing import Landing
from callarchive.storage.landing.s3.landing import S3Landing
from callarchive.voice_api.account_setup import PushConfig
from callarchive.voice_api.failures import describe_failure
from callarchive.voice_api.push_config import differs, push_differences
from callarchive.voice_api.webhook_registrations import webhook_drift

_SILENT_AFTER = timedelta(hours=24)
_RECEIVER_TIMEOUT_S = 10.0
_SHOWN = 5
_TRY_A_DAY = "callarchive archive --day <a past day>"


def findings(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """Yield the account's findings, from 8x8 inwards."""
    name, key = account.subaccount_id, partial(connections.settings.key_of, account)
    kinds = {source.kind for source in account.session_sources}

    api_key = f"{key('api_key')} ({account.api_key.place})"
    advice = f"check {api_key} and {key('api_url')}, then callarchive doctor"
    api = tried(f"{name}: API key", partial(_api, connections, account), advice, address=key("api_url"))
    yield api
    # Before 8x8's settings: a wrong landing explains more, and also breaks the destination.
    landing = list(_landing(connections, account))
    yield from landing
    if api.verdict is Verdict.BROKEN:
        why = "8x8's settings and exports need a response to the API key"
        yield Finding(f"{name}: what 8x8 knows", Verdict.NOT_CHECKED, why, api.advice)
    else:
        push_config = partial(_push_config, connections, account, is_landing_full=landing[-1].verdict is Verdict.OK)
        yield tried(f"{name}: recording push configuration", push_config, "callarchive push-config show")
        if account.expects_events:
            webhooks = partial(_webhooks, connections, account)
            yield tried(f"{name}: webhooks at 8x8", webhooks, "callarchive webhooks list")
        if "log_export" in kinds:
            advice = f"ask 8x8 whether {api_key} may export logs"
            yield tried(f"{name}: log export", partial(_log_export, connections, account), advice)
    if account.push is not None:
        yield _destination(connections, account, account.push)
    if account.webhooks is not None:
        header = account.webhooks.auth_header
        named = key("webhooks.auth_header") + (f" ({header.place})" if header is not None else "")
        advice = f"set the secret of {named}, then callarchive doctor"
        yield tried(f"{name}: receiver", partial(_receiver, account.webhooks, named), advice)
    yield from _id_sources(account)
    if account.expects_events:
        last_event = partial(_last_event, connections, account)
        yield tried(f"{name}: last event", last_event, "check inbox.url, then callarchive doctor")


def _api(connections: Connections, account: AccountSettings) -> Result:
    doubt = connections.voice(account).check()
    if doubt is not None:
        return Verdict.WARNING, doubt, "check api_url: is it 8x8's address?"
    return f"{account.api_url} accepts it"


def _push_config(connections: Connections, account: AccountSettings, *, is_landing_full: bool) -> Result:
    """Compare 8x8's push configuration with [accounts.push], or else with the landing."""
    found = connections.voice(account).setup.push_config()
    add = f"add {connections.settings.key_of(account, 'push')}, then callarchive push-config apply"
    if found is None:
        none = "8x8 has none, so it pushes no recording"
        if account.push is not None:
            return Verdict.BROKEN, none, "callarchive push-config apply"
        if is_landing_full:
            return f"8x8 has none, so it pushes no new recording; {account.landing} has earlier ones. To set one, {add}"
        return Verdict.WARNING, none, f"callarchive push-config show; to set one, {add}"
    if account.push is not None:
        wrong = [d for d in push_differences(account.push, found) if d.differs]
        if differs(wrong):
            text = ", ".join(f"{d.setting} is {d.at_8x8 or 'not set'} and should be {d.wanted}" for d in wrong)
            return Verdict.BROKEN, text, "callarchive push-config plan, then apply"
    elif not found.password_set:
        return Verdict.WARNING, "8x8 has no password for it", add
    doubt = _elsewhere(found, account)
    if doubt is not None:
        landing = connections.settings.key_of(account, "landing")
        return Verdict.WARNING, doubt, f"compare {landing} with callarchive push-config show"
    return f"{found.protocol} to {found.host}, {found.path}"


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


def _webhooks(connections: Connections, account: AccountSettings) -> Result:
    """Compare 8x8's webhooks with [accounts.webhooks]; without it, check those that the source `inbox` needs."""
    hooks = connections.voice(account).setup.webhooks()
    if account.webhooks is not None:
        wrong = [f"{d.type} {', '.join(d.problems)}" for d in webhook_drift(account.webhooks, hooks) if d.problems]
        if wrong:
            return Verdict.BROKEN, "; ".join(wrong), "callarchive webhooks register"
        return f"VRU and VSS go to {account.webhooks.url}"
    key = connections.settings.key_of(account, "webhooks")
    lacking = sorted({"VRU", "VSS"} - {hook.type for hook in hooks if hook.enabled})
    if lacking:
        detail = f"8x8 sends no {' and no '.join(lacking)} events, which the source inbox needs"
        return Verdict.WARNING, detail, f"add {key}, then callarchive webhooks register"
    detail = f"VRU and VSS are registered; without {key} their target cannot be compared"
    return Verdict.NOT_CHECKED, detail, f"add {key}, then callarchive doctor"


def _log_export(connections: Connections, account: AccountSettings) -> Result:
    doubt = connections.voice(account).check_log_export()
    return "8x8 responds about export jobs; none was started" if doubt is None else (Verdict.WARNING, doubt, _TRY_A_DAY)


def _landing(connections: Connections, account: AccountSettings) -> Iterator[Finding]:
    """Check the host key of an SFTP server, and that the landing can be listed and read. A wrong key ends the check."""
    link, host_key = f"{account.subaccount_id}: landing", f"{account.subaccount_id}: host key"
    key = connections.settings.key_of(account, "landing")
    advice = f"check {key}, then callarchive doctor"
    try:
        landing = connections.landings.of(account)
        landing.check()
    except HostKeyError as err:
        found = broken(host_key, err, advice)
        yield found
        why = "nothing is sent to a server whose host key is not pinned"
        yield Finding(f"{link}'s contents", Verdict.NOT_CHECKED, why, found.advice)
    except ArchiveError as err:
        yield broken(link, err, advice, address=key)
    else:
        if account.sftp is not None:
            yield Finding(host_key, Verdict.OK, f"{landing.uri} has a key in {account.sftp.known_hosts}")
        yield tried(link, partial(_read_one, landing, key), advice, address=key)


def _read_one(landing: Landing, key: str) -> Result:
    found = landing.sample()
    if isinstance(found, Unknown):
        detail = f"{landing.uri} can be listed, but could not be read: {found.reason}"
        return (
            Verdict.WARNING,
            detail,
            "let the user read all folders below the landing, and store files there, not links",
        )
    if isinstance(found, Absent):
        detail = f"{landing.uri} can be listed and is empty"
        beside = landing.folders_beside() if isinstance(landing, S3Landing) else ()
        if beside:
            shown = ", ".join(beside[:_SHOWN]) + (", ..." if len(beside) > _SHOWN else "")
            detail += f"; the bucket has objects below {shown}"
            return Verdict.WARNING, detail, f"is {key} right? Correct its prefix, then callarchive doctor"
        return Verdict.WARNING, detail, "make sure that 8x8 pushes there: callarchive push-config show"
    try:
        with landing.open(found.value.path) as download:
            next(islice(download, 1), b"")
    except ColdObjectError as err:
        detail = f"{landing.uri} can be listed, but its first object could not be read: {err}"
        advice = "archive recordings before the bucket's lifecycle rule moves them, then callarchive doctor"
        return Verdict.WARNING, detail, advice
    return f"{landing.uri} can be listed and read"


def _destination(connections: Connections, account: AccountSettings, push: PushSettings) -> Finding:
    """Check that 8x8 can write there. 8x8's address for the server need not be reachable from here."""
    link = f"{account.subaccount_id}: destination with the pushed credentials"
    key = connections.settings.key_of(account, "push")
    advice = f"check {key}: 8x8 logs in with these; then callarchive push-config apply"
    found = tried(link, partial(pushed_destination, account, push), advice)
    another_address = push.protocol == "SFTP" and push.host != urlsplit(account.landing).hostname
    if found.verdict is Verdict.BROKEN and another_address:
        detail = f"not reachable from this machine, which uses another address than {push.host}: {found.detail}"
        return Finding(link, Verdict.WARNING, detail, found.advice)
    return found


def _receiver(webhooks: WebhookSettings, header_key: str) -> Result:
    """Send an invalid event with the configured header: 400 means that the receiver is there and accepts the header."""
    import requests

    advice = f"callarchive webhooks serve, and see that {webhooks.url} leads to it"
    headers = {} if webhooks.auth_header is None else {"Authorization": webhooks.auth_header.reveal()}
    try:
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
    except (requests.RequestException, UnicodeError) as err:
        reason = describe_failure(err, timeout_s=_RECEIVER_TIMEOUT_S)
        return Verdict.BROKEN, f"cannot be reached from here: {reason}", advice
    if status == 400:
        return f"{webhooks.url} responds and accepts the header"
    reasons = {
        401: "rejects the header: was it started with another secret?",
        403: "accepts no events from this machine's address (receiver.allow_from); 8x8's address may be fine",
        404: "does not know the account, or is not our receiver",
        503: "accepts no events now: see its log",
    }
    reason = reasons.get(status, f"responds with HTTP {status}, which our receiver does not")
    if status == 401:
        restart = f"restart callarchive webhooks serve with the secret of {header_key}"
        advice = f"{restart}; then callarchive webhooks register"
    return Verdict.WARNING if status == 403 else Verdict.BROKEN, f"{webhooks.url} {reason}", advice


def _id_sources(account: AccountSettings) -> Iterator[Finding]:
    """Check that the folders of local id files exist. Other id sources are read when a day is archived."""
    for source in account.session_sources:
        if isinstance(source, FilesSource):
            link, folder = f"{account.subaccount_id}: session ids from files", source.folder
            if source.path.startswith("s3://"):
                why = f"{source.path} is read when a day is archived"
                yield Finding(link, Verdict.NOT_CHECKED, why, _TRY_A_DAY)
            elif folder.is_dir():
                yield Finding(link, Verdict.OK, f"{folder} exists")
            else:
                advice = "create it, or correct the source's path"
                yield Finding(link, Verdict.BROKEN, f"{folder} does not exist", advice)
        elif source.kind == "sql":
            link = f"{account.subaccount_id}: session ids from a database"
            yield Finding(link, Verdict.NOT_CHECKED, "the query runs when a day is archived", _TRY_A_DAY)


def _last_event(connections: Connections, account: AccountSettings) -> Result:
    advice = "callarchive webhooks list; has there been no call for a day?"
    inbox = connections.inbox()
    if inbox is None:
        return Verdict.WARNING, "there is no inbox yet", "callarchive webhooks serve creates it"
    last = {item.subaccount_id: item.last_received_at for item in inbox.statistics()}.get(account.subaccount_id)
    if last is None:
        return Verdict.WARNING, "no event was ever received", advice
    received = f"received at {last:%Y-%m-%d %H:%M:%S} UTC"
    if connections.clock() - last > _SILENT_AFTER:
        return Verdict.WARNING, f"{received}, over a day ago", advice
    return received
