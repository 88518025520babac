"""What the numerical core refuses, and why.

FittingError
└── InvalidProblem   the request cannot be fitted as asked: where, what is wrong, what is allowed
"""

from collections.abc import Sequence


class FittingError(Exception):
    """Everything the numerical core raises on purpose."""


class InvalidProblem(FittingError):
    """A dataset, model and solver that do not go together.

    Parameters
    ----------
    place
        Where in the request, from the outside in, in the contract's names: ``("model", "features", 0)``.
    message
        What is wrong there.
    allowed
        What would have been accepted.
    """

    def __init__(self, place: Sequence[str | int], message: str, allowed: str) -> None:
        super().__init__(message)
        self.place = tuple(place)
        self.message = message
        self.allowed = allowed

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        # Exceptions pickle by their args, which here are not the constructor's.
        return type(self), (self.place, self.message, self.allowed)
