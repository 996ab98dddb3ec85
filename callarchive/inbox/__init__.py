"""The inbox: what 8x8's webhooks told, kept until the days concerned have taken it over.

`events` reads payloads, `inbox` keeps and merges them, `database` holds the tables and opens SQLite or PostgreSQL. Who receives
them over HTTP is in `receiver`.
"""
