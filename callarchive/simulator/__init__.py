"""Simulators of 8x8 and of the stores that it pushes to: an API, an S3 and an SFTP server on loopback.

The demo and the tests use them, and you can try a setup on them: `python -m callarchive.simulator --directory DIR`.
They implement 8x8's documentation independently of the archiver and share only ids, days, errors and the mp3 frame reader with
it, so that the two do not share their mistakes.
"""
