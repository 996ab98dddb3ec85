"""The sections of the configuration that apply to all accounts. For stores see `stores`, for one account `accounts`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from callarchive.settings.stores import AnchorSettings
from callarchive.settings.values import (
    Secret,
    SecretHttpUrl,
    Section,
    address_range,
    inbox_url,
    mail_address,
)


class InboxSettings(Section):
    """Where webhook events are kept, and for how long."""

    url: Annotated[str, AfterValidator(inbox_url)] = Field(default="sqlite:///inbox.sqlite3", validate_default=True)
    """a SQLite file, or a PostgreSQL database for receivers on several machines."""
    keep_days: float = Field(default=90.0, ge=1, le=3650)
    """events that have been ingested into their day are deleted this many days after their arrival."""


class ReceiverSettings(Section):
    """Access control and limits of the webhook receiver."""

    allow_from: tuple[Annotated[str, AfterValidator(address_range)], ...] = ()
    """allowed senders: addresses, networks (203.0.113.0/24), or 8x8-singapore for its four outbound addresses. If
    empty, every sender with the account's header is allowed."""
    trusted_proxies: tuple[Annotated[str, AfterValidator(address_range)], ...] = ()
    """addresses or networks of proxies whose X-Forwarded-For header is trusted."""
    max_body_bytes: int = Field(default=262_144, ge=1024, le=16 * 1024 * 1024)
    """a larger body is rejected with 413."""
    headers_deadline_s: float = Field(default=10.0, gt=0, le=600)
    """the connection is closed if the headers take longer, in seconds."""
    body_deadline_s: float = Field(default=10.0, gt=0, le=600)
    """the request is rejected with 408 if the body takes longer, in seconds."""
    max_in_flight: int = Field(default=256, ge=1, le=10_000)
    """requests processed at the same time; further ones are rejected with 503."""
    max_connections: int = Field(default=1024, ge=16, le=100_000)
    """open connections; beyond that, the one that has been idle longest is closed."""
    max_waiting_per_address: int = Field(default=64, ge=1, le=100_000)
    """connections of one address without a complete request; beyond that, its oldest is closed. Does not apply to
    trusted proxies."""


class TransferSettings(Section):
    """How recordings are downloaded, and when one that is not found counts as missing."""

    concurrency: int = Field(default=64, ge=1, le=256)
    """the maximum number of simultaneous downloads; a run starts with 8 and adds more while throughput grows."""
    duration_tolerance_s: float = Field(default=2.0, ge=0, le=3600)
    """the allowed difference between the measured duration and that of the API or the event, in seconds."""
    missing_after_hours: float = Field(default=24.0, ge=0, le=24 * 365)
    """a recording that 8x8 reports as uploaded and that is not found is pending for this many hours after the call,
    then missing."""
    attempts: int = Field(default=4, ge=1, le=10)
    """the number of attempts per recording and run."""
    stall_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """a download that receives nothing for this many seconds is aborted and retried."""
    deadline_s: float = Field(default=900.0, gt=0, le=24 * 3600)
    """the limit for one recording, retries included, in seconds."""


class LookupSettings(Section):
    """How sessions are looked up in the 8x8 API.

    64 simultaneous lookups make 1,000 a second if the API responds within 55 ms. The accounts' rate limits still apply.
    """

    concurrency: int = Field(default=64, ge=1, le=512)
    """the maximum number of simultaneous lookups."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """the limit for one request, in seconds."""
    deadline_s: float = Field(default=120.0, gt=0, le=3600)
    """the limit for one session, retries included, in seconds."""
    retry_after_max_s: float = Field(default=60.0, ge=0, le=3600)
    """a longer Retry-After is not waited for; the next run looks the session up again."""
    export_deadline_s: float = Field(default=1800.0, gt=0, le=24 * 3600)
    """the limit for 8x8 to produce a day's log export, in seconds."""
    recheck: Literal["unsettled", "all"] = "unsettled"
    """"all" looks up final sessions again too. A session is final once it was looked up after the grace period
    (transfer.missing_after_hours) and all its recordings are archived, or 8x8 reported twice, a day apart, that it
    has none."""


class ReopenSettings(Section):
    """When a day that is not final is archived again automatically.

    A session or recording without a final state is retried after `first_minutes`, or after `growth` times the age that the
    call had at the last attempt, whichever is longer, but within `max_hours`. After `max_age_days` it counts as missing.
    """

    first_minutes: float = Field(default=30.0, gt=0, le=24 * 60)
    """the shortest pause between two attempts, in minutes."""
    growth: float = Field(default=0.5, ge=0, le=10)
    """the pause as a share of the call's age at the last attempt."""
    max_hours: float = Field(default=24.0, gt=0, le=24 * 30)
    """the longest pause between two attempts, in hours."""
    max_age_days: float = Field(default=14.0, gt=0, le=3650)
    """the age in days at which there is one last attempt."""


class ReconciliationSettings(Section):
    """What the reconciliation compares."""

    list_landing: bool = True
    """whether landings are listed to find objects without a recording. A bucket takes one request per 1,000 objects,
    an SFTP landing two round trips per 128 folders. Folders named after other days are skipped."""


class ReconciliationLimits(Section):
    """The number of open rows of each kind that a day may have in `reconciliation` before the kind's check fails.

    Without a number the check only reports: not every connected call is recorded.
    """

    connected_call_without_recording: int | None = Field(default=None, ge=0)
    """connected calls for which 8x8 has no recording."""
    recording_without_file: int | None = Field(default=0, ge=0)
    """recordings that are not archived after the grace period."""
    orphan_object: int | None = Field(default=0, ge=0)
    """objects in the landing without a recording."""
    file_without_row: int | None = Field(default=0, ge=0)
    """files in the archive without a row."""
    row_without_file: int | None = Field(default=0, ge=0)
    """rows whose file is missing or has a different size."""
    event_without_session: int | None = Field(default=0, ge=0)
    """webhook events without a session or a recording."""
    duration_mismatch: int | None = Field(default=None, ge=0)
    """recordings with a duration mismatch."""
    session_not_found: int | None = Field(default=0, ge=0)
    """connected calls from a session source that the 8x8 API does not know."""


