"""The app of a Celery worker: `celery --app pipelines.celery_worker worker --concurrency 1`.

It is the app of the instance's own run launcher, so a worker uses the broker, result backend and `config_source` of
`dagster.yaml`. dagster-celery's `dagster_celery.app` does not: it has its own defaults and its own Python module.
"""

import click
import dagster as dg
from celery import Celery
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task


def worker_app() -> Celery:
    """Return the app with the task that executes runs. Raises ClickException if the instance does not launch runs by Celery."""
    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, CeleryRunLauncher):
            raise click.ClickException(
                f"{instance.root_directory}/dagster.yaml launches runs by {type(launcher).__name__}: workers have nothing"
                " to do there; see deploy/celery/dagster.yaml"
            )
        create_execute_job_task(launcher.celery)
        return launcher.celery


app = worker_app()
