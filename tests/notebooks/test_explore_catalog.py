"""The notebook runs from top to bottom on a catalog, draws its pictures, and is committed without what it printed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore_catalog.ipynb"


# Jupyter's own: the kernel says that its connection on loopback is not encrypted, and asks for asyncio's policy.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::ResourceWarning")
def test_it_runs_on_a_catalog_and_shows_states_durations_trouble_and_a_recording(
    start_trial: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start_trial(sessions_per_day=12, days=2)
    summaries = trial.archive()
    monkeypatch.setenv("CALLARCHIVE_CONFIG", str(trial.config))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in data for data in shown) == 3
    assert sum("<audio" in data.get("text/html", "") for data in shown) == 1
    printed = "".join(output.get("text", "") for output in outputs)
    assert "2 days, from 2026-01-05 to 2026-01-06" in printed
    assert f"{sum(summary.recordings['archived'] for summary in summaries)} recordings, " in printed


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
