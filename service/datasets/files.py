"""Where the bodies of large datasets lie: files that are written once, each under the digest of its content.

StoreUnusable         there is no such store, or not for us: nothing to wait for
StoreUnavailable      it does not answer now
DatasetDamaged        what it holds is not what was put there
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol


class StoreUnusable(Exception):
    """Files cannot be kept at this address; the text says why, and what to do, in words for an operator."""


class StoreUnavailable(Exception):
    """The store of files does not answer, or not well. It may later."""


class DatasetDamaged(Exception):
    """A dataset's file is gone, cut short or changed; the text says which, in words for who asked for a fit."""


class Files(Protocol):
    """A store of files. Its methods block; all but `check` raise only `StoreUnavailable`."""

    def check(self) -> None:
        """See that files can be kept here.

        Raises
        ------
        StoreUnusable
            They never can.
        StoreUnavailable
            They cannot now.
        """

    def put(self, name: str, body: memoryview) -> None:
        """Write the file, whole or not at all. One of the same name is replaced: it has the same content."""

    def size(self, name: str) -> int | None:
        """The file's length in bytes; None where there is none."""

    def get(self, name: str) -> bytes | None:
        """The file's content; None where there is none."""

    def remove(self, name: str) -> None:
        """Remove the file, if it is there."""

    def names(self, before: datetime) -> Iterator[str]:
        """The names of all datasets' files written before that."""


def path_of(name: str) -> str:
    """Where a file lies below the store's root: alike in every kind of store, so that one can be copied to another."""
    return f"{name[:2]}/{name}" if is_digest(name) else name


def is_digest(name: str) -> bool:
    """Whether the file holds a dataset."""
    return _DIGEST.fullmatch(name) is not None


_DIGEST = re.compile(r"[0-9a-f]{64}")
