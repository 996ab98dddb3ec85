"""Reports days that were archived without Dagster, by `callarchive archive` or the demo, so that its UI shows them.

The reverse too: days that only Dagster has.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg

from assets.check_results import check_evaluations
from assets.summaries import short, summarize
from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.archiving.steps.reports import StepReport
from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.domain.days import days_between, utc_now
from callarchive.monitoring.at_risk import at_risk
from callarchive.monitoring.checks import CheckResult
from callarchive.monitoring.evaluation import run_checks
from callarchive.settings import Settings

_DESCRIBED_DAYS = 31
"""How many of the latest days are described and checked in full; for older ones only rows are counted."""


def report_catalog(instance: dg.DagsterInstance, catalog: Catalog, settings: Settings) -> int:
    """Report every partition of the catalog to Dagster as materialized. Return the number of new ones.

    What Dagster already has stays unchanged. Days before `start_date`, which have no partition there, and days on which an
    account failed, which must be run again, are skipped.
    """
    return sum(_report_table(instance, catalog, table, settings) for table in (step.table for step in DAY_STEPS))


def days_not_in_catalog(instance: dg.DagsterInstance, catalog: Catalog, settings: Settings) -> list[date]:
    """Return the days since `start_date` that Dagster has as materialized in a table whose partition the catalog lacks."""
    missing: set[str] = set()
    for table in (step.table for step in DAY_STEPS):
        shown = instance.get_materialized_partitions(dg.AssetKey(table.name))
        missing |= shown.difference(day.isoformat() for day in catalog.days(table))
    tomorrow = utc_now().date() + timedelta(days=1)  # ahead of UTC it has begun
    return [day for day in days_between(settings.start_date, tomorrow) if day.isoformat() in missing]


def other_accounts(instance: dg.DagsterInstance, days: Sequence[date], settings: Settings) -> set[str]:
    """Return the accounts that Dagster shows for these days, if none of them is configured; empty if it shows none."""
    if not days:  # Dagster would take no days for all days
        return set()
    table = schemas.STATUS_STATS.name
    wanted = dg.AssetRecordsFilter(dg.AssetKey(table), asset_partitions=[day.isoformat() for day in days])
    events = (record.asset_materialization for record in instance.fetch_materializations(wanted, limit=100).records)
    shown = [event.metadata[table] for event in events if event and table in event.metadata]
    records = [record for value in shown if isinstance(value, dg.TableMetadataValue) for record in value.records]
    # Older versions of callarchive called the column "subaccount_id".
    accounts = {str(record.data.get("account") or record.data.get("subaccount_id")) for record in records}
    ours = {account.subaccount_id for account in settings.accounts}
    return accounts if accounts.isdisjoint(ours | {short(name) for name in ours}) else set()


def _report_table(instance: dg.DagsterInstance, catalog: Catalog, table: Table, settings: Settings) -> int:
    seen = instance.get_materialized_partitions(dg.AssetKey(table.name))
    in_part = {day for day in catalog.days(schemas.ACCOUNT_FAILURES) if catalog.rows(schemas.ACCOUNT_FAILURES, day)}
    unseen = [
        day
        for day in catalog.days(table)
        if day >= settings.start_date and day.isoformat() not in seen and day not in in_part
    ]
    if not unseen:
        return 0
    row_counts = _row_counts(catalog, table, unseen[0], unseen[-1])
    described = unseen[-_DESCRIBED_DAYS:]
    for day in unseen:
        report = StepReport(table, day, row_counts.get(day, 0))
        metadata: dict[str, dg.MetadataValue] = {"dagster/row_count": dg.MetadataValue.int(report.row_count)}
        if day in described:
            is_recordings = table is schemas.RECORDINGS
            risks = at_risk(catalog, settings, now=utc_now(), days=[day]) if is_recordings else None
            metadata = summarize(catalog, report, risks=risks)
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                table.name, partition=day.isoformat(), metadata=metadata, description="archived without Dagster"
            )
        )
    verdicts: list[CheckResult] = []
    for day in described:
        verdicts += run_checks(catalog, day, settings, table=table)
    for evaluation in check_evaluations(verdicts):
        instance.report_runless_asset_event(evaluation)
    return len(unseen)


def _row_counts(catalog: Catalog, table: Table, first: date, last: date) -> dict[date, int]:
    days = catalog.arrow(table, first, last, columns=["call_date"])
    counted = days.group_by("call_date").aggregate([([], "count_all")])
    return {row["call_date"]: row["count_all"] for row in counted.to_pylist()}
