"""Dagster's daemon with the shipped configuration checks backfills every few seconds."""

import logging
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._daemon import controller
from dagster._daemon.backfill import execute_backfill_iteration_loop

from pipelines.backfill_daemon import CHECK_EVERY_S
from tools.running_dagster import shipped_home


class Pauses(Event):
    """Ends the loop at its first pause, and has its length."""

    def wait(self, timeout: float | None = None) -> bool:
        self.timeout = timeout
        raise KeyboardInterrupt


def test_the_shipped_instance_makes_the_daemon_check_backfills_every_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "DEFAULT_DAEMON_INTERVAL_SECONDS", 30)
    with dg.DagsterInstance.from_config(str(shipped_home(tmp_path / "home"))) as instance:
        context: Any = SimpleNamespace(instance=instance)
        pauses = Pauses()
        with pytest.raises(KeyboardInterrupt):
            list(execute_backfill_iteration_loop(context, logging.getLogger("test"), pauses))
    assert pauses.timeout == pytest.approx(CHECK_EVERY_S, abs=2)
