"""A store of files in an S3-compatible bucket, reached through fsspec.

Endpoint, region and credentials come from where Amazon's own tools find them: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID and the rest, a profile, or the role of the machine.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import s3fs
from aiohttp import ClientError as ConnectionFailed
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from service.datasets.files import StoreUnavailable, StoreUnusable, is_digest, path_of

# A client waits at the other end, which hears of a 503 rather than nothing.
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3.0, 20.0, 2
# One PUT for everything that a request may bring.
_PART_BYTES = 1 << 30

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADVICE = "PLUMBLINE_DATASET_STORE must be s3://bucket/prefix of a bucket that is there and may be written to"


class Bucket:
    """See `Files`. An object is there whole or not at all, by the protocol."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._root = self._address.removeprefix("s3://")
        if not _BUCKET.fullmatch(self._root.partition("/")[0]):
            raise StoreUnusable(f"the address {address!r} names no bucket; {_ADVICE}")
        timing = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "retries": {"max_attempts": _ATTEMPTS, "mode": "standard"},
        }
        self._s3: Any = s3fs.S3FileSystem(
            config_kwargs=timing, use_listings_cache=False, skip_instance_cache=True, default_block_size=_PART_BYTES
        )
        # Its own attempts, on top of those: each would take as long again.
        self._s3.retries = 1

    def check(self) -> None:
        probe = f"{self._root}/.check"
        try:
            self._s3.pipe_file(probe, b"")
            self._s3.rm_file(probe)
        except (FileNotFoundError, PermissionError, NoCredentialsError, PartialCredentialsError) as error:
            raise StoreUnusable(f"{self._reason(error)}; {_ADVICE}") from error
        except _FAILURES as error:
            raise StoreUnavailable(self._reason(error)) from error

    def put(self, name: str, body: memoryview) -> None:
        with self._away():
            self._s3.pipe_file(self._place(name), bytes(body), chunksize=_PART_BYTES)

    def size(self, name: str) -> int | None:
        with self._away():
            try:
                return int(self._s3.info(self._place(name))["size"])
            except FileNotFoundError:
                return None

    def get(self, name: str) -> bytes | None:
        with self._away():
            try:
                return bytes(self._s3.cat_file(self._place(name), max_concurrency=1))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        with self._away():
            self._s3.rm_file(self._place(name))

    def names(self, before: datetime) -> Iterator[str]:
        with self._away():
            for _, _, found in self._s3.walk(self._root, detail=True):
                yield from (name for name, info in found.items() if is_digest(name) and info["LastModified"] < before)

    def _place(self, name: str) -> str:
        return f"{self._root}/{path_of(name)}"

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise StoreUnavailable(self._reason(error)) from error

    def _reason(self, error: Exception) -> str:
        first_line = str(error).partition("\n")[0]
        return f"the store of datasets {self._address} cannot be used: {first_line or type(error).__name__}"


_FAILURES = (OSError, BotoCoreError, ClientError, ConnectionFailed)
