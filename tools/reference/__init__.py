"""Generate the reference pages from the code before the docs are built, so that they always match it.

Each module generates one page. The descriptions of keys, columns and commands come from their definitions.
"""

from pathlib import Path

from tools.reference.commands import commands_page
from tools.reference.settings import settings_page
from tools.reference.tables import tables_page

PAGES = {"settings": settings_page, "tables": tables_page, "commands": commands_page}


def write_pages(folder: Path) -> None:
    """Write all reference pages to the folder. Unchanged pages are not rewritten.

    Raises:
        ValueError: A setting has no description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        file, text = folder / f"{name}.md", page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:  # incremental builds read only changed pages
            file.write_text(text, encoding="utf-8")
