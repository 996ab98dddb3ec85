"""Evidence: one ZIP file that proves a recording to people who have no callarchive.

`collecting` compares the recording with catalog and ledger, `proving` makes the proofs, `bundle` writes the file, and
`checking` has the page that says how to check it.
"""
