"""Verification of a day: files, tables and stored responses against each other. Contacts neither 8x8 nor a landing."""

from callarchive.monitoring.verification.findings import Defect, Finding, VerifiedDay
from callarchive.monitoring.verification.verifying import DaysFound, days_in_range, verify_days

__all__ = ["DaysFound", "Defect", "Finding", "VerifiedDay", "days_in_range", "verify_days"]
