"""The tables: grain, columns, types, units, meaning. The one place that says what a Parquet file of ours holds.

`call_date` is in the path only. Columns are only ever added, and always nullable, so files of different ages read
together. A null means that nobody told us, never zero. Types are named as Arrow prints them, so that whoever only asks
which tables there are (Dagster, `--help`) need not import pyarrow.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # 0.15 s of import
    import pyarrow as pa

TEXT = "string"
COUNT = "int64"
NUMBER = "double"
FLAG = "bool"
TIMESTAMP = "timestamp[us, tz=UTC]"
PRICE = "decimal128(18, 6)"
TEXTS = "list<item: string>"

SQL_TYPES = {
    TEXT: "varchar",
    COUNT: "bigint",
    NUMBER: "double",
    FLAG: "boolean",
    TIMESTAMP: "timestamp with time zone",
    PRICE: "decimal(18, 6)",
    TEXTS: "varchar[]",
}
"""What DuckDB reads each type as."""


@dataclass(frozen=True)
class Column:
    """A column: its Arrow type by name, and what a value in it means."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table of the catalog, partitioned by `call_date`.

    Attributes:
        grain: what one row is.
        key: the columns that are unique within a partition; rows are ordered by them.
        public: whether readers see it. The others lie below `_steps/`: what one step of a day hands to the next.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    public: bool = True

    @cached_property
    def schema(self) -> "pa.Schema":
        """The same in every file, also where a column is all null."""
        import pyarrow as pa

        types = _arrow_types()
        return pa.schema([pa.field(c.name, types[c.type], metadata={"meaning": c.meaning}) for c in self.columns])

    @property
    def folder(self) -> str:
        """Below the catalog's root."""
        return self.name if self.public else f"_steps/{self.name}"

    def partition_path(self, call_date: object) -> str:
        """The partition's only file. One name, replaced whole: a reader finds the old rows or the new, never both."""
        return f"{self.folder}/call_date={call_date}/part-0.parquet"


def _arrow_types() -> "dict[str, pa.DataType]":
    import pyarrow as pa

    types = (
        pa.string(),
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.timestamp("us", tz="UTC"),
        pa.decimal128(18, 6),
        pa.list_(pa.string()),
    )
    return {str(arrow_type): arrow_type for arrow_type in types}


def _text(name: str, meaning: str) -> Column:
    return Column(name, TEXT, meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, COUNT, meaning)


def _seconds(name: str, meaning: str) -> Column:
    return Column(name, NUMBER, meaning)


def _at(name: str, meaning: str) -> Column:
    return Column(name, TIMESTAMP, meaning)


_ACCOUNT = _text("subaccount_id", "8x8 subaccount")
_SESSION = _text("session_id", "Number Masking session, UUID in lower case")
_RECORDING = _text("recording_id", "recording, UUID in lower case")

_CALL_FACTS = (
    _at("started_at", "when the session's first call leg was initiated, as a session source says"),
    _at("ended_at", "when its last leg was disconnected"),
    _text("session_status", "COMPLETED, NO_ANSWER, BUSY, CANCELED, FAILED, ERROR, or another word of 8x8's"),
    _count("call_count", "call legs"),
    _seconds("call_duration_s", "the longest leg's duration, connected to disconnected, seconds"),
    Column("price", PRICE, "what 8x8 charges for all legs, in price_currency; null where legs differ in currency"),
    _text("price_currency", "ISO 4217 code of price"),
    _text("source_number", "the first leg's caller, as the account's phone_numbers allows; null when dropped"),
    _text("destination_number", "the first leg's callee, likewise"),
    Column("sources", TEXTS, "kinds of the session sources that named it"),
)

SESSION_IDS = Table(
    "session_ids",
    grain="one row per (subaccount_id, session_id) that a session source names for the day",
    key=("subaccount_id", "session_id"),
    columns=(_ACCOUNT, _SESSION, *_CALL_FACTS),
    public=False,
)

SESSION_PROBLEMS = Table(
    "session_problems",
    grain="one row per row of a session source that was set aside",
    key=("subaccount_id", "problem_number"),
    columns=(
        _ACCOUNT,
        _count("problem_number", "counted from 0 within the day"),
        _text("source", "kind of the session source"),
        _text("file", "file that the row stands in"),
        _count("line", "line in it, counted from 1; null where the format has no lines"),
        _text("reason", "why the row could not be used"),
    ),
    public=False,
)

DAY_BOUNDS = Table(
    "day_bounds",
    grain="one row: from when to when the day went when its sources were asked last",
    key=("timezone",),
    columns=(
        _text("timezone", "IANA name of the zone that days are cut in"),
        _at("begins_at", "the day's first instant"),
        _at("ends_at", "the next day's first instant"),
        _text("tz_origin", "where the time zone data came from: tzdata (the package), or a folder in PYTHONTZPATH"),
        _text("tz_version", "IANA's release of the data, such as 2026f; null where the folder does not say"),
        _text("tz_sha256", "SHA-256 of the zone's file, hex"),
    ),
    public=False,
)

