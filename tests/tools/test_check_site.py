"""Resources that a site loads from another host are found; links are not reported."""

from pathlib import Path

import pytest

from tools.check_site import external_resources, main


@pytest.mark.parametrize(
    "loading",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<script SRC="//cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="http://pixel.example/1.gif">',
        '<iframe src="https://video.example/"></iframe>',
        "<style>@import 'https://fonts.example/css';</style>",
        '<p style="background: url(https://pixel.example/1.gif)">x</p>',
    ],
)
def test_an_external_resource_is_reported_with_its_page(tmp_path: Path, loading: str) -> None:
    (tmp_path / "index.html").write_text(f"<html><body>{loading}</body></html>")
    (found,) = external_resources(tmp_path)
    assert found.startswith("index.html: ")
    assert ".example" in found
    assert main(str(tmp_path)) == 1


def test_an_external_font_in_a_style_sheet_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html></html>")
    (tmp_path / "a.css").write_text('@font-face { src: url("https://fonts.example/a.woff2") }')
    assert list(external_resources(tmp_path)) == ["a.css: https://fonts.example/a.woff2"]


def test_links_and_local_files_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<link rel="canonical" href="https://docs.example/"><link rel="stylesheet" href="_static/a.css">'
        '<script src="_static/a.js"></script><a href="https://elsewhere.example">there</a>'
        '<img src="data:image/svg+xml;utf8,//">'
    )
    assert main(str(tmp_path)) == 0


def test_a_folder_without_a_site_is_an_error(tmp_path: Path) -> None:
    assert main(str(tmp_path)) == 1
