"""Says whether a built site loads anything from another host: scripts, styles, fonts, pictures, frames. Links are no matter."""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADED_BY = {"src", "srcset", "poster", "data"}
_LINKS_THAT_LOAD = {
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
_ELSEWHERE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class _Loads(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loaded = [value for name, value in values.items() if name in _LOADED_BY]
        if tag == "link" and _LINKS_THAT_LOAD.intersection(values.get("rel", "").lower().split()):
            loaded.append(values.get("href", ""))
        self.found += [f"<{tag}> {value}" for value in loaded if _ELSEWHERE.match(value)]
        self.found += [f"<{tag} style> {url}" for url in _IN_STYLES.findall(values.get("style", ""))]


def loads_from_elsewhere(folder: Path) -> Iterator[str]:
    """File and address of everything that the site's pages and styles load from another host."""
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".html":
            text = file.read_text(encoding="utf-8")
            page = _Loads()
            page.feed(text)
            styles = " ".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL | re.IGNORECASE))
            yield from (f"{file.relative_to(folder)}: {found}" for found in (*page.found, *_IN_STYLES.findall(styles)))
        elif file.suffix == ".css":
            text = file.read_text(encoding="utf-8")
            yield from (f"{file.relative_to(folder)}: {found}" for found in _IN_STYLES.findall(text))


def main(path: str) -> int:
    """0 if everything comes from the site itself, else 1 with the reasons on stderr."""
    folder = Path(path)
    if not (folder / "index.html").exists():
        print(f"{folder} holds no site: make docs", file=sys.stderr)
        return 1
    faults = list(loads_from_elsewhere(folder))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
