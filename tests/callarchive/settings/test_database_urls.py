"""The meaning of a database URL does not depend on the installed drivers."""

import pytest

from callarchive.settings.database_urls import parse_database_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_without_a_driver_means_psycopg_3(scheme: str) -> None:
    url = parse_database_url(f"{scheme}://bob:h%40nter@db.example:5433/calls?sslmode=require")
    assert url.render_as_string(hide_password=False) == (
        "postgresql+psycopg://bob:h%40nter@db.example:5433/calls?sslmode=require"
    )


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg2://db/calls", "postgresql+pg8000://db/calls", "sqlite:////srv/calls.db", "mysql://db/x"]
)
def test_a_url_with_a_driver_or_another_database_is_unchanged(url: str) -> None:
    assert parse_database_url(url).render_as_string() == url
