"""A server that speaks S3, with buckets to keep datasets in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

import s3fs
from moto.server import ThreadedMotoServer


@dataclass(frozen=True)
class ObjectStore:
    """A running server."""

    url: str

    @property
    def variables(self) -> dict[str, str]:
        """What a process has to be told to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def new_bucket(self) -> str:
        """The address of a new, empty bucket's folder."""
        bucket = f"plumbline-{uuid4().hex}"
        self.client.mkdir(bucket)
        return f"s3://{bucket}/datasets"

    @cached_property
    def client(self) -> s3fs.S3FileSystem:
        """Somebody else's view of what is in the buckets."""
        return s3fs.S3FileSystem(
            key="key", secret="secret", endpoint_url=self.url, use_listings_cache=False, skip_instance_cache=True
        )


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server on a free port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield ObjectStore(f"http://{host}:{port}")
    finally:
        server.stop()
