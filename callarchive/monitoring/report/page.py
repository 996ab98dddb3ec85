"""The HTML of the report: one file that loads nothing, from `page.html.jinja`, `page.css` and `page.js` beside this module.

Every value is escaped by the template. The page's policy allows only its own style, script and embedded audio.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files
from statistics import fmean, median
from typing import Any

from callarchive import __version__
from callarchive.domain.days import spans_of
from callarchive.domain.foreign_text import cleaned, printable
from callarchive.domain.plurals import duration_text, many, size_text
from callarchive.monitoring.report.audio import EmbeddedAudio
from callarchive.monitoring.report.calls import LISTED, Report, trouble_of
from callarchive.monitoring.report.wording import LACKING, WORDINGS, CallState

_WIDTH, _HEIGHT, _LEFT = 960, 220, 48
_LABELS = 8
_LABEL = 48
"""The width of a day's label, such as 29 Nov, with some reserve."""
_SPANS = 10


def pieces(report: Report, audio: EmbeddedAudio | None) -> Iterator[str]:
    """Yield the page in pieces. `audio` is None for a page without recordings."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("callarchive.monitoring.report", "."),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # no bidirectional overrides
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    css += "".join(f"i.{state} {{ background: {wording.colour}; }}\n" for state, wording in WORDINGS.items())
    counts = report.counts
    yield from environment.get_template("page.html.jinja").generate(
        audio=audio,
        chart=_chart(report),
        cleaned=cleaned,
        counts=counts,
        css=css,
        days_text=days_text,
        duration_text=duration_text,
        lacking=[state for state in (*LACKING, CallState.UNKNOWN) if counts[state]],
        legend=[state for state in WORDINGS if counts[state]],
        listed=LISTED,
        many=many,
        notes=list(_notes(report, audio)),
        policy=f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'; media-src data:; "
        "base-uri 'none'; form-action 'none'",
        report=report,
        script=script,
        size_text=size_text,
        time_text=_times(report),
        trouble_of=trouble_of,
        verdict=f"{verdict(report)}{_erased(report)}",
        version=__version__,
        wordings=WORDINGS,
    )


def verdict(report: Report) -> str:
    """Return the first sentence: how many calls have their recording. It says "all" without reserve only if it knows all."""
    counts, days = report.counts, days_text(report.days[0].day, report.days[-1].day)
    kept, lacking = counts[CallState.ARCHIVED], sum(counts[state] for state in LACKING)
    which = "selected calls" if report.only_sessions else "calls"
    total = kept + lacking
    if not counts.total():
        return f"No {which} of {days} are known."
    if not total:
        return f"None of the {which} of {days} is known to have a recording."
    which = which if lacking or report.is_complete() else f"known {which}"
    end = "." if lacking or report.is_complete() else "; there may be others."
    if total == 1:
        return f"The only {which.removesuffix('s')} of {days} that should have a recording {'has' if kept else 'lacks'} it{end}"
    if not lacking:
        return f"All {total:,} {which} of {days} that should have a recording have it{end}"
    if not kept:
        return f"None of the {total:,} {which} of {days} that should have a recording has it."
    have, do = "has its" if kept == 1 else "have their", "does" if lacking == 1 else "do"
    return f"{kept:,} of {total:,} {which} of {days} {have} recording; {lacking:,} {do} not."


def _erased(report: Report) -> str:
    """Return the sentence about calls that were erased as a whole; empty if none was."""
    return f" {many(report.erased, 'more recording was', 'more recordings were')} erased." if report.erased else ""


def _notes(report: Report, audio: EmbeddedAudio | None) -> Iterator[str]:
    """Yield what the verdict leaves out: what is unknown, and what needs no recording."""
    never = [day.day for day in report.days if not day.archived and day.day not in report.open_days]
    if never:
        yield (
            f"{many(len(never), 'day was', 'days were')} never archived, so nothing is known about calls of"
            f" {_spans(never)}: there may have been any number."
        )
    if (quiet := _days_without_calls(report)) and not report.only_sessions:
        spans = [days_text(first, last) for first, last in spans_of(quiet)]
        more = "" if len(spans) <= _SPANS else ", and others, which “The numbers of each day” shows"
        yield f"On {many(len(quiet), 'day', 'days')} there was no call: {', '.join(spans[:_SPANS])}{more}."
    for day in report.days:
        if day.damaged is not None:
            yield f"The data of {days_text(day.day, day.day)} cannot be read, so nothing is known about that day: {day.damaged}"
        for account in day.failed_accounts:
            if account in report.accounts:
                yield (
                    f"The last run of {days_text(day.day, day.day)} failed for the account {account}: what this page says"
                    " about it may be old or incomplete."
                )
    if report.open_days:
        yield f"{_spans(report.open_days)} had not ended when this page was made, so calls may be missing in it."
    counts = report.counts
    if counts[CallState.UNKNOWN]:
        yield (
            f"For {many(counts[CallState.UNKNOWN], 'call', 'calls')} it is unknown whether there is a recording, because 8x8"
            " gave no usable answer."
        )
    if counts[CallState.NOT_CONNECTED]:
        number = counts[CallState.NOT_CONNECTED]
        yield f"{many(number, 'more call was', 'more calls were')} not answered, so there was nothing to record."
    if counts[CallState.UNCLEAR]:
        yield (
            f"For {many(counts[CallState.UNCLEAR], 'more call', 'more calls')} 8x8 lists no recording, and it is unknown"
            " whether anybody answered."
        )
    if durations_s := [seconds for day in report.days for seconds in day.durations_s]:
        mean, middle = (duration_text(figure(durations_s)) for figure in (fmean, median))
        lasts = (
            f"recordings last {mean} on average (median {middle})"
            if len(durations_s) > 1
            else f"recording lasts {mean}"
        )
        yield f"The kept {lasts}."
    if flawed := sum(day.flawed for day in report.days):
        yield f"{many(flawed, 'kept recording is', 'kept recordings are')} cut short, damaged, or silent on one side."
    if audio is None:
        yield "The files in the archive were not opened for this page, so it does not say whether they are still intact."
    elif audio.count:
        recordings = many(audio.count, "recording", "recordings")
        yield f"{recordings} can be played in this page; their files were compared with the catalog."
    if audio is not None and audio.not_intact:
        yield f"{many(audio.not_intact, 'archived file is', 'archived files are')} missing or changed."


def _days_without_calls(report: Report) -> list[date]:
    """Return the days without a call, among those that are over and completely known."""
    return [
        day.day
        for day in report.days
        if day.is_known
        and not day.counts.total()
        and not day.erased
        and day.day not in report.open_days
        and not set(day.failed_accounts).intersection(report.accounts)
    ]


def days_text(first: date, last: date) -> str:
    """Return the days for people: `1–7 November 2026`."""
    end = f"{last.day} {last:%B} {last.year}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{end}"
    return f"{first.day} {first:%B}{'' if first.year == last.year else f' {first.year}'} – {end}"


def _spans(days: "list[date] | tuple[date, ...]") -> str:
    return ", ".join(days_text(first, last) for first, last in spans_of(days))


def _times(report: Report) -> Callable[[datetime], str]:
    return lambda at: f"{at.astimezone(report.zone):%Y-%m-%d %H:%M:%S}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@dataclass(frozen=True)
class _Chart:
    """Rectangles of stacked bars, one bar a day; hatched where nothing is known. `top` is the value of the upper line."""

    width: int
    height: int
    left: int
    top: int
    bars: list[dict[str, Any]]
    hatched: list[tuple[float, float]]
    labels: list[tuple[float, str]]


def _chart(report: Report) -> _Chart:
    top = max(1, *(day.counts.total() for day in report.days))
    slot = (_WIDTH - _LEFT) / len(report.days)
    bar = min(slot * 0.8, 64.0)
    every = -(-len(report.days) // _LABELS)
    bars, hatched, labels = list[dict[str, Any]](), list[tuple[float, float]](), list[tuple[float, str]]()
    for number, day in enumerate(report.days):
        x = _LEFT + number * slot + (slot - bar) / 2
        if not day.is_known:
            hatched.append((round(x, 2), round(bar, 2)))
        height = 0.0
        for state, wording in WORDINGS.items():
            if day.counts[state]:
                share = day.counts[state] / top * _HEIGHT
                height += share
                bars.append(
                    {
                        "x": round(x, 2),
                        "y": round(_HEIGHT - height, 2),
                        "width": round(bar, 2),
                        "height": round(share, 2),
                        "colour": wording.colour,
                        "title": f"{days_text(day.day, day.day)}: {wording.label}, {day.counts[state]:,}",
                    }
                )
        if number % every == 0:
            labels.append((round(min(x + bar / 2, _WIDTH - _LABEL / 2), 2), f"{day.day.day} {day.day:%b}"))
    return _Chart(_WIDTH, _HEIGHT, _LEFT, top, bars, hatched, labels)
