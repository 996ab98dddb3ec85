"""The settings of folders and buckets: the archive, the catalog, the ledger's anchor."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from callarchive.settings.values import HttpUrl, Section, StoreUrl


class S3Settings(Section):
    """Overrides of the usual AWS configuration chain."""

    endpoint_url: HttpUrl | None = None
    """the endpoint of an S3-compatible store."""
    region: str | None = None
    """the AWS region."""
    profile: str | None = None
    """a profile in ~/.aws/config."""


class ObjectSettings(Section):
    """How the bucket of the archive stores recordings. The ledger, tables and locks are stored without these options."""

    storage_class: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,60}$")
    """the storage class, such as STANDARD_IA or GLACIER_IR; not GLACIER or DEEP_ARCHIVE, which cannot be read at once."""
    kms_key_id: str | None = Field(default=None, pattern=r"^[!-~]{1,2048}$")
    """the KMS key that encrypts them (SSE-KMS): an id, ARN or alias, or aws/s3 for the key that AWS manages. Without it,
    the bucket's default encryption applies."""
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    """the retention mode of Object Lock; needs lock_days. In COMPLIANCE mode nobody can erase a recording earlier."""
    lock_days: int | None = Field(default=None, ge=1, le=36_500)
    """the days, from the time that a recording is archived, for which Object Lock keeps it; needs lock_mode."""

    @field_validator("storage_class")
    @classmethod
    def _readable_at_once(cls, name: str | None) -> str | None:
        if name in ("GLACIER", "DEEP_ARCHIVE"):
            raise ValueError("cannot be read without a restore, so verify could not check it: use GLACIER_IR")
        return name

    @model_validator(mode="after")
    def _whole_retention(self) -> Self:
        if (self.lock_mode is None) != (self.lock_days is None):
            raise ValueError("lock_mode and lock_days must be set together")
        return self


class StoreSettings(Section):
    """A folder or a bucket."""

    url: StoreUrl
    """a folder, or a bucket with a prefix; archive and catalog must differ."""
    s3: S3Settings = S3Settings()


class ArchiveSettings(StoreSettings):
    """Where verified recordings are kept."""

    objects: ObjectSettings = ObjectSettings()


class CatalogSettings(StoreSettings):
    """Where the Parquet tables are written."""


class AnchorSettings(StoreSettings):
    """A place that those who can write to the archive cannot change. Each run stores the ledger's checkpoint there."""
