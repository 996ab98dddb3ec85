"""Database URLs for SQLAlchemy, independent of the installed drivers. Which URLs are valid settings: see `values`."""

import sqlalchemy as sa

DRIVER_OF_POSTGRESQL = "postgresql+psycopg"
"""The driver of a URL that names none: psycopg 3, from callarchive[postgresql]. SQLAlchemy's default is psycopg2."""
INSTALL_POSTGRESQL = "pip install 'callarchive[postgresql]'"


def parse_database_url(url: str) -> sa.URL:
    """Parse the URL, with psycopg 3 as the default driver for `postgresql://` and `postgres://`.

    Raises sqlalchemy.exc.ArgumentError or ValueError, whose message may contain the URL, password included.
    """
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername=DRIVER_OF_POSTGRESQL)
    return parsed
