"""The schemas of the catalog's tables. Columns are only ever added and nullable, so all versions read together.

NULL means unknown, never zero. Types are Arrow's names, so that listing the tables does not import pyarrow.
"""

from collections.abc import Callable
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
COUNTS = "list<item: int64>"

SQL_TYPES = {
    TEXT: "varchar",
    COUNT: "bigint",
    NUMBER: "double",
    FLAG: "boolean",
    TIMESTAMP: "timestamp with time zone",
    PRICE: "decimal(18, 6)",
    TEXTS: "varchar[]",
    COUNTS: "bigint[]",
}
"""The types as DuckDB names them."""


@dataclass(frozen=True)
class Column:
    """A column: its Arrow type by name, and the meaning of its values."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table of the catalog, partitioned by `call_date`."""

    name: str
    grain: str  # what one row is
    key: tuple[str, ...]  # columns that are unique within a partition. Rows are ordered by them.
    columns: tuple[Column, ...]
    # Whether the table is for readers. The others, below `_steps/`, pass data between the steps of a day.
    public: bool = True

    @cached_property
    def schema(self) -> "pa.Schema":
        """The Arrow schema, the same in every file, including files whose columns are all NULL."""
        import pyarrow as pa

        types = {
            TEXT: pa.string(),
            COUNT: pa.int64(),
            NUMBER: pa.float64(),
            FLAG: pa.bool_(),
            TIMESTAMP: pa.timestamp("us", tz="UTC"),
            PRICE: pa.decimal128(18, 6),
            TEXTS: pa.list_(pa.string()),
            COUNTS: pa.list_(pa.int64()),
        }
        return pa.schema([pa.field(c.name, types[c.type], metadata={"meaning": c.meaning}) for c in self.columns])

    @property
    def folder(self) -> str:
        """The table's folder, relative to the catalog's root."""
        return self.name if self.public else f"_steps/{self.name}"

    def partition_path(self, call_date: object) -> str:
        """Return the path of the partition's only file, which is replaced as a whole: readers never see a mix of rows."""
        return f"{self.folder}/call_date={call_date}/part-0.parquet"


def _columns_of(type_: str) -> Callable[[str, str], Column]:
    return lambda name, meaning: Column(name, type_, meaning)


_text, _count, _seconds, _at, _flag, _texts = map(_columns_of, (TEXT, COUNT, NUMBER, TIMESTAMP, FLAG, TEXTS))


def _public(name: str, grain: str, key: str, *columns: Column) -> Table:
    return Table(name, grain, tuple(key.split()), columns)


def _step(name: str, grain: str, key: str, *columns: Column) -> Table:
    return Table(name, grain, tuple(key.split()), columns, public=False)


_ACCOUNT = _text("subaccount_id", "8x8 subaccount")
_OF_SESSION = (_ACCOUNT, _text("session_id", "Number Masking session, lowercase UUID"))
_OF_RECORDING = (*_OF_SESSION, _text("recording_id", "recording, lowercase UUID"))

_CALL_FACTS = (
    _at("started_at", "when the session's first call leg was initiated, from the session sources"),
    _at("ended_at", "when its last leg was disconnected"),
    _text("session_status", "COMPLETED, NO_ANSWER, BUSY, CANCELED, FAILED, ERROR, or another 8x8 status"),
    _count("call_count", "number of call legs"),
    _seconds("call_duration_s", "duration of the longest leg, connected to disconnected, seconds"),
    Column("price", PRICE, "price of all legs, in price_currency; NULL if the legs have different currencies"),
    _text("price_currency", "ISO 4217 currency code of price"),
    _text("source_number", "caller of the first leg, dropped, hashed or kept according to the account's phone_numbers"),
    _text("destination_number", "callee of the first leg, likewise"),
    Column("mos", NUMBER, "call quality according to 8x8, 1 (bad) to 5, of the worst leg; NULL if unknown"),
    _texts("sources", "kinds of the session sources that list the session"),
)

SESSION_IDS = _step(
    "session_ids",
    "one row per session that a source lists for the day",
    "subaccount_id session_id",
    *_OF_SESSION,
    *_CALL_FACTS,
)

SESSION_PROBLEMS = _step(
    "session_problems",
    "one row per rejected row of a session source",
    "subaccount_id problem_number",
    _ACCOUNT,
    _count("problem_number", "number within the day, from 0"),
    _text("source", "kind of the session source"),
    _text("file", "file that contains the row"),
    _count("line", "line in the file, from 1; NULL if the format has no lines"),
    _text("reason", "why the row was rejected"),
)

