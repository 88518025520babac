"""What has been worked out and may be asked for again."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """Values by their keys, each made when it is first asked for.

    Parameters
    ----------
    most
        How many are kept, the last ones that were made; None for all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._values: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What belongs to the key, made now where it is not there."""
        if key not in self._values:
            made = make()
            if len(self._values) == self._most:
                del self._values[next(iter(self._values))]
            self._values[key] = made
        value: T = self._values[key]
        return value
