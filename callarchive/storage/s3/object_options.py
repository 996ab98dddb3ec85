"""How new objects are stored: storage class, KMS key, retention. A store that ignores one of them is found by a trial."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from callarchive.domain.errors import ConfigurationError
from callarchive.settings import ObjectSettings
from callarchive.storage.s3 import errors as s3_errors
from callarchive.storage.s3.object_lock import has_object_lock

_AWS_MANAGED_KEYS = ("aws/s3", "alias/aws/s3")
_TRIAL_RETENTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """The options of `[archive.objects]` as parameters of PutObject."""

    settings: ObjectSettings

    def __bool__(self) -> bool:
        return self.settings != ObjectSettings()

    def __str__(self) -> str:
        """Return them for display."""
        chosen = self.settings
        retention = f"{chosen.lock_mode} retention for {chosen.lock_days} days" if chosen.lock_mode else None
        parts = (
            chosen.storage_class and f"storage class {chosen.storage_class}",
            chosen.kms_key_id and f"KMS key {chosen.kms_key_id}",
            retention,
        )
        return ", ".join(filter(None, parts))

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for an object that is written now."""
        return self._parameters(timedelta(days=self.settings.lock_days or 0))

    def _parameters(self, retention: timedelta) -> dict[str, Any]:
        chosen, found = self.settings, dict[str, Any]()
        if chosen.storage_class is not None:
            found["StorageClass"] = chosen.storage_class
        if chosen.kms_key_id is not None:
            found["ServerSideEncryption"] = "aws:kms"
            if chosen.kms_key_id not in _AWS_MANAGED_KEYS:
                found["SSEKMSKeyId"] = chosen.kms_key_id
        if chosen.lock_mode is not None:
            found["ObjectLockMode"] = chosen.lock_mode
            found["ObjectLockRetainUntilDate"] = datetime.now(UTC) + retention
        return found

    def try_out(self, client: Any, bucket: str, folder: str) -> None:
        """Write an object below `folder` with the options, whose retention ends after a minute, and compare what S3 keeps.

        Raises ConfigurationError if the bucket has no Object Lock, or the store ignores an option; ArchiveError.
        """
        place = f"s3://{bucket}"
        if self.settings.lock_mode is not None and has_object_lock(client, bucket) is False:
            raise ConfigurationError(
                f"{place}: archive.objects.lock_mode is set, and the bucket has no Object Lock: turn on versioning and "
                "Object Lock (see docs/stores.md), or remove lock_mode and lock_days"
            )
        key = f"{folder}trial-{secrets.token_hex(16)}"
        with s3_errors.translating(place=f"{place}/{key}", doing="writing"):
            client.put_object(
                Bucket=bucket,
                Key=key,
                Body=b"",
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                **self._parameters(_TRIAL_RETENTION),
            )
        with s3_errors.translating(place=f"{place}/{key}", doing="reading"):
            head = client.head_object(Bucket=bucket, Key=key)
        with s3_errors.translating(place=f"{place}/{key}", doing="deleting"):
            client.delete_object(Bucket=bucket, Key=key)
        if ignored := self._ignored(head):
            raise ConfigurationError(
                f"{place}: the store ignores {', '.join(ignored)}: remove it, or use a store that has it"
            )

    def _ignored(self, head: dict[str, Any]) -> list[str]:
        chosen = self.settings
        kept = {
            "storage_class": chosen.storage_class in (None, head.get("StorageClass", "STANDARD")),
            "kms_key_id": chosen.kms_key_id is None or head.get("ServerSideEncryption") == "aws:kms",
            "lock_mode": chosen.lock_mode in (None, head.get("ObjectLockMode")),
        }
        return [f"archive.objects.{name}" for name, is_kept in kept.items() if not is_kept]
