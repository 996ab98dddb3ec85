"""8x8's Voice API: the client of an account, how its answers are read, and the transport underneath.

`client` looks sessions up and fetches call logs; `answers` reads what came, tolerantly and without the network;
`log_export` with `export_files` and `export_links` runs export jobs; `transport` with `routes`, `bodies`, `failures`,
`deadlines` and `pacing` sends requests. What is kept of the answers is in `callarchive.archiving.responses.store`.
"""
