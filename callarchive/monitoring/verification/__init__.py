"""Compares everything that is kept of a day: files with rows, tables with each other, answers with tables.

Nothing outside is contacted: neither 8x8 nor a landing. `findings` has the kinds of findings, `days` the days that there are,
`files` the files of archive and quarantine, `public_tables` the public tables, `traces` what else proves that rows were
removed, `discrepancies` the table `reconciliation`.
"""

from callarchive.monitoring.verification.days import DaysFound, days_in_range, days_to_verify
from callarchive.monitoring.verification.findings import Defect, Finding, VerifiedDay
from callarchive.monitoring.verification.verifying import verify_days

__all__ = ["DaysFound", "Defect", "Finding", "VerifiedDay", "days_in_range", "days_to_verify", "verify_days"]
