"""Verification of a day: files against rows, tables against each other, stored responses against tables.

Neither 8x8 nor a landing is contacted.
"""

from callarchive.monitoring.verification.findings import Defect, Finding, VerifiedDay
from callarchive.monitoring.verification.verifying import DaysFound, days_in_range, verify_days

__all__ = ["DaysFound", "Defect", "Finding", "VerifiedDay", "days_in_range", "verify_days"]
