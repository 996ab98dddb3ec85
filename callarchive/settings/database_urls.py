"""Database URLs as SQLAlchemy reads them, the same whichever drivers happen to be installed.

Which URLs the configuration takes is in `settings.values`; who opens them in `inbox.database` and `sources.sql_reading`.
"""

import sqlalchemy as sa

DRIVER_OF_POSTGRESQL = "postgresql+psycopg"
"""What a URL that names no driver means: psycopg 3, of callarchive[postgresql]. To SQLAlchemy it means psycopg2."""
INSTALL_POSTGRESQL = "pip install 'callarchive[postgresql]'"


def parse_database_url(url: str) -> sa.URL:
    """The URL's parts, with our driver where it names none of PostgreSQL's (`postgres://` is PostgreSQL too).

    Raises:
        sqlalchemy.exc.ArgumentError, ValueError: it is no database URL. Their messages may repeat it.
    """
    parsed = sa.make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername=DRIVER_OF_POSTGRESQL)
    return parsed
