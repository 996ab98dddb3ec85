"""Verification of a day: files, tables, stored responses and the ledger against each other. Contacts no other server."""

from callarchive.monitoring.verification.findings import Defect, Finding, VerifiedDay
from callarchive.monitoring.verification.unknown_names import unknown_names
from callarchive.monitoring.verification.verifying import DaysFound, days_in_range, verify_days

__all__ = ["DaysFound", "Defect", "Finding", "VerifiedDay", "days_in_range", "unknown_names", "verify_days"]
