"""8x8's Voice API: the client of an account, the parsing of responses, and the transport.

`client` looks up sessions and downloads call logs; `lookups` and `absence` parse responses; `log_export` with `export_files`
and `export_links` runs export jobs; `account_setup` with `push_config` and `webhook_registrations` configures the account;
`transport` with `routes`, `replies`, `bodies`, `failures`, `deadlines` and `pacing` sends requests.
"""
