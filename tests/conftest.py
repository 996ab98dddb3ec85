"""What every test may use. The marker `needs` names programs that a test runs: see `pytest_runtest_setup`."""

import os
import shutil

import pytest

# Where Debian puts servers, which the PATH of an ordinary user lacks.
_SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test whose program is absent says which one; with CI=true that is a failure, for CI installs them all."""
    for marker in item.iter_markers("needs"):
        absent = [program for program in marker.args if shutil.which(program, path=_SEARCH_PATH) is None]
        if absent and os.environ.get("CI") == "true":
            pytest.fail(f"{', '.join(absent)} must be installed where CI=true", pytrace=False)
        if absent:
            pytest.skip(f"{', '.join(absent)} is not installed (on Debian, .ci/run says from which package)")
