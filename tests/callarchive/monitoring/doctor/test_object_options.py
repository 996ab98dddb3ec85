"""The doctor tries the options of `archive.objects`."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callarchive.archiving.connections import Connections
from callarchive.monitoring.doctor import Finding, Verdict, machine
from callarchive.settings import S3Settings, load_settings
from callarchive.storage.stores.local import LocalStore
from callarchive.storage.stores.s3 import S3Store

Examine = Callable[..., list[Finding]]


@pytest.fixture
def examine(tmp_path: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, aws_environment: None) -> Examine:
    """Returns a function that takes the bucket, and lines of the section, and returns the findings about them."""
    monkeypatch.setenv("KEY", "key")

    def run(bucket: str, *lines: str) -> list[Finding]:
        config = tmp_path / "callarchive.toml"
        config.write_text(
            "start_date = 2026-01-01\n"
            f'archive = {{ url = "s3://{bucket}/kept", s3 = {{ endpoint_url = "{s3_endpoint}", region = "us-east-1" }}, '
            f"objects = {{ {', '.join(lines)} }} }}\n"
            f'catalog = {{ url = "{tmp_path}/catalog" }}\n'
            "[[accounts]]\n"
            'subaccount_id = "acme"\napi_key = { env = "KEY" }\nlanding = "s3://acme-recordings"\n'
            'session_sources = [{ kind = "log_export" }]\n'
        )
        with Connections(load_settings(config)) as connections:
            return list(machine._object_options(connections))

    return run


def new_bucket(boto: Any, *, object_lock: bool = False) -> str:
    name = f"kept-{secrets.token_hex(4)}"
    boto.create_bucket(Bucket=name, ObjectLockEnabledForBucket=object_lock)
    return name


def test_without_options_there_is_nothing_to_try(examine: Examine, boto: Any) -> None:
    assert examine(new_bucket(boto)) == []


def test_options_that_work_are_shown(examine: Examine, boto: Any) -> None:
    bucket = new_bucket(boto, object_lock=True)
    lock = ('lock_mode = "COMPLIANCE"', "lock_days = 2555")
    (found,) = examine(bucket, 'storage_class = "STANDARD_IA"', 'kms_key_id = "alias/x"', *lock)
    assert (found.link, found.verdict) == ("archive: objects", Verdict.OK)
    assert found.detail == (
        f"s3://{bucket}/kept keeps recordings with storage class STANDARD_IA, KMS key alias/x, "
        "COMPLIANCE retention for 2555 days"
    )


def test_retention_without_object_lock_is_broken_with_the_next_command(examine: Examine, boto: Any) -> None:
    bucket = new_bucket(boto)
    (found,) = examine(bucket, 'lock_mode = "GOVERNANCE"', "lock_days = 1")
    assert found.verdict is Verdict.BROKEN
    assert "archive.objects.lock_mode is set, and the bucket has no Object Lock" in found.detail
    assert f"aws s3api put-object-lock-configuration --bucket {bucket} " in str(found.advice)
    assert "Contents" not in boto.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("period", [{"Days": 30}, {"Years": 1}])
def test_a_default_retention_is_a_warning(
    boto: Any, s3_settings: S3Settings, local_store: LocalStore, period: dict[str, int]
) -> None:
    bucket = new_bucket(boto, object_lock=True)
    store = S3Store(f"s3://{bucket}/kept", s3_settings)
    assert list(machine._default_retention("archive", store)) == []
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", **period}}
    boto.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    (found,) = machine._default_retention("archive", store)
    assert (found.link, found.verdict) == ("archive: default retention", Verdict.WARNING)
    shown = " ".join(f"{count} {unit.lower()}" for unit, count in period.items())
    assert f"s3://{bucket}/kept retains every object (COMPLIANCE for {shown})" in found.detail
    assert list(machine._default_retention("catalog", local_store)) == []