_LOOKUP = (
    _text("lookup_status", "how 8x8 answered: ok, no_recordings, not_found, error"),
    _text("lookup_error", "why the look-up is an error"),
)

LOOKUPS = Table(
    "lookups",
    grain="one row per (subaccount_id, session_id) of the day",
    key=("subaccount_id", "session_id"),
    columns=(
        _ACCOUNT,
        _SESSION,
        *_LOOKUP,
        _at("looked_up_at", "when 8x8 was asked last"),
        Column("unreachable", FLAG, "whether 8x8 gave no answer of any kind"),
        _at(
            "negative_since",
            "when 8x8, asked after the grace time, first answered in a form of its own that it knows no recording or does "
            "not know the session, and since when it has named none; null where it has not",
        ),
    ),
    public=False,
)

_API_FACTS = (
    _text("api_status", "8x8's status, one of its seven documented words"),
    _text("api_status_raw", "8x8's status as it came"),
)

RECORDING_METADATA = Table(
    "recording_metadata",
    grain="one row per (subaccount_id, recording_id) that 8x8 names for the day's sessions",
    key=("subaccount_id", "recording_id"),
    columns=(
        _ACCOUNT,
        _SESSION,
        _RECORDING,
        *_API_FACTS,
        _text("external_file_url", "where 8x8 says that it put the file"),
        _seconds("duration_api_s", "duration as 8x8's API gives it, seconds"),
        _at("started_at_api", "startRecordingTime, null when unset"),
        Column("only_by_event", FLAG, "true where only a webhook event names it, and null where 8x8's API does"),
    ),
    public=False,
)

RECORDING_EVENTS = Table(
    "recording_events",
    grain="one row per (subaccount_id, recording_id) that a webhook event names for the day's sessions",
    key=("subaccount_id", "recording_id"),
    columns=(
        _ACCOUNT,
        _SESSION,
        _RECORDING,
        _text("event_status", "the furthest status that an event told, one of 8x8's seven documented words"),
        _text("event_status_raw", "that status as it came"),
        _seconds("duration_event_s", "duration as the event gives it, seconds"),
        _text("file_path", "where the event says that the file lies; never trusted"),
        _at("first_received_at", "when the first event came"),
    ),
    public=False,
)

_STATE = (
    _text("archive_status", "archived, pending, missing, rejected, failed, not_uploaded, erased"),
    _text("error", "why there is no file"),
)

_KEPT_FILE = (
    _text("quarantine_uri", "where bytes that are not audio are kept"),
    _count("size_bytes", "size of the kept file, bytes"),
    _text("sha256", "SHA-256 of the kept file, hex"),
    _seconds("duration_s", "duration measured from the audio, seconds: what can be heard"),
)

_AUDIO = (
    _text("audio_issue", "truncated or damaged; null for sound audio"),
    _text("audio_issue_detail", "what is wrong with the audio, and where"),
    Column("bitrate_kbps", NUMBER, "mean bit rate, 1000 bit/s"),
    _count("sample_rate_hz", "sample rate of the first frame, Hz"),
    _count("channels", "1 mono, 2 stereo"),
    _at("archived_at", "when the file got its final name"),
)

_SOURCE_EVIDENCE = _text(
    "source_evidence",
    "what confirmed that the bytes read are the landing's: md5 (its hash), ssh (size, over SSH), size (nothing else)",
)

RECORDING_FILES = Table(
    "recording_files",
    grain="one row per (subaccount_id, recording_id): what was fetched and kept, so that a rerun can skip it",
    key=("subaccount_id", "recording_id"),
    columns=(
        _ACCOUNT,
        _SESSION,
        _RECORDING,
        *_STATE,
        _text("source_path", "the object's place below the landing's root"),
        _text("source_uri", "the object's whole place"),
        _count("source_size_bytes", "the object's size when it was read, bytes"),
        _text("source_etag", "the object's ETag when it was read; null on SFTP"),
        _at("source_modified_at", "the object's time of change when it was read"),
        _text("archive_path", "the kept file's place below the archive's root"),
        *_KEPT_FILE,
        *_AUDIO,
        _count("frame_count", "mp3 frames that can be decoded"),
        Column("versions", TEXTS, "archive paths of all versions kept, oldest first"),
        Column("versions_sha256", TEXTS, "their SHA-256, hex, in the same order"),
        _SOURCE_EVIDENCE,
    ),
    public=False,
)

SESSIONS = Table(
    "sessions",
    grain="one row per (subaccount_id, session_id)",
    key=("subaccount_id", "session_id"),
    columns=(
        _ACCOUNT,
        _SESSION,
        *_CALL_FACTS,
        *_LOOKUP,
        _at("looked_up_at", "when 8x8 was asked last"),
        _count("recording_count", "recordings that 8x8 names for the session"),
    ),
)

