"""The archive for 8x8 Number Masking call recordings: plain Python, no orchestrator.

The asset graph is in the package `assets`, schedules and resources in `pipelines`; nothing here imports either.
"""

from importlib.metadata import version

__version__ = version("callarchive")