DAY_BOUNDS = _step(
    "day_bounds",
    "one row per day: its bounds when the sources were last queried",
    "timezone",
    _text("timezone", "IANA name of the time zone that defines the days"),
    _at("begins_at", "start of the day"),
    _at("ends_at", "start of the next day"),
    _text("tz_origin", "source of the time zone data: tzdata (the package), or a folder in PYTHONTZPATH"),
    _text("tz_version", "IANA release of the data, such as 2026f; NULL if the folder does not name it"),
    _text("tz_sha256", "SHA-256 of the time zone's file, hex"),
)

_LOOKUP = (
    _text("lookup_status", "result of the lookup at 8x8: ok, no_recordings, not_found, error"),
    _text("lookup_error", "why the lookup failed"),
)

LOOKUPS = _step(
    "lookups",
    "one row per session, with its lookup at 8x8",
    "subaccount_id session_id",
    *_OF_SESSION,
    *_LOOKUP,
    _at("looked_up_at", "when the session was last looked up"),
    _flag("unreachable", "whether 8x8 gave no response at all"),
    _at(
        "negative_since",
        "since when 8x8 has reported no recording or an unknown session, in valid responses after the grace period; "
        "NULL if it has not",
    ),
)

_API_FACTS = (
    _text("api_status", "status at 8x8, one of the seven documented values"),
    _text("api_status_raw", "status as received from 8x8"),
)

RECORDING_METADATA = _step(
    "recording_metadata",
    "one row per recording that 8x8 lists for the day's sessions",
    "subaccount_id recording_id",
    *_OF_RECORDING,
    *_API_FACTS,
    _text("external_file_url", "where 8x8 uploaded the file, according to its API"),
    _seconds("duration_api_s", "duration from the API, seconds"),
    _at("started_at_api", "startRecordingTime; NULL if unset"),
    _flag("only_by_event", "true if only a webhook event reports the recording; NULL if the API lists it"),
)

RECORDING_EVENTS = _step(
    "recording_events",
    "one row per recording with webhook events, for the day's sessions",
    "subaccount_id recording_id",
    *_OF_RECORDING,
    _text("event_status", "most advanced status of its events, one of the seven documented values"),
    _text("event_status_raw", "that status as received"),
    _seconds("duration_event_s", "duration from the event, seconds"),
    _text("file_path", "path of the file according to the event; never trusted"),
    _at("first_received_at", "when the first event was received"),
)

_STATE = (
    _text("archive_status", "archived, pending, missing, rejected, failed, not_uploaded, erased"),
    _text("error", "why no file is archived"),
)

_KEPT_FILE = (
    _text("quarantine_uri", "where downloaded bytes that are not audio are kept"),
    _count("size_bytes", "size of the archived file, bytes"),
    _text("sha256", "SHA-256 of the archived file, hex"),
    _seconds("duration_s", "duration of the audible audio, measured, seconds"),
)

_AUDIO = (
    _text("audio_issue", "truncated or damaged; NULL for intact audio"),
    _text("audio_issue_detail", "what is wrong with the audio, and where"),
    Column("bitrate_kbps", NUMBER, "mean bit rate, 1000 bit/s"),
    _count("sample_rate_hz", "sample rate of the first frame, Hz"),
    _count("channels", "1 mono, 2 stereo"),
    Column(
        "silent_channels",
        COUNTS,
        "channels with nothing to hear, from 1 (mono or left) to 2 (right); empty if all have sound, NULL if not measured",
    ),
    _at("archived_at", "when the file was stored under its final name"),
)

_SOURCE_EVIDENCE = _text(
    "source_evidence",
    "how the downloaded bytes were verified: md5 (hash from the landing), ssh (size, over SSH), size (size only), "
    "reread (no size is reported; read twice to the end)",
)

RECORDING_FILES = _step(
    "recording_files",
    "one row per recording, with the file downloaded for it",
    "subaccount_id recording_id",
    *_OF_RECORDING,
    *_STATE,
    _text("source_path", "path of the object, relative to the landing's root"),
    _text("source_uri", "URI of the object in the landing"),
    _count("source_size_bytes", "size of the object when it was downloaded, bytes"),
    _text("source_etag", "ETag of the object when it was downloaded; NULL on SFTP"),
    _at("source_modified_at", "modification time of the object when it was downloaded"),
    _text("archive_path", "path of the archived file, relative to the archive's root"),
    *_KEPT_FILE,
    *_AUDIO,
    _count("frame_count", "number of decodable mp3 frames"),
    _texts("versions", "archive paths of all versions, oldest first"),
    _texts("versions_sha256", "SHA-256 of the versions, hex, in the same order"),
    _SOURCE_EVIDENCE,
)

