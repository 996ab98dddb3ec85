"""The sections of the configuration that hold for all accounts, one class each. An account's own are in `accounts`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from callarchive.settings.values import (
    HttpUrl,
    Secret,
    SecretHttpUrl,
    Section,
    StoreUrl,
    address_range,
    inbox_url,
    mail_address,
)


class S3Settings(Section):
    """Overrides of what the AWS chain finds for an S3 endpoint.

    Attributes:
        endpoint_url: another S3 than Amazon's.
        region: the AWS region.
        profile: a profile of ~/.aws/config.
    """

    endpoint_url: HttpUrl | None = None
    region: str | None = None
    profile: str | None = None


class ArchiveSettings(Section):
    """Where verified recordings are kept.

    Attributes:
        url: a folder or a bucket with a prefix; not the catalog's.
    """

    url: StoreUrl
    s3: S3Settings = S3Settings()


class CatalogSettings(Section):
    """Where the Parquet tables are written.

    Attributes:
        url: a folder or a bucket with a prefix; not the archive's.
    """

    url: StoreUrl
    s3: S3Settings = S3Settings()


class InboxSettings(Section):
    """Where webhook events are kept, and for how long after their day was brought up to date.

    Attributes:
        url: a SQLite file, or a PostgreSQL database for receivers on several machines.
        keep_days: so many days after they came, events that their day has taken over are removed.
    """

    url: Annotated[str, AfterValidator(inbox_url)] = Field(default="sqlite:///inbox.sqlite3", validate_default=True)
    keep_days: float = Field(default=90.0, ge=1, le=3650)


class ReceiverSettings(Section):
    """What the receiver of webhook events lets in.

    Attributes:
        allow_from: who may send: addresses, networks (203.0.113.0/24), or 8x8-singapore for its four outbound addresses.
            Empty lets everyone in who knows the account's header.
        trusted_proxies: addresses or networks of proxies whose X-Forwarded-For is believed.
        max_body_bytes: a longer body is refused with 413.
        headers_deadline_s: a request whose headers take longer is cut off.
        body_deadline_s: a request whose body takes longer is refused with 408.
        max_in_flight: so many requests are worked on at once; what comes on top is answered with 503.
        max_connections: open at once; above that the one goes that has been silent for longest.
        max_waiting_per_address: connections of one address that have not sent a whole request yet; above that its oldest goes.
            Trusted proxies have no such bound.
    """

    allow_from: tuple[Annotated[str, AfterValidator(address_range)], ...] = ()
    trusted_proxies: tuple[Annotated[str, AfterValidator(address_range)], ...] = ()
    max_body_bytes: int = Field(default=262_144, ge=1024, le=16 * 1024 * 1024)
    headers_deadline_s: float = Field(default=10.0, gt=0, le=600)
    body_deadline_s: float = Field(default=10.0, gt=0, le=600)
    max_in_flight: int = Field(default=256, ge=1, le=10_000)
    max_connections: int = Field(default=1024, ge=16, le=100_000)
    max_waiting_per_address: int = Field(default=64, ge=1, le=100_000)


class TransferSettings(Section):
    """How recordings are fetched, and when one that cannot be found is called missing.

    Attributes:
        concurrency: recordings in flight at most; a run begins with 8 and takes more while that brings more.
        duration_tolerance_s: measured and told durations may differ by so many seconds.
        missing_after_hours: what 8x8 says is uploaded and cannot be found is pending so long after the call, then missing.
        attempts: per recording and run.
        stall_timeout_s: a transfer in which nothing arrives for so many seconds is broken off and tried again.
        deadline_s: for one recording as a whole, seconds.
    """

    concurrency: int = Field(default=64, ge=1, le=256)
    duration_tolerance_s: float = Field(default=2.0, ge=0, le=3600)
    missing_after_hours: float = Field(default=24.0, ge=0, le=24 * 365)
    attempts: int = Field(default=4, ge=1, le=10)
    stall_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    deadline_s: float = Field(default=900.0, gt=0, le=24 * 3600)


class LookupSettings(Section):
    """How 8x8's API is asked, how long it is given to answer, and whether final sessions are asked for again.

    64 at once make 1,000 look-ups a second of an API that answers within 55 ms; the accounts' rate caps hold all the same.

    Attributes:
        concurrency: sessions asked for at once.
        timeout_s: for one request, seconds.
        deadline_s: for one session with all its retries, seconds.
        retry_after_max_s: a Retry-After of more seconds is not waited for: the session is asked for again by the next run.
        export_deadline_s: so many seconds may 8x8 take for a day's log export.
        recheck: "all" asks again also for final sessions. Final is one that was looked up after the grace time
            (transfer.missing_after_hours) and has all its recordings archived, or of which 8x8 said twice, a day apart,
            that it has none.
    """

    concurrency: int = Field(default=64, ge=1, le=512)
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    deadline_s: float = Field(default=120.0, gt=0, le=3600)
    retry_after_max_s: float = Field(default=60.0, ge=0, le=3600)
    export_deadline_s: float = Field(default=1800.0, gt=0, le=24 * 3600)
    recheck: Literal["unsettled", "all"] = "unsettled"


class ReopenSettings(Section):
    """When a day that is not final yet is archived again by itself.

    A session or recording without a final state is looked at again `first_minutes` after it was looked at last, or a share
    `growth` of its age then, whichever is longer, up to `max_hours`; after `max_age_days` it is given up as missing.

    Attributes:
        first_minutes: the shortest pause between two looks.
        growth: the pause as a share of the age that the call had at the last look.
        max_hours: the longest pause between two looks.
        max_age_days: after so many days it is looked at once more and given up.
    """

    first_minutes: float = Field(default=30.0, gt=0, le=24 * 60)
    growth: float = Field(default=0.5, ge=0, le=10)
    max_hours: float = Field(default=24.0, gt=0, le=24 * 30)
    max_age_days: float = Field(default=14.0, gt=0, le=3650)


class ReconciliationSettings(Section):
    """What is compared to find out what does not fit.

    Attributes:
        list_landing: whether landings are listed, to find objects that no recording names: of a bucket 1,000 objects a
            request, of an SFTP landing 128 folders in two round trips. Folders whose names tell other days are left out.
    """

    list_landing: bool = True


class ReconciliationLimits(Section):
    """So many open rows of each kind may a day have in `reconciliation`; one more and the kind's check fails.

    Without a number the check only tells: a connected call need not have been recorded.

    Attributes:
        connected_call_without_recording: connected calls for which 8x8 names no recording.
        recording_without_file: recordings that are not archived after the grace time.
        orphan_object: objects in the landing that no recording names.
        file_without_row: files in the archive that no row names.
        row_without_file: rows whose file is gone or has another size.
        event_without_session: webhook events without a session or a recording.
        duration_mismatch: recordings whose durations disagree.
        session_not_found: connected calls that a session source names and 8x8's API does not know.
    """

    connected_call_without_recording: int | None = Field(default=None, ge=0)
    recording_without_file: int | None = Field(default=0, ge=0)
    orphan_object: int | None = Field(default=0, ge=0)
    file_without_row: int | None = Field(default=0, ge=0)
    row_without_file: int | None = Field(default=0, ge=0)
    event_without_session: int | None = Field(default=0, ge=0)
    duration_mismatch: int | None = Field(default=None, ge=0)
    session_not_found: int | None = Field(default=0, ge=0)


class CheckSettings(Section):
    """Above which share a day's check fails. 0 means that one is too many.

    Attributes:
        max_failed_lookup_share: of sessions whose look-up failed, between 0 and 1.
        max_failed_recording_share: of recordings that are failed, missing, rejected or not uploaded, between 0 and 1.
        max_duration_mismatch_share: of recordings whose durations disagree, between 0 and 1.
        max_negative_share_rise: by how much the share of an account's sessions of which 8x8 names no recording may exceed
            that of its earlier days, between 0 and 1.
        max_missing_sessions: a number: of sessions that a source does not name, though it should.
    """

    max_failed_lookup_share: float = Field(default=0.01, ge=0, le=1)
    max_failed_recording_share: float = Field(default=0.01, ge=0, le=1)
    max_duration_mismatch_share: float = Field(default=0.05, ge=0, le=1)
    max_negative_share_rise: float = Field(default=0.2, ge=0, le=1)
    max_missing_sessions: int = Field(default=0, ge=0)
    reconciliation: ReconciliationLimits = ReconciliationLimits()


class AlertWebhookSettings(Section):
    """A URL to which alerts are posted as JSON. The URL may hold a token, so it may be a secret.

    Attributes:
        url: where to.
        auth_header: the whole value of `Authorization`.
    """

    url: SecretHttpUrl
    auth_header: Secret | None = None


class SmtpSettings(Section):
    """A mail server, and who gets the alerts.

    Attributes:
        host: the server's name.
        port: 587 for "starttls", 465 for "tls" as a rule.
        security: how the connection is encrypted.
        username: to log in; with a password only.
        password: to log in; never sent without encryption.
        sender: the address that the mail is from.
        recipients: the addresses that it goes to.
    """

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: Secret | None = None
    sender: Annotated[str, AfterValidator(mail_address)]
    recipients: tuple[Annotated[str, AfterValidator(mail_address)], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.password is not None and self.security == "none":
            raise ValueError('password would cross the network in clear: security must be "starttls" or "tls"')
        return self


class AlertSettings(Section):
    """Who is told of failed runs, failed checks and recordings about to be lost, and how often at most.

    Attributes:
        repeat_after_hours: the same alert is not told again before.
        max_per_hour: alerts in all; the last one says that more are held back.
        countdown_hours: told are recordings that 8x8 keeps for fewer hours.
    """

    webhook: AlertWebhookSettings | None = None
    smtp: SmtpSettings | None = None
    repeat_after_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    max_per_hour: int = Field(default=10, ge=1, le=1000)
    countdown_hours: float = Field(default=12.0, gt=0, le=24 * 30)


class ForecastSettings(Section):
    """What a backfill costs, for `callarchive forecast`. Without a price no cost is told.

    Attributes:
        price_per_1000_requests: of the S3 requests that read a recording from a landing and write it to the archive.
        price_per_gb: of what is read from a landing, a billion bytes.
        price_per_1000_api_calls: of calls of 8x8's API.
        currency: only shown.
        history_days: how many archived days, the nearest ones, tell how the others may be.
    """

    price_per_1000_requests: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_per_gb: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_per_1000_api_calls: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    currency: str = Field(default="", max_length=12, pattern=r"^[A-Za-z]*$")
    history_days: int = Field(default=56, ge=1, le=3650)


class DagsterSettings(Section):
    """How Dagster runs days.

    Attributes:
        days_per_run: a backfill takes so many days in one run.
        schedule_hour: the hour at which the schedule archives yesterday, in the configured time zone.
        look_back_days: so many days before yesterday are archived again by a night where something may have changed.
        catch_up_days: so many days back a night looks for days that were never archived to the end.
        sensors: "on" lets new events, late recordings and dropped id files start their days by themselves.
        event_pause_max_minutes: while events of a day keep coming, its runs are at most so far apart.
    """

    days_per_run: int = Field(default=10, ge=1, le=1000)
    schedule_hour: int = Field(default=4, ge=0, le=23)
    look_back_days: int = Field(default=3, ge=0, le=366)
    catch_up_days: int = Field(default=14, ge=0, le=366)
    sensors: Literal["off", "on"] = "off"
    event_pause_max_minutes: float = Field(default=15.0, ge=0, le=24 * 60)