class CheckSettings(Section):
    """The thresholds of the checks of a day. A check fails above its threshold; with 0 it fails on the first case."""

    max_failed_lookup_share: float = Field(default=0.01, ge=0, le=1)
    """the share of sessions whose lookup failed, between 0 and 1."""
    max_failed_recording_share: float = Field(default=0.01, ge=0, le=1)
    """the share of recordings that are failed, missing, rejected or not uploaded, between 0 and 1."""
    max_duration_mismatch_share: float = Field(default=0.05, ge=0, le=1)
    """the share of recordings with a duration mismatch, between 0 and 1."""
    max_silent_share: float = Field(default=0.01, ge=0, le=1)
    """the share of archived recordings with a channel with nothing to hear, between 0 and 1."""
    max_negative_share_rise: float = Field(default=0.2, ge=0, le=1)
    """the increase of an account's share of sessions without a recording over that of its earlier days, between 0 and
    1."""
    max_missing_sessions: int = Field(default=0, ge=0)
    """the number of sessions that are missing from a source that should have them."""
    reconciliation: ReconciliationLimits = ReconciliationLimits()


class AlertWebhookSettings(Section):
    """A URL to which alerts are posted as JSON."""

    url: SecretHttpUrl
    """the URL. It may be a secret, because it may contain a token."""
    auth_header: Secret | None = None
    """the full value of the `Authorization` header."""


class SmtpSettings(Section):
    """A mail server, and the recipients of alerts."""

    host: str = Field(min_length=1)
    """the host name of the server."""
    port: int = Field(default=587, ge=1, le=65535)
    """the port of the server, usually 587 for "starttls" and 465 for "tls"."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """how the connection is encrypted."""
    username: str | None = None
    """the login; requires a password."""
    password: Secret | None = None
    """the password of the login; never sent unencrypted."""
    sender: Annotated[str, AfterValidator(mail_address)]
    """the sender's address."""
    recipients: tuple[Annotated[str, AfterValidator(mail_address)], ...] = Field(min_length=1)
    """the recipients' addresses."""

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password must be set together")
        if self.password is not None and self.security == "none":
            raise ValueError('the password would be sent unencrypted: security must be "starttls" or "tls"')
        return self


class AlertSettings(Section):
    """Alerts about failed runs, failed checks and recordings at risk of being lost."""

    webhook: AlertWebhookSettings | None = None
    smtp: SmtpSettings | None = None
    repeat_after_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    """the same alert is repeated after this many hours at the earliest."""
    max_per_hour: int = Field(default=10, ge=1, le=1000)
    """the maximum number of alerts per hour; the last one announces that more are held back."""
    countdown_hours: float = Field(default=12.0, gt=0, le=24 * 30)
    """an alert is raised for recordings that 8x8 keeps for less than this many hours."""


class ForecastSettings(Section):
    """Prices and history for `callarchive forecast`. Without prices it shows no cost."""

    price_per_1000_requests: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """the price of 1,000 S3 requests, reads from a landing and writes to the archive."""
    price_per_gb: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """the price of reading 1 GB (1,000,000,000 bytes) from a landing."""
    price_per_1000_api_calls: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """the price of 1,000 requests to the 8x8 API."""
    currency: str = Field(default="", max_length=12, pattern=r"^[A-Za-z]*$")
    """the currency of the prices, for display."""
    history_days: int = Field(default=56, ge=1, le=3650)
    """the number of archived days, the nearest ones, that the estimate is based on."""


class LedgerSettings(Section):
    """The tamper-evident record of what was archived and published, in the archive below `_ledger/`."""

    origin: str = Field(default="callarchive", min_length=1, max_length=200, pattern=r"^[!-*,-~]+$")
    """the name of this ledger in its checkpoints; best one that nobody else uses, such as acme.example/recordings."""
    signing_key: Secret | None = None
    """the key that signs the checkpoints; `callarchive ledger keygen` makes one."""
    public_keys: tuple[str, ...] = ()
    """keys whose signatures are trusted, besides that of `signing_key`: earlier ones, or the only one where nothing is
    signed."""
    anchor: AnchorSettings | None = None


class HoldSettings(Section):
    """Rules for legal holds."""

    two_releasers: bool = False
    """whether a second person must confirm the release of a hold."""


class RetentionSettings(Section):
    """How long recordings are kept. Nothing is removed until `callarchive retention apply` runs."""

    keep_days: int | None = Field(default=None, ge=1, le=36_500)
    """the number of days after the call; without a number, recordings are kept without limit."""


class DagsterSettings(Section):
    """How Dagster runs days."""

    days_per_run: int = Field(default=20, ge=1, le=1000)
    """the number of days in one run of a backfill."""
    schedule_hour: int = Field(default=4, ge=0, le=23)
    """the hour at which the schedule archives yesterday, in the configured time zone."""
    look_back_days: int = Field(default=3, ge=0, le=366)
    """the nightly run archives this many days before yesterday again if something may have changed."""
    catch_up_days: int = Field(default=14, ge=0, le=366)
    """the nightly run completes unfinished days up to this many days back."""
    sensors: Literal["off", "on"] = "off"
    """"on" starts a day's run on new events, late recordings and new session files."""
    event_pause_max_minutes: float = Field(default=15.0, ge=0, le=24 * 60)
    """the longest pause between two runs of a day while its events keep arriving, in minutes."""