SESSIONS = _public(
    "sessions",
    "one row per session (subaccount_id, session_id)",
    "subaccount_id session_id",
    *_OF_SESSION,
    *_CALL_FACTS,
    *_LOOKUP,
    _at("looked_up_at", "when the session was last looked up"),
    _count("recording_count", "number of recordings that 8x8 lists for the session"),
)

RECORDINGS = _public(
    "recordings",
    "one row per recording (subaccount_id, recording_id)",
    "subaccount_id recording_id",
    *_OF_RECORDING,
    *_API_FACTS,
    *_STATE,
    _at("started_at", "when the recording started"),
    _text("started_at_source", "source of started_at: api, filename, uuid; NULL if unknown"),
    _text("source_uri", "URI of the object in the landing"),
    _text("archive_uri", "URI of the verified file in the archive"),
    *_KEPT_FILE,
    _seconds("duration_api_s", "duration from the API, seconds"),
    _seconds("duration_event_s", "duration from the webhook event, seconds"),
    _flag(
        "duration_mismatch",
        "whether duration_s differs from duration_api_s or duration_event_s by more than the tolerance; "
        "NULL if there is nothing to compare",
    ),
    *_AUDIO,
    _texts("versions", "URIs of all versions, oldest first"),
    _SOURCE_EVIDENCE,
)

STATUS_STATS = _public(
    "status_stats",
    "one row per account, api_status and archive_status",
    "subaccount_id api_status archive_status",
    _ACCOUNT,
    _text("api_status", "status at 8x8, one of the seven documented values"),
    _text("archive_status", "archived, pending, missing, rejected, failed, not_uploaded, erased"),
    _count("recording_count", "number of recordings"),
    _count("size_bytes", "total size of the archived files, bytes"),
    _seconds("duration_s", "total measured duration, seconds"),
)

DURATION_STATS = _public(
    "duration_stats",
    "one row per account, over its archived recordings",
    "subaccount_id",
    _ACCOUNT,
    _count("recording_count", "number of archived recordings"),
    _seconds("total_s", "total measured duration, seconds"),
    _seconds("min_s", "shortest duration, seconds"),
    _seconds("mean_s", "mean duration, seconds"),
    *(_seconds(f"p{p}_s", f"{p}th percentile, linearly interpolated, seconds") for p in (50, 90, 95, 99)),
    _seconds("max_s", "longest duration, seconds"),
)

RECONCILIATION = _public(
    "reconciliation",
    "one row per discrepancy, open or resolved",
    "subaccount_id kind subject",
    _ACCOUNT,
    _text(
        "kind",
        "connected_call_without_recording, recording_without_file, orphan_object, file_without_row, "
        "row_without_file, event_without_session, duration_mismatch, session_not_found",
    ),
    _text(
        "subject", "subject of the discrepancy: a session id, a recording id, or a path in the landing or the archive"
    ),
    _text("session_id", "affected Number Masking session, lowercase UUID"),
    _text("recording_id", "affected recording, lowercase UUID"),
    _text("place", "actual or expected URI of the object or file; NULL if there is none"),
    _text("reason", "description of the discrepancy"),
    _at("first_seen_at", "when a run first found the discrepancy; unchanged if it reappears"),
    _text("state", "open or resolved"),
    _at("resolved_at", "when a run found it resolved; NULL while open"),
)

MISSING_SESSIONS = _step(
    "missing_sessions",
    "one row per session and source that should have listed it in the latest run",
    "subaccount_id session_id source",
    *_OF_SESSION,
    _text("source", "kind of the session source"),
    _text("reason", "why it was expected: an earlier run found it in this source, or webhook events name it"),
)

ACCOUNT_FAILURES = _step(
    "account_failures",
    "one row per account that failed in the latest run; its other tables keep their earlier rows",
    "subaccount_id",
    _ACCOUNT,
    _text("step", "table of the failed step: session_ids, recording_metadata or recording_files"),
    _text("error_type", "error class in callarchive.domain.errors"),
    _text("reason", "error message"),
    _flag("retryable", "whether a later run may succeed without any changes"),
    _count("exit_code", "exit code of the command line"),
)

UNKNOWNS = _step(
    "unknowns",
    "one row per check that the latest run could not decide, and per reason",
    "subaccount_id question reason",
    _ACCOUNT,
    _text("question", "name of the check"),
    _text("reason", "why it could not be decided"),
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
