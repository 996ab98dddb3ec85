"""The inbox: 8x8's webhook events, kept until their days have ingested them.

`events` parses payloads, `inbox` stores them, `queries` reads them, `merging` combines several events into one, `database`
has the tables and opens SQLite or PostgreSQL, `pruning` deletes what days have ingested.
"""
