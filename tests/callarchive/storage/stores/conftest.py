"""What stores tell of S3 they tell with keys of the tests, never with those of whoever runs them."""

import pytest


@pytest.fixture(autouse=True)
def keys(aws_environment: None) -> None:
    """All tests here."""
