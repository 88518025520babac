"""From an address, as an operator writes it, to the store of files that is there."""

import asyncio
import logging
from pathlib import Path

from service.datasets.files import Files, StoreUnavailable, StoreUnusable
from service.datasets.folder import Folder

logger = logging.getLogger(__name__)


async def open_files(address: str | None) -> Files | None:
    """The store of files at a folder's path or s3://bucket/prefix; None for None. Opens while the store is away, too.

    Raises
    ------
    StoreUnusable
        Files can never be kept there.
    """
    if address is None:
        return None
    files = await asyncio.to_thread(_files_at, address)
    try:
        await asyncio.to_thread(files.check)
    except StoreUnavailable as error:
        logger.warning("Large datasets cannot be stored yet: %s", error)
    return files


def _files_at(address: str) -> Files:
    if address.startswith("s3://"):
        # Tens of megabytes that no other store needs.
        from service.datasets.bucket import Bucket

        return Bucket(address)
    if "://" in address:
        raise StoreUnusable(
            f"PLUMBLINE_DATASET_STORE is {address!r}; it must be a folder's path, or s3://bucket/prefix"
        )
    return Folder(Path(address).expanduser().absolute())
