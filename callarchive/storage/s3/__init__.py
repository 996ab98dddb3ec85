"""S3 clients, and S3 errors in the terms of `callarchive.domain.errors`."""
