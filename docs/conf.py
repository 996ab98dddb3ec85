"""Sphinx configuration. `make docs` builds the site after generating the reference pages from the code."""

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

_HERE = Path(__file__).parent
_FEWEST_SECTIONS = 3
sys.path.insert(0, str(_HERE.parent))

from callarchive import __version__  # noqa: E402
from tools.reference import write_pages  # noqa: E402

project = "callarchive"
version = release = __version__
author = "the callarchive developers"
html_title = f"callarchive {__version__}"

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
smartquotes = False  # it turns the -- of options into a dash
# SQL blocks use several dialects, but the highlighter supports only one.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"  # loads nothing from other hosts
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Generate the reference before Sphinx collects the pages, and list each page's sections."""
    app.connect("builder-inited", lambda _: write_pages(_HERE / "reference"))
    app.connect("html-page-context", _list_sections)


def _list_sections(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Insert the sections below the title, for windows that are too narrow for them beside the text."""
    contents = context.get("toc", "")
    if contents.count("<li>") > _FEWEST_SECTIONS:  # one is the title
        sections = contents[contents.index("<ul>", 1) : contents.rindex("</li>")]
        context["body"] = context["body"].replace("</h1>", f'</h1><nav class="local-contents">{sections}</nav>', 1)
