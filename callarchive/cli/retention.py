"""`callarchive retention`: what is past its time, and its removal."""

from typing import TYPE_CHECKING, Any

import typer

from callarchive.cli.erase import BypassGovernance
from callarchive.cli.output import Output
from callarchive.cli.people import By, Reason, given_reason, person
from callarchive.domain.plurals import many, size_text

if TYPE_CHECKING:
    from callarchive.domain.errors import RefusedError
    from callarchive.removal.erasing import Done
    from callarchive.removal.retention import OverdueDay

_NO_LIMIT = "no account has a limit: set retention.keep_days, or keep_days of an account"

retention_app = typer.Typer(
    no_args_is_help=True,
    help="Remove recordings that were kept as long as `retention.keep_days`, or `keep_days` of the account, says.",
    rich_markup_mode=None,
)


@retention_app.command("plan", short_help="Show what is past its time.")
def plan(context: typer.Context) -> None:
    """Show the days that are past their time, what would go, and what legal holds keep. Changes nothing.

    A day is past its time when more days have passed since than are to be kept, in the configured time zone.
    """
    from callarchive.removal.erasing import Erasing
    from callarchive.removal.retention import accounts_without_settings, limits
    from callarchive.removal.retention import plan as planned_days

    output: Output = context.obj
    with output.connections() as connections:
        known = limits(connections)
        days = list(planned_days(connections, Erasing(connections).holds())) if known else []
        unknown = accounts_without_settings(connections)
    if output.json:
        kept = {account: keep_days for account, (keep_days, _) in known.items()}
        output.print_json({"keep_days": kept, "days": days, "accounts_without_settings": unknown})
        return
    for name in unknown:
        output.print_note(f"{name} is not in the configuration, so nothing of it is past its time")
    if not known:
        output.print_text(_NO_LIMIT)
        return
    if days:
        output.print_table(
            "Past their time",
            ("account", "day", "due on", "sessions", "recordings", "files", "size", "held sessions", "holds"),
            [
                (
                    *(one.subaccount_id, str(one.call_date), str(one.due_on), one.session_count, one.recording_count),
                    *(one.file_count, size_text(one.size_bytes), one.held_session_count, ", ".join(one.hold_ids)),
                )
                for one in days
            ],
        )
    total = sum(one.recording_count for one in days)
    size = size_text(sum(one.size_bytes for one in days))
    next_step = ": `callarchive retention apply` removes them" if total else ""
    of_accounts = many(len(days), "day of an account", "days of accounts")
    recordings = many(total, "recording", "recordings")
    output.print_text(f"{of_accounts}, {recordings} ({size}) to remove{next_step}")


@retention_app.command("apply", short_help="Remove what is past its time.")
def apply(
    context: typer.Context,
    reason: Reason = None,
    by: By = None,
    bypass_governance: BypassGovernance = False,
) -> None:
    """Erase what is past its time, as `callarchive erase` does, oldest day first, except what legal holds keep.

    The reason is by default the limit. Killed anywhere, the next run continues. Exits with 0 also if holds keep something,
    and with 3 if S3 Object Lock does.
    """
    from callarchive.domain.errors import RetainedError
    from callarchive.removal.erasing import Erasing
    from callarchive.removal.retention import apply as apply_retention
    from callarchive.removal.retention import limits

    output: Output = context.obj
    who = person(by)
    why = None if reason is None else given_reason(reason)
    documents = []
    with output.connections() as connections:
        if not limits(connections) and not output.json:
            output.print_text(_NO_LIMIT)
        erasing = Erasing(connections)
        days = apply_retention(
            connections,
            reason=why,
            by=who.name,
            user=who.user,
            bypass_governance=bypass_governance,
            erasing=erasing,
        )
        refused = None
        for day, result in days:
            refused = result if isinstance(result, RetainedError) else refused
            documents.append(_document(day, result))
            output.print_note(_line(day, result))
        out_of_reach = sorted(erasing.out_of_reach)
    if output.json:
        output.print_json({"days": documents, "out_of_reach": out_of_reach})
    else:
        erased = sum(one["recordings"] for one in documents)
        output.print_text(
            f"{many(len(documents), 'day of an account', 'days of accounts')}: {many(erased, 'recording', 'recordings')} erased"
        )
        for text in out_of_reach:
            output.print_note(f"out of reach: {text}")
    if refused is not None:
        raise refused


def _document(day: "OverdueDay", result: "Done | RefusedError | None") -> dict[str, Any]:
    from callarchive.removal.erasing import Done

    done = result if isinstance(result, Done) else None
    return {
        "subaccount_id": day.subaccount_id,
        "call_date": day.call_date,
        "erasure": None if done is None else done.erasure.erasure_id,
        "sessions": 0 if done is None else len(done.erasure.session_ids),
        "recordings": 0 if done is None else len(done.erasure.recording_ids),
        "files": 0 if done is None else done.file_count,
        "holds": _hold_ids(result),
    }


def _line(day: "OverdueDay", result: "Done | RefusedError | None") -> str:
    from callarchive.removal.erasing import Done
    from callarchive.removal.obstacles import HeldError

    what = "nothing was left" if result is None else str(result)
    if isinstance(result, HeldError):
        what = "all of it is held"
    if isinstance(result, Done):
        what = f"{many(len(result.erasure.recording_ids), 'recording', 'recordings')} erased"
    kept = ", ".join(_hold_ids(result))
    return f"{day.subaccount_id}, {day.call_date}: {what}{f'; kept by {kept}' if kept else ''}"


def _hold_ids(result: "Done | RefusedError | None") -> list[str]:
    from callarchive.removal.obstacles import HeldError

    if isinstance(result, HeldError):
        return sorted(one.hold_id for one in result.holds)
    return sorted({one.hold_id for found in getattr(result, "held", {}).values() for one in found})
