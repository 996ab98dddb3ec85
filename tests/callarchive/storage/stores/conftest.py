"""Stores use the test credentials for S3, never those of the user who runs the tests."""

import pytest


@pytest.fixture(autouse=True)
def keys(aws_environment: None) -> None:
    """Apply to all tests here."""