RECORDINGS = Table(
    "recordings",
    grain="one row per (subaccount_id, recording_id)",
    key=("subaccount_id", "recording_id"),
    columns=(
        _ACCOUNT,
        _SESSION,
        _RECORDING,
        *_API_FACTS,
        *_STATE,
        _at("started_at", "when the recording started"),
        _text("started_at_source", "what says so: api, filename, uuid; null when nothing does"),
        _text("source_uri", "where the object lies in the landing"),
        _text("archive_uri", "where the verified file is kept"),
        *_KEPT_FILE,
        _seconds("duration_api_s", "duration as 8x8's API gives it, seconds"),
        _seconds("duration_event_s", "duration as the webhook event gives it, seconds"),
        Column(
            "duration_mismatch",
            FLAG,
            "whether duration_s differs from duration_api_s or duration_event_s by more than the tolerance; "
            "null where there is nothing to compare",
        ),
        *_AUDIO,
        Column("versions", TEXTS, "URIs of all versions kept, oldest first"),
        _SOURCE_EVIDENCE,
    ),
)

STATUS_STATS = Table(
    "status_stats",
    grain="one row per (subaccount_id, api_status, archive_status)",
    key=("subaccount_id", "api_status", "archive_status"),
    columns=(
        _ACCOUNT,
        _text("api_status", "8x8's status, one of its seven documented words"),
        _text("archive_status", "archived, pending, missing, rejected, failed, not_uploaded, erased"),
        _count("recording_count", "recordings"),
        _count("size_bytes", "bytes kept"),
        _seconds("duration_s", "measured seconds of audio"),
    ),
)

DURATION_STATS = Table(
    "duration_stats",
    grain="one row per subaccount_id, over archived recordings",
    key=("subaccount_id",),
    columns=(
        _ACCOUNT,
        _count("recording_count", "archived recordings"),
        _seconds("total_s", "sum of measured durations, seconds"),
        _seconds("min_s", "shortest"),
        _seconds("mean_s", "arithmetic mean"),
        *(_seconds(f"p{p}_s", f"{p}th percentile, linear between neighbours") for p in (50, 90, 95, 99)),
        _seconds("max_s", "longest"),
    ),
)

RECONCILIATION = Table(
    "reconciliation",
    grain="one row per (subaccount_id, kind, subject) that does not fit, or did not",
    key=("subaccount_id", "kind", "subject"),
    columns=(
        _ACCOUNT,
        _text(
            "kind",
            "connected_call_without_recording, recording_without_file, orphan_object, file_without_row, "
            "row_without_file, event_without_session, duration_mismatch, session_not_found",
        ),
        _text(
            "subject",
            "what does not fit: a session id, a recording id, a path below the landing's or the archive's root",
        ),
        _text("session_id", "Number Masking session that it concerns, UUID in lower case"),
        _text("recording_id", "recording that it concerns, UUID in lower case"),
        _text("place", "where the object or file lies, or should; null where there is none"),
        _text("reason", "what does not fit, in words"),
        _at("first_seen_at", "when a run found it for the first time; stays when it comes back"),
        _text("state", "open or resolved"),
        _at("resolved_at", "when a run found that it fits now; null while open"),
    ),
)

MISSING_SESSIONS = Table(
    "missing_sessions",
    grain="one row per (subaccount_id, session_id, source): a session that the source did not name in the latest run, though "
    "it should",
    key=("subaccount_id", "session_id", "source"),
    columns=(
        _ACCOUNT,
        _SESSION,
        _text("source", "kind of the session source"),
        _text("reason", "why it should: an earlier run had the session from it, or webhook events name it"),
    ),
    public=False,
)

ACCOUNT_FAILURES = Table(
    "account_failures",
    grain="one row per account that the latest run of the day could not archive; its rows in the other tables are older",
    key=("subaccount_id",),
    columns=(
        _ACCOUNT,
        _text("step", "the table whose step failed: session_ids, recording_metadata or recording_files"),
        _text("error_type", "class of the error in callarchive.domain.errors"),
        _text("reason", "why, in one sentence"),
        Column("retryable", FLAG, "whether a later run may succeed without anyone changing anything"),
        _count("exit_code", "what the command line exits with"),
    ),
    public=False,
)

UNKNOWNS = Table(
    "unknowns",
    grain="one row per (subaccount_id, question, reason) that the latest run of the day could not find out",
    key=("subaccount_id", "question", "reason"),
    columns=(
        _ACCOUNT,
        _text("question", "name of the check that asks it"),
        _text("reason", "why it could not be found out, as the end of a sentence"),
    ),
    public=False,
)

PUBLIC_TABLES = (SESSIONS, RECORDINGS, STATUS_STATS, DURATION_STATS, RECONCILIATION)
STEP_TABLES = (
    SESSION_IDS,
    SESSION_PROBLEMS,
    DAY_BOUNDS,
    RECORDING_EVENTS,
    LOOKUPS,
    RECORDING_METADATA,
    RECORDING_FILES,
    ACCOUNT_FAILURES,
    UNKNOWNS,
    MISSING_SESSIONS,
)
