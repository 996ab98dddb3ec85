"""The steps of a trace, from the sources of a session to the checks of its day: pure functions over rows of the catalog."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from callarchive.archiving.transforms.attention import silence_in
from callarchive.catalog.rows import Row
from callarchive.domain.errors import AccountFailure
from callarchive.domain.plurals import many


class StepState(StrEnum):
    """The state of a step. WAITING may resolve with time; ABSENT steps are not needed, such as events without a receiver."""

    OK = "ok"
    WAITING = "waiting"
    BROKEN = "broken"
    ABSENT = "absent"


@dataclass(frozen=True)
class Step:
    """A step: its name, its state, a sentence, and the facts behind it."""

    name: str
    state: StepState
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the step as `callarchive find --json` prints it."""
        return {"name": self.name, "state": self.state, "told": self.detail, "facts": self.facts}


NO_EVENTS = Step("events", StepState.ABSENT, "the inbox has none")
_CALL_FACTS = (
    "started_at",
    "ended_at",
    "session_status",
    "call_count",
    "call_duration_s",
    "price",
    "price_currency",
    "source_number",
    "destination_number",
    "mos",
)
_NOT_UPLOADED = frozenset({"PROCESSING_FAILED", "UPLOAD_FAILED", "UNKNOWN"})
_WITHOUT_BYTES = {"pending": StepState.WAITING, "missing": StepState.BROKEN, "not_uploaded": StepState.BROKEN}


def session_steps(
    session: Row, *, events: Sequence[Row], answer: str | None, inbox_error: str | None = None
) -> Iterator[Step]:
    """Yield the steps of sources, events (oldest first) and 8x8's response (`answer`, unchanged, if one is stored)."""
    sources, call = list(session["sources"] or ()), _present(session, _CALL_FACTS)
    if sources:
        yield Step("named by", StepState.OK, ", ".join(sources), call)
    else:
        yield Step("named by", StepState.BROKEN, "no source lists the session any more", call)
    yield events_step(events, inbox_error=inbox_error)
    status = session["lookup_status"]
    detail = {
        "ok": f"8x8 lists {session['recording_count']} recordings",
        "no_recordings": "8x8 knows the session and lists no recording",
        "not_found": "8x8 does not know the session",
    }.get(status, f"8x8 gave no usable response: {session['lookup_error']}")
    facts = {"looked_up_at": session["looked_up_at"], "answer": answer}
    broken = status in ("error", "not_found")
    yield Step("8x8's response", StepState.BROKEN if broken else StepState.OK, detail, facts)


def events_step(events: Sequence[Row], *, inbox_error: str | None = None) -> Step:
    """Return the step of the events in the inbox. It may be ABSENT: events get lost, and not every account has a receiver."""
    if inbox_error is not None:
        return Step("events", StepState.ABSENT, f"the inbox could not be read: {inbox_error}")
    if not events:
        return NO_EVENTS
    deliveries = sum(event["delivery_count"] for event in events)
    detail = f"{many(len(events), 'event', 'events')}, delivered {many(deliveries, 'time', 'times')}"
    return Step("events", StepState.OK, detail, {"event": list(events)})


def recording_steps(recording: Row, *, versions: Sequence[Row], call_duration_s: float | None) -> Iterator[Step]:
    """Yield the steps of a recording: 8x8's status, object, transfer, file, audio, durations and later versions.

    The recording is a row of `recordings` with `file_state` and columns of `recording_files`.
    """
    if recording["archive_status"] == "erased":
        yield Step("file in the archive", StepState.ABSENT, recording["error"] or "erased")
        return
    yield _status_step(recording)
    yield from _file_steps(recording)
    if recording["archive_status"] == "archived":
        yield _audio_step(recording)
        yield _durations_step(recording, call_duration_s)
    if len(versions) > 1:
        bad = [row for row in versions if row["state"] != "intact"]
        state = StepState.BROKEN if bad else StepState.OK
        yield Step("later versions", state, f"{len(versions)} versions are kept", {"version": list(versions)})


def latest_run_step(failure: AccountFailure) -> Step:
    """Return the step of a latest run that could not archive the session's account."""
    detail = f"it could not archive {failure.line}; all that is shown is from an earlier run"
    return Step("latest run", StepState.WAITING, detail)


def checks_step(failed: Mapping[str, str], *, run: int) -> Step:
    """Return the step of the day's checks. It never breaks the trace: a failed check need not affect this session."""
    if not failed:
        return Step("checks of the day", StepState.OK, f"all {run} passed")
    detail = f"{len(failed)} of {run} did not pass on that day, which need not affect this session"
    return Step("checks of the day", StepState.OK, detail, dict(failed))


