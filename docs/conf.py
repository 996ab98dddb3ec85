"""Sphinx configuration. `make docs` builds the site after generating the reference pages from the code."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE.parent))

from callarchive import __version__  # noqa: E402
from tools.reference import write_pages  # noqa: E402

project = "callarchive"
version = release = __version__
author = "the callarchive developers"
html_title = f"callarchive {__version__}"

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nitpicky = True
# SQL blocks use several dialects, but the highlighter supports only one.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"  # loads nothing from other hosts
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Generate the reference before Sphinx collects the pages."""
    app.connect("builder-inited", lambda _: write_pages(_HERE / "reference"))
