"""The ledger: an append-only record of what was archived and published, whose tree of hashes shows every later change."""
