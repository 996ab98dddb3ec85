"""Check that a built site loads no scripts, styles, fonts, images or frames from another host. Links are allowed."""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADED_BY = {"src", "srcset", "poster", "data"}
_LOADING_LINKS = {
    "stylesheet",
    "icon",
    "shortcut",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "modulepreload",
    "manifest",
}
_EXTERNAL = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class _Resources(HTMLParser):
    """Collect the resources that a page loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loaded = [value for name, value in values.items() if name in _LOADED_BY]
        if tag == "link" and _LOADING_LINKS.intersection(values.get("rel", "").lower().split()):
            loaded.append(values.get("href", ""))
        self.found += [f"<{tag}> {value}" for value in loaded if _EXTERNAL.match(value)]
        self.found += [f"<{tag} style> {url}" for url in _IN_STYLES.findall(values.get("style", ""))]


def external_resources(folder: Path) -> Iterator[str]:
    """Yield the file and URL of every resource that the site loads from another host."""
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".html":
            text = file.read_text(encoding="utf-8")
            page = _Resources()
            page.feed(text)
            styles = " ".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL | re.IGNORECASE))
            yield from (f"{file.relative_to(folder)}: {found}" for found in (*page.found, *_IN_STYLES.findall(styles)))
        elif file.suffix == ".css":
            text = file.read_text(encoding="utf-8")
            yield from (f"{file.relative_to(folder)}: {found}" for found in _IN_STYLES.findall(text))


def main(path: str) -> int:
    """Return 0 if the site loads nothing from other hosts, otherwise 1 after printing the reasons to stderr."""
    folder = Path(path)
    if not (folder / "index.html").exists():
        print(f"{folder} contains no site: run make docs", file=sys.stderr)
        return 1
    faults = list(external_resources(folder))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