def reconciliation_step(rows: Sequence[Row]) -> Step:
    """Return the step of the open rows of `reconciliation` for this session."""
    open_rows = [row for row in rows if row["state"] == "open"]
    if not open_rows:
        return Step("reconciliation", StepState.OK, "nothing is open")
    detail = "; ".join(f"{row['kind']}: {row['reason']}" for row in open_rows)
    since = {"open since": min(row["first_seen_at"] for row in open_rows)}
    return Step("reconciliation", StepState.BROKEN, detail, since)


def broken_at(steps: Sequence[Step]) -> str | None:
    """Return the first step that is broken or waiting, as text; None if there is none."""
    for step in steps:
        if step.state in (StepState.BROKEN, StepState.WAITING):
            return f"{step.name}: {step.detail}"
    return None


def verdict_on(recording: Row) -> str:
    """Return whether the recording, with its steps in `links`, is archived and whole, and otherwise why not."""
    status = recording["archive_status"]
    if status == "archived":
        broken = next((step for step in recording["links"] if step.state is StepState.BROKEN), None)
        if broken is None:
            return "archived, whole"
        return f"archived, but {'' if broken.detail.startswith(broken.name) else f'{broken.name}: '}{broken.detail}"
    if status == "erased":
        return recording["error"] or "erased"
    return f"not archived: {status}: {recording['error']}"


def _status_step(recording: Row) -> Step:
    status = recording["api_status"]
    state = StepState.OK
    if status == "PROCESSING":
        state = StepState.WAITING
    elif status in _NOT_UPLOADED and recording["archive_status"] != "archived":
        state = StepState.BROKEN
    facts = _present(recording, ("api_status_raw", "external_file_url", "started_at", "started_at_source"))
    return Step("8x8's status", state, str(status), facts)


def _file_steps(recording: Row) -> Iterator[Step]:
    status = recording["archive_status"]
    object_facts = _present(
        recording, ("source_uri", "source_size_bytes", "source_etag", "source_modified_at", "source_evidence")
    )
    if status in _WITHOUT_BYTES:
        yield Step("object in the landing", _WITHOUT_BYTES[status], f"{status}: {recording['error']}", object_facts)
        return
    doubts = {
        "size": "; only its size confirms the bytes, because the store has no hash",
        "reread": "; its size is not vouched for, because the server reports none: it was read twice with the same result",
    }
    detail = "was found and read" + doubts.get(recording.get("source_evidence") or "", "")
    yield Step("object in the landing", StepState.OK, detail, object_facts)
    if status != "archived":
        facts = _present(recording, ("quarantine_uri",))
        yield Step("transfer", StepState.BROKEN, f"{status}: {recording['error']}", facts)
        return
    yield Step("transfer", StepState.OK, f"{recording['size_bytes']} bytes", _present(recording, ("archived_at",)))
    facts = _present(recording, ("archive_uri", "size_bytes", "sha256"))
    if recording["file_state"] == "intact":
        yield Step("file in the archive", StepState.OK, "its hash is unchanged", facts)
    else:
        detail = f"the archived file is {recording['file_state']}"
        yield Step("file in the archive", StepState.BROKEN, detail, facts)


def _audio_step(recording: Row) -> Step:
    facts = _present(
        recording, ("duration_s", "frame_count", "bitrate_kbps", "sample_rate_hz", "channels", "silent_channels")
    )
    issue = recording["audio_issue"]
    if issue is not None:
        return Step("audio", StepState.BROKEN, f"audio is {issue}: {recording['audio_issue_detail']}", facts)
    detail = f"{recording['duration_s']:.1f} s can be heard"
    if (silence := silence_in(recording)) is not None:
        detail = f"{recording['duration_s']:.1f} s, {silence}"
    return Step("audio", StepState.OK, detail, facts)


def _durations_step(recording: Row, call_duration_s: float | None) -> Step:
    facts = _present(recording, ("duration_s", "duration_api_s", "duration_event_s"))
    if call_duration_s is not None:
        facts["call_duration_s"] = call_duration_s
    if recording["duration_mismatch"]:
        detail = ", ".join(f"{name} {seconds:g}" for name, seconds in facts.items())
        return Step("durations", StepState.BROKEN, f"they disagree: {detail}", facts)
    detail = "they agree" if recording["duration_mismatch"] is not None else "8x8 reports none to compare with"
    return Step("durations", StepState.OK, detail, facts)


def _present(row: Row, names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if row.get(name) is not None}
