"""The pages of the reference, written from the code before the docs are built, so that they cannot say anything else.

Each module makes one page. What a page says of a key, a column or a command stands where that is defined.
"""

from pathlib import Path

from tools.reference.commands import commands_page
from tools.reference.settings import settings_page
from tools.reference.tables import tables_page

PAGES = {"settings": settings_page, "tables": tables_page, "commands": commands_page}


def write_pages(folder: Path) -> None:
    """The folder holds every page of the reference as it is now. A page that has not changed is left alone.

    Raises:
        ValueError: a setting has no meaning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        file, text = folder / f"{name}.md", page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:  # so that a build reads only what is new
            file.write_text(text, encoding="utf-8")
