"""Stand-ins for 8x8 and for the stores that it pushes to: an API, an S3 and an SFTP server on loopback.

The demo and the tests run on it, and set-ups can be tried on it: `python -m callarchive.simulator --directory DIR`.
What it answers is its own reading of 8x8's documents. It shares with the archiver only ids, days and errors, so a
mistake made there is not made here as well.
"""
