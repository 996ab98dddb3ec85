"""Pages of the site list their sections below the title."""

import runpy
from pathlib import Path

CONF = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "conf.py"))
SECTIONS = "".join(f'<li><a href="#{name}">{name}</a></li>' for name in ("first", "second", "third"))
BODY = "<h1>Title</h1><p>Text</p><h1>Another</h1>"


def body_with(toc: str) -> str:
    context = {"toc": toc, "body": BODY}
    CONF["_list_sections"](None, "page", "page.html", context, None)
    return context["body"]


def test_the_sections_follow_the_first_title_without_it() -> None:
    toc = f'<ul><li><a href="#">Title</a><ul>{SECTIONS}</ul></li></ul>'
    contents = f'<nav class="local-contents"><ul>{SECTIONS}</ul></nav>'
    assert body_with(toc) == BODY.replace("<h1>Title</h1>", f"<h1>Title</h1>{contents}")


def test_a_page_with_fewer_than_three_sections_has_no_list() -> None:
    two = SECTIONS.rpartition("<li>")[0]
    assert body_with(f'<ul><li><a href="#">Title</a><ul>{two}</ul></li></ul>') == BODY
    assert body_with("") == BODY
