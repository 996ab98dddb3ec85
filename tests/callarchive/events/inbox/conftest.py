from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("initdb"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a URL for a new inbox, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/inbox.sqlite3"
    found: str = request.getfixturevalue("postgresql").url
    return found
