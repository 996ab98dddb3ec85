"""The inbox: what 8x8's webhooks told, kept until the days concerned have taken it over.

`events` reads payloads, `inbox` keeps them, `merging` makes one of what several tell, `database` holds the tables and opens
SQLite or PostgreSQL, `pruning` removes what days have taken over. Who receives them over HTTP is in `receiver`.
"""
